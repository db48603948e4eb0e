package session

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Cause says in which way a session ended.
type Cause uint8

const (
	// CauseClosed: one side closed it, with a code and a reason. [Error.Remote]
	// says which.
	CauseClosed Cause = iota + 1
	// CauseRejected: the acceptor answered the OPEN with REJECT.
	CauseRejected
	// CauseAborted: one side aborted it; messages and signals on their way
	// are gone.
	CauseAborted
	// CauseViolation: the peer broke the protocol; the reason says how.
	CauseViolation
	// CauseTimeout: a close was not confirmed in time.
	CauseTimeout
	// CauseLinkClosed: the link under it was closed, with a code, while the
	// session still lived.
	CauseLinkClosed
	// CauseLinkLost: the link died: heartbeats or QUIC's own probes went
	// unanswered, or the socket failed.
	CauseLinkLost
	// CausePeerRestarted: the peer no longer knows the link; it answered with
	// a stateless reset (RFC 9000 section 10.3).
	CausePeerRestarted
	// CauseSuperseded: another process of the same identity appeared, and
	// this one no longer answers.
	CauseSuperseded
)

// String returns the cause in a few words.
func (c Cause) String() string {
	switch c {
	case CauseClosed:
		return "closed"
	case CauseRejected:
		return "rejected"
	case CauseAborted:
		return "aborted"
	case CauseViolation:
		return "protocol violation"
	case CauseTimeout:
		return "timed out"
	case CauseLinkClosed:
		return "link closed"
	case CauseLinkLost:
		return "link lost"
	case CausePeerRestarted:
		return "peer restarted"
	case CauseSuperseded:
		return "superseded"
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// Error is why a session ended. Every call on a dead session, blocked or new,
// returns the same *Error; [errors.As] finds it.
type Error struct {
	// Cause is the way it ended.
	Cause Cause
	// Code is the code that was stated: with CLOSE, REJECT, an abort, or the
	// closing of the link. Zero with causes that carry none.
	Code Code
	// Reason is the text that came with the code, at most 1,024 bytes.
	Reason string
	// Remote is true if the peer ended it, false if this side did.
	Remote bool
	// Confirmed is true once the other side is known to know: the peer
	// acknowledged our CLOSE, or it was the peer who told us. Calls that
	// return before our CLOSE is acknowledged have an *Error of their own, in
	// which it is false.
	Confirmed bool
	// RetryAfter is how long the peer asks to wait before the next attempt.
	// Only with CauseRejected; zero if it did not say.
	RetryAfter time.Duration
	// Err is the error underneath, if one caused this: a transport error, a
	// context's error. May be nil.
	Err error
}

// Error describes the end in one line. What the peer said is shown without
// control characters; Reason has it as it came.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("session: ")
	b.WriteString(e.Cause.String())
	switch e.Cause {
	case CauseClosed, CauseRejected, CauseAborted, CauseLinkClosed:
		if e.Remote {
			b.WriteString(" by the peer")
		} else {
			b.WriteString(" by this side")
		}
		fmt.Fprintf(&b, " (%v)", e.Code)
	case CauseTimeout:
		b.WriteString(" waiting for the peer")
		if e.Code != CodeNormal {
			fmt.Fprintf(&b, " (%v)", e.Code)
		}
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err) // may quote the peer, too
	}
	return Printable(b.String())
}

// Printable returns a text of the peer's, such as a reason or a protocol's name,
// fit for a log or a terminal: what could move a cursor or fake a line is replaced
// by U+FFFD. [Error] shows what it shows through it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}

// Unwrap returns the error underneath.
func (e *Error) Unwrap() error { return e.Err }

// Is matches another *Error with the same cause, code and side, and
// [net.ErrClosed] for a session that this side closed or aborted.
func (e *Error) Is(target error) bool {
	if t, ok := target.(*Error); ok {
		return e.Cause == t.Cause && e.Code == t.Code && e.Remote == t.Remote
	}
	return target == net.ErrClosed && !e.Remote && (e.Cause == CauseClosed || e.Cause == CauseAborted)
}

var (
	// ErrSignalNotTaken is wrapped by the error of [Session.Signal] when the
	// session ended after the signal had reached the peer, but before the
	// peer's application took it.
	ErrSignalNotTaken = errors.New("session: signal delivered, not taken by the peer's application")
	// ErrSignalUnknown is wrapped by the error of [Session.Signal] when it
	// cannot be known whether the signal arrived.
	ErrSignalUnknown = errors.New("session: signal on its way, outcome unknown")
	// ErrSignalNotSent is wrapped by the error of [Session.Signal] when the
	// session ended before the signal could be sent.
	ErrSignalNotSent = errors.New("session: signal not sent")
	// ErrWithdrawn is wrapped by the error of [Incoming.Accept] and
	// [Incoming.Reject] when the peer has taken back its OPEN.
	ErrWithdrawn = errors.New("session: the peer took back its open")
	// ErrAnswered is returned by [Incoming.Accept] and [Incoming.Reject] when
	// the session has been accepted or rejected before.
	ErrAnswered = errors.New("session: already accepted or rejected")
)

// SignalError is returned by [Session.Signal] when the session ends, or ctx
// does, before the peer's application has taken the signal.
type SignalError struct {
	// Outcome is ErrSignalNotTaken, ErrSignalUnknown or ErrSignalNotSent.
	Outcome error
	// Cause is why waiting ended: the session's *Error, or the context's.
	Cause error
}

// Error names the outcome and the cause.
func (e *SignalError) Error() string { return e.Outcome.Error() + ": " + e.Cause.Error() }

// Unwrap returns the outcome and the cause.
func (e *SignalError) Unwrap() []error { return []error{e.Outcome, e.Cause} }

// MessageTooLargeError is returned for a message or signal above the limit
// that the peer set.
type MessageTooLargeError struct {
	// Kind is "message" or "signal".
	Kind string
	// Size and Max are in bytes.
	Size, Max int
}

// Error gives both figures.
func (e *MessageTooLargeError) Error() string {
	return fmt.Sprintf("session: %s of %d bytes is above the peer's limit of %d", e.Kind, e.Size, e.Max)
}

// InvalidCodeError is returned when an application closes or aborts with a
// code that belongs to the protocol (0x01 to 0xff).
type InvalidCodeError struct{ Code Code }

// Error names the codes that may be used.
func (e *InvalidCodeError) Error() string {
	return fmt.Sprintf("session: code %#x belongs to the protocol; use 0 or a code of at least %#x", uint64(e.Code), uint64(FirstApplicationCode))
}

// ReasonTooLongError is returned when a reason does not fit its frame.
type ReasonTooLongError struct{ Size int }

// Error gives the size and the limit.
func (e *ReasonTooLongError) Error() string {
	return fmt.Sprintf("session: reason of %d bytes is above the limit of %d", e.Size, MaxReason)
}
