package integration_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/session"
)

// A process that is stopped for longer than a link lives, as on a machine that
// sleeps: its peer says that the link is lost; it finds out itself when it goes
// on, and can be dialed at once.
func TestStoppedProcess(t *testing.T) {
	if !*machineLong {
		t.Skip("takes 50 s: run it with -machine.long")
	}
	t.Parallel()
	ctx := within(t, 90*time.Second)
	e := startPeer(t, "127.0.0.1:0", nil)
	c := startChild(t)
	bound := c.call(ctx, t, request{Op: "listen", Address: "127.0.0.1:0"})
	s, err := e.Dial(ctx, bound.Addr, dialChat())
	require.NoError(t, err)
	exchange(ctx, t, s, "awake")

	require.NoError(t, c.cmd.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	waitDone(ctx, t, s)
	require.Equal(t, session.CauseLinkLost, sessionError(t, s.Err()).Cause)
	t.Logf("lost after %v: %v", time.Since(began), s.Err())
	<-time.After(25*time.Second - time.Since(began))
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGCONT))
	fresh, err := e.Dial(ctx, bound.Addr, dialChat())
	require.NoError(t, err)
	exchange(ctx, t, fresh, "awake again")
	until(ctx, t, "the old session is known to be over", func() bool {
		return c.call(ctx, t, request{Op: "sessions"}).Sessions == 1
	})
	t.Logf("known %v after it stopped", time.Since(began))
	require.NoError(t, fresh.Close(ctx))
}
