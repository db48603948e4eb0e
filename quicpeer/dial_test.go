package quicpeer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// What Dial says of an open that failed: the outcome is unknown exactly when the
// link ended without a word that the peer has not acted on it.
func TestDialOutcome(t *testing.T) {
	for _, c := range []struct {
		err  session.Error
		want error // nil: it is passed on, and neither of the two below
	}{
		{session.Error{Cause: session.CauseClosed}, ErrEndpointClosed},
		{session.Error{Cause: session.CauseLinkLost}, ErrOutcomeUnknown},
		{session.Error{Cause: session.CausePeerRestarted, Remote: true}, ErrOutcomeUnknown},
		{session.Error{Cause: session.CauseSuperseded, Code: session.CodeSuperseded}, ErrOutcomeUnknown},
		{session.Error{Cause: session.CauseLinkClosed, Remote: true}, ErrOutcomeUnknown},
		{session.Error{Cause: session.CauseLinkClosed, Code: session.CodeInternal, Remote: true}, ErrOutcomeUnknown},
		{session.Error{Cause: session.CauseLinkClosed, Code: session.CodeGoingAway}, ErrOutcomeUnknown},
		{session.Error{Cause: session.CauseLinkClosed, Code: session.CodeGoingAway, Remote: true}, nil},
		{session.Error{Cause: session.CauseLinkClosed, Code: session.CodeUnsupported, Remote: true}, nil},
		{session.Error{Cause: session.CauseRejected, Code: session.CodeGoingAway, Remote: true}, nil},
		{session.Error{Cause: session.CauseAborted, Code: session.CodeUnsupported, Remote: true}, nil},
		{session.Error{Cause: session.CauseViolation, Code: session.CodeViolation}, nil},
		{session.Error{Cause: session.CauseLinkLost, Err: &quic.TransportError{Remote: true, ErrorCode: alertFirst + alertAccessDenied}}, ErrRefused},
	} {
		err := dialOutcome(&c.err, certs.PeerID{})
		for _, kind := range []error{ErrEndpointClosed, ErrOutcomeUnknown, ErrRefused} {
			require.Equal(t, kind == c.want, errors.Is(err, kind), "%v: got %v", &c.err, err)
		}
		if c.want != ErrRefused {
			require.True(t, errors.Is(err, &c.err), "%v: got %v", &c.err, err)
		}
	}
	other := errors.New("no session's")
	require.Equal(t, other, dialOutcome(other, certs.PeerID{}))
}

// An open is tried again only if the peer surely did not act on it.
func TestNotActedOn(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("of a link: %w", errLinkEnding), true},
		{context.DeadlineExceeded, false},
		{&session.Error{Cause: session.CauseRejected, Code: session.CodeBusy, Remote: true}, false},
		{&session.Error{Cause: session.CauseAborted, Code: session.CodeGoingAway, Remote: true}, false},
		{&session.Error{Cause: session.CauseAborted, Code: session.CodeLinkIdle, Remote: true}, false},
		{&session.Error{Cause: session.CauseLinkClosed, Code: session.CodeGoingAway, Remote: true}, false},
		{&session.Error{Cause: session.CauseLinkClosed, Remote: true}, false},
		{&session.Error{Cause: session.CauseLinkClosed, Code: session.CodeLinkIdle, Remote: true}, true},
	} {
		l := new(link)
		require.Equal(t, c.want, l.notActedOn(4, c.err), "%v", c.err)
		require.False(t, l.rejecting, "%v", c.err)
	}
	l := new(link)
	require.True(t, l.notActedOn(4, &session.Error{Cause: session.CauseRejected, Code: session.CodeGoingAway, Remote: true}))
	require.True(t, l.rejecting, "its GOAWAY is still on its way: the next attempt must not use it")

	l = &link{away: &session.GoAway{FirstRefused: 4}}
	for id, want := range map[uint64]bool{2: false, 4: true, 6: true} {
		require.Equal(t, want, l.notActedOn(id, &session.Error{Cause: session.CauseLinkLost}), "session %d", id)
	}
}
