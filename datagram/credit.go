package datagram

// The datagram window: a receiver says how far it has come, and a sender stays
// within what the receiver's stack can hold (session/PROTOCOL.md, "Credit and the
// datagram window"). How large the window is, is the link's to decide.

// SetLimit sets the number from which on messages wait. Heartbeats and credits do not. 0 means that there is no window.
func (m *Mux) SetLimit(limit uint64) {
	s := &m.send
	s.mu.Lock()
	held := s.held()
	s.limit = limit
	s.wakeWanted = held && !s.held()
	s.unlock()
}

// held reports whether the window keeps messages back, or would.
func (s *sender) held() bool { return s.limit != 0 && s.number >= s.limit }

// Held reports whether messages wait for credit, and for nothing else.
func (m *Mux) Held() bool {
	s := &m.send
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring != nil && s.held() && !s.closed
}

// NextNumber returns the number that the next datagram will have.
func (m *Mux) NextNumber() uint64 {
	s := &m.send
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number
}

// CreditOwed reports whether datagrams have come that no credit covers. Credits, heartbeats and echoes call for none, so
// that two idle sides do not keep each other awake.
func (m *Mux) CreditOwed() bool {
	r := &m.recv
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uncovered > 0
}

// cover counts a datagram that credit is owed for, and reports whether it is the first since the last credit, and
// whether credit is due at once.
func (r *receiver) cover() (first, due bool) {
	if r.creditEvery == 0 {
		return false, false
	}
	r.uncovered++
	return r.uncovered == 1, r.uncovered%r.creditEvery == 0
}

// nearlyDue reports whether most of what makes credit due has come.
func (r *receiver) nearlyDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.creditEvery > 0 && r.uncovered >= r.creditEvery*3/4
}
