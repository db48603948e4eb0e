package session

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever parses can be written again, in no more bytes, and reads the same.
func FuzzParseFrame(f *testing.F) {
	for _, v := range frameVectors(f) {
		if v.has("frame") {
			wire := v.bytes(f, "wire")
			f.Add(uint64(wire[0]), wire[min(2, len(wire)):])
		}
	}
	f.Fuzz(func(t *testing.T, typ uint64, value []byte) {
		typ &= maxVarint
		input := bytes.Clone(value)
		frame, err := ParseFrame(FrameType(typ), value)
		require.Equal(t, input, value, "the input is left alone")
		if err != nil {
			var bad *FrameError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, FrameType(typ), bad.Type)
			require.Nil(t, frame)
			return
		}
		require.Equal(t, FrameType(typ), frame.FrameType())
		wire := frame.Append(nil)
		require.LessOrEqual(t, len(wire), 16+len(value), "writing does not grow it")
		// Seen from a reader that takes signals of any size; frames of unknown
		// types are parsed as they are.
		n, rest := splitFrame(t, wire)
		require.Equal(t, uint64(typ), n)
		again, err := ParseFrame(FrameType(typ), rest)
		require.NoError(t, err)
		require.Equal(t, frame, again)
		require.Equal(t, wire, again.Append(nil), "the written form is stable")
	})
}

// splitFrame takes one frame apart that fills b.
func splitFrame(t *testing.T, b []byte) (typ uint64, value []byte) {
	p := parser{b: b}
	typ = p.varint("type")
	value = p.bytes("value", maxVarint)
	require.Nil(t, p.err)
	require.Empty(t, p.b)
	return typ, value
}

// The reader takes any bytes: it agrees with a plain reading of them, in which
// the whole stream is at hand, and memory follows what has arrived.
func FuzzFrameReader(f *testing.F) {
	for _, v := range frameVectors(f) {
		f.Add(v.bytes(f, "wire"), uint64(0))
	}
	f.Fuzz(func(t *testing.T, wire []byte, maxSignal uint64) {
		limits := Limits{MaxSignal: maxSignal % (1 << 20)}
		m := &meter{r: bytes.NewReader(wire)}
		r := NewFrameReader(m, limits)
		plain := wire
		for begun := false; ; begun = true {
			wantType, wantValue, wantErr := plainNext(&plain, begun, limits)
			typ, value, err := r.Next()
			require.LessOrEqual(t, m.largest, max(firstRead, 2*len(wire)), "memory follows what arrived")
			if wantErr != nil {
				if errors.As(wantErr, new(*FrameError)) {
					require.ErrorAs(t, err, new(*FrameError))
				} else {
					require.Equal(t, wantErr, err)
				}
				return
			}
			require.NoError(t, err)
			require.Equal(t, wantType, typ)
			require.Equal(t, wantValue, value)
		}
	})
}

// plainNext does on bytes what FrameReader.Next does on a stream.
func plainNext(b *[]byte, begun bool, limits Limits) (FrameType, []byte, error) {
	for len(*b) > 0 {
		p := parser{b: *b}
		typ := FrameType(p.varint("type"))
		n := p.varint("length")
		switch {
		case p.err != nil:
			return 0, nil, io.ErrUnexpectedEOF
		case n > limits.value(typ), !begun && !typ.Known():
			return 0, nil, &FrameError{Type: typ}
		case n > uint64(len(p.b)):
			return 0, nil, io.ErrUnexpectedEOF
		}
		var value []byte
		if n > 0 {
			value = p.b[:n]
		}
		*b = p.b[n:]
		if typ.Known() {
			return typ, value, nil
		}
	}
	return 0, nil, io.EOF
}
