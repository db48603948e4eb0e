package quicpeer

import (
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
)

// LinkInfo is one link as it is now.
type LinkInfo struct {
	RemoteAddr net.Addr
	RemoteID   certs.PeerID // zero if Anonymous
	Anonymous  bool
	Dialed     bool // this side dialed it
	GoingAway  bool // one side has said that no new session may begin on it
	Sessions   int  // those whose stream is not over yet
	Since      time.Time
	Transport  quic.ConnectionStats
	Datagrams  datagram.MuxCounts
}

// Links returns the links as they are now, in no order.
func (e *Endpoint) Links() []LinkInfo {
	e.mu.Lock()
	links := e.allLinks()
	e.mu.Unlock()
	infos := make([]LinkInfo, 0, len(links))
	for _, l := range links {
		l.mu.Lock()
		infos = append(infos, LinkInfo{
			RemoteAddr: l.RemoteAddr(), RemoteID: l.peer.ID, Anonymous: l.anonymous, Dialed: l.dialed != nil,
			GoingAway: l.away != nil || l.awaySent, Sessions: len(l.sessions), Since: l.since,
			Transport: l.conn.ConnectionStats(), Datagrams: l.mux.Counts(),
		})
		l.mu.Unlock()
	}
	return infos
}

// Sessions returns the sessions that are open or ending now, in no order.
// Those that no application has answered yet are not among them.
func (e *Endpoint) Sessions() []*Session {
	e.mu.Lock()
	links := e.allLinks()
	e.mu.Unlock()
	var all []*Session
	for _, l := range links {
		l.mu.Lock()
		runners := l.runners()
		l.mu.Unlock()
		for _, r := range runners {
			if r.Live() {
				all = append(all, r.Session())
			}
		}
	}
	return all
}

// Stats are an endpoint's totals since it began.
type Stats struct {
	// RefusedConnections counts the first packets of connections that were
	// turned away, by a limit or by [Config.AdmitConnection]. One attempt may
	// send several. An attempt whose first flight fills
	// several packets may count once for each.
	RefusedConnections uint64
	// UntrustedPeers failed their handshake because the endpoint's trust did
	// not accept their key.
	UntrustedPeers uint64
	// Violations counts the sessions and links that this endpoint ended
	// because their peer broke the protocol.
	Violations uint64
	// RefusedSessions were rejected because nobody serves their protocol, or
	// by [Config.AdmitSession].
	RefusedSessions uint64
	// BusySessions were rejected because the backlog was full.
	BusySessions uint64
	// WithdrawnSessions were taken back by their peer while they waited for
	// Accept.
	WithdrawnSessions uint64
	// FailedQLogs counts the connections whose qlog file could not be made, or
	// was not written to its end (see [Config.QLogDir]).
	FailedQLogs uint64
	// Socket is what went through the UDP socket, and what did not. Packets
	// and calls are zero if the endpoint runs on a socket of another kind (see
	// [ListenPacket]); what failed is counted on any.
	Socket SocketStats
}

// SocketStats count UDP packets, of QUIC and of others, and the system calls
// that carried them. The more packets a call, the less CPU each takes.
type SocketStats struct {
	// ReceiveOffload says that the system may coalesce consecutive packets of
	// a peer and hand them over at once: UDP GRO, on Linux from 5.0 on.
	ReceiveOffload bool
	// ReceivedPackets came in ReceiveCalls. CoalescedPackets of them came
	// coalesced with others; if few do in a burst, the peer sends without
	// offload, or the network device does not coalesce.
	ReceivedPackets, CoalescedPackets, ReceiveCalls uint64
	// SentPackets went out in SendCalls. There is more than one packet a call
	// with send offload only: UDP GSO, on Linux from 5.0 on, in bursts of
	// messages that fill their datagrams.
	SentPackets, SendCalls uint64
	// NotSent are packets that the system did not take.
	NotSent NotSentStats
	// FailedReads is how often reading failed and was tried again: at once at
	// first, and some ten times a second if it lasts.
	FailedReads uint64
}

// NotSentStats count packets that the system did not take, by what it said.
// Each counts as lost, like one that is lost on its way: its messages may be lost
// with it, other content is sent again, and a link lives on unless that lasts for
// 15 seconds. A Dial fails with the system's error instead, except for NoBuffer and
// TooLarge. An error that lasts is logged every ten seconds.
type NotSentStats struct {
	// NoBuffer: memory or a queue was full (ENOBUFS, ENOMEM).
	NoBuffer uint64
	// NotPermitted: a firewall on this machine (EPERM, EACCES).
	NotPermitted uint64
	// Unreachable: no route, no address to send from, or the interface is
	// down (ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL and others).
	Unreachable uint64
	// TooLarge: larger than the interface takes (EMSGSIZE). A few are normal:
	// QUIC looks for the largest packet that the path takes (RFC 8899).
	TooLarge uint64
	// Other: anything else that does not mean the end of the socket.
	Other uint64
}

// Stats returns the totals so far.
func (e *Endpoint) Stats() Stats {
	return Stats{
		RefusedConnections: e.counters.refusedConnections.Load(),
		UntrustedPeers:     e.counters.untrustedPeers.Load(),
		Violations:         e.counters.violations.Load(),
		RefusedSessions:    e.counters.refusedSessions.Load(),
		BusySessions:       e.counters.busySessions.Load(),
		WithdrawnSessions:  e.counters.withdrawnSessions.Load(),
		FailedQLogs:        e.counters.failedQLogs.Load(),
		Socket:             e.faults.fill(e.udp.stats()),
	}
}
