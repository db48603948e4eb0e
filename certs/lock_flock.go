//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package certs

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock, or returns errLocked if another holds it. The lock
// ends with its process, so a crash leaves nothing to clean up but an empty
// file that the next holder uses and removes.
func tryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && !names(path, f) {
		// The holder before us removed the file after we had opened it.
		err = syscall.EWOULDBLOCK
	}
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return nil, errLocked
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return func() {
		// Removed while still locked: who opened it meanwhile sees that the
		// path no longer names it, and starts over.
		os.Remove(path)
		f.Close()
	}, nil
}

// names reports whether path still names the open file.
func names(path string, f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(open, named)
}
