package faultnet

import (
	"fmt"
	"net/netip"
)

// simStar is a server and its clients on a simulated network.
type simStar struct {
	sim     *Sim
	server  netip.AddrPort
	clients []netip.AddrPort
}

// Set sets the faults of a direction, for all clients.
func (s *simStar) Set(d Direction, f Faults) error {
	return s.each(d, func(from, to netip.AddrPort) error { return s.sim.SetFaults(from, to, f) })
}

// Cut loses everything of a direction.
func (s *simStar) Cut(d Direction) error {
	return s.each(d, func(from, to netip.AddrPort) error { s.sim.Cut(from, to); return nil })
}

// Mend undoes Cut.
func (s *simStar) Mend(d Direction) error {
	return s.each(d, func(from, to netip.AddrPort) error { s.sim.Mend(from, to); return nil })
}

func (s *simStar) each(d Direction, f func(from, to netip.AddrPort) error) error {
	return d.each(func(d Direction) error {
		for _, c := range s.clients {
			from, to := c, s.server
			if d == ToClient {
				from, to = to, from
			}
			if err := f(from, to); err != nil {
				return err
			}
		}
		return nil
	})
}

// RebindClient gives a client's outside address the next port that nobody has.
func (s *simStar) RebindClient(client int) error {
	c, err := s.client(client)
	if err != nil {
		return err
	}
	return s.sim.nextPort(c)
}

// RebindServer does the same with the server.
func (s *simStar) RebindServer() error { return s.sim.nextPort(s.server) }

// Swap has two clients exchange their outside addresses.
func (s *simStar) Swap(a, b int) error {
	addrA, err := s.client(a)
	if err != nil {
		return err
	}
	addrB, err := s.client(b)
	if err != nil {
		return err
	}
	s.sim.Swap(addrA, addrB)
	return nil
}

func (s *simStar) client(i int) (netip.AddrPort, error) {
	if i < 0 || i >= len(s.clients) {
		return netip.AddrPort{}, fmt.Errorf("faultnet: there is no client %d, of %d", i, len(s.clients))
	}
	return s.clients[i], nil
}

// nextPort moves a host's outside address to the next port that neither a host
// nor another host's outside has.
func (s *Sim) nextPort(host netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	host = unmap(host)
	now := s.outside(host)
	for next := now.Port() + 1; next != now.Port(); next++ {
		public := netip.AddrPortFrom(now.Addr(), next)
		_, isHost := s.hosts[public]
		_, isOutside := s.behind[public]
		if next != 0 && !isHost && !isOutside {
			s.conceal(host)
			s.expose(host, public)
			return nil
		}
	}
	return fmt.Errorf("faultnet: all ports of %v are taken", now.Addr())
}
