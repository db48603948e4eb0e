package integration_test

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

// network is a simulated one, in virtual time: packets between its hosts may
// be lost, delayed, reordered, repeated, or sent by another address
// than before. Only its goroutines and those of the hosts run in the test's
// bubble, so a test's time is exact.
//
// Safe for concurrent use.
type network struct {
	*faultnet.Sim
	t    *testing.T
	pass func(time.Duration) // lets the bubble's time go by
}

// faults are what befalls packets in one direction. The zero value is a
// perfect path. faultnet.Faults has more of them: network.SetFaults.
type faults struct {
	loss      float64       // of packets, at random
	duplicate float64       // of packets, at random
	delay     time.Duration // one way
	jitter    time.Duration // at most this is added to delay, at random: packets overtake each other
	blackhole bool          // nothing gets through
}

// simMTU is the longest packet that a path takes, in bytes: more than quic-go
// sends on a socket that is not the system's.
const simMTU = 1400

func (f faults) faultnet() faultnet.Faults {
	return faultnet.Faults{
		Loss: f.loss, Duplicate: f.duplicate, Delay: f.delay, Jitter: f.jitter, Blackhole: f.blackhole, MTU: simMTU,
	}
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
		n := &network{Sim: faultnet.NewSim(seed, faults{}.faultnet()), t: t, pass: time.Sleep}
		t.Cleanup(func() { require.NoError(t, n.Close()) }) // the hosts' own cleanups come before
		watchdog := time.AfterFunc(bubbleTime, func() { panic(t.Name() + " waits for something that does not come") })
		t.Cleanup(func() { watchdog.Stop() })
		f(t, n)
	})
}

// socket adds a host.
func (n *network) socket(t *testing.T, address string) *simnet.SimConn {
	t.Helper()
	conn, err := n.Listen(netip.MustParseAddrPort(address))
	require.NoError(t, err)
	return conn
}

// between sets the faults of both directions.
func (n *network) between(a, b net.Addr, f faults) {
	n.oneWay(a, b, f)
	n.oneWay(b, a, f)
}

// oneWay sets the faults of one direction.
func (n *network) oneWay(from, to net.Addr, f faults) {
	require.NoError(n.t, n.SetFaults(addrPort(from), addrPort(to), f.faultnet()))
}

// cut loses everything in one direction, and keeps its delay.
func (n *network) cut(from, to net.Addr) { n.Cut(addrPort(from), addrPort(to)) }

// mend undoes cut.
func (n *network) mend(from, to net.Addr) { n.Mend(addrPort(from), addrPort(to)) }

// rebind gives a host another address to the outside, as a NAT does that has
// forgotten it. What others send to its last address is lost.
func (n *network) rebind(host net.Addr, public string) {
	n.Rebind(addrPort(host), netip.MustParseAddrPort(public))
}

// reroute takes packets for one address to the host with another.
func (n *network) reroute(from, to net.Addr) { n.Reroute(addrPort(from), addrPort(to)) }

// remove takes a host off the network, as a crash does: nothing reaches it, and
// nothing that it sends gets out.
func (n *network) remove(host net.Addr) { n.Remove(addrPort(host)) }

// packetsLost is how many packets did not arrive so far.
func (n *network) packetsLost() int {
	c := n.Total()
	return int(c.Dropped() + c.QueueFull + c.Unsent)
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func netUDP(address string) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))
}
