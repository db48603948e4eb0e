package session

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// vector is one block of testdata/frames.txt.
type vector struct {
	name string
	keys []string // in the order of the file
	vals map[string]string
}

func (v vector) has(key string) bool { _, ok := v.vals[key]; return ok }

func (v vector) bytes(t testing.TB, key string) []byte {
	if v.vals[key] == "-" {
		return nil
	}
	b, err := hex.DecodeString(v.vals[key])
	require.NoError(t, err, "%s: %s", v.name, key)
	return b
}

func (v vector) integer(t testing.TB, key string) uint64 {
	if !v.has(key) {
		return 0
	}
	n, err := strconv.ParseUint(v.vals[key], 10, 62)
	require.NoError(t, err, "%s: %s", v.name, key)
	return n
}

// readVectors reads blocks of "key: value" lines.
func readVectors(t testing.TB, path string) []vector {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var all []vector
	names := make(map[string]bool)
	for block := range strings.SplitSeq(string(text), "\n\n") {
		v := vector{vals: make(map[string]string)}
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			if line == "" || line[0] == '#' {
				continue
			}
			key, val, ok := strings.Cut(line, ":")
			require.True(t, ok, "line %q", line)
			// Only the items of a bundle repeat; nobody here reads them.
			require.False(t, v.has(key) && key != "item", "%q twice in one block", line)
			v.keys = append(v.keys, key)
			v.vals[key] = strings.TrimPrefix(val, " ")
		}
		if len(v.keys) == 0 {
			continue
		}
		v.name = v.vals["name"]
		require.NotEmpty(t, v.name, "a block without a name: %q", block)
		require.False(t, names[v.name], "%q twice", v.name)
		names[v.name] = true
		all = append(all, v)
	}
	require.NotEmpty(t, all)
	return all
}

// frameVectors reads the vectors of this package.
func frameVectors(t testing.TB) []vector { return readVectors(t, "testdata/frames.txt") }

// frame builds what a vector's fields say, apart from the codec.
func (v vector) frame(t testing.TB) Frame {
	n := func(key string) uint64 { return v.integer(t, key) }
	text := func(key string) string { return string(v.bytes(t, key)) }
	ms := func(key string) time.Duration { return time.Duration(n(key)) * time.Millisecond }
	switch v.vals["frame"] {
	case "SETTINGS":
		f := Settings{
			HasInstanceID: v.has("instance-id"),
			MaxMessage:    n("max-message"), MaxSignal: n("max-signal"), MaxSignals: n("max-signals"),
			Window: n("window"),
		}
		copy(f.InstanceID[:], v.bytes(t, "instance-id"))
		return f
	case "GOAWAY":
		return GoAway{Code: Code(n("code")), Reason: text("reason"), Deadline: ms("deadline-ms"), FirstRefused: n("first-refused")}
	case "PING":
		return Ping{Token: [8]byte(v.bytes(t, "token"))}
	case "PONG":
		return Pong{Token: [8]byte(v.bytes(t, "token"))}
	case "OPEN":
		return Open{Protocol: text("protocol"), Metadata: v.bytes(t, "metadata")}
	case "ACCEPT":
		return Accept{Metadata: v.bytes(t, "metadata")}
	case "REJECT":
		return Reject{Code: Code(n("code")), Reason: text("reason"), RetryAfter: ms("retry-after-ms")}
	case "SIGNAL":
		return Signal{Payload: v.bytes(t, "payload")}
	case "SIGNAL_ACK":
		return SignalAck{Taken: n("taken")}
	case "REPORT":
		return Report{Received: n("received"), Late: n("late"), Dropped: n("dropped")}
	case "CLOSE":
		return Close{
			Code: Code(n("code")), Reason: text("reason"), Sent: n("sent"), End: n("end"),
			SignalsReceived: n("signals-received"), SignalsTaken: n("signals-taken"),
		}
	case "CLOSE_ACK":
		return CloseAck{
			Sent: n("sent"), End: n("end"), Received: n("received"), Late: n("late"), Dropped: n("dropped"),
			SignalsReceived: n("signals-received"), SignalsTaken: n("signals-taken"),
		}
	case "DONE":
		return Done{Received: n("received"), Late: n("late"), Dropped: n("dropped")}
	}
	require.FailNow(t, "unknown frame", "%s: %s", v.name, v.vals["frame"])
	return nil
}

// readAll reads frames until the stream gives an error.
func readAll(wire []byte) ([]Frame, error) {
	r := NewFrameReader(bytes.NewReader(wire), Limits{})
	var frames []Frame
	for {
		f, err := r.NextFrame()
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
}

func requireFrameError(t *testing.T, err error, msg string, args ...any) *FrameError {
	t.Helper()
	var bad *FrameError
	require.ErrorAs(t, err, &bad, fmt.Sprintf(msg, args...))
	require.NotEmpty(t, bad.Reason)
	return bad
}

func TestFrameVectors(t *testing.T) {
	covered := make(map[string]bool)
	for _, v := range frameVectors(t) {
		if !v.has("frame") || v.has("error") {
			continue
		}
		covered[v.vals["frame"]] = true
		t.Run(v.name, func(t *testing.T) {
			wire, f := v.bytes(t, "wire"), v.frame(t)
			require.Equal(t, v.vals["frame"], f.FrameType().String(), "the name of the type")
			frames, err := readAll(wire)
			require.Equal(t, io.EOF, err)
			require.Equal(t, []Frame{f}, frames, "what is read")
			if v.vals["only"] != "decode" {
				require.Equal(t, wire, f.Append(nil), "what is written")
				require.Equal(t, "x"+string(wire), string(f.Append([]byte("x"))), "what is appended")
			}
		})
	}
	for typ := range FrameType(0x20) {
		if typ.Known() {
			require.True(t, covered[typ.String()], "there is no vector for %s", typ)
		}
	}
}

func TestInvalidFrameVectors(t *testing.T) {
	for _, v := range frameVectors(t) {
		if !v.has("error") {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			wire := v.bytes(t, "wire")
			frames, err := readAll(wire)
			require.Empty(t, frames)
			switch v.vals["error"] {
			case "malformed":
				bad := requireFrameError(t, err, "reading it")
				require.Equal(t, v.vals["frame"], bad.Type.String())
				typ, value, err := NewFrameReader(bytes.NewReader(wire), Limits{}).Next()
				require.NoError(t, err, "its length is within the limit")
				_, err = ParseFrame(typ, value)
				requireFrameError(t, err, "parsing its value")
			case "limit":
				_, _, err := NewFrameReader(bytes.NewReader(wire), Limits{}).Next()
				bad := requireFrameError(t, err, "seen by its length")
				require.Equal(t, v.vals["frame"], bad.Type.String())
			case "truncated":
				require.Equal(t, io.ErrUnexpectedEOF, err)
			default:
				require.Fail(t, "unknown error", v.vals["error"])
			}
		})
	}
}

func TestStreamVectors(t *testing.T) {
	for _, v := range frameVectors(t) {
		if !v.has("stream") {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			frames, err := readAll(v.bytes(t, "wire"))
			names := []string{}
			for _, f := range frames {
				names = append(names, f.FrameType().String())
			}
			if len(names) == 0 {
				names = append(names, "-")
			}
			require.Equal(t, v.vals["frames"], strings.Join(names, " "))
			switch v.vals["stream"] {
			case "end":
				require.Equal(t, io.EOF, err)
			case "truncated":
				require.Equal(t, io.ErrUnexpectedEOF, err)
			case "violation":
				requireFrameError(t, err, "the end of the stream")
			default:
				require.Fail(t, "unknown outcome", v.vals["stream"])
			}
		})
	}
}
