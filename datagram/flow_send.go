package datagram

import (
	"context"
	"time"
)

// sendSide is the part of a Flow under the Mux's sending lock.
type sendSide struct {
	queue   sendQueue
	partial partial
	waiting waitList // blocked Push calls

	inHand      int   // whole messages, and fragments, of this flow in the pump's hands
	inHandBytes int   // payload of those whole messages
	err         error // not nil: closed
	abandoned   bool  // closed, and what is queued was discarded: what the pump brings back is discarded, too
	drained     event

	// Fair turns.
	next, prev *Flow // in the ring of flows with something to send
	inRing     bool
	granted    bool // this turn's quantum was added to the deficit
	deficit    int  // bytes it may still send in this turn
	grown      bool // on the Mux's list of flows whose memory may be trimmed

	nextMessageID uint64 // for fragmented messages

	pushed, sent, sentBytes, cut, end uint64
	drops                             sendDrops
}

// partial is the message that is being sent in fragments.
type partial struct {
	active  bool
	started bool // its first fragment was handed over: the message counts as sent
	inHand  bool // a fragment is in the pump's hands
	dropped bool // DropQueued came while inHand
	item    item
	id      uint64
	offset  int // what was handed over
}

// Push queues a copy of payload for sending. now is the time from which the expiry counts.
//
// If the queue is full, the policy decides. Calls that wait are served in the order they came in; they end with the
// cause of ctx, or with the error of CloseSend. Room that is there beats a ctx that is over.
//
// Under SendDropOldest, messages of a lower priority go first; a message of a lower priority than everything
// in a full queue is itself dropped, and counted, without an error.
func (f *Flow) Push(ctx context.Context, now time.Time, payload []byte, o SendOptions) error {
	it := item{buf: newBuffer(payload), priority: o.Priority}
	if o.Expiry > 0 {
		it.expires = now.Add(o.Expiry)
	}
	policy := o.Full
	if policy == SendDefault {
		policy = f.cfg.SendFull
	}

	m, s := f.mux, &f.send
	m.send.mu.Lock()
	if err := s.err; err != nil {
		m.send.mu.Unlock()
		it.buf.release()
		return err
	}
	if policy == SendWait && !s.waiting.empty() || !f.roomFor(&it) {
		if n := s.queue.removeExpired(now); n > 0 {
			s.drops.add(ReasonExpired, n)
			f.admit()
		}
	}
	switch {
	case policy == SendWait && !s.waiting.empty(), policy == SendWait && !f.roomFor(&it):
		return f.pushWaiting(ctx, it) // unlocks
	case policy == SendFail && !f.roomFor(&it):
		m.send.unlock()
		it.buf.release()
		return ErrQueueFull
	}
	s.pushed++
	for !f.roomFor(&it) {
		if s.queue.lowest() > it.priority {
			s.drops.add(ReasonNewest, 1)
			m.send.unlock()
			it.buf.release()
			return nil
		}
		victim := s.queue.popOldest()
		victim.buf.release()
		s.drops.add(ReasonOldest, 1)
	}
	f.enqueue(it)
	m.send.unlock()
	return nil
}

// pushWaiting waits until it is queued. The sending lock is held at the call, and not any more when it returns.
func (f *Flow) pushWaiting(ctx context.Context, it item) error {
	m, s := f.mux, &f.send
	w := m.waiters.get()
	w.item = it
	s.waiting.push(w)
	m.send.unlock()

	select {
	case <-w.ready:
	case <-ctx.Done():
		m.send.mu.Lock()
		if !w.settled {
			s.waiting.remove(w)
			f.admit() // a smaller message may have waited behind this one
			m.send.unlock()
			it.buf.release()
			m.waiters.put(w)
			return context.Cause(ctx)
		}
		m.send.mu.Unlock()
		<-w.ready // on its way
	}
	err := w.err
	m.waiters.put(w)
	if err != nil {
		it.buf.release()
	}
	return err
}

// CloseSend ends sending: Push, and each call of it that is blocked, returns err. What is queued still goes out.
// Only the first call counts. err must not be nil.
func (f *Flow) CloseSend(err error) {
	f.mux.send.mu.Lock()
	f.closeSend(err)
	f.mux.send.unlock()
}

func (f *Flow) closeSend(err error) {
	s := &f.send
	if err == nil {
		panic("BUG: datagram: CloseSend without an error")
	}
	if s.err != nil {
		return
	}
	s.err = err
	for !s.waiting.empty() {
		f.mux.send.woken.settle(s.waiting.pop(), err)
	}
	f.checkDrained()
}

// DropQueued discards what is still queued, counted as ReasonClosed, and returns how many messages that were.
//
// After CloseSend it also discards what the pump brings back later: Drained is then closed as soon as the datagram in
// the pump's hands, if it holds anything of this flow, was sent or refused.
func (f *Flow) DropQueued() int {
	m := f.mux
	m.send.mu.Lock()
	n := f.dropQueued()
	f.admit()
	m.send.unlock()
	return n
}

func (f *Flow) dropQueued() int {
	s := &f.send
	n := s.queue.clear()
	s.drops.add(ReasonClosed, n)
	if s.err != nil {
		s.abandoned = true
	}
	switch {
	case s.partial.active && s.partial.inHand:
		s.partial.dropped = true
	case s.partial.active:
		f.dropPartial(ReasonClosed)
	}
	f.checkDrained()
	return n
}

// dropPartial gives up the rest of the message that is being sent in fragments. None of them is in the pump's hands.
func (f *Flow) dropPartial(reason Reason) {
	s := &f.send
	if s.partial.started {
		s.cut++
	} else {
		s.drops.add(reason, 1)
	}
	s.partial.item.buf.release()
	s.partial = partial{}
}

// Drained returns a channel that is closed once the sending side is closed and nothing is queued or in the pump's hands.
func (f *Flow) Drained() <-chan struct{} {
	f.mux.send.mu.Lock()
	defer f.mux.send.mu.Unlock()
	return f.send.drained.done()
}

func (f *Flow) checkDrained() {
	s := &f.send
	if s.err != nil && s.queue.messages == 0 && !s.partial.active && s.inHand == 0 {
		s.drained.fire()
	}
}

// roomFor reports whether the queue can take it as it is. What is in the pump's hands takes no room.
func (f *Flow) roomFor(it *item) bool {
	q := &f.send.queue
	return q.messages == 0 || q.messages < f.cfg.SendMessages && q.bytes+it.buf.len() <= f.cfg.SendBytes
}

// enqueue queues it and puts the flow into the ring.
func (f *Flow) enqueue(it item) {
	f.send.queue.pushBack(it)
	if f.send.queue.large() {
		f.mux.send.noteGrown(f)
	}
	f.mux.send.activate(f)
}

// admit lets blocked Push calls in, as far as there is room.
func (f *Flow) admit() {
	s := &f.send
	for !s.waiting.empty() && f.roomFor(&s.waiting.first.item) {
		w := s.waiting.pop()
		s.pushed++
		f.enqueue(w.item)
		f.mux.send.woken.settle(w, nil)
	}
}

// candidate returns the message whose turn is next within the flow, and whether it is the partial one.
// It drops expired messages on the way.
func (f *Flow) candidate(now time.Time) (it *item, isPartial bool) {
	s := &f.send
	next := s.queue.front()
	for next != nil && next.expired(now) {
		expired := s.queue.popFront()
		expired.buf.release()
		s.drops.add(ReasonExpired, 1)
		f.admit()
		f.checkDrained()
		next = s.queue.front()
	}
	if !s.partial.active {
		return next, false
	}
	// A small message of a higher priority goes between the fragments of a large one.
	if next != nil && next.priority > s.partial.item.priority && f.mux.send.fitsWhole(f, next) {
		return next, false
	}
	return &s.partial.item, true
}

func (f *Flow) countSending(c *Counts) {
	f.mux.send.mu.Lock()
	defer f.mux.send.mu.Unlock()
	s := &f.send
	c.Pushed, c.Sent, c.SentBytes, c.Cut, c.End = s.pushed, s.sent, s.sentBytes, s.cut, s.end
	c.SendDrops = s.drops.all()
	c.Queued = int(s.pushed - s.sent - c.SendDrops.Total())
	c.QueuedBytes = s.queue.bytes + s.inHandBytes
	if s.partial.active {
		c.QueuedBytes += s.partial.item.buf.len() - s.partial.offset
	}
}
