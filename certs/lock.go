package certs

import (
	"errors"
	"fmt"
	"time"
)

// What this implementation chose.
const (
	// A lock is held for one read and one write of a small file. Whoever waits
	// longer than this waits for something that has gone wrong.
	lockWait = 5 * time.Second
	lockPoll = 10 * time.Millisecond
)

var errLocked = errors.New("locked")

// lockFile keeps other processes, and other goroutines of this one, from
// changing the file at path until unlock is called. It does so with a second
// file beside it, since path itself is replaced when it is written. Readers
// need no lock.
func lockFile(path string) (unlock func(), err error) {
	lock := path + ".lock"
	for waited := time.Duration(0); ; waited += lockPoll {
		unlock, err := tryLock(lock)
		if err == nil {
			return unlock, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("certs: lock %s: %w", path, err)
		}
		if waited >= lockWait {
			return nil, fmt.Errorf("certs: %s is being changed by another process; if there is none, remove %s", path, lock)
		}
		time.Sleep(lockPoll)
	}
}
