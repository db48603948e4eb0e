//go:build unix

package certs

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What stands in a file's place is not replaced by one: devices least of all.
func TestOnlyFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	device := filepath.Join(dir, "null")
	wantNoError(t, os.Symlink("/dev/null", device), "link")
	f, err := KnownPeers(device)
	wantNoError(t, err, "a file without peers")
	// Both calls stop before they would make anything in /dev.
	err = writeFile(device, []byte("x"), 0o600)
	want(t, err != nil, "a device is not replaced")
	wantText(t, err, "/dev/null is not a file")
	want(t, f.Add("a", PeerID{1}) != nil, "nor added to")
	info, err := os.Stat("/dev/null")
	want(t, err == nil && info.Mode()&fs.ModeCharDevice != 0, "it is what it was: %v", err)
	wantFiles(t, dir, "null")

	sub := filepath.Join(dir, "sub")
	wantNoError(t, os.Mkdir(sub, 0o700), "mkdir")
	_, err = KnownPeers(sub)
	want(t, err != nil, "a directory has no peers")
	_, err = LoadOrCreate(sub)
	want(t, err != nil, "nor a key")
	err = newIdentityForTest(t).Save(sub)
	want(t, err != nil, "nor is it replaced")
	wantText(t, err, "sub is not a file")
}

// A link to a file that is not there yet stays a link: the file is made.
func TestLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	wantNoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700), "mkdir")
	link, second := filepath.Join(dir, "link"), filepath.Join(dir, "second")
	wantNoError(t, os.Symlink("keys/peer.key", link), "link")
	wantNoError(t, os.Symlink(link, second), "link")
	id, err := LoadOrCreate(second)
	wantNoError(t, err, "create")
	back, err := Load(filepath.Join(dir, "keys", "peer.key"))
	want(t, err == nil && back.ID() == id.ID(), "in the place that the links name: %v", err)
	wantFiles(t, dir, "keys", "link", "second")

	// Where the folder is a link, too, .. is not that of its path.
	deep, folder := filepath.Join(dir, "keys", "deep", "sub"), filepath.Join(t.TempDir(), "folder")
	wantNoError(t, os.MkdirAll(deep, 0o700), "mkdir")
	wantNoError(t, os.Symlink(deep, folder), "link")
	wantNoError(t, os.Symlink("../up.key", filepath.Join(deep, "up")), "link")
	wantNoError(t, id.Save(filepath.Join(folder, "up")), "save")
	wantFiles(t, filepath.Join(dir, "keys", "deep"), "sub", "up.key")

	lost := filepath.Join(dir, "lost")
	wantNoError(t, os.Symlink("no/such/peer.key", lost), "link")
	_, err = LoadOrCreate(lost)
	want(t, err != nil, "not a key in the link's place")
	_, err = os.Readlink(lost)
	wantNoError(t, err, "it is a link still")

	loop := filepath.Join(dir, "loop")
	wantNoError(t, os.Symlink("loop", loop), "link")
	wantText(t, newIdentityForTest(t).Save(loop), "too many symbolic links")
}
