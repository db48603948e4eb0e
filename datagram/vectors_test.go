package datagram

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A vector is one block of testdata/vectors.txt.
type vector map[string][]string

func (v vector) get(key string) string {
	if len(v[key]) != 1 {
		return fmt.Sprintf("%d values of %q", len(v[key]), key)
	}
	return v[key][0]
}

func (v vector) number(t *testing.T, key string) uint64 {
	n, err := strconv.ParseUint(v.get(key), 10, 64)
	require.NoError(t, err, key)
	return n
}

func (v vector) bytes(t *testing.T, key string) []byte { return hexBytes(t, v.get(key)) }

func hexBytes(t *testing.T, s string) []byte {
	if s == "-" {
		return []byte{}
	}
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// token8 is a token from its hexadecimal form.
func (v vector) token8(t *testing.T) (token [8]byte) {
	b := v.bytes(t, "token")
	require.Len(t, b, len(token))
	copy(token[:], b)
	return token
}

func readVectors(t testing.TB) []vector {
	text, err := os.ReadFile("testdata/vectors.txt")
	require.NoError(t, err)
	var all []vector
	for block := range strings.SplitSeq(string(text), "\n\n") {
		v := vector{}
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			key, value, ok := strings.Cut(line, ": ")
			require.True(t, ok, "%q", line)
			v[key] = append(v[key], value)
		}
		if len(v) > 0 {
			all = append(all, v)
		}
	}
	require.NotEmpty(t, all)
	return all
}

func TestVectors(t *testing.T) {
	kinds := map[string]int{}
	for _, v := range readVectors(t) {
		kinds[v.get("kind")]++
		t.Run(v.get("name"), func(t *testing.T) { testVector(t, v) })
	}
	for _, kind := range []string{"message", "bundle", "fragment", "heartbeat", "heartbeat-echo", "credit", "unknown", "invalid"} {
		require.NotZero(t, kinds[kind], "no vector of kind %s", kind)
	}
}

func testVector(t *testing.T, v vector) {
	wire := v.bytes(t, "wire")
	if v.get("kind") == "invalid" {
		testInvalid(t, v, wire)
		return
	}
	h, body, err := ParseHeader(wire)
	require.NoError(t, err)
	number := v.number(t, "number")
	require.Equal(t, number, h.Number)

	var encoded []byte
	switch v.get("kind") {
	case "message":
		require.Equal(t, KindMessage, h.Kind)
		want := Message{v.number(t, "session"), v.bytes(t, "payload")}
		got, err := ParseMessage(body)
		require.NoError(t, err)
		require.Equal(t, want, got)
		encoded = AppendMessage(nil, number, want)
	case "bundle":
		require.Equal(t, KindBundle, h.Kind)
		encoded = AppendHeader(nil, Header{KindBundle, number})
		for _, item := range v["item"] {
			session, payload, _ := strings.Cut(item, " ")
			id, err := strconv.ParseUint(session, 10, 64)
			require.NoError(t, err)
			want := Message{id, hexBytes(t, payload)}
			var got Message
			got, body, err = NextBundleItem(body)
			require.NoError(t, err)
			require.Equal(t, want, got)
			encoded = AppendBundleItem(encoded, want)
		}
		require.Empty(t, body)
	case "fragment":
		require.Equal(t, KindFragment, h.Kind)
		want := Fragment{v.number(t, "session"), v.number(t, "message"), v.number(t, "total"), v.number(t, "offset"), v.bytes(t, "payload")}
		got, err := ParseFragment(body)
		require.NoError(t, err)
		require.Equal(t, want, got)
		encoded = AppendFragment(nil, number, want)
	case "heartbeat", "heartbeat-echo":
		echo := v.get("kind") == "heartbeat-echo"
		require.Equal(t, echo, h.Kind == KindHeartbeatEcho)
		require.Equal(t, !echo, h.Kind == KindHeartbeat)
		got, err := ParseHeartbeat(body)
		require.NoError(t, err)
		require.Equal(t, v.token8(t), got)
		encoded = AppendHeartbeat(nil, number, echo, got)
		require.GreaterOrEqual(t, len(encoded), HeartbeatSize)
	case "credit":
		require.Equal(t, KindCredit, h.Kind)
		want := Credit{v.number(t, "end"), v.number(t, "taken")}
		got, err := ParseCredit(body)
		require.NoError(t, err)
		require.Equal(t, want, got)
		encoded = AppendCredit(nil, number, want)
	case "unknown":
		require.Contains(t, h.Kind.String(), "unknown")
		m := newTestMux(t, MuxConfig{})
		m.handle(wire, "not a violation")
		require.Equal(t, uint64(1), m.Counts().DatagramDrops[ReasonUnknownKind])
		require.Equal(t, number+1, m.Counts().End)
	default:
		t.Fatalf("vector of kind %q", v.get("kind"))
	}
	if len(v["only"]) == 0 {
		require.Equal(t, v.get("wire"), hex.EncodeToString(encoded))
	}
}

func testInvalid(t *testing.T, v vector, wire []byte) {
	err := parseAny(wire)
	var malformed *MalformedError
	require.True(t, errors.As(err, &malformed), "%v", err)
	require.Equal(t, v.get("reason"), malformed.Reason)
	require.Contains(t, err.Error(), malformed.Reason)
	require.Equal(t, v.get("session") != "-", malformed.HasSession)

	m := newTestMux(t, MuxConfig{Client: true})
	if !malformed.HasSession {
		require.Equal(t, Event{}, m.Handle(epoch, wire))
	} else {
		session := v.number(t, "session")
		require.Equal(t, session, malformed.Session)
		m.open(session, FlowConfig{})
		require.Equal(t, Event{Kind: EventViolation, Session: session, Err: err}, m.Handle(epoch, wire))
	}
	require.Equal(t, uint64(1), m.Counts().DatagramDrops[ReasonMalformed])
}

// parseAny parses a datagram of any kind to its end.
func parseAny(wire []byte) error {
	h, body, err := ParseHeader(wire)
	if err != nil {
		return err
	}
	switch h.Kind {
	case KindMessage:
		_, err = ParseMessage(body)
	case KindBundle:
		err = checkBundle(body)
	case KindFragment:
		_, err = ParseFragment(body)
	case KindHeartbeat, KindHeartbeatEcho:
		_, err = ParseHeartbeat(body)
	case KindCredit:
		_, err = ParseCredit(body)
	}
	return err
}
