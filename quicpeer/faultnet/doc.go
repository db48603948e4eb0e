// Package faultnet is a network that fails in known ways, to test programs that
// speak UDP: those built on this module, and any other.
//
// The same faults come in two forms. A [Relay] stands between real sockets: give
// its address to the clients instead of the server's. A [Sim] is a simulated
// network in the test's own process, whose hosts are net.PacketConns; in a
// bubble of testing/synctest an hour of it takes no time. A [Line] is what both
// decide with, and needs neither sockets nor clock.
//
// # What can go wrong
//
//	loss           Faults.Loss           each packet by itself
//	bursts         Faults.Burst          packets one after another (Gilbert, Elliott)
//	delay          Faults.Delay
//	jitter         Faults.Jitter         packets overtake each other a little
//	reordering     Faults.Reorder        some packets come much later
//	duplication    Faults.Duplicate      some packets come twice
//	corruption     Faults.Corrupt        a bit is flipped, and UDP does not notice
//	small MTU      Faults.MTU            long packets vanish without an error
//	blackhole      Faults.Blackhole      one way or both, also [Cut] and [Mend]
//	NAT rebinding  [RebindClient]        the server sees another address
//	               [RebindServer]        the clients see another address
//	address swap   [Swap]                two clients have each other's address
//
// Each direction has faults of its own, and they can be combined. A [Schedule]
// changes them as time passes, the same for a Relay and a Sim. [Counts] say what
// became of every packet, and why.
//
// # Seeds
//
// With the same seed and the same faults the n-th packet of a direction (of each
// client, or between two hosts) meets the same luck: it is lost, altered, or
// held up for as long. Luck depends on nothing else, neither on what is in the
// packets nor on what befell those before it, the state of a burst excepted.
//
// What a seed does not fix is which packet is the n-th. That is up to the
// program under test, and on real sockets to the system: there a schedule's
// steps, and a timer of the program, come a little sooner or later, and the
// receiver may see another order than the delays ask for. Two runs of a Sim
// inside synctest differ only as far as the program itself does: by its random
// bytes, and the order in which its goroutines run.
//
// # Limits
//
// A path has no bandwidth: what it delivers takes its delay and no more. At most
// 65,536 packets or 64 MiB are on their way at once through a relay, or to one
// simulated host; more are dropped and counted. A relay knows nothing of packets
// that the system drops at its sockets, and passes neither ECN nor TTL on. It
// serves 64 clients unless [Config] says otherwise.
package faultnet
