package faultnet

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// Sim is a simulated network between the hosts that [Sim.Listen] adds. Nothing
// leaves the process. Within testing/synctest its time is exact, and costs none.
//
// Each direction between two hosts is a path, with faults of its own. Hosts may
// get other outside addresses, lose them to each other, and vanish.
//
// A Sim is also a router for hosts made with package simnet.
//
// Safe for concurrent use. Make one with [NewSim], and end it with [Sim.Close].
type Sim struct {
	seed     uint64
	standard Faults // of paths that have no others

	mu       sync.Mutex
	hosts    map[netip.AddrPort]*simHost
	public   map[netip.AddrPort]netip.AddrPort // what others see of a host behind a NAT
	behind   map[netip.AddrPort]netip.AddrPort // and the way back
	routes   map[netip.AddrPort]netip.AddrPort // packets for one address that go to another
	paths    map[path]*simPath
	unrouted uint64 // packets for nobody, or from nobody
	closed   bool
	conns    []*simnet.SimConn
	flights  []*flight
	running  sync.WaitGroup
}

// path is one direction between two hosts, by their own addresses.
type path struct{ from, to netip.AddrPort }

// simPath is a path that was used, or has faults.
type simPath struct {
	line              *Line
	queueFull, unsent uint64
	delivered         uint64
}

// simHost is one host, and the way out for its packets.
type simHost struct {
	sim      *Sim
	addr     netip.AddrPort
	receiver simnet.PacketReceiver
	flight   *flight // to this host
}

var (
	_ simnet.Router = (*Sim)(nil)
	_ simnet.Router = (*simHost)(nil)
)

// NewSim returns a network without hosts. The same seed makes the same decisions
// about the n-th packet of each path. Paths have the standard faults until
// [Sim.SetFaults]; if those make no sense, it panics.
func NewSim(seed uint64, standard Faults) *Sim {
	if err := standard.Check(); err != nil {
		panic(err)
	}
	return &Sim{
		seed: seed, standard: standard,
		hosts:  make(map[netip.AddrPort]*simHost),
		public: make(map[netip.AddrPort]netip.AddrPort),
		behind: make(map[netip.AddrPort]netip.AddrPort),
		routes: make(map[netip.AddrPort]netip.AddrPort),
		paths:  make(map[path]*simPath),
	}
}

// Listen adds a host. An address that another host has, or had, is taken over,
// as by a process that starts again. Packets wait until the host reads them.
func (s *Sim) Listen(addr netip.AddrPort) (*simnet.SimConn, error) {
	addr = unmap(addr)
	if !addr.IsValid() || addr.Port() == 0 {
		return nil, fmt.Errorf("faultnet: %v is no address of a host: want an IP address and a port", addr)
	}
	h := &simHost{sim: s, addr: addr}
	conn := simnet.NewBlockingSimConn(net.UDPAddrFromAddrPort(addr), h) // calls AddNode
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	s.conns = append(s.conns, conn)
	return conn, nil
}

// AddNode adds a host that was made with package simnet; see [Sim.Listen].
func (s *Sim) AddNode(addr net.Addr, receiver simnet.PacketReceiver) {
	(&simHost{sim: s, addr: addrPort(addr)}).AddNode(addr, receiver)
}

// SendPacket sends a packet from the host that has its From.
func (s *Sim) SendPacket(p simnet.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(s.hosts[addrPort(p.From)], p)
	return nil
}

// AddNode puts the host on the network.
func (h *simHost) AddNode(_ net.Addr, receiver simnet.PacketReceiver) {
	s := h.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	h.receiver, h.flight = receiver, newFlight()
	s.hosts[h.addr] = h
	s.flights = append(s.flights, h.flight)
	s.running.Go(h.flight.run)
}

// SendPacket sends a packet while the host is on the network. An error would
// be the sender's, which knows nothing of what becomes of it: there is none.
func (h *simHost) SendPacket(p simnet.Packet) error {
	s := h.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[h.addr] != h {
		s.unrouted++
		return nil
	}
	s.send(h, p)
	return nil
}

// send takes a packet to the host that it is for, or drops it.
func (s *Sim) send(from *simHost, p simnet.Packet) {
	to := s.hosts[s.destination(addrPort(p.To))]
	if from == nil || to == nil || s.closed {
		s.unrouted++
		return
	}
	if public, ok := s.public[from.addr]; ok {
		p.From = net.UDPAddrFromAddrPort(public)
	}
	way := s.path(path{from.addr, to.addr})
	now := time.Now()
	for _, d := range way.line.Append(nil, p.Data) {
		arriving := simnet.Packet{From: p.From, To: p.To, Data: d.Packet}
		if !to.flight.add(now.Add(d.After), len(d.Packet), func() { s.arrive(way, to, arriving) }) {
			way.queueFull++
		}
	}
}

// destination is the host that has an outside address now; no address if its
// NAT knows nothing of it.
func (s *Sim) destination(to netip.AddrPort) netip.AddrPort {
	if route, ok := s.routes[to]; ok {
		to = route
	}
	if host, ok := s.behind[to]; ok {
		return host
	}
	if _, ok := s.public[to]; ok {
		return netip.AddrPort{}
	}
	return to
}

// arrive hands a packet over to a host that is still there.
func (s *Sim) arrive(way *simPath, to *simHost, p simnet.Packet) {
	s.mu.Lock()
	there := s.hosts[to.addr] == to
	if there {
		way.delivered++
	} else {
		way.unsent++
	}
	s.mu.Unlock()
	if there {
		to.receiver.RecvPacket(p)
	}
}

// path returns a path, and makes it if it is new.
func (s *Sim) path(p path) *simPath {
	way, ok := s.paths[p]
	if !ok {
		h := fnv.New64a()
		_, _ = fmt.Fprint(h, p.from, ">", p.to) // which the order of their making does not change
		way = &simPath{line: NewLine(s.seed, h.Sum64())}
		_ = way.line.Set(s.standard) // checked in NewSim
		s.paths[p] = way
	}
	return way
}

// SetFaults sets the faults of one direction between two hosts, by the
// addresses that they listen on. Packets that are on their way keep their time.
func (s *Sim) SetFaults(from, to netip.AddrPort, f Faults) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path(path{unmap(from), unmap(to)}).line.Set(f)
}

// Cut loses everything in one direction, and keeps its other faults.
func (s *Sim) Cut(from, to netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.path(path{unmap(from), unmap(to)}).line.Cut()
}

// Mend undoes [Sim.Cut].
func (s *Sim) Mend(from, to netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.path(path{unmap(from), unmap(to)}).line.Mend()
}

// Rebind gives a host another outside address, as a NAT does that has forgotten
// it. What others send to its last one is lost. An address that another host has
// is taken over.
func (s *Sim) Rebind(host, public netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host = unmap(host)
	s.conceal(host)
	s.expose(host, unmap(public))
}

// Swap has two hosts exchange their outside addresses.
func (s *Sim) Swap(a, b netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, b = unmap(a), unmap(b)
	outsideA, outsideB := s.outside(a), s.outside(b)
	s.expose(a, outsideB)
	s.expose(b, outsideA)
}

// Outside returns the address that others see of a host.
func (s *Sim) Outside(host netip.AddrPort) netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outside(unmap(host))
}

func (s *Sim) outside(host netip.AddrPort) netip.AddrPort {
	if public, ok := s.public[host]; ok {
		return public
	}
	return host
}

// conceal forgets a host's outside address, unless another host has it now.
func (s *Sim) conceal(host netip.AddrPort) {
	if outside := s.outside(host); s.behind[outside] == host {
		delete(s.behind, outside)
	}
}

func (s *Sim) expose(host, public netip.AddrPort) {
	s.public[host] = public
	s.behind[public] = host
}

// Reroute takes packets for one address to the host that has another.
func (s *Sim) Reroute(from, to netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[unmap(from)] = unmap(to)
}

// Remove takes a host off the network, as a crash does: nothing reaches it, not
// even what is on its way, and nothing that it sends gets out.
func (s *Sim) Remove(host netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hosts, unmap(host))
}

// Counts returns what became of the packets of one direction between two hosts.
func (s *Sim) Counts(from, to netip.AddrPort) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if way, ok := s.paths[path{unmap(from), unmap(to)}]; ok {
		return way.counts()
	}
	return Counts{}
}

// Total returns what became of all packets; only here are those counted that
// were for nobody.
func (s *Sim) Total() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := Counts{Offered: s.unrouted, Unrouted: s.unrouted}
	for _, way := range s.paths {
		total.Add(way.counts())
	}
	return total
}

func (w *simPath) counts() Counts {
	c := w.line.Counts()
	c.QueueFull, c.Unsent, c.Delivered = w.queueFull, w.unsent, w.delivered
	return c
}

// Close takes all hosts off the network, closes those that [Sim.Listen] made,
// and waits until nothing runs any more. Close hosts of package simnet yourself,
// before.
func (s *Sim) Close() error {
	s.mu.Lock()
	s.closed = true
	clear(s.hosts)
	conns, flights := s.conns, s.flights
	s.conns, s.flights = nil, nil
	s.mu.Unlock()
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	for _, f := range flights {
		f.close()
	}
	s.running.Wait()
	return errors.Join(errs...)
}

// addrPort returns the address of a host; none if it is no UDP address.
func addrPort(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmap(udp.AddrPort())
}

// unmap makes IPv4 of IPv4-mapped IPv6, so that addresses can be compared.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// Between returns clients and their server as what a [Schedule] is played on.
// They need not be there yet.
func (s *Sim) Between(server netip.AddrPort, clients ...netip.AddrPort) Network {
	return &simStar{sim: s, server: server, clients: slices.Clone(clients)}
}
