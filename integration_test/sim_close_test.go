package integration_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// Of a thousand closes, half of them crossed, on paths that lose every fifth
// packet, each is confirmed, with code and reason on both sides, and both
// sides count the same.
func TestThousandClosesUnderLoss(t *testing.T) {
	const links, perLink = 20, 50
	var confirmed atomic.Int32
	t.Cleanup(func() {
		if !t.Failed() {
			require.EqualValues(t, 1000, confirmed.Load(), "closes confirmed and counted")
		}
	})
	for i := range links {
		t.Run(fmt.Sprint("link", i), func(t *testing.T) {
			t.Parallel()
			bubble(t, uint64(i), func(t *testing.T, n *network) { closesUnderLoss(t, n, perLink, &confirmed) })
		})
	}
}

func closesUnderLoss(t *testing.T, n *network, sessions int, confirmed *atomic.Int32) {
	a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
	b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
	n.between(a.addr, b.addr, faults{loss: 0.2, delay: 50 * time.Millisecond})
	var all sync.WaitGroup
	for i := range sessions {
		sa, sb := a.open(b)
		all.Go(func() {
			closeOne(t, sa, sb, i)
			confirmed.Add(1)
		})
	}
	all.Wait()
	require.Positive(t, n.packetsLost())
}

// closeOne sends messages both ways and closes a session, from both sides if
// i is odd.
func closeOne(t *testing.T, sa, sb *quicpeer.Session, i int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for j := range 10 {
		require.NoError(t, sa.Send(ctx, fmt.Append(nil, "to b ", j)))
		require.NoError(t, sb.Send(ctx, fmt.Append(nil, "to a ", j)))
	}
	code, reason := session.FirstApplicationCode+session.Code(i), fmt.Sprint("a has done ", i)
	codeB, reasonB := code+1000, fmt.Sprint("b has done ", i)
	crossed := i%2 == 1
	var closes sync.WaitGroup
	closes.Go(func() {
		require.NoError(t, sa.CloseWithError(ctx, code, reason), "session %d", i)
	})
	if crossed {
		closes.Go(func() {
			require.NoError(t, sb.CloseWithError(ctx, codeB, reasonB), "session %d", i)
		})
	}
	closes.Wait()
	wantOver(t, "closed", sa, time.Minute)
	wantOver(t, "closed", sb, time.Minute)
	wantEnd(t, "the closer's own cause", sa, session.Error{Cause: session.CauseClosed, Code: code, Reason: reason})
	if crossed {
		wantEnd(t, "the closer's own cause", sb, session.Error{Cause: session.CauseClosed, Code: codeB, Reason: reasonB})
	} else {
		wantEnd(t, "the peer's cause", sb, session.Error{Cause: session.CauseClosed, Code: code, Reason: reason, Remote: true})
	}
	wantSameCounts(t, sa, sb)
}

// wantSameCounts checks that two ends of a session that is over count the
// same.
func wantSameCounts(t *testing.T, sa, sb *quicpeer.Session) {
	t.Helper()
	a, b := sa.Stats(), sb.Stats()
	require.True(t, a.Complete, "totals of %v", sa.Err())
	require.True(t, b.Complete, "totals of %v", sb.Err())
	require.Equal(t, a.Local.Sent, b.Remote.Sent, "sent to b")
	require.Equal(t, b.Local.Sent, a.Remote.Sent, "sent to a")
	require.Equal(t, b.Local.Received, a.Remote.Received, "received by b")
	require.Equal(t, a.Local.Received, b.Remote.Received, "received by a")
	require.Equal(t, a.Local.Sent-b.Local.Received, a.Lost, "lost on the way to b, for a")
	require.Equal(t, a.Lost, b.LostIncoming, "lost on the way to b, for b")
	require.Equal(t, b.Local.Sent-a.Local.Received, b.Lost, "lost on the way to a, for b")
	require.Equal(t, b.Lost, a.LostIncoming, "lost on the way to a, for a")
}

// Both sides close at the same time: each is confirmed, and each side's cause
// is its own.
func TestCrossedCloses(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 50 * time.Millisecond})
		sa, sb := a.open(b)
		require.NoError(t, sa.Send(t.Context(), []byte("to b")))
		require.NoError(t, sb.Send(t.Context(), []byte("to a")))
		began := time.Now()
		results := make(chan error, 2)
		go func() { results <- sa.CloseWithError(t.Context(), 0x1a1, "a") }()
		go func() { results <- sb.CloseWithError(t.Context(), 0x1b1, "b") }()
		require.NoError(t, <-results)
		require.NoError(t, <-results)
		require.Equal(t, 100*time.Millisecond, time.Since(began), "one round trip: a crossing CLOSE is not the acknowledgement")
		wantOver(t, "closed", sa, time.Second)
		wantOver(t, "closed", sb, time.Second)
		wantEnd(t, "a's own", sa, session.Error{Cause: session.CauseClosed, Code: 0x1a1, Reason: "a"})
		wantEnd(t, "b's own", sb, session.Error{Cause: session.CauseClosed, Code: 0x1b1, Reason: "b"})
		for _, s := range []*quicpeer.Session{sa, sb} {
			messages, _ := drain(t, s)
			require.Len(t, messages, 1, "what was sent before arrives")
		}
		wantSameCounts(t, sa, sb)
	})
}

// The CONNECTION_CLOSE at the end of a shutdown is lost, in either direction:
// every session was confirmed before.
func TestLostConnectionCloseCostsNothing(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 50 * time.Millisecond})
		sa, sb := a.open(b)
		began := time.Now()
		time.AfterFunc(120*time.Millisecond, func() {
			// CLOSE, CLOSE_ACK and DONE are on their way or there; what is left
			// is a's acknowledgement of DONE, and its CONNECTION_CLOSE.
			n.cut(a.addr, b.addr)
		})
		require.NoError(t, b.Close(t.Context()))
		require.Less(t, time.Since(began), 2500*time.Millisecond, "no longer than the linger")
		require.Greater(t, time.Since(began), 2*time.Second, "b has heard nothing from a")
		wantOver(t, "closed", sa, 0)
		wantEnd(t, "confirmed", sb, session.Error{Cause: session.CauseClosed})
		wantEnd(t, "told", sa, session.Error{Cause: session.CauseClosed, Remote: true})
		wantSameCounts(t, sa, sb)
		a.wantLinks("a has closed the link", 0)
	})
}

// A link is closed with CONNECTION_CLOSE because its peer is not trusted any
// more, and that is lost: the peer learns the end from its heartbeats.
func TestLostConnectionCloseIsNoticed(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 50 * time.Millisecond})
		sa, sb := a.open(b)
		n.cut(b.addr, a.addr)
		b.SetTrust(nil)
		wantOver(t, "closed with the link", sb, 0)
		wantEnd(t, "by this side", sb, session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused})
		n.pass(time.Second)
		require.NoError(t, sa.Err(), "nothing has arrived at a")
		n.mend(b.addr, a.addr)
		require.Less(t, wantOver(t, "the link is gone", sa, time.Minute), 6*time.Second, "the next heartbeat finds nobody")
	})
}

// CLOSE_ACK is behind a lost packet, and its sender shuts down in that moment:
// the acknowledgement gets through all the same.
func TestConnectionCloseBehindCloseAck(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, seed, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				path := faults{delay: 20 * time.Millisecond, jitter: 30 * time.Millisecond}
				n.between(a.addr, b.addr, path)
				sa, sb := a.open(b)
				path.loss = 0.2
				n.between(a.addr, b.addr, path)
				ended := make(chan error, 1)
				go func() {
					_, _ = sb.WaitChange(t.Context(), sb.Snapshot())
					n.cut(b.addr, a.addr)
					time.AfterFunc(10*time.Millisecond, func() { n.mend(b.addr, a.addr) })
					ended <- b.Close(t.Context())
				}()
				synctest.Wait()
				require.NoError(t, sa.CloseWithError(t.Context(), 0x123, "bye"))
				wantOver(t, "closed", sa, time.Minute)
				wantOver(t, "closed", sb, time.Minute)
				wantEnd(t, "b was told", sb, session.Error{Cause: session.CauseClosed, Code: 0x123, Reason: "bye", Remote: true})
				require.True(t, sa.Stats().Complete, "CLOSE_ACK has the totals")
				if sb.Stats().Complete { // not if DONE is lost as well, which nobody waits for
					wantSameCounts(t, sa, sb)
				}
				require.NoError(t, <-ended, "the session had ended in order")
			})
		})
	}
}

// The same for REJECT.
func TestConnectionCloseBehindReject(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, seed, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				path := faults{delay: 20 * time.Millisecond, jitter: 30 * time.Millisecond}
				n.between(a.addr, b.addr, path)
				a.open(b)
				path.loss = 0.2
				n.between(a.addr, b.addr, path)
				ended := make(chan error, 1)
				go func() {
					in := b.incoming()
					n.cut(b.addr, a.addr)
					time.AfterFunc(10*time.Millisecond, func() { n.mend(b.addr, a.addr) })
					if err := in.Reject(0x123, "full", 3*time.Second); err != nil {
						ended <- err
						return
					}
					ended <- b.Close(t.Context())
				}()
				_, err := a.dial(b, quicpeer.DialOptions{})
				e := wantError(t, "the rejection", err, session.Error{Cause: session.CauseRejected, Code: 0x123, Reason: "full", Remote: true})
				require.Equal(t, 3*time.Second, e.RetryAfter)
				require.NoError(t, <-ended, "nothing was open but what a confirmed")
			})
		})
	}
}

// An endpoint that shuts down sends no CONNECTION_CLOSE while its peer may
// still have something to read, and none at all if the peer closes.
func TestShutdownWaitsForThePeer(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		p := n.raw(t, "10.0.0.1:1000").dial(b)
		s, _ := p.openAccepted(b)
		ended := make(chan error, 1)
		go func() { ended <- b.Close(t.Context()) }()
		p.wantLinkFrame("the peer is told", session.TypeGoAway)
		s.want("the session is closed", session.Close{})
		n.pass(3 * time.Second)
		p.wantLive("CLOSE is not acknowledged yet")
		s.write(session.CloseAck{})
		s.want("the totals", session.Done{})
		s.wantFIN("nothing follows DONE")
		n.pass(time.Second)
		p.wantLive("the side that got GOAWAY has the last word")
		require.NoError(t, s.Close())
		_ = p.conn.CloseWithError(0, "done")
		require.NoError(t, <-ended)

		b = n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		p = n.raw(t, "10.0.0.4:1000").dial(b)
		b.wantLinks("a link without sessions", 1)
		began := time.Now()
		require.NoError(t, b.Close(t.Context()))
		require.Equal(t, 2*time.Second, time.Since(began), "the linger: this peer does not close")
		code, _ := p.wantClosed("after the linger")
		require.Equal(t, session.CodeNormal, code)
	})
}
