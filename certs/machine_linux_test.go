package certs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// alone runs f on a thread of its own, after prepare has changed something there
// that cannot be undone, and skips the test where that is not permitted.
func alone(t *testing.T, prepare func() error, f func()) {
	t.Helper()
	failed := make(chan error)
	go func() {
		err := errors.New("the test has failed")
		defer func() { failed <- err }()
		runtime.LockOSThread() // for good: the thread ends with it
		if err = prepare(); err == nil {
			f()
		}
	}()
	if err := <-failed; err != nil && !t.Failed() {
		t.Skipf("not as this user, or on this system: %v", err)
	}
}

// smallDisk runs f with a file system of its own, of four pages.
func smallDisk(t *testing.T, f func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	alone(t, func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k")
	}, func() { f(dir) })
}

// fill takes what is left of a disk; the function returned gives it back.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	wantNoError(t, err, "create")
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	want(t, errors.Is(err, unix.ENOSPC), "a full disk: %v", err)
	f.Close()
	return func() { wantNoError(t, os.Remove(name), "remove") }
}

// On a full disk nothing can be added, and nothing is lost: neither the peers
// that were known nor the key. Once there is room all goes on.
func TestFullDisk(t *testing.T) {
	smallDisk(t, func(dir string) {
		knownPath, keyPath := filepath.Join(dir, "known"), filepath.Join(dir, "peer.key")
		known, err := KnownPeers(knownPath)
		wantNoError(t, err, "known peers")
		wantNoError(t, known.Add("a", PeerID{1}), "add")
		content := read(t, knownPath)
		empty := fill(t, dir)

		want(t, errors.Is(known.Add("b", PeerID{2}), unix.ENOSPC), "no room for a peer")
		want(t, errors.Is(Learn(known, Peer{Name: "b", ID: PeerID{2}}), unix.ENOSPC), "a dial is told")
		want(t, read(t, knownPath) == content, "the peers that were known are still")
		wantNoError(t, known.Verify(Peer{Name: "a", ID: PeerID{1}}), "and trusted")
		_, err = LoadOrCreate(keyPath)
		want(t, errors.Is(err, unix.ENOSPC), "no room for a key: %v", err)
		wantFiles(t, dir, "filler", "known")

		empty()
		id, err := LoadOrCreate(keyPath)
		wantNoError(t, err, "room for a key")
		wantNoError(t, known.Add("b", PeerID{2}), "room for a peer")
		fill(t, dir)
		want(t, errors.Is(newIdentityForTest(t).Save(keyPath), unix.ENOSPC), "no room for another key")
		again, err := LoadOrCreate(keyPath)
		want(t, err == nil && again.ID() == id.ID(), "the key is still there: %v", err)
		wantFiles(t, dir, "filler", "known", "peer.key")
	})
}

// From a disk that cannot be written to, what is there is read.
func TestReadOnlyDisk(t *testing.T) {
	smallDisk(t, func(dir string) {
		knownPath, keyPath := filepath.Join(dir, "known"), filepath.Join(dir, "peer.key")
		known, err := KnownPeers(knownPath)
		wantNoError(t, err, "known peers")
		wantNoError(t, known.Add("a", PeerID{1}), "add")
		id, err := LoadOrCreate(keyPath)
		wantNoError(t, err, "create")
		wantNoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""), "remount")

		again, err := LoadOrCreate(keyPath)
		want(t, err == nil && again.ID() == id.ID(), "the key: %v", err)
		_, err = LoadOrCreate(filepath.Join(dir, "other.key"))
		want(t, errors.Is(err, unix.EROFS), "no new key: %v", err)
		wantText(t, err, "other.key")
		wantNoError(t, known.Verify(Peer{Name: "a", ID: PeerID{1}}), "a known peer")
		err = known.Add("b", PeerID{2})
		want(t, errors.Is(err, unix.EROFS), "no new peer: %v", err)
		wantText(t, err, knownPath)
	})
}

// Files that another user owns are neither read nor replaced. Which right is
// missing is said.
func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	wantNoError(t, os.Chmod(filepath.Dir(dir), 0o755), "chmod")
	knownPath, keyPath := filepath.Join(dir, "known"), filepath.Join(dir, "peer.key")
	known, err := KnownPeers(knownPath)
	wantNoError(t, err, "known peers")
	wantNoError(t, known.Add("a", PeerID{1}), "add")
	_, err = LoadOrCreate(keyPath)
	wantNoError(t, err, "create")
	key := read(t, keyPath)
	wantNoError(t, os.Chmod(dir, 0o777), "chmod") // only the files themselves are in the way

	const nobody = 65534
	alone(t, func() error {
		_, _ = unix.SetfsuidRetUid(nobody)
		if now, err := unix.SetfsuidRetUid(nobody); err != nil || now != nobody {
			return errors.New("cannot become another user")
		}
		_, err := os.Stat(keyPath) // or the folders would be in the way
		return err
	}, func() {
		_, err := LoadOrCreate(keyPath)
		want(t, errors.Is(err, fs.ErrPermission), "the key: %v", err)
		wantText(t, err, keyPath)
		_, err = KnownPeers(knownPath)
		want(t, errors.Is(err, fs.ErrPermission), "known peers: %v", err)
		for _, p := range []Peer{{Name: "a", ID: PeerID{1}}, {Name: "b", ID: PeerID{1}}, {ID: PeerID{1}, Incoming: true}} {
			want(t, errors.Is(known.Verify(p), fs.ErrPermission), "nobody is trusted by a file that cannot be read")
		}
		want(t, errors.Is(known.Add("b", PeerID{2}), fs.ErrPermission), "nor is it replaced")
	})
	want(t, read(t, keyPath) == key, "the key is as it was")
}
