package integration_test

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// oobHere says whether quic-go uses control messages and batches here.
const oobHere = true

// segmentSizeOf returns the size at which the kernel would cut (UDP_SEGMENT), or 0.
func segmentSizeOf(oob []byte) int {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_SEGMENT {
			return int(binary.NativeEndian.Uint16(data))
		}
		oob = rest
	}
	return 0
}
