package quicpeer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/session"
)

func TestSessionIDsFollowStreamIDs(t *testing.T) {
	for stream, session := range map[quic.StreamID]uint64{0: 0, 1: 1, 4: 2, 5: 3, 8: 4, 9: 5, 252: 126, 4001: 2001} {
		require.Equal(t, session, sessionID(stream), "stream %d", stream)
	}
}

func TestHeartbeatsWaitForAnySignOfLife(t *testing.T) {
	now := time.Now()
	var h heartbeats
	require.False(t, h.dead(now.Add(time.Hour)), "nothing was asked")
	h.sent(now.Add(5 * time.Second))
	h.sent(now.Add(10 * time.Second))
	require.False(t, h.dead(now.Add(19*time.Second)))
	require.True(t, h.dead(now.Add(20*time.Second)), "15 s after the first one unanswered")
	h.heard()
	require.False(t, h.dead(now.Add(time.Hour)))
}

// Timers fire late. A heartbeat that went out 2 ms late is waited for until
// 2 ms after the third one behind it, not until the fourth.
func TestLateHeartbeatIsNotWaitedForLonger(t *testing.T) {
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	var h heartbeats
	require.Equal(t, at(5*time.Second), h.wake(at(5*time.Second)), "nothing was asked")
	h.sent(at(5*time.Second + 2*time.Millisecond))
	require.Equal(t, at(15*time.Second), h.wake(at(15*time.Second)))
	require.False(t, h.dead(at(20*time.Second)))
	look := h.wake(at(25 * time.Second))
	require.Equal(t, at(20*time.Second+2*time.Millisecond), look)
	require.True(t, h.dead(look))
}

func TestPongAnswersItsPingAndAllBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pinger
		rtts := make(chan time.Duration, 3)
		for i := range 3 {
			go func() {
				rtt, err := p.ping(context.Background(), [8]byte{byte(i)}, func() {})
				require.NoError(t, err)
				rtts <- rtt
			}()
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		p.pong([8]byte{9})
		synctest.Wait()
		require.Empty(t, rtts, "a token that nobody asked with")
		p.pong([8]byte{1})
		synctest.Wait()
		require.Len(t, rtts, 2)
		p.pong([8]byte{2})
		synctest.Wait()
		require.Equal(t, []time.Duration{30 * time.Millisecond, 20 * time.Millisecond, 10 * time.Millisecond}, sorted(<-rtts, <-rtts, <-rtts))
	})
}

// sorted returns three durations, the longest first: the first two pings end
// at the same time, in any order.
func sorted(a, b, c time.Duration) []time.Duration {
	return []time.Duration{max(a, b), min(a, b), c}
}

func TestPingEndsWithItsContextAndWithTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pinger
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.ping(ctx, [8]byte{1}, func() {})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, p.waiting)

		gone := errors.New("gone")
		go func() {
			time.Sleep(time.Second)
			p.fail(gone)
		}()
		_, err = p.ping(t.Context(), [8]byte{2}, func() {})
		require.ErrorIs(t, err, gone)
		_, err = p.ping(t.Context(), [8]byte{3}, func() {})
		require.ErrorIs(t, err, gone)
	})
}

// What was there when the context ended is returned, be it a time or an error.
func TestPingsResultBeatsItsContext(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	gone := errors.New("gone")
	for range 20 { // either may be seen first
		var p pinger
		_, err := p.ping(over, [8]byte{1}, func() { p.pong([8]byte{1}) })
		require.NoError(t, err)
		_, err = p.ping(over, [8]byte{2}, func() { p.fail(gone) })
		require.Equal(t, gone, err)
		p.pong([8]byte{2}) // too late, for nobody
	}
}

func TestPingThatIsGivenUpLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pinger
		var stop [3]context.CancelFunc
		ended := make(chan int, 3)
		for i := range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			stop[i] = cancel
			go func() {
				_, _ = p.ping(ctx, [8]byte{byte(i)}, func() {})
				ended <- i
			}()
			synctest.Wait()
		}
		for _, c := range []struct {
			stopped int
			left    []byte
		}{{1, []byte{0, 2}}, {0, []byte{2}}, {2, nil}} {
			stop[c.stopped]()
			require.Equal(t, c.stopped, <-ended)
			var left []byte
			for _, w := range p.waiting {
				left = append(left, w.token[0])
			}
			require.Equal(t, c.left, left)
		}
	})
}

func TestPingsUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pinger
		for i := range maxPings {
			go func() { _, _ = p.ping(t.Context(), [8]byte{byte(i)}, func() {}) }()
		}
		synctest.Wait()
		_, err := p.ping(t.Context(), [8]byte{255}, func() {})
		require.ErrorIs(t, err, errTooManyPings)
		p.fail(errors.New("over"))
	})
}

func TestBacklogIsBoundedAndInOrder(t *testing.T) {
	var b backlog
	b.init(2)
	first, second := new(Incoming), new(Incoming)
	require.True(t, b.put(first))
	require.True(t, b.put(second))
	require.False(t, b.put(new(Incoming)), "full")
	require.True(t, b.remove(first))
	require.False(t, b.remove(first), "no longer there")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, err := b.take(ctx)
	require.NoError(t, err, "what is there beats a cancelled context")
	require.Same(t, second, in)
	_, err = b.take(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, b.put(first))
	require.Equal(t, []*Incoming{first}, b.close())
	_, err = b.take(t.Context())
	require.ErrorIs(t, err, ErrEndpointClosed)
}

// deadStream is a control stream that the peer has torn.
type deadStream struct{}

func (deadStream) Read([]byte) (int, error)                     { return 0, io.ErrClosedPipe }
func (deadStream) TryWrite([]byte) error                        { return io.ErrClosedPipe }
func (deadStream) Write([]byte) (int, error)                    { return 0, io.ErrClosedPipe }
func (deadStream) CloseWrite()                                  {}
func (deadStream) Reset(session.Code)                           {}
func (deadStream) OnStopSending(func(session.Code)) func() bool { return func() bool { return true } }
func (deadStream) ReleaseCredit()                               {}

// STOP_SENDING can end a session before its link has entered it.
func TestSessionThatEndedBeforeItWasEnteredIsForgotten(t *testing.T) {
	l := &link{mux: datagram.NewMux(datagram.MuxConfig{}), sessions: make(map[uint64]*session.Runner)}
	r := session.Arrived(l, deadStream{}, 0, &session.Options{})
	r.LinkLost(session.Error{Cause: session.CauseAborted, Remote: true})
	l.run(0, r)
	l.gone.Wait()
	require.Empty(t, l.sessions, "it would keep the link from ending as idle")
	require.True(t, l.idle.Stop(), "the idle timer runs")
}

// Such a session's violation is counted once.
func TestViolationBeforeASessionWasEntered(t *testing.T) {
	e := listenChat(t, Config{})
	l, err := newLink(e, bareDial(t, e), nil, nil)
	require.NoError(t, err)
	r := session.Arrived(l, deadStream{}, 0, &session.Options{})
	r.Violation("of a datagram")
	l.run(0, r)
	l.gone.Wait()
	require.EqualValues(t, 1, e.Stats().Violations)
}

// A session that begins just when its link ends, ends with it.
func TestSessionOnALinkThatEnds(t *testing.T) {
	lost := session.Error{Cause: session.CauseLinkLost}
	for want, loss := range map[session.Error]*session.Error{
		lost: &lost,
		{Cause: session.CauseLinkClosed, Code: session.CodeGoingAway}: nil, // not known yet
	} {
		l := &link{mux: datagram.NewMux(datagram.MuxConfig{}), sessions: make(map[uint64]*session.Runner), closing: true, loss: loss}
		r := session.Arrived(l, deadStream{}, 0, &session.Options{})
		l.run(0, r)
		wantIs(t, r.Session().Err(), &want)
		require.Empty(t, l.sessions)
	}

	e := listenChat(t, Config{})
	conn := bareDial(t, e)
	until(t, "the link is up", func() bool { return len(e.Links()) == 1 })
	l := onlyLink(e)
	require.NoError(t, conn.CloseWithError(0, "over"))
	<-l.done
	require.True(t, l.closing, "what begins now ends at once")
}

// Each alone keeps new sessions off a link.
func TestLinkIsUsable(t *testing.T) {
	e := listenChat(t, Config{})
	for name, spoil := range map[string]func(*link){
		"closing":            func(l *link) { l.closing = true },
		"GOAWAY received":    func(l *link) { l.away = &session.GoAway{FirstRefused: 1000} },
		"GOAWAY sent":        func(l *link) { l.awaySent = true },
		"rejecting":          func(l *link) { l.rejecting = true },
		"connection is over": func(l *link) { _ = l.conn.CloseWithError(0, "") },
	} {
		l, err := newLink(e, bareDial(t, e), nil, nil)
		require.NoError(t, err)
		require.True(t, l.usable())
		spoil(l)
		require.False(t, l.usable(), name)
	}
}

// What trust is asked with when it changes.
func TestLinkKnowsWhoDialed(t *testing.T) {
	e := listenChat(t, Config{})
	for _, dialed := range []*target{nil, {address: "host:1"}} {
		l, err := newLink(e, bareDial(t, e), dialed, nil)
		require.NoError(t, err)
		require.Equal(t, dialed == nil, l.peer.Incoming)
		require.Equal(t, dialed != nil, l.peer.Name == "host:1")
		require.Equal(t, e.ID(), l.peer.ID)
	}
}

// A stream that was opened just before a GOAWAY is taken back.
func TestStreamThatCrossesGoAway(t *testing.T) {
	e := listenChat(t, Config{})
	conn := bareDial(t, e)
	until(t, "the link is up", func() bool { return len(e.Links()) == 1 })
	l := onlyLink(e)
	l.mu.Lock()
	l.awaySent = true
	l.mu.Unlock()
	_, _, err := l.openRunner(within(t, 5*time.Second), session.Open{Protocol: chat}, false)
	require.ErrorIs(t, err, errLinkEnding)
	str, err := conn.AcceptStream(within(t, 5*time.Second))
	require.NoError(t, err)
	_, err = str.Read(make([]byte, 1))
	var reset *quic.StreamError
	require.ErrorAs(t, err, &reset)
	require.EqualValues(t, session.CodeCancelled, reset.ErrorCode)
}

// The first session that a peer refuses can only come down.
func TestGoAwayComesDown(t *testing.T) {
	e := listenChat(t, Config{})
	l, err := newLink(e, bareDial(t, e), nil, nil)
	require.NoError(t, err)
	l.opening = 1 // else it would be closed
	require.False(t, l.refusedByGoAway(1000))
	for _, g := range []struct{ first, lowest uint64 }{{4, 4}, {8, 4}, {2, 2}} {
		l.goAwayRead(session.GoAway{FirstRefused: g.first})
		require.False(t, l.refusedByGoAway(g.lowest-1))
		require.True(t, l.refusedByGoAway(g.lowest))
	}
}

// A session that arrives on a link that is ending goes to nobody.
func TestOfferOnALinkThatEnds(t *testing.T) {
	e := listenChat(t, Config{})
	conn := bareDial(t, e)
	for name, l := range map[string]*link{"closing": {ep: e, closing: true}, "GOAWAY sent": {ep: e, awaySent: true}} {
		str, err := conn.OpenStream()
		require.NoError(t, err)
		_, err = str.Write(session.Open{Protocol: chat}.Append(nil))
		require.NoError(t, err)
		in, err := e.Accept(within(t, 5*time.Second))
		require.NoError(t, err)
		l.Offer(in)
		f, err := session.NewFrameReader(str, session.Limits{}).NextFrame()
		require.NoError(t, err)
		require.Equal(t, session.Reject{Code: session.CodeGoingAway, Reason: "the endpoint is shutting down"}, f, name)
		e.backlog.mu.Lock()
		require.Empty(t, e.backlog.waiting, name)
		e.backlog.mu.Unlock()
	}
}

func TestProbeTimeout(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ rtt, deviation, want time.Duration }{
		{100 * ms, 20 * ms, 100*ms + 4*20*ms + 25*ms},
		{100 * ms, 0, 100*ms + ms + 25*ms}, // at least the timers' granularity
	} {
		require.Equal(t, c.want, probeTimeout(quic.ConnectionStats{SmoothedRTT: c.rtt, MeanDeviation: c.deviation}))
	}
}

// Limits beyond what an int may hold are as good as none.
func TestPeerLimitsAreClipped(t *testing.T) {
	p := peerLimits(session.Settings{MaxMessage: 1 << 40, MaxSignal: 1 << 31, MaxSignals: 20})
	require.Equal(t, session.PeerLimits{MaxMessage: 1 << 30, MaxSignal: 1 << 30, MaxSignals: 20}, p)
}

// A logger may ask the endpoint anything.
func TestPeerMovedIsLoggedWithoutALock(t *testing.T) {
	var moved atomic.Bool
	var listening atomic.Pointer[Endpoint]
	e := listenChat(t, Config{Logger: slog.New(onLog{"peer moved", func() {
		moved.Store(len(listening.Load().Links()) == 1)
	}})})
	listening.Store(e)
	bareDial(t, e)
	until(t, "the link is up", func() bool { return len(e.Links()) == 1 })
	l := onlyLink(e)
	l.mu.Lock()
	l.remote = netip.AddrPort{}
	l.mu.Unlock()
	until(t, "the move is noticed", moved.Load)
}

// Dials that share a handshake may outlive the call that began it.
func TestDialDoesNotKeepItsOptions(t *testing.T) {
	e, peer := listenChat(t, Config{}), listenChat(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 {
		o := &DialOptions{Protocol: chat}
		_, err := e.Dial(ctx, peer.Addr().String(), o)
		require.ErrorIs(t, err, context.Canceled)
		o.PeerID = e.ID() // a race, if anybody still looks
	}
}

// A link that breaks the protocol in two places at once, or after it was closed,
// is no second violation.
func TestLinkIsOneViolation(t *testing.T) {
	e := listenChat(t, Config{})
	for _, end := range []func(*link){
		func(l *link) { l.violation("a second link stream") },
		func(l *link) { l.close(closed(session.CodeNormal, "done")) },
	} {
		l, err := newLink(e, bareDial(t, e), nil, nil)
		require.NoError(t, err)
		end(l)
		l.violation("SETTINGS again")
		require.EqualValues(t, 1, e.Stats().Violations)
	}
}
