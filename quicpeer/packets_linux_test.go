package quicpeer

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
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
	return newUDPSocket(c, testFaults())
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

// destination is where a socket is reached on an address.
func destination(s *udpSocket, ip string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), s.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}
