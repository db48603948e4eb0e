//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package certs

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
)

// tryLock takes the lock, or returns errLocked if another holds it. Here the
// existence of the file is the lock, so a crash within the few milliseconds
// that it is held leaves it behind, and someone has to remove it.
func tryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, errLocked
	case runtime.GOOS == "windows" && errors.Is(err, fs.ErrPermission):
		// Also what Windows says of a file that is about to vanish.
		return nil, errLocked
	case err != nil:
		return nil, err
	}
	f.Close()
	return func() { os.Remove(path) }, nil
}
