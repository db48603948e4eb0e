//go:build !linux

package quicpeer

import (
	"errors"
	"net"
	"runtime"

	"golang.org/x/net/ipv4"
)

// receiveOffload exists on Linux only, and so does send offload in quic-go.
type receiveOffload struct{}

func newReceiveOffload(*net.UDPConn, *socketCounts) (*receiveOffload, error) {
	return nil, errors.New("there is no receive offload on " + runtime.GOOS)
}

func (*receiveOffload) ReadBatch([]ipv4.Message, int) (int, error) {
	panic("BUG: read through an offload that does not exist")
}

func (*receiveOffload) stop() {}

func segmentSize([]byte) int { return 0 }
