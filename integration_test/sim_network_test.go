package integration_test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// network is a simulated one, in virtual time: packets between its hosts may
// be lost, delayed, reordered, repeated, or sent by another address
// than before. Only its goroutines and those of the hosts run in the test's
// bubble, so a test's time is exact.
//
// Safe for concurrent use.
type network struct {
	mu     sync.Mutex
	random *rand.Rand
	hosts  map[netip.AddrPort]simnet.PacketReceiver
	public map[netip.AddrPort]netip.AddrPort // what others see of a host behind a NAT
	host   map[netip.AddrPort]netip.AddrPort // and the way back
	routes map[netip.AddrPort]netip.AddrPort // packets for one address that go to another
	paths  map[path]faults
	links  []*simnet.SimulatedLink
	lost   int

	pass func(time.Duration) // lets the bubble's time go by
}

// path is one direction between two hosts.
type path struct{ from, to netip.AddrPort }

// faults are what befalls packets in one direction. The zero value is a
// perfect path.
type faults struct {
	loss      float64       // of packets, at random
	duplicate float64       // of packets, at random
	delay     time.Duration // one way
	jitter    time.Duration // at most this is added to delay, at random: packets overtake each other
	blackhole bool          // nothing gets through
}

// bubbleTime bounds a bubble's virtual time: endpoints that send heartbeats
// would go on for ever.
const bubbleTime = 2 * time.Hour

// simulate runs a test in a bubble of virtual time. Bubbles run in parallel.
func simulate(t *testing.T, f func(t *testing.T, n *network)) {
	t.Helper()
	t.Parallel()
	bubble(t, 1, f)
}

func bubble(t *testing.T, seed uint64, f func(t *testing.T, n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{
			random: rand.New(rand.NewPCG(seed, 1)),
			hosts:  make(map[netip.AddrPort]simnet.PacketReceiver),
			public: make(map[netip.AddrPort]netip.AddrPort),
			host:   make(map[netip.AddrPort]netip.AddrPort),
			routes: make(map[netip.AddrPort]netip.AddrPort),
			paths:  make(map[path]faults),
			pass:   time.Sleep,
		}
		t.Cleanup(n.close) // the hosts' own cleanups come before
		watchdog := time.AfterFunc(bubbleTime, func() { panic(t.Name() + " waits for something that does not come") })
		t.Cleanup(func() { watchdog.Stop() })
		f(t, n)
	})
}

// socket adds a host.
func (n *network) socket(t *testing.T, address string) *simnet.SimConn {
	t.Helper()
	addr := netip.MustParseAddrPort(address)
	link := &simnet.SimulatedLink{LatencyFunc: n.latency}
	link.UploadPacket = uplink{n, link}
	conn := simnet.NewBlockingSimConn(net.UDPAddrFromAddrPort(addr), link)
	link.Start()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links = append(n.links, link)
	n.hosts[addr] = link
	return conn
}

// uplink is where the packets of one host come from.
type uplink struct {
	n    *network
	host simnet.PacketReceiver
}

var _ simnet.Router = uplink{}

// AddNode is for simnet's own use, which has none here.
func (u uplink) AddNode(net.Addr, simnet.PacketReceiver) {}

// SendPacket lets a host's packets out while it is on the network.
func (u uplink) SendPacket(p simnet.Packet) error {
	u.n.mu.Lock()
	gone := u.n.hosts[addrPort(p.From)] != u.host
	u.n.mu.Unlock()
	if !gone {
		u.n.send(p)
	}
	return nil
}

func (n *network) close() {
	n.mu.Lock()
	links := n.links
	n.hosts = nil
	n.mu.Unlock()
	for _, l := range links {
		_ = l.Close()
	}
}

// send takes a packet to its destination, or loses it.
func (n *network) send(p simnet.Packet) {
	from, to := addrPort(p.From), addrPort(p.To)
	n.mu.Lock()
	if public, ok := n.public[from]; ok {
		p.From = net.UDPAddrFromAddrPort(public)
	}
	if route, ok := n.routes[to]; ok {
		to = route
	}
	if host, ok := n.host[to]; ok {
		to = host
	} else if _, behind := n.public[to]; behind {
		to = netip.AddrPort{} // its NAT knows nothing of this address any more
	}
	f := n.paths[path{from, to}]
	lost := f.blackhole || f.loss > 0 && n.random.Float64() < f.loss
	twice := f.duplicate > 0 && n.random.Float64() < f.duplicate
	receiver := n.hosts[to]
	if lost || receiver == nil {
		n.lost++
		receiver = nil
	}
	n.mu.Unlock()
	if receiver == nil {
		return
	}
	receiver.RecvPacket(p)
	if twice {
		receiver.RecvPacket(p)
	}
}

// latency is how long a packet takes that is not lost.
func (n *network) latency(p simnet.Packet) time.Duration {
	from, to := addrPort(p.From), addrPort(p.To)
	n.mu.Lock()
	defer n.mu.Unlock()
	if host, ok := n.host[from]; ok {
		from = host
	}
	if host, ok := n.host[to]; ok {
		to = host
	}
	f := n.paths[path{from, to}]
	d := f.delay
	if f.jitter > 0 {
		d += time.Duration(n.random.Int64N(int64(f.jitter)))
	}
	return d
}

// between sets the faults of both directions.
func (n *network) between(a, b net.Addr, f faults) {
	n.oneWay(a, b, f)
	n.oneWay(b, a, f)
}

// oneWay sets the faults of one direction.
func (n *network) oneWay(from, to net.Addr, f faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paths[path{addrPort(from), addrPort(to)}] = f
}

// cut loses everything in one direction, and keeps its delay.
func (n *network) cut(from, to net.Addr) { n.black(from, to, true) }

// mend undoes cut.
func (n *network) mend(from, to net.Addr) { n.black(from, to, false) }

func (n *network) black(from, to net.Addr, hole bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := path{addrPort(from), addrPort(to)}
	f := n.paths[p]
	f.blackhole = hole
	n.paths[p] = f
}

// rebind gives a host another address to the outside, as a NAT does that has
// forgotten it. What others send to its last address is lost.
func (n *network) rebind(host net.Addr, public string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, p := addrPort(host), netip.MustParseAddrPort(public)
	delete(n.host, n.public[h])
	n.public[h] = p
	n.host[p] = h
}

// reroute takes packets for one address to the host with another.
func (n *network) reroute(from, to net.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.routes[addrPort(from)] = addrPort(to)
}

// remove takes a host off the network, as a crash does: nothing reaches it, and
// nothing that it sends gets out.
func (n *network) remove(host net.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, addrPort(host))
}

// packetsLost is how many packets did not arrive so far.
func (n *network) packetsLost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func netUDP(address string) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))
}
