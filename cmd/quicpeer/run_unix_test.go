//go:build unix

package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunInterruptedSaysWhatWasConfirmed(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		signal os.Signal
		reason string
	}{{os.Interrupt, "interrupted"}, {syscall.SIGTERM, "terminated"}} {
		a := listen(t, "--trust", "anyone", "--ephemeral", "--no-input")
		b := start(t, "", "run", "--ephemeral", "--dial", a.address)
		b.want("the session", `has accepted it$`)
		a.want("the session", `has opened it$`)
		require.NoError(t, a.cmd.Process.Signal(s.signal))
		a.wantExit("all confirmed", exitOK)
		a.want("the confirmation", `closed, and the peer confirmed: code 0x0, "`+s.reason+`"`)
		b.want("the reason", `the peer closed it: code 0x0, "`+s.reason+`"`)
	}
}

func TestRunInterruptedTwiceEndsAtOnce(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	address, cut := severable(t, a.address)
	b := start(t, "", "run", "--ephemeral", "--dial", address)
	b.want("the session", `has accepted it$`)
	cut()
	require.NoError(t, b.cmd.Process.Signal(os.Interrupt))
	b.want("the shutdown", `^\* closing 1 session: interrupted$`)
	require.NoError(t, b.cmd.Process.Signal(os.Interrupt))
	out := b.wantExit("interrupted twice", exitInterrupted)
	require.Contains(t, out, "interrupted twice")
	require.NotContains(t, out, "DID NOT CONFIRM")
}
