package datagram

import "time"

// sender is the sending side of a Mux. mu guards everything below it, and the sending sides of all flows.
type sender struct {
	lockable
	wake        chan struct{}
	wakeWanted  bool     // something became ready under the lock
	driven      bool     // somebody drives, and will see what became ready
	admitted    waitList // Push calls whose messages are queued, and which may return a little later
	closed      bool
	began       time.Time // when clock began
	shared      *slab     // where the next small message goes; nil: a new one
	maxDatagram int
	number      uint64 // of the next datagram
	limit       uint64 // messages wait from this number on; 0: there is no window
	bytes       uint64

	heartbeat, echo token
	creditQueued    bool
	answered        bool // the last datagram was an echo or a credit: if there are messages, they come next
	followable      bool // the last datagram held messages: a credit after it costs no packet
	controlDrops    uint64

	ring  *Flow // flows with something to send: the one whose turn it is, in a circle
	grown []*Flow

	hand hand
}

// A token waits to be sent in a heartbeat.
type token struct {
	queued bool
	value  [tokenSize]byte
}

func (s *sender) init(maxDatagram int) {
	s.wake = make(chan struct{}, 1)
	s.maxDatagram = maxDatagram
}

// unlock releases the lock and tells everybody what happened under it.
func (s *sender) unlock() {
	if s.unlockToDrive() {
		s.kick()
	}
}

// unlockToDrive is unlock, but leaves it to the caller to drive or to wake the pump, if it reports true.
func (s *sender) unlockToDrive() (drive bool) {
	drive = s.wakeWanted && !s.driven
	s.wakeWanted = false
	s.lockable.unlock()
	return drive
}

func (s *sender) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wakeAdmitted lets the Push calls return whose messages are queued.
func (s *sender) wakeAdmitted() {
	for !s.admitted.empty() {
		s.woken.push(s.admitted.pop())
	}
}

// Wake returns the channel on which the pump waits once Next has returned nothing: something may be ready.
// A pump that stops calling Next before that must come back by itself. The channel has a capacity of one and is never
// closed; it also tells of Close.
func (m *Mux) Wake() <-chan struct{} { return m.send.wake }

// Kick wakes the pump, for those who were told to drive and do not.
func (m *Mux) Kick() { m.send.kick() }

// Drive makes the caller the one who calls Next, if nobody else is, and reports whether it is. It stays so until Next
// returns nothing, or until Rest.
func (m *Mux) Drive() bool {
	s := &m.send
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.driven {
		return false
	}
	s.driven = true
	return true
}

// Rest ends a turn of driving before Next has returned nothing, and wakes the pump for what is left.
func (m *Mux) Rest() {
	s := &m.send
	s.mu.Lock()
	s.driven = false
	s.mu.Unlock()
	s.kick()
}

// MaxDatagram returns the size of the largest datagram that Next makes.
func (m *Mux) MaxDatagram() int {
	m.send.mu.Lock()
	defer m.send.mu.Unlock()
	return m.send.maxDatagram
}

// SetMaxDatagram sets the size of the largest datagram that QUIC takes now, and reports whether it is a new one.
func (m *Mux) SetMaxDatagram(n int) (changed bool) {
	m.send.mu.Lock()
	defer m.send.mu.Unlock()
	return m.send.setMaxDatagram(n)
}

func (s *sender) setMaxDatagram(n int) bool {
	if n <= 0 || n == s.maxDatagram {
		return false
	}
	s.maxDatagram = n
	return true
}

// QueueHeartbeat queues a heartbeat, or the echo of one. There is one slot for each, overwritten, so that a flood of
// heartbeats costs nothing. It reports whether the caller has to drive, or to Kick.
func (m *Mux) QueueHeartbeat(echo bool, value [8]byte) (drive bool) {
	m.send.mu.Lock()
	slot := &m.send.heartbeat
	if echo {
		slot = &m.send.echo
	}
	*slot = token{queued: true, value: value}
	m.send.wakeWanted = true
	return m.send.unlockToDrive()
}

// QueueCredit queues a credit, which will say what was received by the time it is sent. It reports whether the caller has
// to drive, or to Kick.
func (m *Mux) QueueCredit() (drive bool) {
	m.send.mu.Lock()
	m.send.creditQueued = true
	m.send.wakeWanted = true
	return m.send.unlockToDrive()
}

// noteGrown remembers a flow whose memory tick should look at.
func (s *sender) noteGrown(f *Flow) {
	if !f.send.grown {
		f.send.grown = true
		s.grown = append(s.grown, f)
	}
}

// tick drops expired messages and gives memory back.
func (s *sender) tick(now time.Time) {
	if f := s.ring; f != nil {
		for {
			if n := s.removeExpired(&f.send.queue, now); n > 0 {
				f.send.drops.add(ReasonExpired, n)
				f.admit()
				f.checkDrained()
			}
			if f = f.send.next; f == s.ring {
				break
			}
		}
	}
	kept := s.grown[:0]
	for _, f := range s.grown {
		if f.send.queue.messages > 0 {
			kept = append(kept, f)
			continue
		}
		f.send.queue.trim()
		f.send.grown = false
	}
	clear(s.grown[len(kept):])
	s.grown = kept
	if cap(s.hand.items) > keepSlots && !s.hand.full {
		s.hand.items = nil
	}
}
