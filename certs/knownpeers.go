package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// What this implementation chose.
const (
	// Some 40,000 peers. The file is read as a whole when it has changed.
	maxKnownPeersFile = 4 << 20
	// A file is read again each time until it has been unchanged this long:
	// the coarsest file systems count time in steps of 2 s, and could hide a
	// change of the same size behind the same time.
	fileTimeStep = 2 * time.Second
	// Not a secret, but whoever writes it decides who is trusted.
	knownPeersFileMode fs.FileMode = 0o600
)

// KnownPeersFile is the Trust that learns on first use. It stands for a text
// file with one peer in each line, a name and an id:
//
//	# the machine in the cellar
//	example.org:4433 4zdqsv6hrkcjx3…
//	192.0.2.7:4433   aqx3f5wbmvplyo…
//
// Empty lines and what follows a # are comments. A name stands for itself,
// port included; case, a final dot and the way an address is written make no
// difference. A name has one id. A file that does not exist is one without
// peers.
//
// Dialing, a peer is trusted if the file has its id under the name dialed,
// and refused with a *[KeyChangedError] if it has another. If the file does
// not have the name, the peer is trusted, and [Learn] adds it. That first time
// nothing but the path vouches for the peer.
//
// Incoming, a peer is trusted if the file has its id under any name. Nothing
// is learned.
//
// The file is read again when it has changed, so it may be edited while in
// use; a line that cannot be read refuses everyone, with a
// *[KnownPeersFileError], and so does a file that others than its owner can
// change, on systems that have such modes. It is written as a whole, under a
// lock that keeps processes from undoing each other's changes. A
// KnownPeersFile is safe for concurrent use. The zero value trusts nobody.
type KnownPeersFile struct {
	path string

	mu   sync.Mutex
	info fs.FileInfo // of the file that last was read from; nil: read again
	last *knownPeers // immutable
}

// KnownPeers returns the Trust for the file at path. It fails if the file is
// there and cannot be read.
func KnownPeers(path string) (*KnownPeersFile, error) {
	if path == "" {
		return nil, errors.New("certs: known peers: no file given")
	}
	f := &KnownPeersFile{path: path}
	if _, err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Verify implements [Trust]. It learns nothing.
func (f *KnownPeersFile) Verify(p Peer) error {
	_, err := f.judge(p)
	return err
}

func (f *KnownPeersFile) judge(p Peer) (learn func() error, err error) {
	if f == nil || f.path == "" {
		return judge(nil, p)
	}
	known, err := f.read()
	if err != nil {
		return nil, refuse(p, "a known peer", "", err)
	}
	if p.Incoming {
		if _, ok := known.ids[p.ID]; ok {
			return nil, nil
		}
		return nil, refuse(p, "an id in "+f.path, fmt.Sprintf("add the line \"NAME %s\" to it", p.ID), nil)
	}
	name, err := canonicalName(p.Name)
	if err != nil {
		return nil, refuse(p, "a known peer", "", err)
	}
	entry, ok := known.names[name]
	if !ok {
		return func() error { return f.Add(name, p.ID) }, nil
	}
	if !entry.id.Equal(p.ID) {
		return nil, refuse(p, entry.id.String(), "", f.changed(name, entry, p.ID))
	}
	return nil, nil
}

// Lookup returns the id that the file has for a name. It reports false if it
// has none.
func (f *KnownPeersFile) Lookup(name string) (PeerID, bool, error) {
	name, err := canonicalName(name)
	if err != nil {
		return PeerID{}, false, err
	}
	known, err := f.read()
	if err != nil {
		return PeerID{}, false, err
	}
	entry, ok := known.names[name]
	return entry.id, ok, nil
}

// Add writes a peer to the file, as if it had been learned. It does nothing if
// the file has that name with that id, and fails with a *[KeyChangedError] if
// it has it with another.
func (f *KnownPeersFile) Add(name string, id PeerID) error {
	if f.path == "" {
		return errors.New("certs: known peers: no file given")
	}
	name, err := canonicalName(name)
	if err != nil {
		return err
	}
	if id.IsZero() {
		return errors.New("certs: known peers: the zero id is nobody's")
	}
	unlock, err := lockFile(f.path)
	if err != nil {
		return err
	}
	defer unlock()
	// What the file has now, not what it had when the peer was judged.
	data, info, err := f.load()
	if err != nil {
		return err
	}
	known, err := parseKnownPeers(f.path, data)
	if err != nil {
		return err
	}
	if entry, ok := known.names[name]; ok {
		if !entry.id.Equal(id) {
			return f.changed(name, entry, id)
		}
		return nil
	}
	mode := knownPeersFileMode
	if info != nil {
		mode = info.Mode().Perm()
	}
	data = appendKnownPeer(data, name, id)
	if len(data) > maxKnownPeersFile {
		return f.tooLarge()
	}
	return writeFile(f.path, data, mode)
}

func (f *KnownPeersFile) changed(name string, entry knownPeer, got PeerID) error {
	return &KeyChangedError{Name: name, Known: entry.id, Got: got, Path: f.path, Line: entry.line}
}

// read returns the content of the file, from memory if it has not changed.
func (f *KnownPeersFile) read() (*knownPeers, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.info != nil {
		now, err := os.Stat(f.path)
		if err == nil && os.SameFile(now, f.info) && now.Size() == f.info.Size() && now.ModTime().Equal(f.info.ModTime()) && now.Mode() == f.info.Mode() {
			return f.last, nil
		}
		f.info = nil
	}
	data, info, err := f.load()
	if err != nil {
		return nil, err
	}
	known, err := parseKnownPeers(f.path, data)
	if err != nil {
		return nil, err
	}
	if info != nil && time.Since(info.ModTime()) > fileTimeStep {
		f.info, f.last = info, known
	}
	return known, nil
}

// load returns what is in the file; no data and no info if there is none.
func (f *KnownPeersFile) load() ([]byte, fs.FileInfo, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("certs: known peers: %w", err)
	}
	defer file.Close()
	// Before reading: a change in between then shows as one.
	info, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("certs: known peers: %w", err)
	}
	if err := checkKnownPeersMode(f.path, info.Mode()); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxKnownPeersFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("certs: known peers: %w", err)
	}
	if len(data) > maxKnownPeersFile {
		return nil, nil, f.tooLarge()
	}
	return data, info, nil
}

func (f *KnownPeersFile) tooLarge() error {
	return &KnownPeersFileError{Path: f.path, Problem: fmt.Sprintf("more than %d bytes", maxKnownPeersFile)}
}

// appendKnownPeer adds a line and leaves those before it as they are.
func appendKnownPeer(data []byte, name string, id PeerID) []byte {
	data = bytes.Clone(data)
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n')
	}
	return fmt.Appendf(data, "%s %s\n", name, id)
}
