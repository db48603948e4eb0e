package datagram

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const grace = 100 * time.Millisecond

func TestSettle(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	settle := func(want time.Duration, sent, end uint64, since time.Duration, why string) {
		t.Helper()
		require.Equal(t, want, f.Settle(m.now, sent, end, epoch.Add(since), grace), why)
	}
	settle(0, 0, 0, 0, "nothing was sent")
	settle(grace, 1, 1, 0, "number 0 is above what was seen")
	m.pass(30 * time.Millisecond)
	settle(grace-30*time.Millisecond, 1, 1, 0, "since the time given")
	m.handle(message(0, 0, "a"), "0")
	settle(0, 1, 1, 0, "the counts agree")
	settle(0, 2, 1, 0, "no number below the end is missing: what is missing, is lost")
	m.handle(message(2, 0, "c"), "2: 1 is noticed to be missing")
	m.pass(20 * time.Millisecond)
	m.handle(message(4, 0, "e"), "4: 3 is noticed to be missing")
	m.pass(10 * time.Millisecond)
	settle(grace-30*time.Millisecond, 4, 3, 60*time.Millisecond, "1 was noticed 30 ms ago")
	settle(grace-10*time.Millisecond, 5, 5, 60*time.Millisecond, "3 was noticed 10 ms ago")
	settle(grace-5*time.Millisecond, 6, 6, 55*time.Millisecond, "5 is above what was seen")
	m.handle(message(3, 2, "d"), "3, of another session")
	settle(grace-30*time.Millisecond, 4, 5, 60*time.Millisecond, "1 is what is still missing")
	m.pass(grace - 30*time.Millisecond)
	settle(0, 4, 5, 0, "missing for the grace")
	m.handle(message(1, 0, "b"), "1, after all")
	settle(0, 4, 5, 0, "the counts agree")
	settle(0, 3, 5, 0, "more than was sent: for others to judge")

	settle(grace, 9, 9, m.now.Sub(epoch), "")
	f.CloseReceive(errClosed)
	settle(0, 9, 9, m.now.Sub(epoch), "the counts are frozen")
}

// A number that comes late does not change when others were noticed to be missing.
func TestSettleReordered(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	m.handle(message(5, 0, "x"), "0 to 4 are missing")
	m.pass(time.Millisecond)
	m.handle(message(1, 0, "x"), "1 is not")
	require.Equal(t, grace-time.Millisecond, f.Settle(m.now, 6, 6, m.now, grace))
}

// A number that was missing from the beginning is not waited for longer because others come meanwhile.
func TestSettleNeverWaitsLongerThanTheGrace(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	began := m.now
	require.Equal(t, grace, f.Settle(m.now, 3, 3, began, grace), "all three are above what was seen")
	m.pass(grace / 2)
	m.handle(message(2, 0, "x"), "0 and 1 are below it now")
	require.Equal(t, grace/2, f.Settle(m.now, 3, 3, began, grace))
	m.pass(grace / 2)
	require.Zero(t, f.Settle(m.now, 3, 3, began, grace))
}

// What has fallen out of the window, or out of the timeline, is not waited for longer than the grace.
func TestSettleBounds(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	m.handle(message(1, 0, "x"), "0 is missing")
	for i := range uint64(windowSize + 10) {
		if i%10 == 0 {
			m.pass(timelineStep)
		}
		m.handle(message(i+2, 0, "x"), "no gap")
	}
	require.Zero(t, f.Settle(m.now, 1<<20, windowSize, m.now, grace), "older than the window")
	m.handle(message(windowSize+100, 0, "x"), "a gap")
	for i := range uint64(100) {
		m.pass(timelineStep)
		m.handle(message(windowSize+101+i, 0, "x"), "no gap")
	}
	require.Zero(t, f.Settle(m.now, 1<<20, windowSize+100, m.now, grace), "older than the timeline, which is longer than the grace")
}

func TestArrived(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{ReceiveMessages: 1})
	wantClosed(t, f.Arrived(0), true, "nothing was sent")
	one, two, three := f.Arrived(1), f.Arrived(2), f.Arrived(3)
	require.Equal(t, two, f.Arrived(2), "the same channel")
	m.handle(message(0, 0, "a"), "first")
	wantClosed(t, one, true, "arrived")
	wantClosed(t, two, false, "one of two")
	m.handle(bundle(1, of(0, "b"), of(0, "c")), "second and third")
	wantClosed(t, two, true, "received, though dropped by the queue")
	wantClosed(t, three, true, "arrived")
	wantClosed(t, f.Arrived(2), true, "arrived before")
	require.Empty(t, f.recv.arrivals)
	four := f.Arrived(4)
	f.CloseReceive(errClosed)
	m.handle(message(2, 0, "d"), "late")
	wantClosed(t, four, false, "late is not received")
}
