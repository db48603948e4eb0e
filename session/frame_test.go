package session

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCodeString(t *testing.T) {
	seen := make(map[string]bool)
	for c := CodeNormal; c <= CodeCancelled; c++ {
		require.NotContains(t, c.String(), "0x", "code %d has a name", uint64(c))
		require.False(t, seen[c.String()], "%q names two codes", c)
		require.False(t, c.IsApplication())
		seen[c.String()] = true
	}
	require.Equal(t, "protocol code 0xff", Code(0xff).String())
	require.Equal(t, "application code 0x100", FirstApplicationCode.String())
	require.True(t, FirstApplicationCode.IsApplication())
	require.True(t, MaxCode.IsApplication())
}

func TestReservedTypes(t *testing.T) {
	require.Equal(t, FrameType(0x17), ReservedType(0))
	require.Equal(t, FrameType(0x40), ReservedType(1))
	const last = (maxVarint - 0x17) / 0x29
	for _, n := range []uint64{0, 1, 2, 1000, last - 1, last, last + 1, math.MaxUint64} {
		typ := ReservedType(n)
		require.True(t, typ.IsReserved(), "ReservedType(%d) = %s", n, typ)
		require.LessOrEqual(t, uint64(typ), uint64(maxVarint), "ReservedType(%d) fits a varint", n)
	}
	require.Equal(t, ReservedType(0), ReservedType(last+1), "too large numbers wrap around")

	// No type, setting or stream type of this protocol may be reserved, this
	// version's or one that a later version has been promised.
	for typ := range FrameType(0x100) {
		if typ.Known() || typ == TypeJoin {
			require.False(t, typ.IsReserved(), "%s", typ)
			require.NotContains(t, typ.String(), "0x", "%s has a name", typ)
		}
	}
	for id := FrameType(settingInstanceID); id <= settingWindow; id++ {
		require.False(t, id.IsReserved(), "setting %d", id)
	}
	require.False(t, FrameType(0x16).IsReserved(), "below the first")
	require.False(t, TypeJoin.Known(), "version 1 has no JOIN")
	require.Equal(t, "reserved type 0x17", ReservedType(0).String())
	require.Equal(t, "unknown type 0x3f", FrameType(0x3f).String())
}

func TestUnknownFrame(t *testing.T) {
	f, err := ParseFrame(0x3f, []byte("later"))
	require.NoError(t, err)
	require.Equal(t, Unknown{Type: 0x3f, Value: []byte("later")}, f)
	require.Equal(t, "\x3f\x05later", string(f.Append(nil)))
}

func TestReasonsFitWhenWritten(t *testing.T) {
	tests := []struct{ why, in, want string }{
		{"empty", "", ""},
		{"exactly full", strings.Repeat("r", MaxReason), strings.Repeat("r", MaxReason)},
		{"one too long", strings.Repeat("r", MaxReason+1), strings.Repeat("r", MaxReason)},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
		{"cut between characters", strings.Repeat("r", MaxReason-1) + "é", strings.Repeat("r", MaxReason-1)},
		{"only long characters", strings.Repeat("日", MaxReason), strings.Repeat("日", MaxReason/3)},
		{"grows past the limit when made UTF-8", strings.Repeat("\xffa", MaxReason/2), strings.Repeat("\uFFFDa", MaxReason/4)},
	}
	for _, test := range tests {
		for _, f := range []Frame{GoAway{Reason: test.in}, Reject{Reason: test.in}, Close{Reason: test.in}} {
			frames, _ := readAll(f.Append(nil))
			require.Len(t, frames, 1, "%s: %s", test.why, f.FrameType())
			var got string
			switch f := frames[0].(type) {
			case GoAway:
				got = f.Reason
			case Reject:
				got = f.Reason
			case Close:
				got = f.Reason
			}
			require.Equal(t, test.want, got, "%s: %s", test.why, f.FrameType())
			require.True(t, utf8.ValidString(got))
		}
	}
}

func TestDurationsOnTheWire(t *testing.T) {
	tests := []struct{ in, want time.Duration }{
		{-time.Second, 0},
		{0, 0},
		{1, time.Millisecond}, // "a moment" must not become "none"
		{time.Millisecond, time.Millisecond},
		{time.Millisecond + 1, 2 * time.Millisecond},
		{MaxDuration, MaxDuration},
		{MaxDuration + 1, MaxDuration},
		{math.MaxInt64, MaxDuration},
	}
	for _, test := range tests {
		frames, _ := readAll(Reject{RetryAfter: test.in}.Append(nil))
		require.Equal(t, []Frame{Reject{RetryAfter: test.want}}, frames, "%v", test.in)
	}
}

func TestOpenLimit(t *testing.T) {
	full := Open{Protocol: "chat", Metadata: make([]byte, MaxOpenContent-4)}
	require.NoError(t, full.Validate())
	frames, _ := readAll(full.Append(nil))
	require.Equal(t, []Frame{full}, frames)

	over := Open{Protocol: "chat!", Metadata: full.Metadata}
	requireFrameError(t, over.Validate(), "one byte over")
	_, err := readAll(over.Append(nil))
	requireFrameError(t, err, "one byte over")
	requireFrameError(t, Open{Protocol: "\xff"}.Validate(), "not UTF-8")
	require.NoError(t, Open{}.Validate(), "the default protocol")

	require.NoError(t, Accept{Metadata: make([]byte, MaxOpenContent)}.Validate())
	requireFrameError(t, Accept{Metadata: make([]byte, MaxOpenContent+1)}.Validate(), "one byte over")
}

func TestSettingsOnlyRaiseDefaults(t *testing.T) {
	var none Settings
	require.EqualValues(t, DefaultMaxMessage, none.MaxMessageOrDefault())
	require.EqualValues(t, DefaultMaxSignal, none.MaxSignalOrDefault())
	require.EqualValues(t, DefaultMaxSignals, none.MaxSignalsOrDefault())
	low := Settings{MaxMessage: 1, MaxSignal: 1, MaxSignals: 1}
	require.EqualValues(t, DefaultMaxMessage, low.MaxMessageOrDefault())
	require.EqualValues(t, DefaultMaxSignal, low.MaxSignalOrDefault())
	require.EqualValues(t, DefaultMaxSignals, low.MaxSignalsOrDefault())
	high := Settings{MaxMessage: 1 << 20, MaxSignal: 1 << 20, MaxSignals: 99}
	require.EqualValues(t, 1<<20, high.MaxMessageOrDefault())
	require.EqualValues(t, 1<<20, high.MaxSignalOrDefault())
	require.EqualValues(t, 99, high.MaxSignalsOrDefault())
}

// A failed parse must be an error that is nil when it is nil.
func TestParseErrorIsNilInterface(t *testing.T) {
	_, err := ParseDone([]byte{0, 0, 0})
	require.True(t, err == nil)
	f, err := ParseFrame(TypeDone, nil)
	require.Error(t, err)
	require.True(t, f == nil, "no half-read frame")
}
