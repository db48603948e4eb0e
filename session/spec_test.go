package session

import (
	"encoding/base32"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// These tests hold PROTOCOL.md to the code and to the test vectors.

func readSpec(t *testing.T) string {
	text, err := os.ReadFile("PROTOCOL.md")
	require.NoError(t, err)
	return string(text)
}

// specSection returns what stands below a heading, up to the next one.
func specSection(t *testing.T, heading string) string {
	_, after, ok := strings.Cut(readSpec(t), "\n"+heading+"\n")
	require.True(t, ok, "there is no %q", heading)
	before, _, _ := strings.Cut(after, "\n#")
	return before
}

// specRows returns the cells of the rows of the tables in text, without
// their headings.
func specRows(t *testing.T, text string) [][]string {
	var rows [][]string
	body := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			body = false
		case strings.HasPrefix(line, "| ---"):
			body = true
		case body:
			var cells []string
			for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
				cells = append(cells, strings.TrimSpace(cell))
			}
			rows = append(rows, cells)
		}
	}
	require.NotEmpty(t, rows)
	return rows
}

func number(t *testing.T, s string) uint64 {
	n, err := strconv.ParseUint(strings.ReplaceAll(s, ",", ""), 0, 64)
	require.NoError(t, err)
	return n
}

func TestSpecExamples(t *testing.T) {
	vectors := make(map[string]vector)
	for _, path := range []string{"testdata/frames.txt", "../datagram/testdata/vectors.txt"} {
		for _, v := range readVectors(t, path) {
			require.NotContains(t, vectors, v.name, "two vectors of one name")
			vectors[v.name] = v
		}
	}
	line := regexp.MustCompile(`^(.+?) {2,}((?:[0-9a-f]{2} ?)+)$`)
	examples := 0
	for block := range strings.SplitSeq(readSpec(t), "```hex\n") {
		if examples == 0 {
			examples++ // what stands before the first block
			continue
		}
		lines, _, ok := strings.Cut(block, "```")
		require.True(t, ok, "a block has an end")
		for example := range strings.Lines(lines) {
			m := line.FindStringSubmatch(strings.TrimSuffix(example, "\n"))
			require.NotNil(t, m, "a name, two spaces, bytes in hex: %q", example)
			v, ok := vectors[m[1]]
			require.True(t, ok, "no vector is named %q", m[1])
			require.False(t, v.has("error") || v.vals["kind"] == "invalid", "%s: a good example", v.name)
			wire, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
			require.NoError(t, err)
			require.Equal(t, v.bytes(t, "wire"), wire, v.name)
			examples++
		}
	}
	require.Greater(t, examples, 20)
}

// The two sides of the worked example are its frames in a row.
func TestSpecSession(t *testing.T) {
	wires := make(map[string]string)
	for _, v := range frameVectors(t) {
		wires[v.name] = v.vals["wire"]
	}
	require.Equal(t, wires["open"]+wires["signal"]+wires["close"]+wires["done"], wires["stream-session-opener"])
	require.Equal(t, wires["accept"]+wires["signal-ack"]+wires["close-ack"], wires["stream-session-acceptor"])
}

func TestSpecSessionIDs(t *testing.T) {
	for _, row := range specRows(t, specSection(t, "### 4.3 Session ids")) {
		stream, id := number(t, row[0]), number(t, row[2])
		require.Zero(t, stream&2, "stream %d is bidirectional", stream)
		require.Equal(t, stream>>2<<1|stream&1, id, "stream %d", stream)
		require.Equal(t, [2]string{"client", "server"}[stream&1], row[1], "stream %d", stream)
	}
}

func TestSpecFrameTypes(t *testing.T) {
	named := make(map[FrameType]bool)
	for _, row := range specRows(t, specSection(t, "### 5.4 Which frame where")) {
		typ := FrameType(number(t, row[0]))
		require.Equal(t, typ.String(), row[1])
		named[typ] = true
	}
	for typ := range FrameType(0x100) {
		require.Equal(t, typ.Known() || typ == TypeJoin, named[typ], "%s", typ)
	}
}

func TestSpecLimits(t *testing.T) {
	types := map[string][]FrameType{
		"OPEN, ACCEPT":          {TypeOpen, TypeAccept},
		"SIGNAL":                {TypeSignal},
		"GOAWAY, REJECT, CLOSE": {TypeGoAway, TypeReject, TypeClose},
		"every other known type": {
			TypeSettings, TypePing, TypePong, TypeSignalAck, TypeReport, TypeCloseAck, TypeDone,
		},
		"unknown types": {TypeJoin, ReservedType(0), 0x3f},
	}
	for _, row := range specRows(t, specSection(t, "### 5.2 Limits")) {
		require.Contains(t, types, row[0])
		var want uint64
		for part := range strings.SplitSeq(row[1], " + ") {
			if part == "largest signal" {
				part = "16,384"
			}
			want += number(t, part)
		}
		for _, typ := range types[row[0]] {
			require.Equal(t, want, Limits{}.value(typ), "%s", typ)
		}
		delete(types, row[0])
	}
	require.Empty(t, types, "every type has a line")
}

func TestSpecSettings(t *testing.T) {
	type setting struct{ id, absent uint64 }
	want := []setting{
		{settingInstanceID, 0},
		{settingMaxMessage, DefaultMaxMessage},
		{settingMaxSignal, DefaultMaxSignal},
		{settingMaxSignals, DefaultMaxSignals},
		{settingWindow, 0},
	}
	var got []setting
	for _, row := range specRows(t, specSection(t, "#### SETTINGS")) {
		s := setting{id: number(t, row[0])}
		if row[3][0] >= '0' && row[3][0] <= '9' {
			s.absent = number(t, row[3])
		}
		got = append(got, s)
	}
	require.Equal(t, want, got)
}

func TestSpecCodes(t *testing.T) {
	next := CodeNormal
	for _, row := range specRows(t, specSection(t, "## 7 Codes")) {
		if row[1] == "" {
			continue // a range
		}
		require.Equal(t, next, Code(number(t, row[0])))
		require.Equal(t, next.String(), row[1])
		next++
	}
	require.Equal(t, CodeCancelled+1, next)
}

func TestSpecRules(t *testing.T) {
	rules := regexp.MustCompile(`(?m)^### Rule (\d+): \S.*$`).FindAllStringSubmatch(readSpec(t), -1)
	require.Len(t, rules, 17)
	for i, m := range rules {
		require.Equal(t, strconv.Itoa(i+1), m[1])
	}
}

func TestSpecPeerID(t *testing.T) {
	m := regexp.MustCompile(`bytes +([0-9a-f]{64})\n +text +([a-z2-7]{52})\n`).FindStringSubmatch(readSpec(t))
	require.NotNil(t, m)
	id, err := hex.DecodeString(m[1])
	require.NoError(t, err)
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id)
	require.Equal(t, strings.ToLower(text), m[2])
}

func TestSpecLinks(t *testing.T) {
	spec := readSpec(t)
	anchors := make(map[string]bool)
	drop := regexp.MustCompile(`[^a-z0-9_ -]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(spec, -1) {
		anchor := strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		require.False(t, anchors[anchor], "two headings give #%s", anchor)
		anchors[anchor] = true
	}
	links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(spec, -1)
	require.NotEmpty(t, links)
	for _, m := range links {
		if anchor, ok := strings.CutPrefix(m[1], "#"); ok {
			require.True(t, anchors[anchor], "%s leads nowhere", m[0])
			continue
		}
		_, err := os.Stat(filepath.FromSlash(m[1]))
		require.NoError(t, err)
	}
}
