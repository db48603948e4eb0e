//go:build unix

package main

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startLongDemo starts a demo that has much to do, and returns it with its
// processes and alice's port.
func startLongDemo(t *testing.T) (p *process, pids []int, port string) {
	t.Helper()
	p = start(t, "", "demo", "--ports", "0,0", "--messages", "10000000", "--loss", "0")
	for _, name := range []string{"alice", "bob", "carol"} {
		pid, err := strconv.Atoi(p.want(name+"'s process", name+` +is process (\d+),`)[1])
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	port = p.want("alice's port", `alice +listens on port (\d+),`)[1]
	p.want("carol to be there", `carol +dialed bob`)
	return p, pids, port
}

func TestDemoInterruptedLeavesNoProcesses(t *testing.T) {
	t.Parallel()
	p, pids, _ := startLongDemo(t)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	p.wantExit("interrupted", exitInterrupted)
	for _, pid := range pids {
		require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "process %d is gone", pid)
	}
}

func TestDemoKilledLeavesNoProcesses(t *testing.T) {
	t.Parallel()
	p, _, port := startLongDemo(t)
	require.NoError(t, p.cmd.Process.Kill())
	// Nobody is left to reap its processes; their ports tell that they ended.
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.ListenPacket("udp", ":"+port)
		if err == nil {
			require.NoError(t, c.Close())
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(t, "want alice's process to end with the demo", "%v", err)
		}
	}
}
