package quicpeer

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

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
