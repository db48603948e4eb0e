package quicpeer

import (
	"errors"
	"net"
	"syscall"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
)

// wrapSocket has the errors of a caller's socket end in f. quic-go finds on what
// it gets the same optional methods as on pc.
func wrapSocket(pc net.PacketConn, f *socketFaults) net.PacketConn {
	if c, ok := pc.(quic.OOBCapablePacketConn); ok {
		reader, ok := pc.(batchReader)
		if !ok {
			if _, ok := pc.(net.Conn); !ok {
				return pc // which quic-go refuses, and says why
			}
			reader = ipv4.NewPacketConn(pc) // as quic-go would
		}
		return &oobSocket{c, reader, f}
	}
	s := packetSocket{pc, f}
	if c, ok := pc.(syscall.Conn); ok {
		return &syscallSocket{s, c}
	}
	return &s
}

// oobSocket is a socket of another type that can do what a [net.UDPConn] can.
type oobSocket struct {
	quic.OOBCapablePacketConn
	reader batchReader
	faults *socketFaults
}

func (s *oobSocket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	return readBatch(s.reader, s.faults, ms, flags)
}

func (s *oobSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	return readFrom(s.OOBCapablePacketConn, s.faults, b)
}

func (s *oobSocket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	write := func() error {
		n, oobn, err = s.OOBCapablePacketConn.WriteMsgUDP(b, oob, addr)
		return err
	}
	if err = write(); err != nil {
		err = s.faults.notSent(err, addr, len(b), segmentSize(oob), write)
	}
	return n, oobn, err
}

func (s *oobSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	return writeTo(s.OOBCapablePacketConn, s.faults, b, addr)
}

func (s *oobSocket) SetWriteBuffer(n int) error { return setWriteBuffer(s.OOBCapablePacketConn, n) }

// packetSocket is a socket that carries packets and does nothing else.
type packetSocket struct {
	net.PacketConn
	faults *socketFaults
}

func (s *packetSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	return readFrom(s.PacketConn, s.faults, b)
}

func (s *packetSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	return writeTo(s.PacketConn, s.faults, b, addr)
}

var errNoBufferSize = errors.New("the size of the socket's buffer cannot be set")

func (s *packetSocket) SetReadBuffer(n int) error {
	if c, ok := s.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(n)
	}
	return errNoBufferSize
}

func (s *packetSocket) SetWriteBuffer(n int) error { return setWriteBuffer(s.PacketConn, n) }

func setWriteBuffer(pc net.PacketConn, n int) error {
	if c, ok := pc.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(n)
	}
	return errNoBufferSize
}

// syscallSocket is a packetSocket of the system.
type syscallSocket struct {
	packetSocket
	syscall.Conn
}

// readBatch reads until there is something, or an error that does not pass.
func readBatch(r batchReader, f *socketFaults, ms []ipv4.Message, flags int) (int, error) {
	for row := 0; ; row++ {
		n, err := r.ReadBatch(ms, flags)
		if err == nil || !f.again(err, row) {
			return n, err
		}
	}
}

// readFrom is readBatch for one packet.
func readFrom(pc net.PacketConn, f *socketFaults, b []byte) (int, net.Addr, error) {
	for row := 0; ; row++ {
		n, addr, err := pc.ReadFrom(b)
		if err == nil || !f.again(err, row) {
			return n, addr, err
		}
	}
}

// writeTo sends one packet. It returns 0, and no error, if that is lost.
func writeTo(pc net.PacketConn, f *socketFaults, b []byte, addr net.Addr) (n int, err error) {
	write := func() error {
		n, err = pc.WriteTo(b, addr)
		return err
	}
	if err = write(); err != nil {
		err = f.notSent(err, addr, len(b), 0, write)
	}
	return n, err
}
