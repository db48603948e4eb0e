//go:build !unix

package main

import (
	"errors"
	"os"
	"syscall"
	"time"
)

var errNoSignals = errors.New("this system cannot stop processes; run it on a Unix")

func ownGroup() *syscall.SysProcAttr { return nil }

func stop(*os.Process) error { return errNoSignals }

func goOn(*os.Process) error { return errNoSignals }

func cpuTime() time.Duration { return 0 }
