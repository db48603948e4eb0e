//go:build unix

package certs

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestKeyFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	id := newIdentityForTest(t)
	wantNoError(t, id.Save(path), "save")
	wantMode(t, path, 0o600)

	for _, mode := range []fs.FileMode{0o600, 0o400, 0o700} {
		wantNoError(t, os.Chmod(path, mode), "chmod")
		_, err := Load(path)
		wantNoError(t, err, mode.String())
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o620, 0o602, 0o610} {
		wantNoError(t, os.Chmod(path, mode), "chmod")
		_, err := Load(path)
		e := wantError[*KeyFileError](t, err, mode.String())
		want(t, e.Path == path && e.Fix != "", "path and fix, got %+v", e)
		wantText(t, err, "chmod 600", path)
		_, err = LoadOrCreate(path)
		wantError[*KeyFileError](t, err, "LoadOrCreate does not go around it")
	}

	wantNoError(t, id.Save(path), "save over an open file")
	wantMode(t, path, 0o600)
}

func TestKnownPeersFileKeepsItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "known")
	f, err := KnownPeers(path)
	wantNoError(t, err, "no file yet")
	wantNoError(t, f.Add("a", PeerID{1}), "add")
	wantMode(t, path, 0o600)
	wantNoError(t, os.Chmod(path, 0o644), "chmod")
	wantNoError(t, f.Add("b", PeerID{1}), "add")
	wantMode(t, path, 0o644)
}

func wantMode(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	wantNoError(t, err, "stat")
	want(t, info.Mode().Perm() == mode, "mode %v, got %v", mode, info.Mode().Perm())
}
