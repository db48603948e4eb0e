package integration_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// apartMarker in the environment names the test that a process is there for.
const apartMarker = "QUICPEER_INTEGRATION_APART"

// apart runs f in a process of its own, this test binary run again for this test
// alone, so that it can change what belongs to a process. flags are of clone(2);
// with CLONE_NEWNET the process has a network with nothing but a loopback. The
// test is skipped where that is not permitted, or if f skips it.
func apart(t *testing.T, flags uintptr, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(apartMarker) == t.Name() {
		if flags&syscall.CLONE_NEWNET != 0 {
			out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
		f(t)
		return
	}
	if _, err := exec.LookPath("ip"); flags&syscall.CLONE_NEWNET != 0 && err != nil {
		t.Skip("ip (iproute2) is not installed")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "50s")
	cmd.Env = append(os.Environ(), apartMarker+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("no process apart, which needs CAP_SYS_ADMIN: %v", err)
	}
	require.NoError(t, err, "%s", out.String())
	if strings.Contains(out.String(), "--- SKIP: "+t.Name()) {
		t.Skip(out.String())
	}
	require.Contains(t, out.String(), "--- PASS: "+t.Name(), "it has not run")
	t.Log(out.String())
}
