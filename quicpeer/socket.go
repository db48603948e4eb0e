package quicpeer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// listenUDP binds the endpoint's one socket. An empty host means every address
// of both families on one socket; where IPv6 is off, or one socket cannot have
// both, every IPv4 address.
func listenUDP(address string) (*net.UDPConn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("quicpeer: listen on %q: want host:port, with an empty host for all addresses and port 0 for any: %w", address, err)
	}
	if p, err := strconv.Atoi(port); err != nil || p < 0 || p > 65535 {
		return nil, fmt.Errorf("quicpeer: listen on %q: port %q is not a number from 0 to 65535", address, port)
	}
	ua, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("quicpeer: listen on %q: %w", address, err)
	}
	c, err := net.ListenUDP("udp", ua)
	if err != nil && host == "" && !inUse(err) && !notPermitted(err) {
		c, err = net.ListenUDP("udp4", ua)
	}
	switch {
	case inUse(err):
		return nil, fmt.Errorf("quicpeer: listen on %q: the port is in use by another socket; choose another, or port 0 for any free one: %w", address, err)
	case notPermitted(err):
		return nil, fmt.Errorf("quicpeer: listen on %q: not permitted; ports below 1024 need a privilege: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("quicpeer: listen on %q: %w", address, err)
	}
	return c, nil
}

// Windows has numbers of its own for these (WSAEADDRINUSE, WSAEACCES), which
// package syscall does not map.
const (
	windowsInUse        = syscall.Errno(10048)
	windowsNotPermitted = syscall.Errno(10013)
)

func inUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windowsInUse)
}

func notPermitted(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, windowsNotPermitted)
}

// families are the IP versions that a socket can send to.
type families struct{ v4, v6 bool }

// familiesOf tells from the address a socket is bound to what it can reach.
func familiesOf(a net.Addr) families {
	ap := netip.AddrPort{}
	if u, ok := a.(*net.UDPAddr); ok {
		ap = u.AddrPort()
	}
	switch ip := ap.Addr(); {
	case !ip.IsValid():
		return families{v4: true, v6: true}
	case ip.Is4(), ip.Is4In6():
		return families{v4: true}
	case ip.IsUnspecified():
		return families{v4: true, v6: true}
	default:
		return families{v6: true}
	}
}

func (f families) has(ip netip.Addr) bool {
	if ip.Unmap().Is4() {
		return f.v4
	}
	return f.v6
}
