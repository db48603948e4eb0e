package quicpeer

import (
	"encoding/binary"
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxAddrs is how many addresses an addrCache holds: with some 150 bytes each,
// 150 KB. A peer that is not among them costs an allocation for each read.
const maxAddrs = 1024

// sockaddr is a raw address as the kernel writes it: struct sockaddr_in6, or the
// shorter sockaddr_in.
type sockaddr [unix.SizeofSockaddrInet6]byte

// addrCache makes addresses of raw ones. QUIC keeps an address for every packet
// that it queues, so they cannot be overwritten; a peer's packets share one.
// When it is full it starts anew. The zero value is empty.
type addrCache struct {
	last     sockaddr
	lastAddr *net.UDPAddr // nil at first
	known    map[sockaddr]*net.UDPAddr
}

// get returns the address in the first n bytes of raw, whose others it clears;
// nil if it is neither of IPv4 nor of IPv6.
func (c *addrCache) get(raw *sockaddr, n int) *net.UDPAddr {
	if n > len(raw) {
		return nil
	}
	clear(raw[n:])
	if *raw == c.last && c.lastAddr != nil {
		return c.lastAddr
	}
	addr, ok := c.known[*raw]
	if !ok {
		if addr = parseSockaddr(raw, n); addr == nil {
			return nil
		}
		if len(c.known) >= maxAddrs {
			clear(c.known)
		}
		if c.known == nil {
			c.known = make(map[sockaddr]*net.UDPAddr)
		}
		c.known[*raw] = addr
	}
	c.last, c.lastAddr = *raw, addr
	return addr
}

func parseSockaddr(raw *sockaddr, n int) *net.UDPAddr {
	family := binary.NativeEndian.Uint16(raw[:])
	port := int(binary.BigEndian.Uint16(raw[2:]))
	switch {
	case family == unix.AF_INET && n >= unix.SizeofSockaddrInet4:
		return &net.UDPAddr{IP: append(net.IP(nil), raw[4:8]...), Port: port}
	case family == unix.AF_INET6 && n >= unix.SizeofSockaddrInet6:
		a := &net.UDPAddr{IP: append(net.IP(nil), raw[8:24]...), Port: port}
		if scope := int(binary.NativeEndian.Uint32(raw[24:])); scope > 0 {
			a.Zone = zoneName(scope)
		}
		return a
	default:
		return nil
	}
}

// zoneName returns the name of a link-local address's interface, as package net
// has it; its number if it is gone.
func zoneName(scope int) string {
	if i, err := net.InterfaceByIndex(scope); err == nil {
		return i.Name
	}
	return strconv.Itoa(scope)
}
