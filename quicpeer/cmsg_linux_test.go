package quicpeer

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestControlMessages(t *testing.T) {
	tos := cmsg(unix.IPPROTO_IP, unix.IP_TOS, 2)
	info := cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 12)...)
	gro := cmsg(unix.IPPROTO_UDP, unix.UDP_GRO, native32(1441)...)
	segment := cmsg(unix.IPPROTO_UDP, unix.UDP_SEGMENT, native16(1441)...)
	overlong := slices.Clone(tos)
	overlong[0] = 0xff
	empty := make([]byte, unix.SizeofCmsghdr) // a length of 0
	for _, c := range []struct {
		name     string
		in       [][]byte
		gro, cut int
		out      [][]byte
	}{
		{"none", nil, 0, 0, nil},
		{"all", [][]byte{info, gro, tos}, 1441, 0, [][]byte{info, tos}},
		{"sizes first", [][]byte{gro, segment, tos}, 1441, 1441, [][]byte{segment, tos}},
		{"a size of 2 bytes", [][]byte{cmsg(unix.IPPROTO_UDP, unix.UDP_GRO, 1, 2)}, 0, 0, nil},
		{"no size", [][]byte{cmsg(unix.IPPROTO_UDP, unix.UDP_GRO), tos}, 0, 0, [][]byte{tos}},
		{"a size below zero", [][]byte{cmsg(unix.IPPROTO_UDP, unix.UDP_GRO, native32(1<<31)...)}, -1 << 31, 0, nil},
		{"another level", [][]byte{cmsg(unix.IPPROTO_TCP, unix.UDP_GRO, native32(9)...)}, 0, 0, [][]byte{cmsg(unix.IPPROTO_TCP, unix.UDP_GRO, native32(9)...)}},
		{"longer than what there is", [][]byte{tos, overlong}, 0, 0, [][]byte{tos}},
		{"malformed before the size", [][]byte{tos, empty, gro}, 0, 0, [][]byte{tos}},
		{"part of a header", [][]byte{tos, gro[:unix.SizeofCmsghdr-1]}, 0, 0, [][]byte{tos}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, want := bytes.Join(c.in, nil), bytes.Join(c.out, nil)
			require.Equal(t, c.gro, groSize(in))
			require.Equal(t, c.cut, segmentSize(in))
			dst := make([]byte, len(in))
			require.Equal(t, want, dst[:copyControl(dst, in)], "to elsewhere")
			require.Equal(t, want, in[:copyControl(in, in)], "in place")
		})
	}
	both := append(slices.Clone(tos), info...)
	require.Equal(t, tos, withoutLast(both))
	require.Empty(t, withoutLast(tos))
	require.Empty(t, withoutLast(nil))
	require.Equal(t, tos, withoutLast(append(both, 1, 2, 3)))
	require.Equal(t, both, packetControl(slices.Clone(both), 0))
	require.Equal(t, tos, packetControl(slices.Clone(both), unix.MSG_CTRUNC), "the last may be cut")
	short := make([]byte, len(both)-1)
	require.Equal(t, tos, short[:copyControl(short, both)], "whole messages only")
}

// Whatever the control messages are, what QUIC gets is well-formed, without
// UDP_GRO, and begins as they do.
func FuzzControlMessages(f *testing.F) {
	f.Add([]byte(nil), 128)
	f.Add(bytes.Join([][]byte{cmsg(unix.IPPROTO_UDP, unix.UDP_GRO, native32(1441)...), cmsg(unix.IPPROTO_IP, unix.IP_TOS, 2)}, nil), 128)
	f.Add(cmsg(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, make([]byte, 20)...), 24)
	f.Fuzz(func(t *testing.T, in []byte, room int) {
		in = slices.Clone(in) // aligned, as a buffer is
		dst := make([]byte, max(0, min(room, 512)))
		groSize(in)
		segmentSize(in)
		require.LessOrEqual(t, len(withoutLast(in)), len(in))
		out := dst[:copyControl(dst, in)]
		for rest := out; len(rest) > 0; {
			h, _, next, err := unix.ParseOneSocketControlMessage(rest)
			require.NoError(t, err)
			require.False(t, h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO)
			rest = next
		}
		again := slices.Clone(out)
		require.Equal(t, len(out), copyControl(again, again))
		require.Equal(t, out, again)
		require.Zero(t, groSize(out))
	})
}
