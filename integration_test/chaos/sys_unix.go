//go:build unix

package main

import (
	"os"
	"syscall"
	"time"
)

// ownGroup puts a child into a process group of its own. If the parent dies,
// that group is orphaned, and the kernel wakes a child that is stopped with
// SIGHUP and SIGCONT, which ends it: a stopped child never outlives its parent.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func stop(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func goOn(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

// cpuTime returns how long this process and its children that have ended had a
// processor.
func cpuTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}
