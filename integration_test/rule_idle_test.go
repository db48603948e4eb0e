package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

func TestRule10LinkThatNeverHadASession(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		began := time.Now()
		_, p := rawPair(t, n, quicpeer.Config{})
		code, _ := p.wantClosed("idle from the beginning")
		require.Equal(t, session.CodeLinkIdle, code)
		require.InDelta(t, 20, time.Since(began).Seconds(), 0.1)
	})
}

// rawFull is a raw peer that allows no session at all.
func rawFull(t *testing.T, n *network, dialer *peer) *rawHost {
	t.Helper()
	h := n.raw(t, "10.0.0.2:1000")
	config := rawConfig()
	config.MaxIncomingStreams = -1
	var err error
	h.listener, err = h.transport.Listen(h.identity.ServerTLS(quicpeer.ALPN, certs.Anyone(), false), config)
	require.NoError(t, err)
	n.between(dialer.addr, h.addr, faults{delay: 10 * time.Millisecond})
	return h
}

// A dial that waits for the peer to allow a session keeps the link; it is idle
// from when that is given up.
func TestRule10IdleAfterADialThatFailed(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := rawFull(t, n, a)
		dialed := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := a.dialContext(ctx, h.addr, quicpeer.DialOptions{})
			dialed <- err
		}()
		p := h.accept()
		require.ErrorIs(t, <-dialed, context.DeadlineExceeded)
		p.wantLive("a dial that waits is as good as a session")
		a.wantLinks("the same", 1)
		began := time.Now()
		code, _ := p.wantClosed("idle")
		require.Equal(t, session.CodeLinkIdle, code)
		require.InDelta(t, 20, time.Since(began).Seconds(), 0.05)
	})
}

// A peer that goes away has its link closed as soon as no dial waits on it.
func TestRule10GoAwayEndsALinkWhereADialWaits(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := rawFull(t, n, a)
		ctx, cancel := context.WithCancel(t.Context())
		dialed := make(chan error, 1)
		go func() {
			_, err := a.dialContext(ctx, h.addr, quicpeer.DialOptions{})
			dialed <- err
		}()
		p := h.accept()
		n.arrive()
		began := time.Now()
		p.writeLink(session.GoAway{})
		code, reason := p.wantClosed("nothing is left on it")
		require.Equal(t, session.CodeNormal, code)
		require.Equal(t, "done", reason)
		require.Less(t, time.Since(began), 100*time.Millisecond)
		h.accept() // it is tried again, and waits there
		cancel()
		require.ErrorIs(t, <-dialed, context.Canceled)
	})
}

// A peer that rejects every open as going away, and never says so on the link, is
// tried three times, each time on a new link.
func TestRule10TriedThreeTimes(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.2:1000")
		h.listen(nil)
		dialed := make(chan error, 1)
		go func() {
			_, err := a.dialContext(t.Context(), h.addr, quicpeer.DialOptions{})
			dialed <- err
		}()
		for range 3 {
			s, _ := h.accept().accept()
			s.write(session.Reject{Code: session.CodeGoingAway})
			require.NoError(t, s.Close())
		}
		err := <-dialed
		require.ErrorIs(t, err, quicpeer.ErrNotActedOn)
		wantError(t, "and why", err, session.Error{Cause: session.CauseRejected, Code: session.CodeGoingAway, Remote: true})
		a.wantLinks("one for each", 3)
	})
}
