package datagram

import (
	"fmt"
	"sync"
	"time"
)

const (
	// Specification.

	windowSize = 8192 // datagram numbers among which a receiver tells repeats

	// Implementation choices.

	// DefaultMaxDatagram is what every QUIC stack met so far takes on a path of 1,280 bytes.
	DefaultMaxDatagram = 1100
	// DefaultMaxMessage is the largest message that a peer may send unless it was told more.
	DefaultMaxMessage = 64 << 10
)

// MuxConfig of one link. The zero value is that of a server.
type MuxConfig struct {
	Client      bool // our parity: the ids of the sessions we open have bit 0 = 0 at a client, 1 at a server
	MaxDatagram int  // largest datagram that QUIC takes now; 0 or less: DefaultMaxDatagram
	MaxMessage  int  // largest message that is reassembled; 0 or less: DefaultMaxMessage
	CreditEvery int  // after how many datagrams credit is given; 0 or less: none, this side states no window
}

// A Mux is the data plane of one link: it numbers datagrams, takes turns between the flows, takes received datagrams
// apart, and counts.
//
// It is passive, without goroutines, and safe for concurrent use. The sending side has one lock, the receiving side
// another; where both are held, the sending lock is taken first. Nothing blocks, and nothing is called back, under them.
type Mux struct {
	send    sender
	recv    receiver
	waiters waiterPool
}

// NewMux returns the Mux of a new link.
func NewMux(c MuxConfig) *Mux {
	if c.MaxDatagram <= 0 {
		c.MaxDatagram = DefaultMaxDatagram
	}
	if c.MaxMessage <= 0 {
		c.MaxMessage = DefaultMaxMessage
	}
	m := &Mux{}
	m.send.init(c.MaxDatagram)
	m.recv.init(c)
	return m
}

// Announce says that the peer's stream of this session exists: until Open or Remove, its datagrams are early, not late.
// Announce sessions in the order of their ids, as QUIC accepts streams. Ids of our own parity are ignored.
func (m *Mux) Announce(id uint64) {
	m.recv.mu.Lock()
	defer m.recv.mu.Unlock()
	m.recv.announce(id)
}

// Open returns the flow of a session, ours or the peer's. Messages that came early, and not more than a second ago, are
// in its receive queue, in order. A session is opened once.
func (m *Mux) Open(now time.Time, id uint64, c FlowConfig) *Flow {
	f := &Flow{mux: m, id: id, cfg: c.withDefaults()}
	m.recv.mu.Lock()
	defer m.recv.mu.Unlock()
	if m.recv.flows[id] != nil {
		panic(fmt.Sprintf("BUG: datagram: session %d opened twice", id))
	}
	m.recv.open(now, f)
	return f
}

// Remove says that the stream of a session has ended: from now on its datagrams are late. Early ones are discarded and
// counted. If the session has a flow that was not closed yet, both of its sides end with ErrRemoved; what it had
// queued for sending is dropped; what it had received stays readable.
func (m *Mux) Remove(id uint64) {
	m.recv.mu.Lock()
	f := m.recv.remove(id)
	if f != nil {
		f.closeReceive(ErrRemoved)
	}
	m.recv.unlock()
	if f == nil {
		return
	}
	m.send.mu.Lock()
	f.closeSend(ErrRemoved)
	f.dropQueued()
	m.send.deactivate(f)
	m.send.unlock()
}

// Close says that the link is gone: Next returns nothing any more (Wake tells the pump), and Handle drops everything.
// The flows are left to their sessions, which know the cause.
func (m *Mux) Close() {
	m.send.mu.Lock()
	m.send.closed = true
	m.send.wakeWanted = true
	m.send.unlock()
	m.recv.mu.Lock()
	m.recv.close()
	m.recv.unlock()
}

// Tick drops what has grown too old, and gives memory back that burst traffic left behind. Everything that it drops is
// never used anyway: Tick only makes that happen, and be counted, when no datagrams come. Call it about once a second.
func (m *Mux) Tick(now time.Time) {
	m.send.mu.Lock()
	m.send.tick(now)
	m.send.unlock()
	m.recv.mu.Lock()
	m.recv.tick(now)
	m.recv.unlock()
}

// MuxCounts counts what a link sent and received. Everything that Handle was given is accounted for once:
//
//	Received = Accepted + DatagramDrops.Total()
//
// The messages and fragments in accepted datagrams are in MessageDrops, in EarlyHeld, or in the counts of a flow.
type MuxCounts struct {
	Sent      uint64 // datagrams handed to QUIC, which is also the next number
	SentBytes uint64

	Received      uint64 // datagrams given to Handle
	ReceivedBytes uint64
	Accepted      uint64 // of those, datagrams that are well-formed, new, and of a known kind
	Taken         uint64 // of those received, datagrams with a new number: what credit reports
	End           uint64 // highest number seen + 1; 0 if none was

	DatagramDrops Drops  // whole datagrams
	MessageDrops  Drops  // messages, and fragments, that found no flow
	EarlyHeld     int    // messages, and fragments, that wait for their session to be opened
	ControlDrops  uint64 // heartbeats and credits not sent because the path takes too little
	Flows         int    // opened and not removed
}

// Counts returns the counts of this moment.
func (m *Mux) Counts() MuxCounts {
	var c MuxCounts
	m.send.mu.Lock()
	c.Sent, c.SentBytes, c.ControlDrops = m.send.number, m.send.bytes, m.send.controlDrops
	m.send.mu.Unlock()
	m.recv.mu.Lock()
	defer m.recv.mu.Unlock()
	r := &m.recv
	c.Received, c.ReceivedBytes, c.Accepted, c.Taken = r.received, r.bytes, r.accepted, r.taken
	c.End = r.numbers.end
	c.DatagramDrops, c.MessageDrops = r.datagramDrops, r.messageDrops
	c.EarlyHeld = r.early.messages
	c.Flows = r.opened
	return c
}

// lockable is what both sides have in common.
type lockable struct {
	mu    sync.Mutex
	woken waitList // settled under the lock, to be woken after it
}

// unlock releases the lock and wakes whoever was settled under it.
func (l *lockable) unlock() {
	woken := l.woken
	l.woken = waitList{}
	l.mu.Unlock()
	woken.wake()
}
