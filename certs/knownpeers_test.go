package certs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func known(t testing.TB, content string) (f *KnownPeersFile, path string) {
	t.Helper()
	path = write(t, "known", content)
	f, err := KnownPeers(path)
	if err != nil {
		t.Fatal(err)
	}
	return f, path
}

// dial runs a handshake and learns after it, as an application does.
func dial(t *testing.T, me, peer *Identity, trust Trust, name string) error {
	t.Helper()
	o := handshake(t, me.ClientTLS(testALPN, trust, name), peer.ServerTLS(testALPN, Anyone(), false))
	if o.clientErr != nil {
		return o.clientErr
	}
	p, _ := PeerFromState(o.client)
	p.Name = name
	return Learn(trust, p)
}

func TestLearnOnFirstUse(t *testing.T) {
	me, peer, other := newIdentityForTest(t), newIdentityForTest(t), newIdentityForTest(t)
	path := filepath.Join(t.TempDir(), "known")
	f, err := KnownPeers(path)
	wantNoError(t, err, "a file that is not there yet")

	wantError[*UntrustedError](t, f.Verify(peerOf(peer, "")), "incoming, nobody is known")
	wantFiles(t, filepath.Dir(path))
	wantNoError(t, f.Verify(peerOf(peer, "host:1")), "asking does not learn")
	wantFiles(t, filepath.Dir(path))

	wantNoError(t, dial(t, me, peer, f, "Host.:1"), "first use")
	want(t, read(t, path) == fmt.Sprintf("host:1 %s\n", peer.ID()), "learned, got %q", read(t, path))
	wantNoError(t, dial(t, me, peer, f, "host:1"), "second use")
	wantNoError(t, f.Verify(peerOf(peer, "")), "incoming, it is known under any name")
	wantError[*UntrustedError](t, f.Verify(peerOf(other, "")), "incoming, another is not")

	err = dial(t, me, other, f, "host:1")
	e := wantError[*KeyChangedError](t, err, "another key under that name")
	want(t, e.Name == "host:1" && e.Known == peer.ID() && e.Got == other.ID() && e.Path == path && e.Line == 1, "all about it: %+v", e)
	wantText(t, err, "HAS CHANGED", path+":1", "remove line 1")
	wantError[*UntrustedError](t, err, "and untrusted all the same")

	wantNoError(t, dial(t, me, other, f, "host:2"), "another port is another name")
	want(t, read(t, path) == fmt.Sprintf("host:1 %s\nhost:2 %s\n", peer.ID(), other.ID()), "learned, got %q", read(t, path))
	wantFiles(t, filepath.Dir(path), "known")

	for _, name := range []string{"", "a b:1", "ho#st:1", "host\n:1", "::x", "[host", "\xff", ".", strings.Repeat("a", 261)} {
		p := peerOf(peer, name)
		p.Incoming = false
		wantError[*UntrustedError](t, f.Verify(p), "the name "+name)
	}
}

// What else takes part in the trust decides whether a peer is learned.
func TestLearnInCombination(t *testing.T) {
	peer := newIdentityForTest(t)
	p := peerOf(peer, "host:1")
	for _, c := range []struct {
		what   string
		trust  func(f Trust) Trust
		ok     bool
		learns bool
	}{
		{"any of, first", func(f Trust) Trust { return AnyOf(f, Anyone()) }, true, true},
		{"any of, after one that accepts", func(f Trust) Trust { return AnyOf(IDs(peer.ID()), f) }, true, false},
		{"any of, after one that refuses", func(f Trust) Trust { return AnyOf(IDs(), f) }, true, true},
		{"all of", func(f Trust) Trust { return AllOf(f, IDs(peer.ID())) }, true, true},
		{"all of, before one that refuses", func(f Trust) Trust { return AllOf(f, IDs()) }, false, false},
		{"nested", func(f Trust) Trust { return AllOf(AnyOf(f, Anyone()), IDs(peer.ID())) }, true, true},
		{"nested, before one that refuses", func(f Trust) Trust { return AllOf(AnyOf(f, Anyone()), IDs()) }, false, false},
		{"not at all", func(Trust) Trust { return Anyone() }, true, false},
		{"no trust", func(Trust) Trust { return nil }, false, false},
	} {
		f, path := known(t, "")
		err := Learn(c.trust(f), p)
		want(t, (err == nil) == c.ok, "%s: accepted %v, got %v", c.what, c.ok, err)
		want(t, strings.Contains(read(t, path), peer.ID().String()) == c.learns, "%s: learned %v, got %q", c.what, c.learns, read(t, path))
		if !c.ok {
			wantError[*UntrustedError](t, err, c.what)
		}
	}
}

// Two dials of one new name, which meet different keys: the one that is
// learned second is not trusted, though both were when they were asked.
func TestLearnTwoKeysAtOnce(t *testing.T) {
	a, b := newIdentityForTest(t), newIdentityForTest(t)
	f, path := known(t, "")
	trust := AllOf(f, Anyone())
	wantNoError(t, Verify(trust, peerOf(a, "host:1")), "the first")
	wantNoError(t, Verify(trust, peerOf(b, "host:1")), "the second")
	learnB, err := judge(trust, peerOf(b, "host:1"))
	wantNoError(t, err, "the second, in Learn")
	wantNoError(t, Learn(trust, peerOf(a, "host:1")), "learn the first")
	wantError[*KeyChangedError](t, learnB(), "learn the second")
	want(t, !strings.Contains(read(t, path), b.ID().String()), "only the first in the file")
}

func TestLearnFails(t *testing.T) {
	dir := t.TempDir()
	f, err := KnownPeers(filepath.Join(dir, "none", "known"))
	wantNoError(t, err, "no directory yet")
	err = Learn(f, peerOf(newIdentityForTest(t), "host:1"))
	wantError[*UntrustedError](t, err, "a peer that cannot be remembered is not trusted")

	full, path := known(t, strings.Repeat("#", maxKnownPeersFile))
	err = full.Add("host", PeerID{1})
	wantError[*KnownPeersFileError](t, err, "a full file")
	wantText(t, err, path, "4194304 bytes")
	wantNoError(t, os.WriteFile(path, []byte(strings.Repeat("#", maxKnownPeersFile+1)), 0o600), "write")
	wantError[*KnownPeersFileError](t, full.Verify(peerOf(newIdentityForTest(t), "")), "a file that is too large")
	wantError[*KnownPeersFileError](t, full.Add("host", PeerID{1}), "too large to add to")
}

func TestKnownPeersFile(t *testing.T) {
	id, other := PeerID{1}, PeerID{2}
	content := fmt.Sprintf("# mine\r\n\n  host:1\t%s  # at home\nHOST.:2 %s\n::ffff:192.0.2.7 %s", strings.ToUpper(id.String()), other, other)
	f, path := known(t, content)
	for name, wanted := range map[string]PeerID{
		"host:1": id, "Host.:1": id, "host:2": other, "192.0.2.7": other, "host": {}, "host:3": {}, "[2001:db8::1]:5": {},
	} {
		got, ok, err := f.Lookup(name)
		want(t, err == nil && got == wanted && ok == !wanted.IsZero(), "%q is %v, got %v %v %v", name, wanted, got, ok, err)
	}
	_, _, err := f.Lookup("")
	want(t, err != nil, "no name, no answer")

	wantNoError(t, f.Add("[2001:0DB8::1]:5", id), "add")
	wantNoError(t, f.Add("[2001:db8::1]:5", id), "add again")
	want(t, read(t, path) == content+fmt.Sprintf("\n[2001:db8::1]:5 %s\n", id), "what was there stays as it was, got %q", read(t, path))
	wantError[*KeyChangedError](t, f.Add("host:2", id), "another key")
	want(t, f.Add("a b", id) != nil && f.Add("", id) != nil, "no such names")
	want(t, f.Add("host:9", PeerID{}) != nil, "no zero id")
	want(t, new(KnownPeersFile).Add("host", id) != nil, "no file")
	_, err = KnownPeers("")
	want(t, err != nil, "no file")
	_, err = KnownPeers(t.TempDir())
	want(t, err != nil, "a directory is no file")
}

func TestKnownPeersMalformed(t *testing.T) {
	id := PeerID{1}.String()
	for _, c := range []struct{ content, say string }{
		{"host\n", ":1: "},
		{"# x\n\nhost " + id[1:], ":3: "},
		{"host " + id + " more", "3 fields"},
		{"host " + id[:51] + "1", "character 52"},
		{"host " + PeerID{}.String(), "zero id"},
		{"ho\x00st " + id, `'\x00'`},
		{"\ufeffhost " + id, `'\ufeff'`},
		{"\xffhost " + id, "not a host name"},
		{"host " + id + "\nHOST. " + id, ":2: \"host\" is already in line 1"},
	} {
		path := write(t, "known", c.content)
		_, err := KnownPeers(path)
		e := wantError[*KnownPeersFileError](t, err, c.content)
		want(t, e.Path == path && e.Line > 0, "path and line: %+v", e)
		wantText(t, err, path+":", c.say)
	}

	_, err := KnownPeers(write(t, "known", "host abc"))
	wantError[*PeerIDError](t, err, "the cause can be asked for")

	// Broken while in use: nobody is trusted, and nothing is overwritten.
	f, path := known(t, "host "+id+"\n")
	broken := "host " + id + "\nbroken"
	wantNoError(t, os.WriteFile(path, []byte(broken), 0o600), "break it")
	for _, p := range []Peer{{ID: PeerID{1}, Name: "host"}, {ID: PeerID{1}, Incoming: true}} {
		e := wantError[*KnownPeersFileError](t, Verify(f, p), "broken")
		want(t, e.Line == 2, "line 2: %v", e)
	}
	want(t, f.Add("new", PeerID{1}) != nil && read(t, path) == broken, "still broken")
	_, _, err = f.Lookup("host")
	want(t, err != nil, "no answer from a broken file")
}

// The file is read again when it has changed, and only then.
func TestKnownPeersEdited(t *testing.T) {
	a, b := PeerID{1}, PeerID{2}
	f, path := known(t, "host "+a.String()+"\n")
	old := time.Now().Add(-time.Hour)
	wantNoError(t, os.Chtimes(path, old, old), "make it old")
	wantNoError(t, f.Verify(Peer{ID: a, Incoming: true}), "known")
	before := f.last
	want(t, before != nil, "an old file is remembered")
	wantNoError(t, f.Verify(Peer{ID: a, Incoming: true}), "still known")
	want(t, f.last == before, "and not read again")

	// In place, with the same size.
	wantNoError(t, os.WriteFile(path, []byte("host "+b.String()+"\n"), 0o600), "edit")
	want(t, f.Verify(Peer{ID: a, Incoming: true}) != nil, "no longer known")
	// Again at once, in the same step of a coarse clock.
	info, err := os.Stat(path)
	wantNoError(t, err, "stat")
	wantNoError(t, os.WriteFile(path, []byte("host "+a.String()+"\n"), 0o600), "edit")
	wantNoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()), "the same time")
	wantNoError(t, f.Verify(Peer{ID: a, Incoming: true}), "known again")
	wantNoError(t, os.Remove(path), "remove")
	want(t, f.Verify(Peer{ID: a, Incoming: true}) != nil, "nobody is known")
}

func TestKnownPeersConcurrently(t *testing.T) {
	f, path := known(t, "")
	second, err := KnownPeers(path) // as another part of the program might have
	wantNoError(t, err, "known peers")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			file := []*KnownPeersFile{f, second}[i%2]
			p := Peer{ID: PeerID{byte(i + 1)}, Name: fmt.Sprintf("host-%d:1", i)}
			if err := Learn(file, p); err != nil {
				t.Error(err)
			}
			p.Incoming = true
			if err := file.Verify(p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	known, err := f.read()
	wantNoError(t, err, "read")
	want(t, len(known.names) == 20 && len(known.ids) == 20, "all are there, got %d", len(known.names))
	wantFiles(t, filepath.Dir(path), "known")
}

func TestCanonicalName(t *testing.T) {
	for name, wanted := range map[string]string{
		"Example.ORG.:4433":       "example.org:4433",
		"example.org":             "example.org",
		"192.0.2.7:1":             "192.0.2.7:1",
		"[::ffff:192.0.2.7]:1":    "192.0.2.7:1",
		"::FFFF:192.0.2.7":        "192.0.2.7",
		"[2001:DB8:0:0::1]:1":     "[2001:db8::1]:1",
		"2001:DB8::1":             "2001:db8::1",
		"[2001:db8::1]":           "2001:db8::1",
		"[fe80::1%Eth0]:1":        "[fe80::1%Eth0]:1",
		"bücher.example:quicpeer": "bücher.example:quicpeer",
	} {
		got, err := canonicalName(name)
		want(t, err == nil && got == wanted, "%q becomes %q, got %q %v", name, wanted, got, err)
	}
}

// A file that is accepted says the same when written anew, and a peer that is
// added changes nothing but itself.
func FuzzParseKnownPeers(f *testing.F) {
	id := PeerID{1}.String()
	f.Add([]byte("host:1 " + id + "\n# comment\n[::1]:2 " + id))
	f.Add([]byte("Host. " + id + " # x\r\n\r\n::ffff:1.2.3.4 " + id))
	f.Add([]byte("fe80::1%Eth0 " + id))
	f.Add([]byte("host\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		known, err := parseKnownPeers("file", data)
		if err != nil {
			wantError[*KnownPeersFileError](t, err, "always this type")
			return
		}
		var anew []byte
		for _, name := range slices.Sorted(maps.Keys(known.names)) {
			canonical, err := canonicalName(name)
			want(t, err == nil && canonical == name, "%q is canonical, got %q %v", name, canonical, err)
			entry := known.names[name]
			_, ok := known.ids[entry.id]
			want(t, ok && !entry.id.IsZero(), "the id of %q among the ids", name)
			anew = appendKnownPeer(anew, name, entry.id)
		}
		wantSame(t, known, anew, "")

		const added = "added.test:1"
		if _, ok := known.names[added]; !ok {
			wantSame(t, known, appendKnownPeer(data, added, PeerID{9}), added)
		}
	})
}

// wantSame checks that data has the peers of known, and the added one.
func wantSame(t *testing.T, known *knownPeers, data []byte, added string) {
	t.Helper()
	again, err := parseKnownPeers("file", data)
	wantNoError(t, err, "what was written can be read")
	if added != "" {
		want(t, again.names[added].id == PeerID{9}, "the added peer is there")
		delete(again.names, added)
	}
	want(t, maps.EqualFunc(known.names, again.names, func(a, b knownPeer) bool { return a.id == b.id }), "the same peers")
}
