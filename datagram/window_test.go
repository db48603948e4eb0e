package datagram

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The window must agree with a map of all numbers ever marked.
func TestWindowAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWindow(256)
		marked := map[uint64]bool{}
		var end uint64
		for range 2000 {
			var n uint64
			switch r.IntN(20) {
			case 0:
				n = end + r.Uint64N(600) // a jump
			case 1:
				n = r.Uint64N(end + 1)
			default:
				n = end + r.Uint64N(5)
				n -= min(n, r.Uint64N(40))
			}
			var start uint64
			if end > 256 {
				start = end - 256
			}
			require.Equal(t, n < start, w.old(n))
			require.Equal(t, n >= start && marked[n], w.seen(n))
			w.mark(n)
			if n >= start {
				marked[n] = true
			}
			end = max(end, n+1)
			require.Equal(t, end, w.end)

			limit := end + 10 - min(end, r.Uint64N(300))
			got, ok := w.newestMissing(limit)
			want, wantOK := uint64(0), false
			for n := int64(min(limit, end)) - 1; n >= 0 && n >= int64(end)-256; n-- {
				if !marked[uint64(n)] {
					want, wantOK = uint64(n), true
					break
				}
			}
			require.Equal(t, wantOK, ok)
			require.Equal(t, want, got)
		}
	}
}

func TestWindowLargestNumber(t *testing.T) {
	w := newWindow(windowSize)
	w.mark(3)
	w.mark(MaxNumber)
	require.True(t, w.seen(MaxNumber))
	require.True(t, w.old(3))
	require.False(t, w.seen(MaxNumber-1))
	n, ok := w.newestMissing(1 << 62)
	require.True(t, ok)
	require.Equal(t, uint64(MaxNumber-1), n)
}

func TestTimeline(t *testing.T) {
	var l timeline
	_, ok := l.passed(0)
	require.False(t, ok, "nothing has arrived")

	at := func(d time.Duration) time.Time { return epoch.Add(d) }
	l.record(at(0), 5)
	l.record(at(time.Millisecond), 8)
	l.record(at(10*time.Millisecond), 20)
	for n, want := range map[uint64]time.Duration{0: time.Millisecond, 7: time.Millisecond, 8: 10 * time.Millisecond, 19: 10 * time.Millisecond} {
		got, ok := l.passed(n)
		require.True(t, ok)
		require.Equal(t, at(want), got, "number %d: at most a step after it was passed", n)
	}
	_, ok = l.passed(20)
	require.False(t, ok, "nothing above it has arrived")

	for i := range 1000 {
		l.record(at(time.Duration(i+10)*timelineStep), uint64(21+i))
	}
	require.Equal(t, timelineSlots, l.slots.len(), "bounded")
	got, _ := l.passed(1019)
	require.Equal(t, at(1009*timelineStep), got)
	got, ok = l.passed(3)
	require.True(t, ok)
	require.Equal(t, at((1010-timelineSlots)*timelineStep), got, "what is older than the timeline is as old as its oldest slot")
	require.GreaterOrEqual(t, (timelineSlots-1)*timelineStep, 250*time.Millisecond, "covers the longest grace")
}
