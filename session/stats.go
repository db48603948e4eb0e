package session

import (
	"time"

	"github.com/oneportnet/quicpeer/datagram"
)

// Stats is what happened on a session so far. Counts are of messages unless
// they say otherwise.
type Stats struct {
	// Local is what this side knows: what it sent, what it received, what it
	// dropped and why.
	Local datagram.Counts
	// Remote is the other half: what the peer sent and received. It is exact
	// once Complete is true; before, it is what the peer reported last, at
	// RemoteTime.
	Remote     Tally
	RemoteTime time.Time
	// Complete is true once both directions are known exactly; it never
	// becomes true if the session ended other than by a confirmed close.
	Complete bool
	// Lost is how many of our messages never arrived whole, LostIncoming how
	// many of the peer's. Exact once Complete is true, zero before.
	Lost, LostIncoming uint64
	// SignalsSent, SignalsTaken: our signals, and how many of them the
	// peer's application has taken.
	SignalsSent, SignalsTaken uint64
	// SignalsReceived is how many signals of the peer arrived.
	SignalsReceived uint64
	// RTT is the smoothed round trip time of the link; zero before the first
	// sample.
	RTT time.Duration
}

// Stats returns the counts so far. They are final once [Session.Done] is
// closed; but what was just being handed to QUIC when a session was torn still
// shows as queued (Local.Queued) then, and becomes sent or dropped when QUIC is
// done with it.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		SignalsSent: s.m.signalsSent, SignalsTaken: s.m.signalsAcked, SignalsReceived: s.m.signalsReceived,
		RTT: s.link.RTT(),
	}
	if s.flow != nil {
		st.Local = s.flow.Counts()
	}
	if r := s.report; r != nil {
		st.Remote = Tally{Received: r.Received, Late: r.Late, Dropped: r.Dropped}
		st.RemoteTime = r.at
	}
	if s.m.totals {
		st.Complete = true
		st.Remote = s.m.peer
		st.Lost = s.m.counts.Sent - s.m.peer.Received
		st.LostIncoming = s.m.peer.Sent - s.m.counts.Received
	}
	return st
}

// peerReport is the peer's last REPORT, and when it came.
type peerReport struct {
	Report
	at time.Time
}
