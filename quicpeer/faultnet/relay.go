package faultnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// DefaultClients is how many clients a relay serves, each with a socket and a
// goroutine.
const DefaultClients = 64

// Config of a relay. The zero value, or nil, is a perfect path on loopback.
type Config struct {
	// Listen is where clients find the relay, "host:port" with an IP address.
	// Empty: a free port of 127.0.0.1.
	Listen string
	// Seed of all decisions. Each client has decisions of its own in each
	// direction; clients are numbered in the order in which they come.
	Seed uint64
	// ToServer and ToClient are the faults at first.
	ToServer, ToClient Faults
	// Clients is how many the relay serves; packets of more are dropped and
	// counted. A client is an address that has sent something; it is never
	// forgotten. 0: DefaultClients.
	Clients int
}

// Relay is a running path between clients and one server, over UDP. Each client
// gets a socket of its own towards the server, as a NAT would give it a port. It
// is a [Network] that a [Schedule] can be played on.
//
// Safe for concurrent use. Make one with [Start].
type Relay struct {
	server  *net.UDPAddr
	max     int
	seed    uint64
	flight  *flight
	running sync.WaitGroup
	stop    func() bool // undoes the end by context

	mu        sync.Mutex
	closed    bool
	front     *net.UDPConn
	clients   []*client
	known     map[netip.AddrPort]*client
	faults    [2]Faults // for clients that come, by direction
	counts    [2]Counts // what no client's line counts
	forgotten []*net.UDPConn
	sockets   map[*net.UDPConn]*client // outside sockets, and whose they are; nil: forgotten
}

// client is one client's addresses, and its two directions.
type client struct {
	addr  netip.AddrPort
	back  *net.UDPConn // its outside: towards the server
	lines [2]*Line
}

// index of a direction in arrays.
func index(d Direction) int { return int(d - ToServer) }

var _ Network = (*Relay)(nil)

// Start starts a relay in front of a server, "host:port" with an IP address. It
// ends with ctx or with [Relay.Close]; packets on their way are gone then. c may
// be nil.
func Start(ctx context.Context, server string, c *Config) (*Relay, error) {
	if c == nil {
		c = new(Config)
	}
	for _, f := range []Faults{c.ToServer, c.ToClient} {
		if err := f.Check(); err != nil {
			return nil, err
		}
	}
	to, err := netip.ParseAddrPort(server)
	if err != nil {
		return nil, fmt.Errorf("faultnet: server %q: %w, want an IP address and a port", server, err)
	}
	listen := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	if c.Listen != "" {
		if listen, err = netip.ParseAddrPort(c.Listen); err != nil {
			return nil, fmt.Errorf("faultnet: listen on %q: %w, want an IP address and a port", c.Listen, err)
		}
	}
	if c.Clients < 0 {
		return nil, fmt.Errorf("faultnet: %d clients, want a number above 0, or 0 for %d", c.Clients, DefaultClients)
	}
	r := &Relay{
		server: net.UDPAddrFromAddrPort(to), max: c.Clients, seed: c.Seed,
		flight:  newFlight(),
		known:   make(map[netip.AddrPort]*client),
		sockets: make(map[*net.UDPConn]*client),
		faults:  [2]Faults{c.ToServer, c.ToClient},
	}
	if r.max == 0 {
		r.max = DefaultClients
	}
	if r.front, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(listen)); err != nil {
		return nil, fmt.Errorf("faultnet: %w", err)
	}
	r.running.Go(r.flight.run)
	r.serve(r.front, r.fromClient)
	r.stop = context.AfterFunc(ctx, r.end)
	return r, nil
}

// Addr is where clients find the server. It changes with [Relay.RebindServer].
func (r *Relay) Addr() netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	return localAddr(r.front)
}

// Clients returns the addresses of the clients that have come, in that order.
func (r *Relay) Clients() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []netip.AddrPort
	for _, c := range r.clients {
		all = append(all, c.addr)
	}
	return all
}

// Outside returns the address that the server sees of a client now.
func (r *Relay) Outside(client int) (netip.AddrPort, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.client(client)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return localAddr(c.back), nil
}

// Counts returns what became of the packets of all clients so far.
func (r *Relay) Counts() (toServer, toClient Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := r.counts
	for _, c := range r.clients {
		for d := range counts {
			counts[d].Add(c.lines[d].Counts())
		}
	}
	return counts[0], counts[1]
}

// Close ends the relay and waits until nothing of it runs any more.
func (r *Relay) Close() error {
	r.stop()
	r.end()
	r.running.Wait()
	return nil
}

// end closes everything, and waits for nothing.
func (r *Relay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.flight.close()
	_ = r.front.Close()
	for socket := range r.sockets {
		_ = socket.Close()
	}
	for _, socket := range r.forgotten {
		_ = socket.Close()
	}
}

func localAddr(c *net.UDPConn) netip.AddrPort { return unmap(c.LocalAddr().(*net.UDPAddr).AddrPort()) }
