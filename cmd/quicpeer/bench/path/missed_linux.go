package path

import (
	"encoding/binary"
	"net"
	"syscall"
)

// countMissed has the system say, with each packet, how many it dropped for want
// of room in the socket's buffer. Where it does not, they stay uncounted.
func countMissed(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1)
	})
}

// parseMissed finds that number among a packet's control messages.
func parseMissed(oob []byte) (uint32, bool) {
	if len(oob) == 0 {
		return 0, false
	}
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		if m.Header.Level == syscall.SOL_SOCKET && m.Header.Type == syscall.SO_RXQ_OVFL && len(m.Data) >= 4 {
			return binary.NativeEndian.Uint32(m.Data), true
		}
	}
	return 0, false
}
