package session

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// meter counts what is asked of a stream.
type meter struct {
	r       io.Reader
	largest int // the largest buffer offered
	read    int
}

func (m *meter) Read(p []byte) (int, error) {
	m.largest = max(m.largest, len(p))
	n, err := m.r.Read(p)
	m.read += n
	return n, err
}

func TestReaderOneByteAtATime(t *testing.T) {
	var wire []byte
	want := []Frame{
		Open{Protocol: "chat", Metadata: bytes.Repeat([]byte("m"), 9000)},
		Signal{Payload: bytes.Repeat([]byte("s"), 300)},
		Close{Reason: "bye"},
	}
	for _, f := range want {
		wire = f.Append(wire)
		wire = Unknown{Type: ReservedType(7), Value: make([]byte, 1300)}.Append(wire)
	}
	for name, src := range map[string]io.Reader{
		"whole":          bytes.NewReader(wire),
		"single bytes":   iotest.OneByteReader(bytes.NewReader(wire)),
		"data with EOF":  iotest.DataErrReader(bytes.NewReader(wire)),
		"halves":         iotest.HalfReader(bytes.NewReader(wire)),
		"halves and EOF": iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(wire))),
	} {
		r := NewFrameReader(src, Limits{})
		for _, f := range want {
			got, err := r.NextFrame()
			require.NoError(t, err, name)
			require.Equal(t, f, got, name)
		}
		_, err := r.NextFrame()
		require.Equal(t, io.EOF, err, name)
	}
}

func TestReaderStopsBehindTheFrame(t *testing.T) {
	first := Open{Protocol: "chat"}.Append(nil)
	m := &meter{r: bytes.NewReader(Close{}.Append(first))}
	_, err := NewFrameReader(m, Limits{}).NextFrame()
	require.NoError(t, err)
	require.Equal(t, len(first), m.read, "the rest stays in the stream")
}

func TestReaderTakesMemoryOnlyForWhatArrives(t *testing.T) {
	wire := Signal{Payload: make([]byte, 16000)}.Append(nil)
	m := &meter{r: bytes.NewReader(wire[:100])}
	_, _, err := NewFrameReader(m, Limits{}).Next()
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.LessOrEqual(t, m.largest, firstRead, "a length alone buys no memory")

	m = &meter{r: bytes.NewReader(append(Open{}.Append(nil), Unknown{Type: 0x3f, Value: make([]byte, MaxUnknown)}.Append(nil)...))}
	r := NewFrameReader(m, Limits{})
	_, err = r.NextFrame()
	require.NoError(t, err)
	_, err = r.NextFrame()
	require.Equal(t, io.EOF, err)
	require.LessOrEqual(t, m.largest, skipRead, "skipping holds no frame")

	m = &meter{r: bytes.NewReader([]byte{byte(TypeOpen), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3})}
	_, _, err = NewFrameReader(m, Limits{}).Next()
	requireFrameError(t, err, "the largest length there is")
	require.Equal(t, 9, m.read, "the value is not even touched")
}

func TestReaderSignalLimit(t *testing.T) {
	signal := func(n int) []byte { return Signal{Payload: make([]byte, n)}.Append(nil) }
	tests := []struct {
		why   string
		limit uint64
		size  int
		ok    bool
	}{
		{"the default", 0, DefaultMaxSignal, true},
		{"one over the default", 0, DefaultMaxSignal + 1, false},
		{"over the default and its frame", 0, DefaultMaxSignal + 2*frameRoom, false},
		{"a lower limit is none", 100, DefaultMaxSignal, true},
		{"a raised limit", 100_000, 100_000, true},
		{"one over a raised limit", 100_000, 100_001, false},
		{"no overflow", 1<<64 - 1, 100_000, true},
	}
	for _, test := range tests {
		_, err := NewFrameReader(bytes.NewReader(signal(test.size)), Limits{MaxSignal: test.limit}).NextFrame()
		if test.ok {
			require.NoError(t, err, test.why)
		} else {
			requireFrameError(t, err, "%s", test.why)
		}
	}
}

func TestReaderPassesStreamErrors(t *testing.T) {
	reset := errors.New("reset")
	wire := Open{Protocol: "chat"}.Append(nil)
	for n := range len(wire) {
		src := io.MultiReader(bytes.NewReader(wire[:n]), iotest.ErrReader(reset))
		_, err := NewFrameReader(src, Limits{}).NextFrame()
		require.Equal(t, reset, err, "after %d bytes", n)
	}
	for n := 1; n < len(wire); n++ {
		_, err := NewFrameReader(bytes.NewReader(wire[:n]), Limits{}).NextFrame()
		require.Equal(t, io.ErrUnexpectedEOF, err, "after %d bytes", n)
	}
}

func BenchmarkReader(b *testing.B) {
	wire := SignalAck{Taken: 7}.Append(nil)
	src := bytes.NewReader(nil)
	r := NewFrameReader(src, Limits{})
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(wire)
		if _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	buf := make([]byte, 0, 256)
	f := CloseAck{Sent: 70000, End: 70000, Received: 69990, SignalsReceived: 3}
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0])
	}
}
