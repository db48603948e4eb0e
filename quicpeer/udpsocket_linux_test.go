package quicpeer

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// cmsg is one control message (cmsg(3)).
func cmsg(level, kind int, data ...byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	// struct cmsghdr: the length is a size_t, two ints follow.
	if unix.SizeofCmsghdr == 16 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(len(data))))
	}
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-8:], uint32(level))
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-4:], uint32(kind))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func native16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// newTestSocket returns a socket with the options that quic-go sets.
func newTestSocket(t testing.TB, address string) *udpSocket {
	t.Helper()
	c := listenTestUDP(t, address)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for _, option := range [][2]int{
			{unix.IPPROTO_IP, unix.IP_RECVTOS}, {unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS},
			{unix.IPPROTO_IP, unix.IP_PKTINFO}, {unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO},
		} {
			_ = unix.SetsockoptInt(int(fd), option[0], option[1], 1) // of the other family
		}
	}))
	return newUDPSocket(c)
}

// newOffloadSocket is newTestSocket where the kernel has receive offload.
func newOffloadSocket(t testing.TB, address string) *udpSocket {
	t.Helper()
	s := newTestSocket(t, address)
	if s.why != nil {
		t.Skip(s.why)
	}
	return s
}

func listenTestUDP(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("no such address here: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second))) // a test that waits for nothing fails
	return c.(*net.UDPConn)
}

// sendSegments sends with one call what the kernel cuts into packets of a size.
func sendSegments(t testing.TB, from *net.UDPConn, to netip.AddrPort, data []byte, size int, ecn byte) {
	t.Helper()
	oob := cmsg(unix.IPPROTO_UDP, unix.UDP_SEGMENT, native16(uint16(size))...)
	if to.Addr().Unmap().Is4() {
		oob = append(oob, cmsg(unix.IPPROTO_IP, unix.IP_TOS, ecn)...)
	} else {
		oob = append(oob, cmsg(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, native32(uint32(ecn))...)...)
	}
	_, _, err := from.WriteMsgUDPAddrPort(data, oob, to)
	require.NoError(t, err)
}

// messages returns as many as quic-go passes, with buffers as large as its own,
// and filled with what must not be left in them.
func messages(n int) []ipv4.Message {
	ms := make([]ipv4.Message, n)
	for i := range ms {
		ms[i] = ipv4.Message{
			Buffers: [][]byte{bytes.Repeat([]byte{0xee}, 1452)}, OOB: bytes.Repeat([]byte{0xee}, 128),
			N: -1, NN: -1, Flags: -1,
		}
	}
	return ms
}

// packet is a message as quic-go understands it.
type packet struct {
	data  []byte
	from  netip.AddrPort
	ecn   byte
	dst   netip.Addr
	flags int
}

func parsePacket(t testing.TB, m ipv4.Message) packet {
	t.Helper()
	from := m.Addr.(*net.UDPAddr).AddrPort()
	p := packet{
		data: m.Buffers[0][:m.N], flags: m.Flags &^ unix.MSG_CMSG_CLOEXEC,
		from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()),
	}
	for rest := m.OOB[:m.NN]; len(rest) > 0; {
		h, data, next, err := unix.ParseOneSocketControlMessage(rest)
		require.NoError(t, err)
		rest = next
		switch [2]int32{h.Level, h.Type} {
		case [2]int32{unix.IPPROTO_IP, unix.IP_TOS}:
			require.Len(t, data, 1)
			p.ecn = data[0] & 3
		case [2]int32{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:
			require.Len(t, data, 4)
			if bits := byte(binary.NativeEndian.Uint32(data)) & 3; bits != 0 {
				p.ecn = bits
			}
		case [2]int32{unix.IPPROTO_IP, unix.IP_PKTINFO}:
			require.Len(t, data, 12)
			p.dst = netip.AddrFrom4([4]byte(data[8:12]))
		case [2]int32{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
			require.Len(t, data, 20)
			p.dst = netip.AddrFrom16([16]byte(data[:16])).Unmap()
		default:
			require.Fail(t, "unexpected control message", "%d/%d", h.Level, h.Type)
		}
	}
	return p
}

// readPackets reads until it has so many.
func readPackets(t testing.TB, s *udpSocket, want int) []packet {
	t.Helper()
	var all []packet
	for len(all) < want {
		ms := messages(8)
		n, err := s.ReadBatch(ms, 0)
		require.NoError(t, err)
		require.Positive(t, n)
		for _, m := range ms[:n] {
			all = append(all, parsePacket(t, m))
		}
	}
	require.Len(t, all, want)
	return all
}

// numbered returns data of which each part of a size is unlike the others.
func numbered(n, size int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i/size + i)
	}
	return b
}

var socketFamilies = []struct{ name, listen, from, to string }{
	{"IPv4", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6", "[::1]:0", "[::1]:0", "::1"},
	{"IPv4 to a socket of both", "[::]:0", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6 to a socket of both", "[::]:0", "[::1]:0", "::1"},
}

// destination is where a socket is reached on an address.
func destination(s *udpSocket, ip string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), s.LocalAddr().(*net.UDPAddr).AddrPort().Port())
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
	require.Equal(t, SocketStats{ReceiveOffload: true, ReceivedPackets: 6, CoalescedPackets: 2, ReceiveCalls: 1}, s.stats())
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

func TestBlockedReadEnds(t *testing.T) {
	for name, unblock := range map[string]func(*udpSocket) error{
		"deadline": func(s *udpSocket) error { return s.SetReadDeadline(time.Now()) },
		"close":    func(s *udpSocket) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newOffloadSocket(t, "127.0.0.1:0")
			read := make(chan error)
			go func() {
				_, err := s.ReadBatch(messages(8), 0)
				read <- err
			}()
			require.NoError(t, unblock(s))
			err := <-read
			if name == "close" {
				require.ErrorIs(t, err, net.ErrClosed)
				return
			}
			var timeout net.Error
			require.ErrorAs(t, err, &timeout)
			require.True(t, timeout.Timeout())

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

func TestWritesAreCounted(t *testing.T) {
	s := newTestSocket(t, "127.0.0.1:0")
	to := listenTestUDP(t, "127.0.0.1:0").LocalAddr().(*net.UDPAddr)
	oob := append(cmsg(unix.IPPROTO_IP, unix.IP_TOS, 2), cmsg(unix.IPPROTO_UDP, unix.UDP_SEGMENT, native16(100)...)...)
	for _, n := range []int{1000, 1001, 99, 100} { // 10, 11, 1 and 1 packets
		_, _, err := s.WriteMsgUDP(make([]byte, n), oob, to)
		require.NoError(t, err)
	}
	_, _, err := s.WriteMsgUDP(make([]byte, 1000), nil, to)
	require.NoError(t, err)
	_, err = s.WriteTo(make([]byte, 1000), to)
	require.NoError(t, err)
	_, _, err = s.WriteMsgUDP(make([]byte, 70_000), nil, to)
	require.Error(t, err)
	require.Equal(t, uint64(25), s.stats().SentPackets)
	require.Equal(t, uint64(6), s.stats().SendCalls)
}

func TestCallersSocketIsGivenBackPlain(t *testing.T) {
	c := listenTestUDP(t, "127.0.0.1:0")
	e, err := ListenPacket(c, nil)
	require.NoError(t, err)
	option := func() (on int) {
		raw, err := c.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { on, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO) }))
		require.NoError(t, err)
		return on
	}
	if !e.Stats().Socket.ReceiveOffload {
		t.Skip(e.udp.why)
	}
	require.Equal(t, 1, option())
	require.NoError(t, e.Close(t.Context()))
	require.Zero(t, option())
}

// A socket that is more than a UDPConn is not read past its methods.
func TestWrappedSocketIsLeftAlone(t *testing.T) {
	c := listenTestUDP(t, "127.0.0.1:0")
	e, err := ListenPacket(struct{ *net.UDPConn }{c}, nil)
	require.NoError(t, err)
	require.Zero(t, e.Stats().Socket)
	require.NoError(t, e.Close(t.Context()))
}
