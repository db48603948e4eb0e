package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// fakeProgram, as the first argument, makes the test binary a program of a
// benchmark that does what the second says.
const fakeProgram = "fake-program"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == fakeProgram {
		if err := fake(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	if os.Getenv("GORACE") == "" {
		// With the race detector every process would wait a second before its end.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	code := m.Run()
	if left := leftGoroutines(); left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of goroutines of this package, once those that
// are ending have had time to end.
func leftGoroutines() string {
	deadline := time.Now().Add(2 * time.Second)
	for {
		var left []string
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for i, stack := range strings.Split(string(stacks), "\n\n") {
			if i > 0 && (strings.Contains(stack, "oneportnet/quicpeer") || strings.Contains(stack, "os/exec")) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		runtime.Gosched()
	}
}
