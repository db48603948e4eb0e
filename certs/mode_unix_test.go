//go:build unix

package certs

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
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

func TestKnownPeersOthersCanChange(t *testing.T) {
	f, path := known(t, "host "+PeerID{1}.String()+"\n")
	old := time.Now().Add(-time.Hour)
	wantNoError(t, os.Chtimes(path, old, old), "make it old, so that it is not read again for its age")
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o644, 0o444} {
		wantNoError(t, os.Chmod(path, mode), "chmod")
		wantNoError(t, Verify(f, Peer{ID: PeerID{1}, Incoming: true}), mode.String())
	}
	for _, mode := range []fs.FileMode{0o664, 0o646, 0o666, 0o620, 0o602} {
		wantNoError(t, os.Chmod(path, mode), "chmod")
		for _, p := range []Peer{{ID: PeerID{1}, Incoming: true}, {ID: PeerID{1}, Name: "host"}, {ID: PeerID{2}, Name: "new"}} {
			e := wantError[*KnownPeersFileError](t, Learn(f, p), mode.String())
			want(t, e.Path == path, "the path, got %+v", e)
			wantText(t, e, "chmod go-w", path)
		}
		_, err := KnownPeers(path)
		wantError[*KnownPeersFileError](t, err, "from the beginning")
	}
}

// Whatever the umask, a key belongs to its owner alone, from the first byte of
// a temporary file on.
func TestKeyFileWhateverTheUmask(t *testing.T) {
	if path := os.Getenv(umaskFile); path != "" { // the child: a umask is the whole process's
		mask, err := strconv.ParseInt(os.Getenv(umaskMask), 8, 32)
		wantNoError(t, err, "the mask")
		syscall.Umask(int(mask))
		_, err = LoadOrCreate(path)
		wantNoError(t, err, "create")
		_, err = Load(path)
		wantNoError(t, err, "and load")
		known, err := KnownPeers(path + ".known")
		wantNoError(t, err, "known peers")
		wantNoError(t, known.Add("a", PeerID{1}), "learn")
		return
	}
	for _, mask := range []string{"0", "022", "077", "0777"} {
		t.Run(mask, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "peer.key")
			cmd := exec.Command(os.Args[0], "-test.run=^TestKeyFileWhateverTheUmask$")
			cmd.Env = append(os.Environ(), umaskFile+"="+path, umaskMask+"="+mask)
			out, err := cmd.CombinedOutput()
			want(t, err == nil, "child: %v: %s", err, out)
			wantMode(t, path, 0o600)
			wantMode(t, path+".known", 0o600)
			wantFiles(t, filepath.Dir(path), "peer.key", "peer.key.known")
		})
	}
}

const (
	umaskFile = "QUICPEER_CERTS_TEST_UMASK_FILE"
	umaskMask = "QUICPEER_CERTS_TEST_UMASK"
)

// Nobody finds a key in a file that others can open, not even for a moment and
// not under another name.
func TestKeyIsNeverInAnOpenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peer.key")
	id := newIdentityForTest(t)
	wantNoError(t, os.WriteFile(path, nil, 0o644), "an open file in its place")
	wantNoError(t, os.Chmod(path, 0o644), "whatever the umask")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			if err := id.Save(path); err != nil {
				t.Error(err)
			}
		}
	}()
	for seen := 0; ; seen++ {
		entries, err := os.ReadDir(dir)
		wantNoError(t, err, "read the directory")
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				continue // renamed meanwhile
			}
			want(t, info.Size() == 0 || info.Mode().Perm() == 0o600, "%s has %d bytes and mode %v", e.Name(), info.Size(), info.Mode())
		}
		select {
		case <-done:
			wantMode(t, path, 0o600)
			return
		default:
		}
	}
}

// A link to a key is as good as the key, and no way around its mode.
func TestKeyFileModeBehindASymlink(t *testing.T) {
	target := write(t, "peer.key", testKeyP256)
	link := filepath.Join(t.TempDir(), "link")
	wantNoError(t, os.Symlink(target, link), "link")
	_, err := Load(link)
	wantNoError(t, err, "of its owner alone")
	wantNoError(t, os.Chmod(target, 0o644), "chmod")
	_, err = Load(link)
	wantError[*KeyFileError](t, err, "open to others")
	wantNoError(t, os.Remove(target), "remove")
	_, err = LoadOrCreate(link)
	want(t, err == nil, "a link to nothing: %v", err)
	wantMode(t, link, 0o600)
}

func wantMode(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	wantNoError(t, err, "stat")
	want(t, info.Mode().Perm() == mode, "mode %v, got %v", mode, info.Mode().Perm())
}
