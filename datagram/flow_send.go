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
	drops                             flowDrops
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

// Push queues a copy of payload for sending. now is the time from which the expiry counts; it may be zero for a message
// without one.
//
// If the queue is full, the policy decides. Calls that wait are served in the order they came in; they end with the
// cause of ctx, or with the error of CloseSend. Room that is there beats a ctx that is over.
//
// Under SendDropOldest, messages of a lower priority go first; a message of a lower priority than everything
// in a full queue is itself dropped, and counted, without an error.
func (f *Flow) Push(ctx context.Context, now time.Time, payload []byte, o SendOptions) error {
	drive, err := f.Offer(ctx, now, payload, o)
	if drive {
		f.mux.Kick()
	}
	return err
}

// Offer is Push, but it does not wake the pump: if nobody drives, it reports that the caller has to, by
// [Mux.Drive] or [Mux.Kick].
func (f *Flow) Offer(ctx context.Context, now time.Time, payload []byte, o SendOptions) (drive bool, err error) {
	one := [1][]byte{payload}
	_, drive, err = f.OfferBatch(ctx, now, one[:], o)
	return drive, err
}

// OfferBatch offers one message after another, as Offer does, with less work for each. It ends at the first that fails, and
// returns how many were queued before.
func (f *Flow) OfferBatch(ctx context.Context, now time.Time, payloads [][]byte, o SendOptions) (n int, drive bool, err error) {
	policy := o.Full
	if policy == SendDefault {
		policy = f.cfg.SendFull
	}
	m := f.mux
	m.send.mu.Lock()
	for n < len(payloads) {
		var w *waiter
		if w, err = f.offer(now, payloads[n], policy, o); w != nil {
			m.send.unlock() // and what was queued before may be what it waits for
			err = f.wait(ctx, w)
			m.send.mu.Lock()
		}
		if err != nil {
			break
		}
		n++
	}
	return n, m.send.unlockToDrive(), err
}

// offer queues one message, or returns the waiter of one that has to wait. The sending lock is held.
func (f *Flow) offer(now time.Time, payload []byte, policy SendPolicy, o SendOptions) (*waiter, error) {
	m, s := f.mux, &f.send
	if s.err != nil {
		return nil, s.err
	}
	size := len(payload)
	if s.queue.expiring > 0 && (policy == SendWait && !s.waiting.empty() || !f.roomFor(size)) {
		if now.IsZero() {
			now = time.Now()
		}
		if n := m.send.removeExpired(&s.queue, now); n > 0 {
			s.drops.add(ReasonExpired, n)
			f.admit()
		}
	}
	wait := policy == SendWait && (!s.waiting.empty() || !f.roomFor(size))
	if policy == SendFail && !f.roomFor(size) {
		return nil, ErrQueueFull
	}
	if !wait {
		s.pushed++
		for !f.roomFor(size) {
			if s.queue.lowest() > o.Priority {
				s.drops.add(ReasonNewest, 1)
				return nil, nil
			}
			victim := s.queue.popOldest()
			m.send.free(&victim)
			s.drops.add(ReasonOldest, 1)
		}
	}
	it := item{priority: o.Priority}
	if o.Expiry > 0 {
		it.expires = m.send.expiry(now, o.Expiry)
	}
	m.send.hold(&it, payload)
	if wait {
		w := m.waiters.get()
		w.item = it
		s.waiting.push(w)
		return w, nil
	}
	f.enqueue(it)
	return nil, nil
}

// wait waits until the message of w is queued.
func (f *Flow) wait(ctx context.Context, w *waiter) error {
	m, s := f.mux, &f.send
	select {
	case <-w.ready:
	case <-ctx.Done():
		m.send.mu.Lock()
		if !w.settled {
			s.waiting.remove(w)
			m.send.free(&w.item)
			f.admit() // a smaller message may have waited behind this one
			m.send.unlock()
			m.waiters.put(w)
			return context.Cause(ctx)
		}
		m.send.wakeAdmitted()
		m.send.unlock()
		<-w.ready // on its way
	}
	err := w.err
	m.waiters.put(w)
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
		w := s.waiting.pop()
		f.mux.send.free(&w.item)
		f.mux.send.woken.settle(w, err)
	}
	f.mux.send.wakeAdmitted() // nobody fills this queue any more, and the pump may be long in coming back
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
	n := f.mux.send.clear(&s.queue)
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
	f.mux.send.free(&s.partial.item)
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

// roomFor reports whether the queue can take a message of so many bytes. What is in the pump's hands takes no room.
func (f *Flow) roomFor(size int) bool {
	q := &f.send.queue
	return q.messages == 0 || q.messages < f.cfg.SendMessages && q.bytes+size <= f.cfg.SendBytes
}

// enqueue queues it and puts the flow into the ring.
func (f *Flow) enqueue(it item) {
	f.send.queue.pushBack(it)
	if f.send.queue.large() {
		f.mux.send.noteGrown(f)
	}
	f.mux.send.activate(f)
}

// fewQueued messages are so soon gone that whoever fills the queue should be on its way.
const fewQueued = 32

// admit lets blocked Push calls in, as far as there is room. Their messages are queued at once; the calls return when half
// of a long queue is free, so that whoever fills it is not woken for every datagram.
func (f *Flow) admit() {
	s := &f.send
	for !s.waiting.empty() && f.roomFor(s.waiting.first.item.n) {
		w := s.waiting.pop()
		s.pushed++
		f.enqueue(w.item)
		w.item = item{}
		f.mux.send.admitted.settle(w, nil)
	}
	if q := &s.queue; q.messages <= fewQueued || 2*q.messages <= f.cfg.SendMessages && 2*q.bytes <= f.cfg.SendBytes {
		f.mux.send.wakeAdmitted()
	}
}

// candidate returns the message whose turn is next within the flow, and whether it is the partial one.
// It drops expired messages on the way.
func (f *Flow) candidate(now time.Time) (it *item, isPartial bool) {
	s := &f.send
	next := s.queue.front()
	for s.queue.expiring > 0 && next != nil && next.expired(f.mux.send.clock(now)) {
		expired := s.queue.popFront()
		f.mux.send.free(&expired)
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
		c.QueuedBytes += s.partial.item.n - s.partial.offset
	}
}
