package integration_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// badSocket is a simulated socket on which calls fail as the test says.
//
// Safe for concurrent use.
type badSocket struct {
	*simnet.SimConn

	mu       sync.Mutex
	to       netip.AddrPort // writes to nobody else fail; zero: all
	write    error          // what writes return
	writes   int            // so many fail; negative: all
	segments bool           // only writes of several packets fail
	read     error
	reads    int
	// What failed since the fault was set.
	failedWrites, failedReads int
}

// failWrites makes the next n writes to an address fail, or all if n is negative.
func (s *badSocket) failWrites(to net.Addr, err error, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to, s.write, s.writes, s.failedWrites = netip.AddrPort{}, err, n, 0
	if to != nil {
		s.to = addrPort(to)
	}
}

// failReads makes the next n packets get lost with an error, or all reads fail
// if n is negative.
func (s *badSocket) failReads(err error, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.reads, s.failedReads = err, n, 0
}

// failed returns how many calls have failed.
func (s *badSocket) failed() (writes, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failedWrites, s.failedReads
}

func (s *badSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	if err := s.writeError("sendto", addr); err != nil {
		return 0, err
	}
	return s.SimConn.WriteTo(b, addr)
}

func (s *badSocket) writeError(call string, addr net.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes == 0 || s.to.IsValid() && s.to != addrPort(addr) {
		return nil
	}
	s.writes--
	s.failedWrites++
	return &net.OpError{Op: "write", Net: "udp", Addr: addr, Err: os.NewSyscallError(call, s.write)}
}

func (s *badSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	if err := s.readError("recvfrom", false); err != nil {
		return 0, nil, err
	}
	n, addr, err := s.SimConn.ReadFrom(b)
	if err == nil {
		err = s.readError("recvfrom", true) // then the packet is gone
	}
	if err != nil {
		return 0, nil, err
	}
	return n, addr, nil
}

func (s *badSocket) readError(call string, have bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads == 0 || s.reads > 0 && !have {
		return nil
	}
	s.reads--
	s.failedReads++
	return &net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError(call, s.read)}
}

// badOOBSocket is one that quic-go takes for a UDP socket, with send offload: its
// packets go by the simulated network, its options to a socket that nobody uses.
type badOOBSocket struct {
	*badSocket
	options *net.UDPConn
}

var _ quic.OOBCapablePacketConn = (*badOOBSocket)(nil)

func (s *badOOBSocket) SyscallConn() (syscall.RawConn, error) { return s.options.SyscallConn() }
func (s *badOOBSocket) SetReadBuffer(int) error               { return nil }
func (s *badOOBSocket) SetWriteBuffer(int) error              { return nil }

func (s *badOOBSocket) Close() error {
	return errors.Join(s.badSocket.Close(), s.options.Close())
}

func (s *badOOBSocket) ReadMsgUDP([]byte, []byte) (int, int, int, *net.UDPAddr, error) {
	panic("quic-go reads batches")
}

func (s *badOOBSocket) ReadBatch(ms []ipv4.Message, _ int) (int, error) {
	n, addr, err := s.ReadFrom(ms[0].Buffers[0])
	if err != nil {
		return 0, err
	}
	ms[0].N, ms[0].NN, ms[0].Addr = n, 0, addr
	return 1, nil
}

func (s *badOOBSocket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (int, int, error) {
	size := segmentSizeOf(oob)
	s.mu.Lock()
	spare := s.segments && size == 0
	s.mu.Unlock()
	if !spare {
		if err := s.writeError("sendmsg", addr); err != nil {
			return 0, 0, err
		}
	}
	if size == 0 {
		size = len(b)
	}
	for rest := b; len(rest) > 0; {
		n := min(size, len(rest))
		if _, err := s.SimConn.WriteTo(rest[:n], addr); err != nil {
			return 0, 0, err
		}
		rest = rest[n:]
	}
	return len(b), len(oob), nil
}

// badPeer starts a peer on a socket that may fail. It counts its log's lines.
func (n *network) badPeer(t *testing.T, address string, oob bool) (*peer, *badSocket, *lineCount) {
	t.Helper()
	conn := n.socket(t, address)
	bad := &badSocket{SimConn: conn}
	var pc net.PacketConn = bad
	if oob {
		options, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		pc = &badOOBSocket{bad, options}
		t.Cleanup(func() { _ = options.Close() })
	}
	lines := new(lineCount)
	e, err := quicpeer.ListenPacket(pc, &quicpeer.Config{Trust: certs.Anyone(), Protocols: []string{simProto}, Logger: slog.New(lines)})
	require.NoError(t, err)
	p := &peer{Endpoint: e, t: t, addr: conn.LocalAddr(), conn: conn}
	t.Cleanup(p.stop)
	return p, bad, lines
}

// lineCount counts warnings and errors, as a logger's handler.
type lineCount struct {
	mu    sync.Mutex
	lines []string
}

func (*lineCount) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (c *lineCount) WithAttrs([]slog.Attr) slog.Handler         { return c }
func (c *lineCount) WithGroup(string) slog.Handler              { return c }

func (c *lineCount) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
	return nil
}

func (c *lineCount) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.lines...)
}

// bothSockets plays a test on both kinds of sockets that quic-go knows, for each
// of the errors.
func bothSockets(t *testing.T, errnos []syscall.Errno, f func(t *testing.T, n *network, oob bool, errno syscall.Errno)) {
	for _, oob := range []bool{false, true} {
		if oob && !oobHere {
			continue // quic-go uses such sockets as any other
		}
		for _, errno := range errnos {
			if raceHere && oob && errno == syscall.EIO {
				continue
			}
			t.Run(fmt.Sprintf("oob %v, %v", oob, errno), func(t *testing.T) {
				simulate(t, func(t *testing.T, n *network) { f(t, n, oob, errno) })
			})
		}
	}
}

// sendErrnos are what systems say of packets that they do not take.
var sendErrnos = []syscall.Errno{
	syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR, syscall.EPERM, syscall.EACCES,
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT,
	syscall.ECONNREFUSED, syscall.EINVAL, syscall.EIO,
}

// maxCalls is how many calls a second may fail when 100 messages are sent in it:
// one for each, another for EPERM, and QUIC's own.
const maxCalls = 250

// Packets that the system does not take are lost packets: a session survives one,
// a burst, and a second without any, keeps exact counts, and its close is
// confirmed. The system is not asked again and again, nor the log filled.
func TestSendErrorsAreLoss(t *testing.T) {
	bothSockets(t, sendErrnos, func(t *testing.T, n *network, oob bool, errno syscall.Errno) {
		a, bad, log := n.badPeer(t, "10.0.0.1:1000", oob)
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
		sa, sb := a.open(b)
		n.pass(2 * time.Second)

		const every = 10 * time.Millisecond
		send := func(count int) {
			for i := range count {
				require.NoError(t, sa.Send(t.Context(), numbered(i)))
				n.pass(every)
			}
		}
		for _, count := range []int{1, 20} {
			bad.failWrites(nil, errno, count)
			send(50)
			writes, _ := bad.failed()
			require.Equal(t, count, writes)
		}
		bad.failWrites(nil, errno, -1)
		send(100)
		writes, _ := bad.failed()
		require.Less(t, writes, maxCalls, "calls in a second, while every one fails")
		require.Positive(t, writes)
		bad.failWrites(nil, nil, 0)
		n.pass(2 * time.Second)
		require.NoError(t, sa.Signal(contextOf(t, sb), []byte("still there?")))
		require.NoError(t, sb.Send(t.Context(), []byte("yes")))
		_, err := sa.Receive(t.Context())
		require.NoError(t, err)

		require.NoError(t, sa.Close(t.Context()))
		wantOver(t, "closed", sa, time.Minute)
		wantOver(t, "closed", sb, time.Minute)
		wantSameCounts(t, sa, sb)
		require.Positive(t, sa.Stats().Lost)
		require.Positive(t, sa.Stats().Local.Sent-sa.Stats().Lost)
		require.Positive(t, notSent(a.Stats().Socket.NotSent))
		require.Contains(t, []int{1, 2}, len(log.all()), "%q", log.all())
	})
}

// contextOf ends the peer's side: it takes one signal in the background.
func contextOf(t *testing.T, s *quicpeer.Session) context.Context {
	go func() { _, _ = s.ReceiveSignal(t.Context()) }()
	return t.Context()
}

func notSent(s quicpeer.NotSentStats) uint64 {
	return s.NoBuffer + s.NotPermitted + s.Unreachable + s.TooLarge + s.Other
}

// If it lasts, the sessions with that peer end with the system's error as their
// cause. Others go on, and that peer can be dialed once it is over.
func TestLastingSendErrorsEndTheLink(t *testing.T) {
	bothSockets(t, sendErrnos, func(t *testing.T, n *network, oob bool, errno syscall.Errno) {
		a, bad, log := n.badPeer(t, "10.0.0.1:1000", oob)
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		c := n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		sa, sb := a.open(b)
		other, otherEnd := a.open(c)
		n.pass(2 * time.Second)

		bad.failWrites(b.addr, errno, -1)
		n.cut(b.addr, a.addr) // or b would tell a that it does not hear it
		began := time.Now()
		for sa.Send(t.Context(), []byte("hello?")) == nil {
			require.Less(t, time.Since(began), 30*time.Second, "nothing gets out")
			n.pass(10 * time.Millisecond)
		}
		wantOver(t, "nothing gets out", sa, time.Second)
		took := time.Since(began)
		require.Greater(t, took, 14*time.Second)
		end := wantEnd(t, "the link is lost", sa, session.Error{Cause: session.CauseLinkLost})
		require.ErrorIs(t, end, errno, "the cause says why")
		writes, _ := bad.failed()
		require.Less(t, writes, maxCalls*int(took/time.Second), "calls within %v", took)
		wantOver(t, "nothing comes in", sb, 30*time.Second)
		wantEnd(t, "the link is lost", sb, session.Error{Cause: session.CauseLinkLost})

		// A dial says at once what the system says; unless sending less would help.
		began = time.Now()
		_, err := a.dial(b, quicpeer.DialOptions{})
		switch errno {
		case syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN:
			require.Error(t, err)
		default:
			require.ErrorIs(t, err, errno)
			require.Zero(t, time.Since(began))
		}
		require.NoError(t, other.Err(), "another peer's session")
		require.NoError(t, other.Send(t.Context(), []byte("and you?")))
		_, err = otherEnd.Receive(t.Context())
		require.NoError(t, err)

		bad.failWrites(nil, nil, 0)
		n.mend(b.addr, a.addr)
		sa, _ = a.open(b)
		require.NoError(t, sa.Close(t.Context()))
		require.NoError(t, other.Close(t.Context()))
		require.LessOrEqual(t, len(log.all()), 8, "one in ten seconds: %q", log.all())
	})
}

// An error that is over is not why a link is lost a minute later.
func TestOldSendErrorIsNotTheCause(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a, bad, _ := n.badPeer(t, "10.0.0.1:1000", false)
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		sa, _ := a.open(b)
		bad.failWrites(b.addr, syscall.ENETUNREACH, 1)
		require.NoError(t, sa.Send(t.Context(), []byte("hello?")))
		n.pass(time.Minute)
		writes, _ := bad.failed()
		require.Equal(t, 1, writes)
		n.cut(b.addr, a.addr)
		wantOver(t, "nothing comes in", sa, 30*time.Second)
		end := wantEnd(t, "the link is lost", sa, session.Error{Cause: session.CauseLinkLost})
		require.NotErrorIs(t, end, syscall.ENETUNREACH)
	})
}

// readErrnos are what systems say when there is something else than a packet.
var readErrnos = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ENOMEM, syscall.ENOBUFS, syscall.EINTR, syscall.EAGAIN,
	syscall.EIO, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EINVAL,
}

// A read that fails ends nothing: the endpoint reads on, without a rush, and
// dials and accepts when that is over. Sessions end if it lasts.
func TestReadErrorsAreSurvived(t *testing.T) {
	bothSockets(t, readErrnos, func(t *testing.T, n *network, oob bool, errno syscall.Errno) {
		a, bad, log := n.badPeer(t, "10.0.0.1:1000", oob)
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		sa, sb := a.open(b)
		n.pass(2 * time.Second)
		send := func(count int) {
			for i := range count {
				require.NoError(t, sb.Send(t.Context(), numbered(i)))
				n.pass(10 * time.Millisecond)
			}
		}
		for _, count := range []int{1, 20} {
			bad.failReads(errno, count)
			send(50)
			_, reads := bad.failed()
			require.Equal(t, count, reads)
		}
		const second = 100
		bad.failReads(errno, -1)
		send(second)
		_, reads := bad.failed()
		require.Less(t, reads, 120, "calls in a second, while every one fails")
		bad.failReads(nil, 0)
		n.pass(2 * time.Second)
		require.NoError(t, sa.Close(t.Context()))
		wantOver(t, "closed", sa, time.Minute)
		wantOver(t, "closed", sb, time.Minute)
		wantSameCounts(t, sa, sb)
		require.Positive(t, sb.Stats().Lost)

		sa, sb = a.open(b)
		bad.failReads(errno, -1)
		took := wantOver(t, "nothing comes in", sa, 30*time.Second)
		wantEnd(t, "the link is lost", sa, session.Error{Cause: session.CauseLinkLost})
		wantOver(t, "nobody answers", sb, 30*time.Second)
		_, reads = bad.failed()
		require.Less(t, reads, 120+11*int(took/time.Second))
		bad.failReads(nil, 0)
		n.pass(time.Second)
		sa, _ = a.open(b)
		require.NoError(t, sa.Close(t.Context()))
		sb, _ = b.open(a)
		require.NoError(t, sb.Close(t.Context()))
		require.Positive(t, a.Stats().Socket.FailedReads)
		require.LessOrEqual(t, len(log.all()), 8, "one in ten seconds: %q", log.all())

		// An endpoint whose socket fails for good can be closed.
		bad.failReads(errno, -1)
		n.pass(time.Second)
		require.NoError(t, a.Close(t.Context()))
	})
}

// A socket that has gone is not tried again: the one who accepts is told, and so
// is every session.
func TestEndOfTheSocket(t *testing.T) {
	bothSockets(t, []syscall.Errno{syscall.EBADF, syscall.ENOTSOCK}, func(t *testing.T, n *network, oob bool, errno syscall.Errno) {
		a, bad, _ := n.badPeer(t, "10.0.0.1:1000", oob)
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		sa, sb := a.open(b)
		bad.failReads(errno, -1)
		require.NoError(t, sb.Send(t.Context(), []byte("a packet for the last read")))
		wantOver(t, "the socket is gone", sa, time.Second)
		require.ErrorIs(t, wantEnd(t, "the socket is gone", sa, session.Error{Cause: session.CauseLinkLost}), errno)
		_, err := a.Accept(t.Context())
		require.ErrorIs(t, err, errno)
		_, err = a.dial(b, quicpeer.DialOptions{})
		require.Error(t, err)
		synctest.Wait()
		_, reads := bad.failed()
		require.Equal(t, 1, reads)
	})
}

// A device that cannot cut segments (EIO) is sent single packets: quic-go's doing,
// which must get to see that error. Nothing is lost by it.
func TestSegmentsThatCannotBeCut(t *testing.T) {
	if !oobHere || raceHere {
		t.Skip("there is no send offload here, or a race in quic-go")
	}
	simulate(t, func(t *testing.T, n *network) {
		a, bad, _ := n.badPeer(t, "10.0.0.1:1000", true)
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		sa, _ := a.open(b)
		n.pass(2 * time.Second) // until the largest packet is known
		full := make([]byte, sa.DatagramSize())
		bad.mu.Lock()
		bad.segments = true
		bad.mu.Unlock()
		bad.failWrites(nil, syscall.EIO, 1)
		for range 100 {
			require.NoError(t, sa.Send(t.Context(), full))
		}
		n.pass(time.Second)
		require.NoError(t, sa.Close(t.Context()))
		writes, _ := bad.failed()
		require.Equal(t, 1, writes)
		require.Zero(t, a.Stats().Socket.NotSent.Other)
		require.Zero(t, sa.Stats().Lost)
	})
}
