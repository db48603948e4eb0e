//go:build !unix

package certs

import "io/fs"

// checkKeyFileMode has nothing to check: the mode bits of this system do not
// say who can read a file.
func checkKeyFileMode(string, fs.FileMode) error { return nil }

// checkKnownPeersMode has nothing to check either.
func checkKnownPeersMode(string, fs.FileMode) error { return nil }

// syncDir does nothing: this system cannot sync a directory.
func syncDir(string) {}
