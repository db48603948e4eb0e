package datagram

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// What came in runs is dropped and read as if each message had come alone.
func TestRunsAreLikeMessages(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		c := FlowConfig{ReceiveMessages: 1 + rnd.IntN(8), ReceiveBytes: 1 + rnd.IntN(40), ReceiveFull: ReceivePolicy(rnd.IntN(2))}
		runs, alone := newTestMux(t, MuxConfig{}), newTestMux(t, MuxConfig{})
		f, g := runs.open(0, c), alone.open(0, c)
		var n, k uint64
		serial := byte(0)
		for range 40 {
			switch rnd.IntN(3) {
			case 0, 1:
				var items []Message
				for range 1 + rnd.IntN(6) {
					size := rnd.IntN(12)
					if rnd.IntN(10) == 0 {
						size = 45
					}
					p := make([]byte, size)
					for i := range p {
						p[i] = serial
					}
					serial++
					items = append(items, Message{0, p})
				}
				runs.handle(bundle(n, items...), "runs")
				n++
				for _, it := range items {
					alone.handle(message(k, 0, string(it.Payload)), "alone")
					k++
				}
			default:
				for range rnd.IntN(5) {
					a, okA := f.TryPop()
					b, okB := g.TryPop()
					require.Equal(t, okB, okA, "seed %d", seed)
					require.Equal(t, string(b), string(a), "seed %d", seed)
				}
			}
			cf, cg := f.Counts(), g.Counts()
			require.Equal(t, cg, cf, "seed %d", seed)
			require.LessOrEqual(t, cf.Unread, c.ReceiveMessages)
			require.True(t, cf.UnreadBytes <= c.ReceiveBytes || cf.Unread == 1)
		}
	}
}
