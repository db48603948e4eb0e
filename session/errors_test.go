package session

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"session: closed by this side (normal)":                                        &Error{Cause: CauseClosed},
		"session: closed by the peer (application code 0x100): bye":                    &Error{Cause: CauseClosed, Code: 0x100, Reason: "bye", Remote: true},
		"session: rejected by the peer (busy)":                                         &Error{Cause: CauseRejected, Code: CodeBusy, Remote: true},
		"session: aborted by this side (normal)":                                       &Error{Cause: CauseAborted},
		"session: protocol violation: a second OPEN":                                   &Error{Cause: CauseViolation, Code: CodeViolation, Reason: "a second OPEN"},
		"session: timed out waiting for the peer":                                      &Error{Cause: CauseTimeout},
		"session: timed out waiting for the peer (application code 0x101)":             &Error{Cause: CauseTimeout, Code: 0x101},
		"session: link closed by the peer (link idle): no session":                     &Error{Cause: CauseLinkClosed, Code: CodeLinkIdle, Reason: "no session", Remote: true},
		"session: link lost: unexpected EOF":                                           &Error{Cause: CauseLinkLost, Err: io.ErrUnexpectedEOF},
		"session: peer restarted":                                                      &Error{Cause: CausePeerRestarted, Remote: true},
		"session: superseded":                                                          &Error{Cause: CauseSuperseded},
		"session: cause(99)":                                                           &Error{Cause: 99},
		"session: reason of 2000 bytes is above the limit of 1024":                     &ReasonTooLongError{Size: 2000},
		"session: code 0x9 belongs to the protocol; use 0 or a code of at least 0x100": &InvalidCodeError{Code: 9},
		"session: bad OPEN frame: why":                                                 &FrameError{Type: TypeOpen, Reason: "why"},
	} {
		require.EqualError(t, err, want)
	}
}

// A peer's text must not move a cursor, or fake a line, wherever the error is
// printed.
func TestErrorShowsNoControlCharacters(t *testing.T) {
	e := &Error{Cause: CauseClosed, Remote: true, Reason: "a\x1b[2J\r\nb\u202e\xff", Err: errors.New("c\x07\u009bd")}
	require.EqualError(t, e, "session: closed by the peer (normal): a\ufffd[2J\ufffd\ufffdb\ufffd\ufffd: c\ufffd\ufffdd")
	require.EqualError(t, &SignalError{ErrSignalUnknown, e}, ErrSignalUnknown.Error()+": "+e.Error())
	require.Equal(t, "a\x1b[2J\r\nb\u202e\xff", e.Reason, "as it came")
}

func TestErrorIs(t *testing.T) {
	e := &Error{Cause: CauseClosed, Code: 0x100, Reason: "bye", Remote: true, Confirmed: true, Err: io.ErrUnexpectedEOF}
	require.ErrorIs(t, e, &Error{Cause: CauseClosed, Code: 0x100, Remote: true}, "cause, code and side count")
	require.NotErrorIs(t, e, &Error{Cause: CauseClosed, Code: 0x100})
	require.NotErrorIs(t, e, &Error{Cause: CauseClosed, Code: 0x101, Remote: true})
	require.NotErrorIs(t, e, &Error{Cause: CauseAborted, Code: 0x100, Remote: true})
	require.ErrorIs(t, e, io.ErrUnexpectedEOF)
	for c := CauseClosed; c <= CauseSuperseded; c++ {
		local := c == CauseClosed || c == CauseAborted
		require.Equal(t, local, errors.Is(&Error{Cause: c}, net.ErrClosed), c.String())
		require.False(t, errors.Is(&Error{Cause: c, Remote: true}, net.ErrClosed), c.String())
	}
}

func TestStateNames(t *testing.T) {
	names := []string{"opening", "incoming", "open", "closing", "draining", "closed"}
	for i, name := range names {
		require.Equal(t, name, State(i+1).String())
	}
}
