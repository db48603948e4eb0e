package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// asCommand is the environment variable that makes the test binary be the
// command: the end-to-end tests start it, and so does the demo, which starts
// itself.
const asCommand = "QUICPEER_TEST_AS_COMMAND"

// exitLeak is the exit status of a command that left goroutines behind.
const exitLeak = 99

func TestMain(m *testing.M) {
	var code int
	if os.Getenv(asCommand) != "" {
		code = execute(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
		if code == exitInterrupted {
			os.Exit(code) // whoever does not wait leaves things behind
		}
	} else {
		code = m.Run()
	}
	if left := leftGoroutines(); left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
		code = exitLeak
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of goroutines that run code of this module
// or its QUIC stack, once those that are ending have had time to end.
func leftGoroutines() string {
	deadline := time.Now().Add(2 * time.Second)
	for {
		var left []string
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for i, stack := range strings.Split(string(stacks), "\n\n") {
			ours := strings.Contains(stack, "oneportnet/quicpeer") || strings.Contains(stack, "quic-go")
			// The first is this one. Reading standard input cannot be cut short.
			if i > 0 && ours && !strings.Contains(stack, ".readLines") && !strings.Contains(stack, "lines.Run.func") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		runtime.Gosched()
	}
}
