package integration_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// limited starts an endpoint with limits.
func limited(t testing.TB, l quicpeer.Limits) *quicpeer.Endpoint {
	t.Helper()
	c := chatConfig()
	c.Limits = l
	return startPeer(t, "127.0.0.1:0", c)
}

func TestLimitOfLinks(t *testing.T) {
	ctx := within(t, 10*time.Second)
	hub := limited(t, quicpeer.Limits{Links: 2})
	first, _ := dialOpen(ctx, t, hub, startPeer(t, "127.0.0.1:0", nil))
	second := startPeer(t, "127.0.0.1:0", nil)
	dialOpen(ctx, t, second, hub)

	_, err := hub.Dial(ctx, startPeer(t, "127.0.0.1:0", nil).Addr().String(), dialChat())
	wantErrorIs(t, err, quicpeer.ErrLimit)
	third := startPeer(t, "127.0.0.1:0", nil)
	_, err = third.Dial(ctx, hub.Addr().String(), dialChat())
	require.Error(t, err, "refused in the handshake")
	require.NoError(t, ctx.Err(), "at once, not by a timeout")
	require.NotZero(t, hub.Stats().RefusedConnections)
	require.Len(t, hub.Links(), 2)
	require.NoError(t, first.Err(), "those that were there stay")

	// A link that has ended makes room.
	require.NoError(t, second.Close(ctx))
	until(ctx, t, "the link is gone", func() bool { return len(hub.Links()) == 1 })
	echo(hub)
	until(ctx, t, "its place is free", func() bool {
		_, err := third.Dial(ctx, hub.Addr().String(), dialChat())
		return err == nil
	})
}

func TestLimitOfLinksPerAddress(t *testing.T) {
	ctx := within(t, 10*time.Second)
	hub := limited(t, quicpeer.Limits{LinksPerAddress: 2})
	for range 2 {
		dialOpen(ctx, t, startPeer(t, "127.0.0.1:0", nil), hub)
	}
	_, err := startPeer(t, "127.0.0.1:0", nil).Dial(ctx, hub.Addr().String(), dialChat())
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "at once, not by a timeout")
	require.NotZero(t, hub.Stats().RefusedConnections)

	// Links that this side dials do not count.
	for range 3 {
		dialOpen(ctx, t, hub, startPeer(t, "127.0.0.1:0", nil))
	}
	require.Len(t, hub.Links(), 5)
}

func TestLimitOfSessionsPerLink(t *testing.T) {
	ctx := within(t, 10*time.Second)
	server := limited(t, quicpeer.Limits{SessionsPerLink: 2})
	echo(server)
	client := startPeer(t, "127.0.0.1:0", nil)
	address := server.Addr().String()
	first, err := client.Dial(ctx, address, dialChat())
	require.NoError(t, err)
	second, err := client.Dial(ctx, address, dialChat())
	require.NoError(t, err)

	noWait := &quicpeer.DialOptions{Protocol: chat, NoWait: true}
	_, err = client.Dial(ctx, address, noWait)
	wantErrorIs(t, err, quicpeer.ErrLimit)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = client.Dial(short, address, dialChat())
	wantErrorIs(t, err, context.DeadlineExceeded)

	// A dial that waits goes on when a session ends.
	dialed := make(chan error, 1)
	go func() {
		s, err := client.Dial(ctx, address, dialChat())
		if err == nil {
			err = tryExchange(ctx, s, "there is room again")
		}
		dialed <- err
	}()
	require.NoError(t, first.Close(ctx))
	require.NoError(t, <-dialed)
	exchange(ctx, t, second, "and this one was not touched")
	require.Len(t, client.Links(), 1)
	require.Len(t, server.Sessions(), 2)

	// The limit is the acceptor's: the other way there is no such one.
	_, err = client.Dial(ctx, address, noWait)
	wantErrorIs(t, err, quicpeer.ErrLimit)
	echo(client)
	for range 4 {
		_, err := server.Dial(ctx, client.Addr().String(), &quicpeer.DialOptions{Protocol: chat, PeerID: client.ID(), NoWait: true})
		require.NoError(t, err)
	}
	require.Len(t, client.Links(), 1, "on the same link")
}

// Whoever finds the backlog full is told so at once, on a link that lives:
// nobody is left waiting, and no connection dies after it seemed open.
func TestAcceptBacklogNeverSilent(t *testing.T) {
	const backlog, dialers, each = 10, 10, 10
	ctx := within(t, 20*time.Second)
	server := limited(t, quicpeer.Limits{Backlog: backlog})
	type result struct {
		s   *quicpeer.Session
		err error
	}
	results := make(chan result, dialers*each)
	for range dialers {
		client := startPeer(t, "127.0.0.1:0", nil)
		for range each {
			go func() {
				s, err := client.Dial(ctx, server.Addr().String(), dialChat())
				results <- result{s, err}
			}()
		}
	}
	for range dialers*each - backlog {
		r := <-results
		var rejected *quicpeer.Error
		require.True(t, errors.As(r.err, &rejected), "%v", r.err)
		require.Equal(t, session.CauseRejected, rejected.Cause)
		require.Equal(t, session.CodeBusy, rejected.Code)
		require.True(t, rejected.Remote)
	}
	require.EqualValues(t, dialers*each-backlog, server.Stats().BusySessions)
	require.Len(t, server.Links(), dialers, "every link lives")
	require.Empty(t, results, "the others wait to be accepted")

	for range backlog {
		in, err := server.Accept(ctx)
		require.NoError(t, err)
		s, err := in.Accept(nil)
		require.NoError(t, err)
		go echoSession(s)
		r := <-results
		require.NoError(t, r.err)
		exchange(ctx, t, r.s, "accepted at last")
	}
	// There is room again.
	acceptNext := accepting(ctx, server)
	_, err := startPeer(t, "127.0.0.1:0", nil).Dial(ctx, server.Addr().String(), dialChat())
	require.NoError(t, err)
	_, err = acceptNext()
	require.NoError(t, err)
}
