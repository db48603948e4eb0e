package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// -machine.long adds what needs more than a link's 15 seconds of patience, in
// real time: some 45 s.
var machineLong = flag.Bool("machine.long", false, "also take an interface down for longer than a link lives")

// netns is a network of its own on this machine: a thread lives in it, and
// sockets made there belong to it, wherever they are used.
type netns struct {
	tid  int
	jobs chan func()
}

// newNetns makes a network with nothing but a loopback that is up. The test is
// skipped where that is not permitted.
func newNetns(t testing.TB) *netns {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip (iproute2) is not installed")
	}
	// Package net finds out once which families there are: not in there.
	pc, err := net.ListenPacket("udp", ":0")
	require.NoError(t, err)
	require.NoError(t, pc.Close())
	n := &netns{jobs: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: thread and network end with it
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.tid = unix.Gettid()
		made <- err
		if err != nil {
			return
		}
		for job := range n.jobs {
			job()
		}
	}()
	if err := <-made; err != nil {
		t.Skipf("no network of its own, which needs CAP_SYS_ADMIN: %v", err)
	}
	t.Cleanup(func() { close(n.jobs) })
	n.ip(t, "link set lo up")
	return n
}

// do runs f in the network.
func (n *netns) do(f func()) {
	done := make(chan struct{})
	n.jobs <- func() { defer close(done); f() }
	<-done
}

// ip runs a command of iproute2 in the network.
func (n *netns) ip(t testing.TB, command string) {
	t.Helper()
	var out []byte
	var err error
	n.do(func() { out, err = exec.Command("ip", strings.Fields(command)...).CombinedOutput() })
	require.NoError(t, err, "ip %s: %s", command, out)
}

// listen starts a peer in the network.
func (n *netns) listen(t testing.TB, address string) *quicpeer.Endpoint {
	t.Helper()
	var e *quicpeer.Endpoint
	var err error
	n.do(func() { e, err = quicpeer.Listen(address, chatConfig()) })
	require.NoError(t, err)
	closePeer(t, e)
	return e
}

// cable connects two networks: 10.99.0.1 and 10.99.0.2, on interfaces left and right.
func cable(t testing.TB) (a, b *netns) {
	t.Helper()
	a, b = newNetns(t), newNetns(t)
	a.ip(t, fmt.Sprintf("link add name left type veth peer name right netns %d", b.tid))
	a.ip(t, "addr add 10.99.0.1/24 dev left")
	b.ip(t, "addr add 10.99.0.2/24 dev right")
	a.ip(t, "link set left up")
	b.ip(t, "link set right up")
	return a, b
}

// chatter sends ten messages a second until ctx ends.
func chatter(ctx context.Context, s *quicpeer.Session) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = s.Send(ctx, []byte("are you there?"))
		case <-ctx.Done():
			return
		}
	}
}

// waitEcho waits until a peer that echoes answers again.
func waitEcho(ctx context.Context, t testing.TB, s *quicpeer.Session) {
	t.Helper()
	until(ctx, t, "the peer answers", func() bool {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if err := s.Send(short, []byte("back?")); err != nil {
			return false
		}
		for {
			m, err := s.Receive(short)
			if err != nil || string(m) == "back?" {
				return err == nil
			}
		}
	})
}

// While an interface is down, or a route says no, packets are lost: the session
// lives on when that is over, and its close is confirmed with exact counts.
func TestInterfaceDownAndUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, begin, end string
	}{
		{"interface", "link set left down", "link set left up"},
		{"address", "addr del 10.99.0.1/24 dev left", "addr add 10.99.0.1/24 dev left"},
		{"unreachable", "route add unreachable 10.99.0.2", "route del unreachable 10.99.0.2"},
		{"prohibit", "route add prohibit 10.99.0.2", "route del prohibit 10.99.0.2"},
		{"blackhole", "route add blackhole 10.99.0.2", "route del blackhole 10.99.0.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			na, nb := cable(t)
			ctx := within(t, 30*time.Second)
			a, b := na.listen(t, "0.0.0.0:0"), nb.listen(t, "0.0.0.0:9000")
			echo(b)
			s, err := a.Dial(ctx, "10.99.0.2:9000", dialChat())
			require.NoError(t, err)
			exchange(ctx, t, s, "before")

			na.ip(t, c.begin)
			busy, stop := context.WithTimeout(ctx, time.Second)
			chatter(busy, s)
			stop()
			require.NoError(t, s.Err())
			na.ip(t, c.end)
			waitEcho(ctx, t, s)
			require.NoError(t, s.Close(ctx))
			require.True(t, s.Stats().Complete)
			require.Positive(t, s.Stats().Lost)
			require.Positive(t, notSent(a.Stats().Socket.NotSent))
		})
	}
}

// Down for longer than a link lives: both sides say that the link is lost, this
// one with what its system said; a dial says so at once, and works afterwards.
func TestInterfaceDownForLong(t *testing.T) {
	if !*machineLong {
		t.Skip("takes 45 s: run it with -machine.long")
	}
	t.Parallel()
	na, nb := cable(t)
	ctx := within(t, 90*time.Second)
	a, b := na.listen(t, "0.0.0.0:0"), nb.listen(t, "0.0.0.0:9000")
	s, far := dialAt(ctx, t, a, b, "10.99.0.2:9000")
	na.ip(t, "link set left down")
	began := time.Now()
	busy, stop := context.WithTimeout(ctx, 25*time.Second)
	defer stop()
	go chatter(busy, s)
	waitDone(ctx, t, s, far)
	require.ErrorIs(t, sessionError(t, s.Err()), syscall.ENETUNREACH)
	require.Equal(t, session.CauseLinkLost, sessionError(t, s.Err()).Cause)
	require.Equal(t, session.CauseLinkLost, sessionError(t, far.Err()).Cause)
	t.Logf("lost after %v: %v", time.Since(began), s.Err())
	_, err := a.Dial(ctx, "10.99.0.2:9000", dialChat())
	require.ErrorIs(t, err, syscall.ENETUNREACH)

	na.ip(t, "link set left up")
	s, _ = dialAt(ctx, t, a, b, "10.99.0.2:9000")
	require.NoError(t, s.Close(ctx))
}

// Where IPv6 is off, an empty host is all of IPv4, and addresses that cannot be
// reached say so at once.
func TestWithoutIPv6(t *testing.T) {
	t.Parallel()
	apart(t, syscall.CLONE_NEWNET, func(t *testing.T) {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
		if !errors.Is(err, fs.ErrNotExist) { // a system that has none
			require.NoError(t, err)
		}
		withoutFamily(t, "127.0.0.1", "::1")
	})
}

// So it is the other way round. The loopback's own 127.0.0.1 stays, as it does on
// machines that have only IPv6: without it package net takes it that the system
// cannot map IPv4 into IPv6, and an empty host is all of IPv4.
func TestWithoutIPv4(t *testing.T) {
	t.Parallel()
	apart(t, syscall.CLONE_NEWNET, func(t *testing.T) {
		pc, err := net.ListenPacket("udp6", "[::1]:0")
		if err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
		require.NoError(t, pc.Close())
		withoutFamily(t, "::1", "192.0.2.1")
	})
}

func withoutFamily(t *testing.T, here, gone string) {
	ctx := within(t, 20*time.Second)
	a, b := startPeer(t, ":0", nil), startPeer(t, ":0", nil)
	echo(b)
	port := b.Addr().(*net.UDPAddr).Port
	address := func(ip string) string { return net.JoinHostPort(ip, fmt.Sprint(port)) }
	s, err := a.Dial(ctx, address(here), dialChat())
	require.NoError(t, err)
	exchange(ctx, t, s, "hello")

	began := time.Now()
	_, err = a.Dial(ctx, address(gone), dialChat())
	require.Error(t, err)
	require.NoError(t, ctx.Err())
	var errno syscall.Errno
	if errors.As(err, &errno) {
		require.Contains(t, []syscall.Errno{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EINVAL}, errno, "%v", err)
	} else {
		require.ErrorContains(t, err, "its IP version differs")
	}
	t.Logf("after %v: %v", time.Since(began), err)
	_, err = quicpeer.Listen(net.JoinHostPort(gone, "0"), nil)
	require.ErrorContains(t, err, gone)
	t.Log(err)
	require.NoError(t, s.Close(ctx))
}
