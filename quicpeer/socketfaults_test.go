package quicpeer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"
)

func writeFailure(errno syscall.Errno) error {
	return &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendmsg", errno)}
}

// What quic-go must see it gets to see; what passes is counted, by its reason.
func TestWhichSendErrorsPass(t *testing.T) {
	to := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	for _, c := range []struct {
		err     error
		size    int // of segments
		through bool
		counts  NotSentStats
	}{
		{err: writeFailure(syscall.ENOBUFS), counts: NotSentStats{NoBuffer: 1}},
		{err: writeFailure(syscall.EPERM), counts: NotSentStats{NotPermitted: 1}},
		{err: writeFailure(syscall.ENETUNREACH), size: 1000, counts: NotSentStats{Unreachable: 3}},
		{err: writeFailure(syscall.ENXIO), counts: NotSentStats{Other: 1}},
		{err: syscall.EIO, counts: NotSentStats{Other: 1}},
		{err: syscall.EIO, size: 1000, through: true},
		{err: writeFailure(syscall.EMSGSIZE), size: 1000, through: seesTooLarge, counts: NotSentStats{TooLarge: 3}},
		{err: writeFailure(syscall.EBADF), through: true},
		{err: writeFailure(syscall.ENOTSOCK), through: true},
		{err: net.ErrClosed, through: true},
		{err: errors.New("something of the caller's own"), through: true},
	} {
		f := testFaults()
		got := f.notSent(c.err, to, 3000, c.size, func() error { return c.err })
		if c.through {
			require.Equal(t, c.err, got)
		} else {
			require.NoError(t, got, "%v", c.err)
			require.Equal(t, c.err, f.lastTo(addrPort(to), time.Time{}))
		}
		require.Equal(t, c.counts, f.fill(SocketStats{}).NotSent, "%v", c.err)
	}
}

// Linux refuses a socket's first packet now and then, and not the same one again.
// What it says then holds.
func TestRefusedFirstPacketIsSentAgain(t *testing.T) {
	f, calls := testFaults(), 0
	require.NoError(t, f.notSent(writeFailure(syscall.EPERM), nil, 1000, 0, func() error { calls++; return nil }))
	require.Equal(t, 1, calls)
	require.Zero(t, f.fill(SocketStats{}))

	to := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	require.NoError(t, f.notSent(writeFailure(syscall.EPERM), to, 1000, 0, func() error { return writeFailure(syscall.ENOBUFS) }))
	require.Equal(t, NotSentStats{NoBuffer: 1}, f.fill(SocketStats{}).NotSent)
	require.Equal(t, net.ErrClosed, f.notSent(writeFailure(syscall.EPERM), to, 1000, 0, func() error { return net.ErrClosed }))
}

// A link that is lost is not blamed on what failed before, or to somebody else.
func TestLastErrorIsOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := testFaults(), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
		before := time.Now()
		time.Sleep(time.Second)
		require.NoError(t, f.notSent(syscall.ENETUNREACH, to, 1, 0, nil))
		require.Equal(t, syscall.ENETUNREACH, f.lastTo(addrPort(to), before))
		require.NoError(t, f.lastTo(netip.MustParseAddrPort("192.0.2.1:2"), before))
		time.Sleep(time.Second)
		require.NoError(t, f.lastTo(addrPort(to), time.Now()))
	})
}

// An endless row of errors is bounded in memory, in log lines, and in calls.
func TestFaultsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := newSocketFaults(slog.New(slog.NewTextHandler(&log, nil)))
		wantLines := func(n int, what string) {
			t.Helper()
			require.Equal(t, n, bytes.Count(log.Bytes(), []byte("\n")), log.String())
			require.Equal(t, n, strings.Count(log.String(), what), log.String())
			log.Reset()
		}
		began := time.Now()
		for row := 0; time.Since(began) < time.Minute; row++ {
			require.True(t, f.again(syscall.ENOMEM, row))
			require.Less(t, row, 800)
		}
		wantLines(6, "reading from the socket fails") // in a minute
		for i := range 5 * maxFailedAddrs {
			require.NoError(t, f.notSent(syscall.ENOBUFS, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: i}, 1, 0, nil))
			require.LessOrEqual(t, len(f.last), maxFailedAddrs)
		}
		for range 2000 {
			require.NoError(t, f.notSent(syscall.ENOBUFS, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)}, 1, 0, nil))
			time.Sleep(10 * time.Millisecond)
		}
		wantLines(2, "packets are not sent") // the first, and one ten seconds later

		stopped := make(chan bool)
		go func() { stopped <- f.again(syscall.ENOMEM, 1000) }()
		synctest.Wait()
		f.stop()
		require.False(t, <-stopped, "an endpoint that closes does not wait for it")
		require.False(t, f.again(syscall.ENOMEM, 0))
	})
}

// A dial ends with the system's error, and leaves nothing behind.
func TestDialEndsWithTheSocketsError(t *testing.T) {
	f := testFaults()
	to, other := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1}
	ctx, end := f.watchDial(t.Context(), addrPort(to))
	second, endSecond := f.watchDial(t.Context(), addrPort(to))
	require.NoError(t, f.notSent(syscall.ENETUNREACH, other, 1, 0, nil))
	require.NoError(t, f.notSent(syscall.ENOBUFS, to, 1, 0, nil))
	require.NoError(t, ctx.Err(), "another address, and what may be over soon")
	endSecond()
	require.NoError(t, f.notSent(syscall.ENETUNREACH, to, 1, 0, nil))
	require.Equal(t, syscall.ENETUNREACH, context.Cause(ctx))
	require.NotEqual(t, syscall.ENETUNREACH, context.Cause(second))
	end()
	require.Empty(t, f.dials)
}

// quic-go finds on a wrapped socket what it would find on the socket itself.
func TestWrappedSocketsKeepTheirMethods(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	for _, pc := range []net.PacketConn{
		struct{ *net.UDPConn }{c},
		struct {
			net.PacketConn
			syscall.Conn
		}{c, c},
		struct{ net.PacketConn }{c},
	} {
		w := wrapSocket(pc, testFaults())
		_, want := pc.(quic.OOBCapablePacketConn)
		_, got := w.(quic.OOBCapablePacketConn)
		require.Equal(t, want, got)
		_, want = pc.(syscall.Conn)
		_, got = w.(syscall.Conn)
		require.Equal(t, want, got)
		if _, want = pc.(interface{ SetWriteBuffer(int) error }); want {
			require.NoError(t, w.(interface{ SetReadBuffer(int) error }).SetReadBuffer(1<<16))
			require.NoError(t, w.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(1<<16))
		}
	}
}
