package quicpeer

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var socketFamilies = []struct{ name, listen, from, to string }{
	{"IPv4", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6", "[::1]:0", "[::1]:0", "::1"},
	{"IPv4 to a socket of both", "[::]:0", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6 to a socket of both", "[::]:0", "[::1]:0", "::1"},
}

func TestCoalescedPacketsComeOneByOne(t *testing.T) {
	for _, c := range socketFamilies {
		t.Run(c.name, func(t *testing.T) {
			s := newOffloadSocket(t, c.listen)
			from := listenTestUDP(t, c.from)
			to := destination(s, c.to)
			const size, count, short = 1441, 14, 300
			data := numbered((count-1)*size+short, size)
			sendSegments(t, from, to, data, size, 2)

			for i, p := range readPackets(t, s, count) {
				want := data[i*size:]
				want = want[:min(size, len(want))]
				require.Equal(t, want, p.data, "packet %d", i)
				require.Equal(t, from.LocalAddr().(*net.UDPAddr).AddrPort(), p.from)
				require.Equal(t, byte(2), p.ecn, "ECT(0)")
				require.Equal(t, to.Addr(), p.dst)
				require.Zero(t, p.flags)
			}
			require.Equal(t, SocketStats{
				ReceiveOffload: true, ReceivedPackets: count, CoalescedPackets: count, ReceiveCalls: 1,
			}, s.stats())
		})
	}
}

// What does not fit in one batch is there for the next, which does not wait.
func TestLeftoversComeFirst(t *testing.T) {
	s := newOffloadSocket(t, "127.0.0.1:0")
	from := listenTestUDP(t, "127.0.0.1:0")
	to := destination(s, "127.0.0.1")
	data := numbered(10*100, 100)
	sendSegments(t, from, to, data, 100, 0)
	var got []byte
	for _, want := range []int{4, 4, 2} {
		ms := messages(4)
		n, err := s.ReadBatch(ms, 0)
		require.NoError(t, err)
		require.Equal(t, want, n)
		for _, m := range ms[:n] {
			got = append(got, parsePacket(t, m).data...)
		}
		require.NoError(t, s.SetReadDeadline(time.Now().Add(-time.Second))) // no more to come
	}
	require.Equal(t, data, got)
	require.Equal(t, uint64(1), s.stats().ReceiveCalls)
	_, err := s.ReadBatch(messages(4), 0)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// Packets that are not coalesced come as without offload: several with a call,
// each with its own address.
func TestLonePacketsShareACall(t *testing.T) {
	s := newOffloadSocket(t, "127.0.0.1:0")
	to := destination(s, "127.0.0.1")
	a, b := listenTestUDP(t, "127.0.0.1:0"), listenTestUDP(t, "127.0.0.1:0")
	send := func(from *net.UDPConn, data string) {
		_, err := from.WriteToUDPAddrPort([]byte(data), to)
		require.NoError(t, err)
	}
	send(a, "one")
	send(b, "two")
	send(a, "") // also an empty one
	sendSegments(t, b, to, []byte("threefour!"), 5, 0)
	send(a, "five")

	ps := readPackets(t, s, 6)
	for i, want := range []struct {
		from *net.UDPConn
		data string
	}{{a, "one"}, {b, "two"}, {a, ""}, {b, "three"}, {b, "four!"}, {a, "five"}} {
		require.Equal(t, want.data, string(ps[i].data))
		require.Equal(t, want.from.LocalAddr().(*net.UDPAddr).AddrPort(), ps[i].from)
	}
	const calls = (5 + coalescedBatch - 1) / coalescedBatch
	require.Equal(t, SocketStats{ReceiveOffload: true, ReceivedPackets: 6, CoalescedPackets: 2, ReceiveCalls: calls}, s.stats())
}

func TestPacketsTooLongAreCut(t *testing.T) {
	s := newOffloadSocket(t, "127.0.0.1:0")
	from := listenTestUDP(t, "127.0.0.1:0")
	to := destination(s, "127.0.0.1")
	data := numbered(2*2000+100, 2000)
	sendSegments(t, from, to, data, 2000, 0)
	_, err := from.WriteToUDPAddrPort(data[:3000], to)
	require.NoError(t, err)
	_, err = from.WriteToUDPAddrPort(data[:1452], to)
	require.NoError(t, err)

	ps := readPackets(t, s, 5)
	for i, want := range []struct {
		data  []byte
		flags int
	}{
		{data[:1452], unix.MSG_TRUNC}, {data[2000:][:1452], unix.MSG_TRUNC}, {data[4000:], 0},
		{data[:1452], unix.MSG_TRUNC}, {data[:1452], 0},
	} {
		require.Equal(t, want.data, ps[i].data, "packet %d", i)
		require.Equal(t, want.flags, ps[i].flags, "packet %d", i)
	}
}

// Of a datagram too long for the buffer itself, the last packet is the one that
// is cut.
func TestDatagramTooLongIsCutAtItsEnd(t *testing.T) {
	d := coalesced{rest: []byte("onetwo"), size: 3, flags: unix.MSG_TRUNC}
	ms := messages(2)
	require.False(t, d.next(&ms[0]))
	require.True(t, d.next(&ms[1]))
	require.Zero(t, ms[0].Flags)
	require.Equal(t, unix.MSG_TRUNC, ms[1].Flags)
}

func TestControlTooLongIsCut(t *testing.T) {
	s := newOffloadSocket(t, "[::]:0")
	from := listenTestUDP(t, "127.0.0.1:0")
	sendSegments(t, from, destination(s, "127.0.0.1"), []byte("onetwo"), 3, 1)
	ms := messages(2)
	for i := range ms {
		ms[i].OOB = ms[i].OOB[:40] // of 120
	}
	n, err := s.ReadBatch(ms, 0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	for _, m := range ms {
		require.Equal(t, unix.MSG_CTRUNC, parsePacket(t, m).flags, "what there is, is well-formed")
	}
}

// waitBlocked waits until a goroutine waits for the network in a function.
func waitBlocked(t testing.TB, function string, over <-chan error) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for {
		select {
		case err := <-over:
			require.Fail(t, "it does not wait", "%v", err)
		default:
		}
		for _, stack := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "[IO wait") && strings.Contains(stack, function) {
				return
			}
		}
		runtime.Gosched()
	}
}

func TestBlockedReadEnds(t *testing.T) {
	for name, unblock := range map[string]func(*udpSocket) error{
		"deadline": func(s *udpSocket) error { return s.SetReadDeadline(time.Now()) },
		"close":    func(s *udpSocket) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newOffloadSocket(t, "127.0.0.1:0")
			read := make(chan error, 1)
			go func() {
				_, err := s.ReadBatch(messages(8), 0)
				read <- err
			}()
			waitBlocked(t, "(*receiveOffload).ReadBatch", read)
			require.NoError(t, unblock(s))
			err := <-read
			if name == "close" {
				require.ErrorIs(t, err, net.ErrClosed)
				return
			}
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)

			// And goes on when there is no deadline.
			require.NoError(t, s.SetReadDeadline(time.Time{}))
			_, err = listenTestUDP(t, "127.0.0.1:0").WriteToUDPAddrPort([]byte("on"), destination(s, "127.0.0.1"))
			require.NoError(t, err)
			require.Equal(t, "on", string(readPackets(t, s, 1)[0].data))
		})
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	s := newOffloadSocket(t, "[::]:0")
	a, b := listenTestUDP(t, "127.0.0.1:0"), listenTestUDP(t, "127.0.0.1:0")
	to := destination(s, "127.0.0.1")
	data := numbered(14*1441, 1441)
	oob := cmsg(unix.IPPROTO_UDP, unix.UDP_SEGMENT, native16(1441)...)
	ms := messages(8)
	var failed error
	round := func() {
		for _, from := range []*net.UDPConn{a, b} {
			if _, _, err := from.WriteMsgUDPAddrPort(data, oob, to); err != nil {
				failed = err
			}
		}
		for got := 0; got < 28 && failed == nil; {
			n, err := s.ReadBatch(ms, 0)
			got, failed = got+n, err
		}
	}
	require.Zero(t, testing.AllocsPerRun(100, round))
	require.NoError(t, failed)

	send := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(to.Port())}
	sender := newTestSocket(t, "127.0.0.1:0")
	plain := testing.AllocsPerRun(100, func() { _, _, failed = sender.UDPConn.WriteMsgUDP(data[:100], oob, send) })
	require.Equal(t, plain, testing.AllocsPerRun(100, func() { _, _, failed = sender.WriteMsgUDP(data[:100], oob, send) }))
	require.NoError(t, failed)
}
