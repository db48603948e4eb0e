package integration_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One process has one UDP socket, however many peers it dials and however many
// dial it. The kernel is asked, not the library.
func TestOneUDPSocketPerProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts sockets in /proc, which only Linux has")
	}
	ctx := within(t, 20*time.Second)
	c := startChild(t)
	require.Empty(t, udpSockets(t, c.cmd.Process.Pid), "before it listens")
	bound := c.call(ctx, t, request{Op: "listen", Address: "127.0.0.1:0"})

	const peers, each = 4, 2
	for range peers {
		p := startPeer(t, "127.0.0.1:0", nil)
		echo(p)
		c.call(ctx, t, request{Op: "dial", Address: p.Addr().String(), Count: each})
	}
	for range peers {
		p := startPeer(t, "127.0.0.1:0", nil)
		s, err := p.Dial(ctx, bound.Addr, dialChat())
		require.NoError(t, err)
		exchange(ctx, t, s, "to the child")
	}
	require.Equal(t, peers*each+peers, c.call(ctx, t, request{Op: "sessions"}).Sessions, "sessions of the child")
	require.Len(t, udpSockets(t, c.cmd.Process.Pid), 1, "UDP sockets of the child")
}

// udpSockets returns the inodes of the UDP sockets that a process has open.
func udpSockets(t testing.TB, pid int) []string {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	require.NotEmpty(t, fds, "the process has no files open, or /proc does not show them")
	open := make(map[string]bool)
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if inode, ok := strings.CutPrefix(target, "socket:["); err == nil && ok {
			open[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var udp []string
	for _, table := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(table)
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		require.NoError(t, err)
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// proc(5): the tenth field is the inode.
			if fields := strings.Fields(lines.Text()); len(fields) >= 10 && open[fields[9]] {
				udp = append(udp, fields[9])
			}
		}
		require.NoError(t, lines.Err())
		require.NoError(t, f.Close())
	}
	return udp
}
