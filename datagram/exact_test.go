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
// packet; alone, a message stays as short as it is.
func TestBurstsFillTheirPackets(t *testing.T) {
	const size = 1200
	m := newTestMux(t, MuxConfig{MaxDatagram: size})
	f := m.open(0, FlowConfig{SendBytes: 1 << 20})
	buf := make([]byte, 0, 1500)
	payload := strings.Repeat("x", size-1-8-1) // as much as a session says that fits
	for range 300 {
		m.push(f, payload, SendOptions{})
	}
	for n := range 300 {
		d, ok := m.Next(m.now, buf)
		require.True(t, ok)
		if n < 299 {
			require.Len(t, d, size, "datagram %d", n)
		} else {
			require.Less(t, len(d), size, "nothing is behind it")
		}
		m.Sent()
	}
}
