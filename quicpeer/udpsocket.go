package quicpeer

import (
	"net"
	"sync/atomic"

	"golang.org/x/net/ipv4"
)

// udpSocket is the endpoint's UDP socket as QUIC uses it. It counts packets and
// the system calls that carried them, and where the system can hand over many
// packets with one call it has it do so. Its errors end in faults, as those of all
// sockets do.
//
// Writes are safe for concurrent use. Reads are not: QUIC has one reader. With
// receive offload only ReadBatch returns single packets; the other ways to read
// would return several as one.
type udpSocket struct {
	*net.UDPConn
	reader  batchReader
	offload *receiveOffload // the reader too; nil where the system has none
	why     error           // why there is no offload
	counts  socketCounts
	faults  *socketFaults
}

// socketCounts are totals of one socket. Only what succeeded is counted.
type socketCounts struct {
	receivedPackets, coalescedPackets, receiveCalls atomic.Uint64
	sentPackets, sendCalls                          atomic.Uint64
}

// batchReader is how quic-go reads from sockets of Linux, macOS and FreeBSD.
type batchReader interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
}

// newUDPSocket turns receive offload on if the system has it.
func newUDPSocket(c *net.UDPConn, f *socketFaults) *udpSocket {
	s := &udpSocket{UDPConn: c, faults: f}
	if s.offload, s.why = newReceiveOffload(c, &s.counts); s.why == nil {
		s.reader = s.offload
	} else {
		s.reader = plainReader{ipv4.NewPacketConn(c), &s.counts}
	}
	return s
}

// restore gives the socket back as plain as it came.
func (s *udpSocket) restore() {
	if s.offload != nil {
		s.offload.stop()
	}
}

// stats returns the totals so far. s may be nil.
func (s *udpSocket) stats() SocketStats {
	if s == nil {
		return SocketStats{}
	}
	return SocketStats{
		ReceiveOffload:   s.offload != nil,
		ReceivedPackets:  s.counts.receivedPackets.Load(),
		CoalescedPackets: s.counts.coalescedPackets.Load(),
		ReceiveCalls:     s.counts.receiveCalls.Load(),
		SentPackets:      s.counts.sentPackets.Load(),
		SendCalls:        s.counts.sendCalls.Load(),
	}
}

func (s *udpSocket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	return readBatch(s.reader, s.faults, ms, flags)
}

// ReadFrom is what quic-go uses where it has no batches.
func (s *udpSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := readFrom(s.UDPConn, s.faults, b)
	if err == nil {
		s.counts.receiveCalls.Add(1)
		s.counts.receivedPackets.Add(1)
	}
	return n, addr, err
}

// WriteMsgUDP is what quic-go uses where it has batches, for one packet or, with
// the size of each in oob, many. It returns 0, and no error, for what is lost.
func (s *udpSocket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	write := func() error {
		if n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr); err == nil {
			s.counts.sendCalls.Add(1)
			s.counts.sentPackets.Add(packetsIn(len(b), segmentSize(oob)))
		}
		return err
	}
	if err = write(); err != nil {
		err = s.faults.notSent(err, addr, len(b), segmentSize(oob), write)
	}
	return n, oobn, err
}

// WriteTo is what quic-go uses where it has no batches.
func (s *udpSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	n, err := writeTo(s.UDPConn, s.faults, b, addr)
	if err == nil && n > 0 {
		s.counts.sendCalls.Add(1)
		s.counts.sentPackets.Add(1)
	}
	return n, err
}

// packetsIn is how many packets n bytes are when cut at a size. Size 0: one.
func packetsIn(n, size int) uint64 {
	if size <= 0 || n <= size {
		return 1
	}
	return uint64((n + size - 1) / size)
}

// plainReader reads without offload.
type plainReader struct {
	*ipv4.PacketConn // of either family, despite its name
	counts           *socketCounts
}

func (r plainReader) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := r.PacketConn.ReadBatch(ms, flags)
	if n > 0 {
		r.counts.receiveCalls.Add(1)
		r.counts.receivedPackets.Add(uint64(n))
	}
	return n, err
}
