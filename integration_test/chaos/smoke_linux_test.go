package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// -chaos.round makes the round of TestChaos longer; more, and for longer, is
// what the command itself is for.
var chaosRound = flag.Duration("chaos.round", 2*time.Second, "how long the round of TestChaos is")

// TestMain runs the tests, or, in a process that a test has started, a member.
func TestMain(m *testing.M) {
	switch os.Getenv(marker) {
	case asMember:
		os.Exit(memberMain(os.Stdin))
	case asSpoke:
		os.Exit(spokeMain(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// One short round, always with the same seed.
func TestChaos(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	s := shape{Seed: 1, Round: *chaosRound, Processes: 3, Endpoints: 2, Pace: 60 * time.Millisecond, Long: *chaosRound >= longRound, Loss: 0.02}
	v, err := playRound(t.Context(), self, filepath.Join(t.TempDir(), "round"), s, false)
	require.NoError(t, err)
	t.Log(v.line())
	require.Empty(t, v.Breaches)
	require.NotZero(t, v.Figures["kills"])
	require.NotZero(t, v.Figures["stops"])
	for _, p := range []string{pRest, pCalls, pCause, pClose, pWho, pStats, pSums, pMessages, pSignals, pTaken, pDial, pIdentity} {
		require.NotZero(t, v.of(p).Checked, "%s", p)
	}
}

// A child ends when its parent dies.
func TestChildrenDoNotOutliveTheirParent(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	o := spokeOrders{Addresses: []string{"127.0.0.1:0"}, Keys: []string{filepath.Join(dir, "key")}, Hub: "127.0.0.1:1", Life: time.Minute}
	c, err := startChild(self, asSpoke, filepath.Join(dir, "stderr"), nil, o)
	require.NoError(t, err)
	defer c.kill()
	require.NoError(t, c.stdin.Close()) // all that a child sees of it
	select {
	case <-c.exited:
	case <-time.After(20 * time.Second):
		require.Fail(t, "the child lives on")
	}
	require.Equal(t, exitOrphan, c.cmd.ProcessState.ExitCode())
}
