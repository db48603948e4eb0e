package integration_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

func TestWrongIDNamesBothIDs(t *testing.T) {
	ctx := within(t, 10*time.Second)
	a, b := startPeer(t, "127.0.0.1:0", nil), startPeer(t, "127.0.0.1:0", nil)
	other, err := certs.Generate()
	require.NoError(t, err)

	_, err = a.Dial(ctx, b.Addr().String(), &quicpeer.DialOptions{Protocol: chat, PeerID: other.ID()})
	var untrusted *certs.UntrustedError
	require.ErrorAs(t, err, &untrusted)
	require.Equal(t, b.ID(), untrusted.Peer)
	require.ErrorContains(t, err, b.ID().String(), "who came")
	require.ErrorContains(t, err, other.ID().String(), "who was expected")
	require.ErrorContains(t, err, b.Addr().String())

	// The right id is all it takes, even for an endpoint that trusts nobody.
	echo(b)
	stranger := startPeer(t, "127.0.0.1:0", &quicpeer.Config{})
	s, err := stranger.Dial(ctx, b.Addr().String(), &quicpeer.DialOptions{Protocol: chat, PeerID: b.ID()})
	require.NoError(t, err)
	id, known := s.RemoteID()
	require.True(t, known)
	require.Equal(t, b.ID(), id)
	_, err = stranger.Dial(ctx, a.Addr().String(), dialChat())
	require.ErrorContains(t, err, "no trust")
}

func TestPeerThatDoesNotTrustUs(t *testing.T) {
	ctx := within(t, 10*time.Second)
	a := startPeer(t, "127.0.0.1:0", nil)
	friend, err := certs.Generate()
	require.NoError(t, err)
	config := chatConfig()
	config.Trust = certs.IDs(friend.ID())
	b := startPeer(t, "127.0.0.1:0", config)

	for range 20 { // the refusal comes after our side of the handshake is complete: it must not be lost in a race
		_, err = a.Dial(ctx, b.Addr().String(), dialChat())
		wantErrorIs(t, err, quicpeer.ErrRefused)
		require.False(t, errors.Is(err, quicpeer.ErrOutcomeUnknown))
		require.ErrorContains(t, err, "add its id "+a.ID().String()+" to the peer's trust", "the remedy")
		require.ErrorContains(t, err, b.Addr().String())
	}
	require.Empty(t, b.Links())
	require.Empty(t, b.Sessions())

	// The remedy works, without a restart.
	b.SetTrust(certs.IDs(friend.ID(), a.ID()))
	dialed, accepted := dialOpen(ctx, t, a, b)
	go echoSession(accepted)
	exchange(ctx, t, dialed, "trusted now")
}

func TestRevocationClosesLiveLinks(t *testing.T) {
	ctx := within(t, 10*time.Second)
	hub := startPeer(t, "127.0.0.1:0", nil)
	good, bad := startPeer(t, "127.0.0.1:0", nil), startPeer(t, "127.0.0.1:0", nil)
	atGood, hubGood := dialOpen(ctx, t, good, hub)
	atBad, hubBad := dialOpen(ctx, t, bad, hub)
	hubDialed, badAccepted := dialOpen(ctx, t, hub, bad) // a link the other way round
	byID := &quicpeer.DialOptions{Protocol: chat, PeerID: bad.ID()}
	hubByID, err := hub.Dial(ctx, echoPeerAt(t, bad), byID)
	require.NoError(t, err)
	require.Len(t, hub.Links(), 3, "the dial by id took a link that there was")
	pinned := startPeer(t, "127.0.0.1:0", nil)
	hubPinned, err := hub.Dial(ctx, echoPeerAt(t, pinned), &quicpeer.DialOptions{Protocol: chat, PeerID: pinned.ID()})
	require.NoError(t, err)
	blocked := make(chan error, 1)
	go func() {
		_, err := hubBad.Receive(ctx)
		blocked <- err
	}()

	hub.SetTrust(certs.IDs(good.ID()))
	waitDone(ctx, t, atBad, hubBad, hubDialed, badAccepted, hubByID)
	here := &session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused}
	there := &session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused, Remote: true}
	for _, s := range []*quicpeer.Session{hubBad, hubDialed, hubByID} {
		wantErrorIs(t, s.Err(), here)
	}
	for _, s := range []*quicpeer.Session{atBad, badAccepted} {
		wantErrorIs(t, s.Err(), there)
	}
	require.Same(t, sessionError(t, <-blocked), sessionError(t, hubBad.Err()))
	until(ctx, t, "its links are gone", func() bool { return len(hub.Links()) == 2 })
	for _, l := range hub.Links() {
		require.NotEqual(t, bad.ID(), l.RemoteID)
	}

	// The others live: the trusted one, and the one that was dialed by its id.
	go echoSession(hubGood)
	exchange(ctx, t, atGood, "still here")
	exchange(ctx, t, hubPinned, "here too")
	// The revoked one cannot come back.
	_, err = bad.Dial(ctx, hub.Addr().String(), dialChat())
	wantErrorIs(t, err, quicpeer.ErrRefused)
	_, err = hub.Dial(ctx, bad.Addr().String(), dialChat())
	var untrusted *certs.UntrustedError
	require.ErrorAs(t, err, &untrusted)
}

// echoPeerAt has e serve chat by echoing, and returns its address.
func echoPeerAt(t testing.TB, e *quicpeer.Endpoint) string {
	t.Helper()
	echo(e)
	return e.Addr().String()
}

func TestAnonymousPeerOnlyWhereAllowed(t *testing.T) {
	ctx := within(t, 10*time.Second)
	config := chatConfig()
	closed := startPeer(t, "127.0.0.1:0", config)
	config.AllowAnonymous = true
	open := startPeer(t, "127.0.0.1:0", config)
	echo(open)

	// A stack that presents no certificate, and speaks the protocol by hand.
	refused, err := dialBare(ctx, t, closed.Addr().String(), quicpeer.ALPN, true)
	if err == nil { // our handshake was complete before theirs
		_, err = refused.AcceptUniStream(ctx)
	}
	require.ErrorContains(t, err, "certificate")
	require.Empty(t, closed.Links())

	conn, err := dialBare(ctx, t, open.Addr().String(), quicpeer.ALPN, true)
	require.NoError(t, err)
	answer, err := bareOpen(ctx, conn, chat)
	require.NoError(t, err)
	require.IsType(t, session.Accept{}, answer)
	require.Len(t, open.Links(), 1)
	link := open.Links()[0]
	require.True(t, link.Anonymous)
	require.True(t, link.RemoteID.IsZero())
	require.Len(t, open.Sessions(), 1)
	_, known := open.Sessions()[0].RemoteID()
	require.False(t, known)

	// Trust is not asked about it, so new trust does not end it.
	open.SetTrust(certs.IDs())
	answer, err = bareOpen(ctx, conn, chat)
	require.NoError(t, err)
	require.IsType(t, session.Accept{}, answer)
	// But it gets no further than where the application lets it.
	answer, err = bareOpen(ctx, conn, "something else")
	require.NoError(t, err)
	require.Equal(t, session.CodeRefused, answer.(session.Reject).Code)
}

// bareRead reads the next frame of a stream, until ctx ends.
func bareRead(ctx context.Context, r interface {
	io.Reader
	SetReadDeadline(time.Time) error
}) (session.Frame, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil, errors.New("no deadline")
	}
	if err := r.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	return session.NewFrameReader(r, session.Limits{}).NextFrame()
}
