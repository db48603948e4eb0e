package quicpeer

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func rawAddr(ip net.IP, port int, scope uint32) (sockaddr, int) {
	var raw sockaddr
	binary.BigEndian.PutUint16(raw[2:], uint16(port))
	if v4 := ip.To4(); v4 != nil && len(ip) == net.IPv4len {
		binary.NativeEndian.PutUint16(raw[:], unix.AF_INET)
		copy(raw[4:], v4)
		for i := unix.SizeofSockaddrInet4; i < len(raw); i++ {
			raw[i] = byte(rand.Int()) // of a longer address before it
		}
		return raw, unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(raw[:], unix.AF_INET6)
	copy(raw[8:], ip.To16())
	binary.NativeEndian.PutUint32(raw[24:], scope)
	return raw, unix.SizeofSockaddrInet6
}

func TestAddressesAreShared(t *testing.T) {
	lo, err := net.InterfaceByIndex(1)
	require.NoError(t, err)
	var c addrCache
	var first []*net.UDPAddr
	for range 2 {
		for i, want := range []struct {
			ip    net.IP
			scope uint32
			zone  string
		}{
			{net.IPv4(192, 0, 2, 1).To4(), 0, ""},
			{net.ParseIP("2001:db8::1"), 0, ""},
			{net.IPv4(192, 0, 2, 1).To16(), 0, ""}, // mapped, of a socket for both families
			{net.ParseIP("fe80::1"), 1, lo.Name},
			{net.ParseIP("fe80::1"), 1 << 30, "1073741824"}, // there is no such interface
		} {
			raw, n := rawAddr(want.ip, 1000+i, want.scope)
			got := c.get(&raw, n)
			require.Equal(t, &net.UDPAddr{IP: want.ip, Port: 1000 + i, Zone: want.zone}, got)
			if first = append(first, got); len(first) > 5 {
				require.Same(t, first[i], got)
			}
			clear(raw[:])
			require.True(t, want.ip.Equal(got.IP), "it does not refer to the buffer")
		}
	}
	var zero addrCache
	for _, n := range []int{0, 2, 8, unix.SizeofSockaddrInet4 - 1, unix.SizeofSockaddrInet6, 110} {
		var raw sockaddr
		require.Nil(t, zero.get(&raw, n), "of no family, %d bytes", n)
	}
	raw, _ := rawAddr(net.ParseIP("2001:db8::1"), 1, 0)
	require.Nil(t, zero.get(&raw, unix.SizeofSockaddrInet6-1))
}

func TestAddressesAreBounded(t *testing.T) {
	var c addrCache
	for port := range 3 * maxAddrs {
		raw, n := rawAddr(net.IPv4(192, 0, 2, 1).To4(), port, 0)
		require.Equal(t, port, c.get(&raw, n).Port)
		require.LessOrEqual(t, len(c.known), maxAddrs)
	}
}
