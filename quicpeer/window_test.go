package quicpeer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A pipe plays a path for a window: credit comes every so often for datagrams
// that arrive at a rate.
type pipe struct {
	window
	now        time.Time
	end, taken uint64
	path       pathState
}

func (p *pipe) arrive(d time.Duration, datagrams, dropped uint64) uint64 {
	p.now = p.now.Add(d)
	p.end += datagrams
	p.taken += datagrams - dropped
	return p.credit(p.now, p.end, p.taken, p.path)
}

func newPipe(rtt time.Duration) *pipe {
	p := &pipe{now: time.Now(), path: pathState{minRTT: rtt, smoothedRTT: rtt}}
	p.open(ownWindow)
	return p
}

func TestWindowOfANearPeerStaysAsStated(t *testing.T) {
	p := newPipe(200 * time.Microsecond)
	for range 1000 {
		limit := p.arrive(time.Millisecond, 100, 0)
		require.EqualValues(t, p.end+ownWindow, limit)
	}
}

func TestWindowGrowsByWhatThePathHolds(t *testing.T) {
	p := newPipe(50 * time.Millisecond)
	var limit uint64
	for range 100 {
		limit = p.arrive(10*time.Millisecond, 100, 0) // 10,000 a second: the path holds 500
	}
	require.EqualValues(t, p.end+ownWindow+2*500, limit)
	for range 20 {
		limit = p.arrive(50*time.Millisecond, 50, 0) // 1,000 a second
	}
	require.EqualValues(t, p.end+ownWindow+2*50, limit, "the best of the last ten rounds")
}

func TestWindowIsCarefulOnceTheReceiverDrops(t *testing.T) {
	p := newPipe(50 * time.Millisecond)
	for range 50 {
		p.arrive(10*time.Millisecond, 100, 0)
	}
	p.path.lost = 10 // packets that the network lost are no reason
	for range 50 {
		p.arrive(10*time.Millisecond, 100, 0)
	}
	p.taken -= 10
	for range 50 {
		p.arrive(10*time.Millisecond, 100, 0)
	}
	require.EqualValues(t, 2, p.gain)
	p.taken -= 20 // missing, and not lost on the way
	var limit uint64
	for range 50 {
		limit = p.arrive(10*time.Millisecond, 100, 0)
	}
	require.EqualValues(t, 1, p.gain)
	require.EqualValues(t, p.end+ownWindow+500, limit)
}

func TestReorderingIsNoDrop(t *testing.T) {
	p := newPipe(50 * time.Millisecond)
	for n := range 200 {
		p.arrive(10*time.Millisecond, 100, 0)
		if n%2 == 0 {
			p.taken -= 30 // overtaken, and here with the next credit
		} else {
			p.taken += 30
		}
	}
	require.EqualValues(t, 2, p.gain)
}

// In slow start the congestion window is twice what was on its way a round trip
// ago: twice the rate as last known is less.
func TestWindowLetsTheCongestionWindowGrow(t *testing.T) {
	p := newPipe(200 * time.Millisecond)
	for room := uint64(32); room <= 4096; room *= 2 {
		p.path.room = room
		limit := p.arrive(200*time.Millisecond, room/2, 0)
		require.GreaterOrEqual(t, limit-p.end, ownWindow+room)
	}
	require.EqualValues(t, p.end+ownWindow+4096, p.limit(p.path))
	p.gain = 1
	require.EqualValues(t, p.end+ownWindow+2048, p.limit(p.path), "a receiver that drops is not helped by room on the way")
	p.path.minRTT = 200 * time.Microsecond
	require.EqualValues(t, p.end+ownWindow, p.limit(p.path), "nor is a near one")
}

// A round trip without credit, though acknowledgements come, one for every
// fifth datagram.
func TestWindowGoesOnWhileThePeersPacketsCome(t *testing.T) {
	p := newPipe(50 * time.Millisecond)
	for range 50 {
		p.path.heard += 20
		p.arrive(10*time.Millisecond, 100, 0)
	}
	credited := p.limit(p.path)
	require.EqualValues(t, p.end+ownWindow+2*500, credited)
	for range 100 {
		p.path.heard++
	}
	require.EqualValues(t, credited+500, p.limit(p.path))
	require.EqualValues(t, credited+500, p.limit(p.path), "and not twice for the same ones")
	p.path.heard += 4
	limit := p.arrive(50*time.Millisecond, 500, 0)
	require.EqualValues(t, p.end+ownWindow+2*500, limit, "credit again: what came before is in it")

	p.path.heard += 100
	p.path.minRTT = 200 * time.Microsecond
	require.EqualValues(t, p.end+ownWindow, p.limit(p.path), "near, only credit counts")
}

func TestNoWindowUnlessThePeerStatesOne(t *testing.T) {
	var w window
	require.Zero(t, w.open(0))
	require.Zero(t, w.credit(time.Now(), 100, 100, pathState{}))
}

// With traffic the other way the pump wakes every few milliseconds, to send
// credit of our own. That must not put off asking for the peer's.
func TestWakingUpDoesNotPutOffAskingForCredit(t *testing.T) {
	const pto = 40 * time.Millisecond
	begin := time.Now()
	var s stall
	for ms := range 40 {
		require.Equal(t, begin.Add(pto), s.due(begin.Add(time.Duration(ms)*time.Millisecond), 100, pto))
	}
	now := begin.Add(pto)
	require.True(t, s.ask(now), "once")
	require.Equal(t, now.Add(pto), s.due(now.Add(time.Millisecond), 100, pto), "the next time a probe timeout later")
	require.True(t, s.ask(now), "twice")
	require.False(t, s.ask(now), "then it goes on regardless")
	require.Equal(t, now.Add(time.Second+pto), s.due(now.Add(time.Second), 130, pto), "credit has come: a new wait")
	require.True(t, s.ask(now))
}

// Two credits for the same end may overtake each other: what the older one has
// taken is less.
func TestWindowSurvivesCreditsOutOfOrder(t *testing.T) {
	p := newPipe(50 * time.Millisecond)
	for range 20 {
		p.arrive(50*time.Millisecond, 50, 1)
	}
	p.taken--
	limit := p.arrive(50*time.Millisecond, 0, 0)
	require.LessOrEqual(t, limit, p.end+ownWindow+2*50, "nothing has arrived in this round")
}
