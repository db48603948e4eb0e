package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oneportnet/quicpeer/certs"
)

// Names of the files in the user's configuration directory.
const (
	identityFile   = "identity.pem"
	knownPeersFile = "known_peers"
)

// configPath returns where a file of the user's is kept. The remedy goes into
// the error if this system has no such place.
func configPath(name, remedy string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no configuration directory: %w; %s", err, remedy)
	}
	return filepath.Join(dir, "quicpeer", name), nil
}

// configDisplay is configPath for help texts.
func configDisplay(name string) string {
	path, err := configPath(name, "")
	if err != nil {
		return filepath.Join("CONFIGURATION DIRECTORY", "quicpeer", name)
	}
	return path
}

// storedIdentity is an identity and where it is kept.
type storedIdentity struct {
	*certs.Identity
	path    string // "" if it is not kept
	created bool
}

// where tells in words where the identity is kept.
func (s storedIdentity) where() string {
	switch {
	case s.path == "":
		return "thrown away at the end"
	case s.created:
		return "new, kept in " + s.path
	}
	return "kept in " + s.path
}

// identityPath is the file given, or the default one.
func identityPath(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	return configPath(identityFile, "say where to keep the identity with --identity FILE")
}

// openIdentity loads an identity, or makes one if the file does not exist.
func openIdentity(path string) (storedIdentity, error) {
	path, err := identityPath(path)
	if err != nil {
		return storedIdentity{}, err
	}
	_, err = os.Lstat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing {
		if err := makeParent(path); err != nil {
			return storedIdentity{}, err
		}
	}
	id, err := certs.LoadOrCreate(path)
	if err != nil {
		return storedIdentity{}, err
	}
	return storedIdentity{id, path, missing}, nil
}

// makeParent makes the directory of a file that is about to be written, for
// the user alone: a private key will be in it.
func makeParent(path string) error {
	return os.MkdirAll(filepath.Dir(path), 0o700)
}
