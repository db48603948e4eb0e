package quicpeer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

var (
	// ErrEndpointClosed is returned by calls on an endpoint that is closed, or
	// shutting down.
	ErrEndpointClosed = errors.New("quicpeer: endpoint closed")
	// ErrNoDatagrams is wrapped by the error of Dial when the peer's QUIC
	// stack does not offer datagrams (RFC 9221), without which there are no
	// messages.
	ErrNoDatagrams = errors.New("quicpeer: the peer does not support QUIC datagrams (RFC 9221)")
	// ErrRefused is wrapped by the error of Dial when the peer ended the
	// handshake because it does not trust this endpoint's identity.
	ErrRefused = errors.New("quicpeer: the peer refused this endpoint's identity")
	// ErrOutcomeUnknown is wrapped by the error of Dial when the link was
	// lost before the peer answered: its application may have seen the
	// session or not.
	ErrOutcomeUnknown = errors.New("quicpeer: the link was lost before the peer answered, outcome unknown")
	// ErrNotActedOn is wrapped by the error of Dial when the peer surely did
	// not act on the open, and trying again did not help: it is shutting
	// down. Nothing has happened there; another peer may be asked.
	ErrNotActedOn = errors.New("quicpeer: the peer is going away and did not act on the open")
	// ErrLimit is wrapped by the error of Dial when a limit is reached: the
	// endpoint's links, or, with [DialOptions.NoWait], the sessions that the
	// peer allows on its link.
	ErrLimit = errors.New("quicpeer: limit reached")
	// ErrWrongProtocol is wrapped by the error of Dial when what answers does
	// not speak quicpeer/1.
	ErrWrongProtocol = errors.New("quicpeer: the peer does not speak " + ALPN)
)

// DialError is returned by [Endpoint.Dial] when no session could be opened.
// What went wrong is in Err: one of this package's errors, a
// *[session.Error], a *[certs.UntrustedError], a network or context error.
type DialError struct {
	Address string // as it was dialed
	Err     error
}

// Error names the address and the cause, without the control characters that
// may be in what the peer says.
func (e *DialError) Error() string {
	return session.Printable(fmt.Sprintf("quicpeer: dial %s: %v", e.Address, e.Err))
}

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// alertFirst is what a TLS alert is added to, to make a QUIC error code
// (RFC 9001 section 4.8).
const alertFirst = 0x100

// TLS alerts (RFC 8446 section 6.2).
const (
	alertBadCertificate        = 42
	alertIllegalParameter      = 47
	alertUnknownCA             = 48
	alertAccessDenied          = 49
	alertCertificateRequired   = 116
	alertNoApplicationProtocol = 120
)

// refuses reports whether an alert says that its sender does not want our
// certificate, or wants one.
func refuses(alert quic.TransportErrorCode) bool {
	return alert >= alertBadCertificate && alert <= alertUnknownCA && alert != alertIllegalParameter ||
		alert == alertAccessDenied || alert == alertCertificateRequired
}

// handshakeError explains why a handshake failed.
func handshakeError(err error, id certs.PeerID) error {
	var te *quic.TransportError
	if !errors.As(err, &te) || te.ErrorCode < alertFirst {
		return err
	}
	switch alert := te.ErrorCode - alertFirst; {
	case alert == alertNoApplicationProtocol:
		return fmt.Errorf("%w (%w)", ErrWrongProtocol, err)
	case te.Remote && refuses(alert):
		return fmt.Errorf("%w: add its id %v to the peer's trust (%w)", ErrRefused, id, err)
	}
	return err
}

// attemptsError joins what befell each address of a dial, on one line.
type attemptsError []error

func (e attemptsError) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e attemptsError) Unwrap() []error { return e }

// unusedError explains why a connection whose handshake seemed complete ended
// before anything was sent on it. A listener judges our certificate after our
// side of the handshake is complete, so its refusal may come then.
func unusedError(err error, id certs.PeerID) error {
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		loss := lossOf(e)
		return fmt.Errorf("the link ended before it was used: %w", &loss)
	}
	return handshakeError(err, id)
}

// lossOf says, in a session's terms, why a connection has ended.
func lossOf(err error) session.Error {
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return session.Error{Cause: session.CauseLinkClosed, Code: session.Code(e.ErrorCode), Reason: e.ErrorMessage, Remote: e.Remote, Err: err}
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return session.Error{Cause: session.CausePeerRestarted, Remote: true, Err: err}
	}
	return session.Error{Cause: session.CauseLinkLost, Err: err}
}
