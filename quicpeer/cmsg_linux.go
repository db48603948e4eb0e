package quicpeer

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// nextControl takes the first control message (cmsg(3)) off b: whole is all of
// it with its padding, data what it carries. ok is false at the end of b, and
// where b is malformed.
func nextControl(b []byte) (h unix.Cmsghdr, data, whole, rest []byte, ok bool) {
	if len(b) < unix.SizeofCmsghdr {
		return h, nil, nil, nil, false
	}
	h, data, rest, err := unix.ParseOneSocketControlMessage(b)
	if err != nil {
		return h, nil, nil, nil, false
	}
	return h, data, b[:len(b)-len(rest)], rest, true
}

// groSize returns the size that the kernel tells of coalesced packets
// (UDP_GRO), 0 if it tells none.
func groSize(control []byte) int {
	for {
		h, data, _, rest, ok := nextControl(control)
		if !ok {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) == 4 {
			return int(int32(binary.NativeEndian.Uint32(data)))
		}
		control = rest
	}
}

// segmentSize returns the size at which the kernel is told to cut what is sent
// (UDP_SEGMENT), 0 if it is not.
func segmentSize(control []byte) int {
	for {
		h, data, _, rest, ok := nextControl(control)
		if !ok {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_SEGMENT && len(data) == 2 {
			return int(binary.NativeEndian.Uint16(data))
		}
		control = rest
	}
}

// copyControl copies the control messages that fit in dst, but for UDP_GRO, and
// returns how many bytes they take. It stops at one that is malformed, which
// would make QUIC give up the socket. dst may be src.
func copyControl(dst, src []byte) int {
	n := 0
	for {
		h, _, whole, rest, ok := nextControl(src)
		if !ok || n+len(whole) > len(dst) {
			return n
		}
		if h.Level != unix.IPPROTO_UDP || h.Type != unix.UDP_GRO {
			n += copy(dst[n:], whole)
		}
		src = rest
	}
}

// packetControl returns, in place, the control messages of each packet of a
// datagram that has these. If some did not fit, the last may be cut.
func packetControl(control []byte, flags int) []byte {
	if flags&unix.MSG_CTRUNC != 0 {
		control = withoutLast(control)
	}
	return control[:copyControl(control, control)]
}

// withoutLast returns all control messages but the last.
func withoutLast(control []byte) []byte {
	last := 0
	for rest := control; ; {
		_, _, _, next, ok := nextControl(rest)
		if !ok {
			return control[:last]
		}
		last, rest = len(control)-len(rest), next
	}
}
