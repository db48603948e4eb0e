package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// GOAWAY says how long a shutdown can take: until sessions have drained, were
// closed, and the link has lingered; or no longer than its context.
func TestGoAwayTellsTheDeadline(t *testing.T) {
	const linger = 2 * time.Second
	for name, c := range map[string]struct {
		close, drain, ctx, want time.Duration
	}{
		"by default":          {want: session.DefaultCloseTimeout + linger},
		"no close timeout":    {close: -1, want: session.DefaultCloseTimeout + linger},
		"a close timeout":     {close: time.Millisecond, want: time.Millisecond + linger},
		"with drain":          {close: 7 * time.Second, drain: 3 * time.Second, want: 10*time.Second + linger},
		"the context's":       {close: 7 * time.Second, drain: 3 * time.Second, ctx: 4 * time.Second, want: 4 * time.Second},
		"a context with time": {close: 7 * time.Second, ctx: time.Hour, want: 7*time.Second + linger},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				b, p := rawPair(t, n, quicpeer.Config{Session: session.Options{CloseTimeout: c.close}})
				ctx, cancel := context.WithCancel(t.Context())
				if c.ctx > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), c.ctx)
				}
				defer cancel()
				ended := make(chan error, 1)
				go func() {
					_, err := b.Shutdown(ctx, quicpeer.ShutdownOptions{Code: 0x155, Reason: "maintenance", Drain: c.drain})
					ended <- err
				}()
				want := session.GoAway{Code: 0x155, Reason: "maintenance", Deadline: c.want}
				require.Equal(t, want, p.wantLinkFrame("the peer is told", session.TypeGoAway))
				_ = p.conn.CloseWithError(0, "done")
				require.NoError(t, <-ended)
			})
		})
	}
}

// Sessions have the drain time together, not each, and no longer than the
// context.
func TestShutdownDrainsForSoLong(t *testing.T) {
	for name, c := range map[string]struct{ drain, ctx, want time.Duration }{
		"drain":   {3 * time.Second, time.Hour, 3 * time.Second},
		"context": {time.Hour, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				a.open(b)
				a.open(b)
				ctx, cancel := context.WithTimeout(t.Context(), c.ctx)
				defer cancel()
				began := time.Now()
				report, err := b.Shutdown(ctx, quicpeer.ShutdownOptions{Drain: c.drain})
				require.NoError(t, err)
				require.Equal(t, c.want, time.Since(began).Truncate(time.Second))
				require.Len(t, report.Sessions, 2)
				require.Equal(t, c.ctx < c.drain, report.Err() != nil, "%v", report.Err())
			})
		})
	}
}

// An application may still accept what it was given before a shutdown, and has
// a session then that is closed, and reported, as any other.
func TestShutdownClosesWhatIsAcceptedMeanwhile(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s := p.open(session.Open{Protocol: simProto})
		in := b.incoming()
		ended := make(chan quicpeer.ShutdownReport, 1)
		go func() {
			report, err := b.Shutdown(t.Context(), quicpeer.ShutdownOptions{Code: 0x155, Reason: "maintenance", Drain: 5 * time.Second})
			require.NoError(t, err)
			ended <- report
		}()
		n.pass(time.Second)
		own, err := in.Accept(nil)
		require.NoError(t, err)
		s.want("accepted", session.Accept{})
		s.want("closed with the others", session.Close{Code: 0x155, Reason: "maintenance"})
		s.write(session.CloseAck{})
		require.NoError(t, s.Close())
		n.arrive()
		_ = p.conn.CloseWithError(0, "done")
		report := <-ended
		require.NoError(t, report.Err())
		require.Len(t, report.Sessions, 1)
		require.Same(t, own, report.Sessions[0].Session)
	})
}

// A link without sessions ends with its peer's answer to GOAWAY, or else with the
// shutdown's context, if that comes before the linger time.
func TestShutdownOfALinkWithoutSessions(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 50 * time.Millisecond})
		sa, sb := a.open(b)
		require.NoError(t, sa.Close(t.Context()))
		wantOver(t, "closed", sb, time.Second)
		n.pass(5 * time.Second)
		began := time.Now()
		require.NoError(t, b.Close(t.Context()))
		require.Equal(t, 100*time.Millisecond, time.Since(began), "there and back")

		b = n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		n.raw(t, "10.0.0.4:1000").dial(b)
		b.wantLinks("the raw peer's", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		began = time.Now()
		require.NoError(t, b.Close(ctx), "no session was left unconfirmed")
		require.Equal(t, 500*time.Millisecond, time.Since(began))
	})
}

// A peer that goes away has its link closed by the side that has the last word,
// but not before what that wrote last, a DONE, may have been read.
func TestGoAwayLastReceiverCloses(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s, own := p.openAccepted(b)
		p.writeLink(session.GoAway{})
		go func() { _ = own.Close(t.Context()) }()
		s.want("closed", session.Close{})
		s.write(session.CloseAck{})
		require.NoError(t, s.Close())
		s.want("the last word", session.Done{})
		s.wantFIN("nothing follows")
		n.pass(50 * time.Millisecond)
		p.wantLive("DONE may not have been read yet")
		began := time.Now()
		code, reason := p.wantClosed("time enough")
		require.Equal(t, session.CodeNormal, code)
		require.Equal(t, "done", reason)
		require.Less(t, time.Since(began), time.Second)
	})
}

// A session that no application was given is rejected as going away: the peer
// may open it elsewhere. One that was given to it and has no answer yet may have
// been acted on.
func TestShutdownRejectsWhatWaits(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		given := p.open(session.Open{Protocol: simProto})
		b.incoming()
		waits := p.open(session.Open{Protocol: simProto})
		n.arrive()
		ended := make(chan error, 1)
		go func() { ended <- b.Close(t.Context()) }()
		const reason = "the endpoint is shutting down"
		waits.want("nobody has it", session.Reject{Code: session.CodeGoingAway, Reason: reason})
		given.want("somebody has it", session.Reject{Code: session.CodeInternal, Reason: reason})
		_ = p.conn.CloseWithError(0, "done")
		require.NoError(t, <-ended)
	})
}

// A dial does not wait until other sessions have drained to be told.
func TestShutdownEndsHandshakesAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		a.open(b)
		dialed := make(chan error, 1)
		go func() {
			_, err := a.dialContext(t.Context(), netUDP("10.0.0.3:1000"), quicpeer.DialOptions{})
			dialed <- err
		}()
		n.pass(time.Second)
		began := time.Now()
		go func() { _, _ = a.Shutdown(t.Context(), quicpeer.ShutdownOptions{Drain: 5 * time.Second}) }()
		require.ErrorIs(t, <-dialed, quicpeer.ErrEndpointClosed)
		require.Zero(t, time.Since(began))
	})
}

// GOAWAY names the first session of the peer's that is not acted on any more: on
// a link that it dialed, and on one that was dialed to it.
func TestGoAwayNamesTheFirstRefused(t *testing.T) {
	for name, c := range map[string]struct {
		sessions int
		dialed   bool // by the one that ends
		first    uint64
	}{
		"none yet":               {0, false, 0},
		"after two":              {2, false, 4},
		"none yet, dialed to it": {0, true, 1},
		"after two, the same":    {2, true, 5},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				h := n.raw(t, "10.0.0.1:1000")
				var p *rawPeer
				if c.dialed {
					h.listen(nil)
					go func() { _, _ = b.dialContext(t.Context(), h.addr, quicpeer.DialOptions{}) }()
					p = h.accept()
				} else {
					p = h.dial(b)
				}
				for range c.sessions {
					p.openAccepted(b)
				}
				n.arrive()
				go b.stop()
				g, _ := p.wantLinkFrame("the peer is told", session.TypeGoAway).(session.GoAway)
				require.Equal(t, c.first, g.FirstRefused)
			})
		})
	}
}
