package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// cpuTime is what this process has spent so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentBytes is how much memory this process has.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	_, _ = fmt.Sscan(string(text), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// sourceControl is the control message with which a packet leaves from any
// address of this machine, and 127/8 is all of this machine (ip(7), IP_PKTINFO).
func sourceControl(source net.IP) []byte {
	b := make([]byte, syscall.CmsgSpace(syscall.SizeofInet4Pktinfo))
	binary.NativeEndian.PutUint64(b, uint64(syscall.CmsgLen(syscall.SizeofInet4Pktinfo)))
	binary.NativeEndian.PutUint32(b[8:], syscall.IPPROTO_IP)
	binary.NativeEndian.PutUint32(b[12:], syscall.IP_PKTINFO)
	copy(b[syscall.CmsgLen(0)+4:], source.To4()) // behind the interface's index comes the source
	return b
}
