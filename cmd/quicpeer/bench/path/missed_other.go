//go:build !linux

package path

import "net"

func countMissed(*net.UDPConn) {}

func parseMissed([]byte) (uint32, bool) { return 0, false }
