//go:build unix

package main

import (
	"os"
	"syscall"
)

// ownGroup puts a child into a process group of its own. If the parent dies,
// that group is orphaned, and the kernel wakes a child that is stopped with
// SIGHUP and SIGCONT, which ends it: a stopped child never outlives its parent.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func stop(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func goOn(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
