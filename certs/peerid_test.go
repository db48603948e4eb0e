package certs

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPeerIDText(t *testing.T) {
	id := newIdentityForTest(t).ID()
	s := id.String()
	want(t, len(s) == 52 && s == strings.ToLower(s), "52 lower-case characters, got %q", s)
	for _, text := range []string{s, strings.ToUpper(s)} {
		got, err := ParsePeerID(text)
		wantNoError(t, err, text)
		want(t, got == id, "the same id back")
	}

	data, err := json.Marshal(map[PeerID]PeerID{id: id})
	wantNoError(t, err, "an id is a JSON key and value")
	var back map[PeerID]PeerID
	wantNoError(t, json.Unmarshal(data, &back), "and back")
	want(t, back[id] == id, "the same id from %s", data)
	wantError[*PeerIDError](t, json.Unmarshal([]byte(`"abc"`), new(PeerID)), "JSON with a bad id")
}

func TestPeerIDCompare(t *testing.T) {
	a, b := PeerID{1}, PeerID{1, 1}
	want(t, a.Equal(a) && !a.Equal(b), "Equal is ==")
	want(t, PeerID{}.IsZero() && !a.IsZero(), "only zero is zero")
}

func TestParsePeerIDTypos(t *testing.T) {
	good := PeerID{0x80}.String()
	for _, c := range []struct {
		text     string
		position int
		say      string
	}{
		{"", 0, "0 characters"},
		{good[:51], 0, "51 characters"},
		{good + "a", 0, "53 characters"},
		{good + "====", 53, "padding"},
		{"a b" + good[3:], 2, "only a to z"},
		{good + "\n", 53, "only a to z"},
		{"0" + good[1:], 1, "letter o"},
		{good[:9] + "1" + good[10:], 10, "letter l or i"},
		{good[:9] + "8" + good[10:], 10, "letter b"},
		{good[:9] + "ä" + good[10:], 10, "'ä'"},
		{good[:9] + "\xff" + good[10:], 10, "only a to z"},
		{good[:51] + "b", 52, "a or q"},
		{good[:51] + "Q", -1, ""},
	} {
		_, err := ParsePeerID(c.text)
		if c.position < 0 {
			wantNoError(t, err, c.text)
			continue
		}
		e := wantError[*PeerIDError](t, err, c.text)
		want(t, e.Position == c.position, "position %d for %q: %v", c.position, c.text, e)
		wantText(t, err, c.say)
	}
}

func TestPeerIDFromBadKey(t *testing.T) {
	_, err := PeerIDFromPublicKey("not a key")
	wantText(t, err, "certs: no peer id")
}

// Accepted text names exactly one id, and that id has one canonical text.
func FuzzParsePeerID(f *testing.F) {
	f.Add(PeerID{}.String())
	f.Add(strings.ToUpper(PeerID{0xff, 31: 0xff}.String()))
	f.Add("qcrgwjbyj2qofqa5blqargx3mo4tofmszrr7d7je7zxyg3o3dzjqq")
	f.Add("not an id")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParsePeerID(text)
		if err != nil {
			want(t, id.IsZero(), "no id beside an error")
			return
		}
		want(t, id.String() == strings.ToLower(text), "%q is the canonical form of %q", id, text)
		again, err := ParsePeerID(id.String())
		want(t, err == nil && again == id, "the canonical form parses to the same id")
	})
}
