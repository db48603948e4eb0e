package quicpeer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// coalescedSize holds the longest datagram that the kernel hands over, also
	// when it is made of many: their sum is limited as a UDP datagram is.
	coalescedSize = 64 << 10
	// coalescedBatch is how many of those one system call may return. Packets
	// that cannot be coalesced, because they come from many peers or by a device
	// that does not do it, then cost no more than without offload; read one by
	// one they cost a tenth more. With 8, coalesced ones are a few percent
	// slower (measured over loopback): more memory in turn.
	coalescedBatch = 4
	// controlSize holds the control messages of one datagram. Those that QUIC
	// asks for take 120 bytes, UDP_GRO 24; the rest is for options that the
	// caller of ListenPacket may have set, such as timestamps.
	controlSize = 512
)

// receiveOffload reads from a UDP socket for which the kernel coalesces
// consecutive packets of one peer, all of one size but the last, into one
// datagram (UDP_GRO, Linux 5.0), and cuts them apart again. It holds
// coalescedBatch buffers of coalescedSize, 256 KiB, whose pages take memory only
// once they have been used.
//
// Not safe for concurrent use: one reader.
type receiveOffload struct {
	raw    syscall.RawConn
	counts *socketCounts
	addrs  addrCache

	// What the kernel fills. The headers point to the rest.
	headers  [coalescedBatch]mmsghdr
	vectors  [coalescedBatch]unix.Iovec
	names    [coalescedBatch]sockaddr
	controls []byte
	buffers  []byte

	receive func(fd uintptr) bool // recvmmsg, made once
	n       int                   // its result
	errno   syscall.Errno

	// Datagrams read and not handed out yet: pending[next:count].
	pending     [coalescedBatch]coalesced
	next, count int
}

// mmsghdr is the kernel's struct mmsghdr (recvmmsg(2)).
type mmsghdr struct {
	unix.Msghdr
	len uint32
}

// coalesced is one datagram as the kernel has handed it over.
type coalesced struct {
	rest    []byte // what has not been handed out yet
	size    int    // of each of its packets but the last
	addr    *net.UDPAddr
	control []byte // that of each of its packets
	flags   int
	several bool
}

// newCoalesced takes a datagram, and the size of its packets as the kernel tells
// it, if it does. It changes control.
func newCoalesced(data []byte, size int, addr *net.UDPAddr, control []byte, flags int) coalesced {
	d := coalesced{rest: data, size: size, addr: addr, flags: flags, control: packetControl(control, flags)}
	if d.several = size > 0 && size < len(data); !d.several {
		d.size = len(data)
	}
	return d
}

// newReceiveOffload turns UDP_GRO on, or says why that cannot be: an old kernel,
// or a sandbox.
func newReceiveOffload(c syscall.Conn, counts *socketCounts) (*receiveOffload, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &receiveOffload{raw: raw, counts: counts}
	// Asked for no messages, recvmmsg only shows that it is there.
	var failed error
	err = raw.Control(func(fd uintptr) {
		if r.recvmmsg(fd, 0); r.errno != 0 {
			failed = os.NewSyscallError("recvmmsg", r.errno)
			return
		}
		failed = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1))
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("no receive offload: %w", err)
	}
	r.receive = func(fd uintptr) bool { return r.recvmmsg(fd, coalescedBatch) }
	r.controls = make([]byte, coalescedBatch*controlSize)
	r.buffers = make([]byte, coalescedBatch*coalescedSize)
	for i := range r.headers {
		h, v := &r.headers[i], &r.vectors[i]
		v.Base = &r.buffers[i*coalescedSize]
		v.SetLen(coalescedSize)
		h.Name = &r.names[i][0]
		h.Iov = v
		h.SetIovlen(1)
		h.Control = &r.controls[i*controlSize]
	}
	return r, nil
}

// stop turns UDP_GRO off again.
func (r *receiveOffload) stop() {
	_ = r.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 0)
	})
}

// ReadBatch fills messages with one packet each, as [ipv4.PacketConn.ReadBatch]
// does, and returns how many. It waits only if none is left of what it has read
// before. Every packet has the address and the control messages of its datagram;
// one that is longer than its message's buffers is cut, with MSG_TRUNC. The
// flags must be 0. Addresses are shared: they must not be changed.
func (r *receiveOffload) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if flags != 0 {
		return 0, fmt.Errorf("quicpeer: read with flags %#x: %w", flags, errors.ErrUnsupported)
	}
	if len(ms) == 0 {
		return 0, nil
	}
	for r.next == r.count {
		if err := r.read(); err != nil {
			return 0, err
		}
	}
	n, several := 0, 0
	for ; n < len(ms) && r.next < r.count; n++ {
		d := &r.pending[r.next]
		if d.several {
			several++
		}
		if d.next(&ms[n]) {
			r.next++
		}
	}
	r.counts.receivedPackets.Add(uint64(n))
	if several > 0 {
		r.counts.coalescedPackets.Add(uint64(several))
	}
	return n, nil
}

// next hands out the next packet, and reports whether it was the last.
func (d *coalesced) next(m *ipv4.Message) (last bool) {
	packet := d.rest[:min(d.size, len(d.rest))]
	d.rest = d.rest[len(packet):]
	last = len(d.rest) == 0

	m.Addr, m.N, m.Flags = d.addr, 0, d.flags
	if !last {
		m.Flags &^= unix.MSG_TRUNC // what the kernel cuts off is of the last
	}
	for _, b := range m.Buffers {
		m.N += copy(b, packet[m.N:])
	}
	if m.N < len(packet) {
		m.Flags |= unix.MSG_TRUNC
	}
	if m.NN = len(d.control); m.NN <= len(m.OOB) {
		copy(m.OOB, d.control)
	} else {
		m.NN = copyControl(m.OOB, d.control)
		m.Flags |= unix.MSG_CTRUNC
	}
	return last
}

// read waits for datagrams. It honours the socket's read deadline.
func (r *receiveOffload) read() error {
	r.next, r.count = 0, 0
	for i := range r.headers {
		h := &r.headers[i]
		h.Namelen = uint32(len(r.names[i]))
		h.SetControllen(controlSize)
	}
	if err := r.raw.Read(r.receive); err != nil {
		return err
	}
	if r.errno != 0 {
		return &net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError("recvmmsg", r.errno)}
	}
	r.counts.receiveCalls.Add(1)
	for i := range r.n {
		h := &r.headers[i]
		addr := r.addrs.get(&r.names[i], int(h.Namelen))
		if addr == nil {
			continue // of no family that a UDP socket has
		}
		control := r.controls[i*controlSize:][:h.Controllen]
		r.pending[r.count] = newCoalesced(r.buffers[i*coalescedSize:][:h.len], groSize(control), addr, control, int(h.Flags))
		r.count++
	}
	return nil
}

// recvmmsg is recvmmsg(2) for so many datagrams. It reports false if there is
// none yet.
func (r *receiveOffload) recvmmsg(fd uintptr, count uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers[0])), count, unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		r.n, r.errno = int(n), errno
		return errno != unix.EAGAIN
	}
}
