package quicpeer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever credit says, in whatever order and at whatever times: the limit never
// falls below what the peer has seen plus its window, what it has seen only
// grows, and what the path is thought to hold stays within what came in, so that
// nothing overflows.
func FuzzWindow(f *testing.F) {
	f.Add(uint64(120), []byte{10, 100, 100, 1, 1, 10, 200, 190, 2, 0})
	f.Add(uint64(1), []byte{0, 1, 1, 0, 255, 255, 255, 0, 255, 255, 1, 0, 0, 0, 0})
	f.Add(uint64(9), []byte{10, 100, 100, 1, 0, 10, 1, 1, 1, 2}) // overtaken
	f.Add(uint64(0), []byte{1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, base uint64, steps []byte) {
		base %= 1 << 62
		var w window
		w.open(base)
		now, path := time.Unix(0, 0), pathState{}
		var end, taken, seen, most uint64 // what the peer has, and what we know
		for ; len(steps) >= 5; steps = steps[5:] {
			s := steps[:5]
			now = now.Add(time.Duration(s[0]) * time.Millisecond)
			end += uint64(s[1]) << (s[4] >> 3)
			taken = min(end, taken+uint64(s[2])<<(s[4]>>3))
			path.minRTT = time.Duration(s[3]) * time.Millisecond
			path.smoothedRTT = path.minRTT
			path.heard += uint64(s[3])
			path.lost += uint64(s[4] & 1)
			path.room = uint64(s[4])
			if end > 1<<60 { // numbers that we never gave out are ignored before
				return
			}
			said := end
			if s[4]&2 != 0 {
				said = end / 2 // overtaken
			}
			limit := w.credit(now, said, min(taken, said), path)
			seen = max(seen, said)
			require.Equal(t, seen, w.end)
			if base == 0 {
				require.Zero(t, limit, "no window")
				continue
			}
			require.GreaterOrEqual(t, limit, seen+base)
			// Twice the best rate over the longest round trip, and as much for each
			// packet heard: a round is at least 5 ms.
			most = max(most, 2*51*taken+uint64(path.room)+255*taken)
			require.LessOrEqual(t, limit-seen-base, most+1)
			later := path // packets come, and no credit
			later.heard += uint64(s[3])
			require.GreaterOrEqual(t, w.limit(later), seen+base)
			require.LessOrEqual(t, w.limit(later)-seen-base, most+1)
		}
	})
}
