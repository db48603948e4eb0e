// Package integration_test runs whole endpoints against each other: over the
// sockets of this machine, between processes, and against bare QUIC stacks.
// Nothing imports it.
//
// Tests that measure the process (memory, goroutines) run by themselves; the
// slow ones run in parallel, after those.
package integration_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain runs the tests, or, in a process that a test has started, its part
// of one (process_child_test.go). It fails if a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	if os.Getenv(childMarker) != "" {
		os.Exit(childMain())
	}
	code := m.Run()
	if left := leftGoroutines(5 * time.Second); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines left behind:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of goroutines that run code of this
// project or of quic-go, once those that are ending have had time to end.
func leftGoroutines(wait time.Duration) []string {
	deadline := time.Now().Add(wait)
	for {
		var left []string
		for i, stack := range strings.Split(stacks(), "\n\n") {
			// The first one is this one.
			if i > 0 && (strings.Contains(stack, "oneportnet/quicpeer/") || strings.Contains(stack, "quic-go/quic-go")) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		pause()
	}
}

// stacks returns the stacks of all goroutines.
func stacks() string {
	for size := 1 << 20; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size {
			return string(b[:n])
		}
	}
}

// pause lets other goroutines go on, between two looks at a condition that
// announces nothing.
func pause() { <-time.After(2 * time.Millisecond) }
