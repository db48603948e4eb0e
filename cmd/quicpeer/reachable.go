package main

import (
	"net"
	"net/netip"
	"strconv"
)

// shownAddresses is how many addresses of this machine are shown: those of a
// usual machine, not those of a hundred containers.
const shownAddresses = 3

// reachable returns addresses that others can dial to reach a socket.
func reachable(bound net.Addr) []string {
	udp, ok := bound.(*net.UDPAddr)
	if !ok {
		return []string{bound.String()}
	}
	if !udp.IP.IsUnspecified() {
		return []string{udp.String()}
	}
	port := strconv.Itoa(udp.Port)
	local := []string{net.JoinHostPort("localhost", port)}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return local
	}
	var shown []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := p.Addr().Unmap()
		if !ip.IsGlobalUnicast() || udp.IP.To4() != nil && !ip.Is4() || len(shown) == shownAddresses {
			continue
		}
		shown = append(shown, net.JoinHostPort(ip.String(), port))
	}
	if len(shown) == 0 {
		return local
	}
	return shown
}
