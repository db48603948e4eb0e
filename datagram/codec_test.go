package datagram

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKindString(t *testing.T) {
	require.Equal(t, "heartbeat echo", KindHeartbeatEcho.String())
	require.Equal(t, "unknown kind 0x1f", Kind(0x1f).String())
}

func TestReasonString(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		require.NotEmpty(t, r.String())
		require.False(t, seen[r.String()], "%s twice", r)
		seen[r.String()] = true
	}
	require.Equal(t, "reason 200", Reason(200).String())
}

// Appending to a received payload must not write into its neighbour.
func TestPayloadsHaveNoSpareCapacity(t *testing.T) {
	d := append(bundle(0, of(0, "first"), of(0, "second")), make([]byte, 8)...)[:len(bundle(0, of(0, "first"), of(0, "second")))]
	_, body, err := ParseHeader(d)
	require.NoError(t, err)
	first, rest, err := NextBundleItem(body)
	require.NoError(t, err)
	second, _, err := NextBundleItem(rest)
	require.NoError(t, err)
	_ = append(first.Payload, "overwritten"...)
	require.Equal(t, "second", string(second.Payload))
	require.Equal(t, len(second.Payload), cap(second.Payload))

	m, err := ParseMessage(message(0, 1, "x")[2:])
	require.NoError(t, err)
	require.Equal(t, len(m.Payload), cap(m.Payload))
	f, err := ParseFragment(fragment(0, 1, 0, 10, 0, "x")[2:])
	require.NoError(t, err)
	require.Equal(t, len(f.Payload), cap(f.Payload))
}

func TestAppendTooLarge(t *testing.T) {
	for name, f := range map[string]func(){
		"number":  func() { AppendMessage(nil, 1<<62, Message{}) },
		"session": func() { AppendMessage(nil, 0, Message{Session: 1 << 62}) },
		"credit":  func() { AppendCredit(nil, 0, Credit{End: 1 << 62}) },
	} {
		require.Panics(t, f, name)
	}
}

func TestAppendGrowsWhatIsThere(t *testing.T) {
	prefix := []byte("prefix")
	for name, d := range map[string][]byte{
		"heartbeat": AppendHeartbeat(prefix, 1, false, [8]byte{}),
		"message":   AppendMessage(prefix, 1, Message{}),
		"credit":    AppendCredit(prefix, 1, Credit{}),
	} {
		require.True(t, bytes.HasPrefix(d, prefix), name)
	}
	require.Len(t, AppendHeartbeat(prefix, 1, false, [8]byte{}), len(prefix)+HeartbeatSize, "padding counts from the start of the datagram")
}

func TestDrops(t *testing.T) {
	var d Drops
	d[ReasonLate] = 2
	d.Add(Drops{ReasonLate: 1, ReasonExpired: 4})
	require.Equal(t, Drops{ReasonLate: 3, ReasonExpired: 4}, d)
	require.Equal(t, uint64(7), d.Total())
}
