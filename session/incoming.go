package session

import (
	"net"
	"slices"
	"time"

	"github.com/oneportnet/quicpeer/certs"
)

// Incoming is a session that a peer wants to open. The application answers it
// once, with Accept or Reject; until then no message of it is delivered and
// only a bounded few are kept.
//
// Safe for concurrent use; the first answer counts.
type Incoming struct {
	s        *Session
	answered bool // guarded by s.mu
}

// Protocol returns the application protocol that the peer asks for.
func (i *Incoming) Protocol() string { return i.s.Protocol() }

// Metadata returns what the peer sent along. The caller must not change it.
func (i *Incoming) Metadata() []byte { return i.s.Metadata() }

// RemoteAddr returns the peer's address.
func (i *Incoming) RemoteAddr() net.Addr { return i.s.RemoteAddr() }

// LocalAddr returns the address of this endpoint's one UDP port.
func (i *Incoming) LocalAddr() net.Addr { return i.s.LocalAddr() }

// RemoteID returns the peer's verified identity, or false if the peer is
// anonymous.
func (i *Incoming) RemoteID() (certs.PeerID, bool) { return i.s.RemoteID() }

// Accept opens the session. The metadata, at most [MaxOpenContent] bytes, may
// be nil; the peer reads it with [Session.AcceptMetadata].
//
// The error is ErrAnswered, or wraps ErrWithdrawn if the peer has gone in the
// meantime.
func (i *Incoming) Accept(metadata []byte) (*Session, error) {
	a := Accept{Metadata: slices.Clone(metadata)}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	s := i.s
	s.mu.Lock()
	defer s.unlock()
	if err := i.answer(); err != nil {
		return nil, err
	}
	s.flow = s.link.Mux().Open(time.Now(), s.id, s.opts.Queues)
	s.accept = a
	s.stepLocked(&input{kind: inAccept, frame: a})
	if s.owed {
		s.callLater(s.resume)
	}
	return s, nil
}

// Reject refuses the session. Code may be any code: CodeRefused and CodeBusy
// are usual, an application may use its own. The reason, at most [MaxReason]
// bytes, and the time after which another attempt makes sense (zero: not
// said), reach the peer with the code.
func (i *Incoming) Reject(code Code, reason string, retryAfter time.Duration) error {
	if code > MaxCode {
		return &InvalidCodeError{Code: code}
	}
	if len(reason) > MaxReason {
		return &ReasonTooLongError{Size: len(reason)}
	}
	s := i.s
	s.mu.Lock()
	defer s.unlock()
	if err := i.answer(); err != nil {
		return err
	}
	s.stepLocked(&input{kind: inReject, frame: Reject{Code: code, Reason: reason, RetryAfter: retryAfter}})
	return nil
}

// answer takes the right to answer. The caller holds s.mu.
func (i *Incoming) answer() error {
	if i.answered {
		return ErrAnswered
	}
	i.answered = true
	if i.s.m.state != StateIncoming {
		return &withdrawnError{cause: i.s.err}
	}
	return nil
}

// withdrawnError is ErrWithdrawn with the way it was withdrawn.
type withdrawnError struct{ cause *Error }

func (e *withdrawnError) Error() string   { return ErrWithdrawn.Error() + ": " + e.cause.Error() }
func (e *withdrawnError) Unwrap() []error { return []error{ErrWithdrawn, e.cause} }
