package quicpeer

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Whatever the kernel hands over as one datagram, with whatever it says of its
// packets' size, is cut into packets that make it up again, in as many as there
// must be; what does not fit into the reader's buffers is marked as cut.
func FuzzCoalesced(f *testing.F) {
	f.Add([]byte("onetwothree"), int32(3), cmsg(unix.IPPROTO_IP, unix.IP_TOS, 2), 0, 2000, 128)
	f.Add([]byte("onetwo"), int32(3), []byte{1, 2, 3}, unix.MSG_TRUNC|unix.MSG_CTRUNC, 2, 0)
	f.Add([]byte("onetwo"), int32(3), []byte(nil), unix.MSG_TRUNC, 100, 0)
	f.Add([]byte("one"), int32(3), []byte(nil), 0, 100, 0)
	f.Add([]byte(nil), int32(-1), []byte(nil), 0, 10, 10)
	f.Fuzz(func(t *testing.T, data []byte, size int32, control []byte, flags, room, controlRoom int) {
		control = slices.Clone(control)
		room, controlRoom = min(max(room, 0), 4096), min(max(controlRoom, 0), 512)
		addr := &net.UDPAddr{}
		d := newCoalesced(data, int(size), addr, control, flags)
		want := 1
		if size > 0 && len(data) > int(size) {
			want = (len(data) + int(size) - 1) / int(size)
		}
		require.Equal(t, want > 1, d.several)
		rest := data
		for i := range want {
			m := ipv4.Message{Buffers: [][]byte{make([]byte, room/2), make([]byte, room-room/2)}, OOB: make([]byte, controlRoom)}
			last := d.next(&m)
			require.Equal(t, i == want-1, last, "packet %d of %d", i, want)
			require.LessOrEqual(t, m.N, room)
			require.LessOrEqual(t, m.NN, controlRoom)
			require.Equal(t, addr, m.Addr)
			packet := slices.Concat(m.Buffers...)[:m.N]
			length := len(rest)
			if want > 1 {
				length = min(int(size), len(rest))
			}
			require.Equal(t, min(length, room), len(packet), "all that fits")
			require.True(t, bytes.HasPrefix(rest[:length], packet), "its bytes")
			require.Equal(t, m.N < length || last && flags&unix.MSG_TRUNC != 0, m.Flags&unix.MSG_TRUNC != 0, "whether it was cut")
			rest = rest[length:]
			for b := m.OOB[:m.NN]; len(b) > 0; {
				_, _, next, err := unix.ParseOneSocketControlMessage(b)
				require.NoError(t, err, "what QUIC gets is well-formed")
				b = next
			}
		}
		require.Empty(t, rest)
	})
}

// A raw address, of the length that the kernel gives its family, or of none, is
// read within that, and the cache answers as the parser does.
func FuzzAddrCache(f *testing.F) {
	f.Add([]byte{unix.AF_INET, 0, 0x23, 0x28, 127, 0, 0, 1}, unix.SizeofSockaddrInet4)
	f.Add([]byte{unix.AF_INET6, 0, 0x23, 0x28, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 27: 9}, unix.SizeofSockaddrInet6)
	f.Add([]byte{unix.AF_INET, 0, 0x23, 0x28, 127, 0, 0, 1, 27: 9}, unix.SizeofSockaddrInet4) // and what was there before
	var cache addrCache
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		n = min(max(n, 0), 64)
		var raw sockaddr
		copy(raw[:], data)
		switch binary.NativeEndian.Uint16(raw[:]) {
		case unix.AF_INET:
			n = unix.SizeofSockaddrInet4
		case unix.AF_INET6:
			n = unix.SizeofSockaddrInet6
		default:
			n = max(n, 2) // the family is always there
		}
		got := cache.get(&raw, n)
		if n > len(raw) {
			require.Nil(t, got)
			return
		}
		require.Equal(t, make([]byte, len(raw)-n), raw[n:], "what is not of the address is cleared")
		require.LessOrEqual(t, len(cache.known), maxAddrs)
		require.Equal(t, parseSockaddr(&raw, n), got)
		if got != nil {
			require.Contains(t, []int{4, 16}, len(got.IP))
			require.Equal(t, got, cache.get(&raw, n), "again")
		}
	})
}
