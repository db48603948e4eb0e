package certs

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	id := newIdentityForTest(t)
	wantNoError(t, id.Save(path), "save")
	back, err := Load(path)
	wantNoError(t, err, "load")
	want(t, back.ID() == id.ID() && back.ResetKey("a") == id.ResetKey("a"), "the same identity")
	want(t, string(back.Certificate().Certificate[0]) != string(id.Certificate().Certificate[0]), "a fresh certificate")

	other := newIdentityForTest(t)
	wantNoError(t, other.Save(path), "save over it")
	back, err = Load(path)
	want(t, err == nil && back.ID() == other.ID(), "the other identity: %v", err)
	wantFiles(t, filepath.Dir(path), "peer.key")
}

func TestLoadKnownKeys(t *testing.T) {
	for key, want := range map[string]string{
		testKeyP256:    testKeyP256ID,
		testKeyEd25519: testKeyEd25519ID,
		"my key\n\n" + testKeyEd25519 + "end of it\n": testKeyEd25519ID,
		strings.ReplaceAll(testKeyP256, "\n", "\r\n"): testKeyP256ID,
	} {
		id, err := Load(write(t, "peer.key", key))
		wantNoError(t, err, key)
		if id.ID().String() != want {
			t.Fatalf("id %s, want %s", id.ID(), want)
		}
	}
}

func TestSaveAndLoadIssued(t *testing.T) {
	id := newAuthority(t).issue(t, x509.Certificate{DNSNames: []string{"peer.test"}})
	path := filepath.Join(t.TempDir(), "peer.key")
	wantNoError(t, id.Save(path), "save")
	back, err := Load(path)
	wantNoError(t, err, "load")
	want(t, back.ID() == id.ID() && back.Certificate().Leaf.Equal(id.Certificate().Leaf), "the same certificate")
	want(t, len(back.Certificate().Certificate) == 2, "with its chain")
}

func TestLoadRefuses(t *testing.T) {
	block := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	wantNoError(t, err, "generate")
	der, err := x509.MarshalPKCS8PrivateKey(x25519)
	wantNoError(t, err, "marshal")
	other := newIdentityForTest(t)

	for _, c := range []struct{ what, content, say string }{
		{"empty", "", "no PEM block"},
		{"something else", "hello\n", "no PEM block"},
		{"only a certificate", block("CERTIFICATE", other.Certificate().Certificate[0]), "no PEM block \"PRIVATE KEY\""},
		{"two keys", testKeyP256 + testKeyEd25519, "more than one"},
		{"cut off", testKeyP256[:100], "damaged"},
		{"a damaged block before", strings.Replace(testKeyEd25519, "END PRIV", "END PIRV", 1) + testKeyP256, "damaged"},
		{"a damaged block after", testKeyP256 + "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "damaged"},
		{"encrypted", block("ENCRYPTED PRIVATE KEY", []byte{1}), "openssl pkcs8 -in"},
		{"SEC 1", block("EC PRIVATE KEY", []byte{1}), "openssl pkcs8 -topk8"},
		{"a block too many", testKeyP256 + block("DH PARAMETERS", []byte{1}), `"DH PARAMETERS" does not belong`},
		{"not PKCS#8", block("PRIVATE KEY", []byte("secret secret")), "does not parse"},
		{"not for signing", block("PRIVATE KEY", der), "ecdh.PrivateKey is not supported"},
		{"another key's certificate", testKeyP256 + block("CERTIFICATE", other.Certificate().Certificate[0]), "not issued for this private key"},
		{"too large", testKeyP256 + strings.Repeat("\n", maxKeyFile), "more than 65536 bytes"},
	} {
		path := write(t, "peer.key", c.content)
		_, err := Load(path)
		e := wantError[*KeyFileError](t, err, c.what)
		want(t, e.Path == path, "the path in the error, got %q", e.Path)
		wantText(t, err, c.say, path)
		for _, line := range strings.Split(testKeyP256, "\n")[1:4] {
			want(t, !strings.Contains(err.Error(), line), "no key in the error")
		}
		want(t, !strings.Contains(err.Error(), "secret secret"), "nothing of the file in the error: %v", err)

		_, err = LoadOrCreate(path)
		wantError[*KeyFileError](t, err, c.what)
		want(t, read(t, path) == c.content, "LoadOrCreate leaves a file that it cannot use as it is")
	}

	_, err = Load(filepath.Join(t.TempDir(), "none"))
	want(t, errors.Is(err, fs.ErrNotExist), "a missing file is just that: %v", err)
	_, err = Load(t.TempDir())
	want(t, err != nil, "a directory is no key")
	wantError[*UnsupportedKeyError](t, loadErr(write(t, "peer.key", block("PRIVATE KEY", der))), "the type in the chain")
}

func loadErr(path string) error {
	_, err := Load(path)
	return err
}

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	id, err := LoadOrCreate(path)
	wantNoError(t, err, "create")
	again, err := LoadOrCreate(path)
	wantNoError(t, err, "load")
	want(t, id.ID() == again.ID(), "the same identity")
	wantFiles(t, filepath.Dir(path), "peer.key")

	_, err = LoadOrCreate(filepath.Join(t.TempDir(), "no", "such", "directory"))
	want(t, errors.Is(err, fs.ErrNotExist), "directories are not made up: %v", err)
}

func TestLoadOrCreateAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	var ids [16]PeerID
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := LoadOrCreate(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = id.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		want(t, id == ids[0] && !id.IsZero(), "one identity for all")
	}
	wantFiles(t, filepath.Dir(path), "peer.key")
}

// A reader finds one file or the other, never a part.
func TestSaveIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	a, b := newIdentityForTest(t), newIdentityForTest(t)
	wantNoError(t, a.Save(path), "save")
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 50 {
			for _, id := range []*Identity{b, a} {
				if err := id.Save(path); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 200 {
		id, err := Load(path)
		if err != nil || (id.ID() != a.ID() && id.ID() != b.ID()) {
			t.Errorf("a whole file: %v", err)
			break
		}
	}
	wg.Wait()
	wantFiles(t, filepath.Dir(path), "peer.key")
}

func TestSaveFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub")
	wantNoError(t, os.MkdirAll(filepath.Join(path, "full"), 0o700), "make a directory in its place")
	want(t, newIdentityForTest(t).Save(path) != nil, "a directory cannot be replaced")
	wantFiles(t, dir, "sub")
	want(t, newIdentityForTest(t).Save(filepath.Join(dir, "none", "peer.key")) != nil, "no such directory")
}

func TestSaveFollowsSymlink(t *testing.T) {
	target := write(t, "peer.key", testKeyP256)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skip("no symbolic links: ", err)
	}
	id := newIdentityForTest(t)
	wantNoError(t, id.Save(link), "save")
	back, err := Load(target)
	wantNoError(t, err, "load")
	want(t, back.ID() == id.ID(), "the target is replaced")
	info, err := os.Lstat(link)
	want(t, err == nil && info.Mode()&fs.ModeSymlink != 0, "the link is still one")
}

// wantFiles checks that nothing else is left in the directory.
func wantFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	wantNoError(t, err, "read the directory")
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want(t, strings.Join(got, " ") == strings.Join(names, " "), "only %q in the directory, got %q", names, got)
}
