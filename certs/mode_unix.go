//go:build unix

package certs

import (
	"fmt"
	"io/fs"
	"os"
)

// checkKeyFileMode refuses a key that anyone but its owner can read or write.
func checkKeyFileMode(path string, mode fs.FileMode) error {
	if mode.Perm()&0o077 == 0 {
		return nil
	}
	return &KeyFileError{
		Path:    path,
		Problem: fmt.Sprintf("others can use it (mode %04o)", mode.Perm()),
		Fix:     fmt.Sprintf("run: chmod 600 %q", path),
	}
}

// checkKnownPeersMode refuses a file of known peers that anyone but its owner
// can change. Anyone may read it. A device such as /dev/null keeps nothing that
// could be changed.
func checkKnownPeersMode(path string, mode fs.FileMode) error {
	if mode.Perm()&0o022 == 0 || mode&fs.ModeDevice != 0 {
		return nil
	}
	return &KnownPeersFileError{
		Path:    path,
		Problem: fmt.Sprintf("others can change it, and so whom it trusts (mode %04o); run: chmod go-w %q", mode.Perm(), path),
	}
}

// syncDir makes a rename in the directory last through a power failure. Some
// file systems cannot; the file itself is whole either way.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
