package datagram

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the gap, what is stretched parses to the same, and is as long as
// asked for or was left alone.
func TestStretchChangesNothingButTheLength(t *testing.T) {
	for _, number := range []uint64{0, 63, 64, 16383, 16384, 1 << 29, 1 << 40} {
		for _, session := range []uint64{0, 100, 20000} {
			payload := strings.Repeat("x", 1000)
			message := AppendMessage(nil, number, Message{session, []byte(payload)})
			bundle := AppendBundleItem(AppendHeader(nil, Header{KindBundle, number}), Message{session, []byte(payload)})
			bundle = AppendBundleItem(bundle, Message{session + 1, nil})
			for _, plain := range [][]byte{message, bundle} {
				stretched := 0
				for gap := -2; gap <= stretchable+2; gap++ {
					d := append(make([]byte, 0, 1100), plain...)
					got := stretch(d, len(plain)+gap)
					if len(got) != len(plain) {
						require.Len(t, got, len(plain)+gap)
						stretched++
					}
					require.Equal(t, describe(plain), describe(got), "gap %d", gap)
				}
				require.GreaterOrEqual(t, stretched, 4, "number %d, session %d", number, session)
			}
		}
	}
}

func TestStretchLeavesAloneWhatItCannotFill(t *testing.T) {
	d := AppendMessage(nil, 1, Message{1, []byte("short")})
	require.Equal(t, d, stretch(bytes.Clone(d), 1000), "far too short")
	small := append(make([]byte, 0, len(d)), d...)
	require.Equal(t, d, stretch(small, len(d)+3), "no room in its memory")
}

// In a burst every datagram but the last has exactly the size that fills its
// packet, if no more than an eighth is missing; alone, a message stays as short as
// it is. Whatever fills, the messages arrive as they were.
func TestBurstsFillTheirPackets(t *testing.T) {
	const size = 1200
	for _, length := range []int{0, 1, 16, 64, 100, 128, 280, 380, 540, 1060, 1100, 1187, 1188, 1190, size - 1 - 8 - 1} {
		for _, id := range []uint64{0, 1000} {
			m, to := newTestMux(t, MuxConfig{MaxDatagram: size, Client: true}), newTestMux(t, MuxConfig{})
			f := m.open(id, FlowConfig{SendBytes: 1 << 20, SendMessages: 1 << 20})
			g := to.open(id, FlowConfig{ReceiveBytes: 1 << 20, ReceiveMessages: 1 << 20})
			payload := strings.Repeat("x", length)
			perDatagram := max(1, (size-6)/(length+5))
			count := 100 * perDatagram
			for range count {
				m.push(f, payload, SendOptions{})
			}
			short := 0
			for received := 0; received < count; {
				d := m.sent("burst")
				to.Handle(to.now, d)
				for {
					b, ok := g.TryPop()
					if !ok {
						break
					}
					require.Equal(t, payload, string(b))
					received++
				}
				if received < count && len(d) < size {
					short++
				}
			}
			require.Zero(t, short, "messages of %d bytes, session %d", length, id)
		}
	}
}

func TestNoMorePaddingThanAnEighth(t *testing.T) {
	const size = 1200
	for _, length := range []int{700, 1000} {
		m := newTestMux(t, MuxConfig{MaxDatagram: size})
		f := m.open(0, FlowConfig{SendBytes: 1 << 20})
		for range 10 {
			m.push(f, strings.Repeat("x", length), SendOptions{})
		}
		for range 9 {
			require.Less(t, len(m.sent("burst")), length+20, "the rest of the packet stays free")
		}
	}
}

// Padding is no message, wherever it stands.
func TestPaddingIsPassedOver(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(0, FlowConfig{})
	m.Handle(m.now, bundle(0, of(paddingID, "xxx"), of(0, "a"), of(paddingID, ""), of(0, "b"), of(2, "early"), of(paddingID, "x")))
	wantPops(t, f, "what is not padding", "a", "b")
	m.Handle(m.now, bundle(1, of(paddingID, "xxx")))
	require.Equal(t, 1, m.Mux.Counts().EarlyHeld, "the early one")
	require.Zero(t, m.Mux.Counts().MessageDrops.Total())
	require.Equal(t, uint64(2), m.Mux.Counts().Accepted)
}
