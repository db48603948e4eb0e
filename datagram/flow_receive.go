package datagram

import (
	"context"
	"time"
)

// receiveSide is the part of a Flow under the Mux's receiving lock.
type receiveSide struct {
	queue   ring[[]byte]
	bytes   int
	waiting waitList // blocked Pop calls; none while the queue holds anything

	err      error // not nil: closed, the counts are frozen
	emptied  event
	arrivals []arrival
	grown    bool // on the Mux's list of flows whose memory may be trimmed

	reassembly *reassembly // made when the first fragment comes

	received, receivedBytes uint64
	drops                   receiveDrops
}

// An arrival is what a call of Arrived waits for.
type arrival struct {
	sent  uint64
	event event
}

// Pop returns the next message. It waits for one until the receiving side is closed, and returns the error of
// CloseReceive once the queue is empty; or until ctx ends, and returns its cause. A message that is there beats both.
// Calls that wait are served in the order they came in.
//
// The message belongs to the caller. It may be a part of a larger piece of memory, the datagram it came in: whoever
// keeps small messages for long should copy them.
func (f *Flow) Pop(ctx context.Context) ([]byte, error) {
	m, r := f.mux, &f.recv
	m.recv.mu.Lock()
	if r.queue.len() > 0 {
		payload := f.pop()
		m.recv.mu.Unlock()
		return payload, nil
	}
	if err := r.err; err != nil {
		m.recv.mu.Unlock()
		return nil, err
	}
	w := m.waiters.get()
	r.waiting.push(w)
	m.recv.mu.Unlock()

	select {
	case <-w.ready:
	case <-ctx.Done():
		m.recv.mu.Lock()
		if !w.settled {
			r.waiting.remove(w)
			m.recv.mu.Unlock()
			m.waiters.put(w)
			return nil, context.Cause(ctx)
		}
		m.recv.mu.Unlock()
		<-w.ready // on its way
	}
	payload, err := w.payload, w.err
	m.waiters.put(w)
	return payload, err
}

// TryPop returns the next message, if there is one.
func (f *Flow) TryPop() ([]byte, bool) {
	f.mux.recv.mu.Lock()
	defer f.mux.recv.mu.Unlock()
	if f.recv.queue.len() == 0 {
		return nil, false
	}
	return f.pop(), true
}

func (f *Flow) pop() []byte {
	payload := f.recv.queue.popFront()
	f.recv.bytes -= len(payload)
	f.checkEmptied()
	return payload
}

// CloseReceive freezes the counts of what was received: what comes later is counted late, and not delivered. What is in
// the queue stays readable; then Pop, and each call of it that is blocked, returns err. Incomplete messages are dropped.
// Only the first call counts. err must not be nil.
func (f *Flow) CloseReceive(err error) {
	f.mux.recv.mu.Lock()
	f.closeReceive(err)
	f.mux.recv.unlock()
}

func (f *Flow) closeReceive(err error) {
	r := &f.recv
	if err == nil {
		panic("BUG: datagram: CloseReceive without an error")
	}
	if r.err != nil {
		return
	}
	r.err = err
	f.dropIncomplete()
	for !r.waiting.empty() {
		f.mux.recv.woken.settle(r.waiting.pop(), err)
	}
	f.checkEmptied()
}

// Discard drops what is in the receive queue, counted as ReasonDiscarded.
func (f *Flow) Discard() {
	f.mux.recv.mu.Lock()
	defer f.mux.recv.mu.Unlock()
	r := &f.recv
	r.drops.add(ReasonDiscarded, r.queue.len())
	r.queue, r.bytes = ring[[]byte]{}, 0
	f.checkEmptied()
}

// Emptied returns a channel that is closed once the receiving side is closed and its queue is empty, read or discarded.
func (f *Flow) Emptied() <-chan struct{} {
	f.mux.recv.mu.Lock()
	defer f.mux.recv.mu.Unlock()
	return f.recv.emptied.done()
}

func (f *Flow) checkEmptied() {
	if f.recv.err != nil && f.recv.queue.len() == 0 {
		f.recv.emptied.fire()
	}
}

// deliver takes a complete message: it is received, or late.
func (f *Flow) deliver(payload []byte) {
	r := &f.recv
	if r.err != nil {
		r.drops.add(ReasonLate, 1)
		return
	}
	r.received++
	r.receivedBytes += uint64(len(payload))
	f.checkArrived()
	if !r.waiting.empty() {
		w := r.waiting.pop()
		w.payload = payload
		f.mux.recv.woken.settle(w, nil)
		return
	}
	for !f.roomToReceive(payload) {
		if f.cfg.ReceiveFull == ReceiveDropNewest {
			r.drops.add(ReasonNewest, 1)
			return
		}
		r.bytes -= len(r.queue.popFront())
		r.drops.add(ReasonOldest, 1)
	}
	r.queue.pushBack(payload)
	r.bytes += len(payload)
	f.mux.recv.pressed = f.mux.recv.pressed || 2*r.queue.len() > f.cfg.ReceiveMessages || 2*r.bytes > f.cfg.ReceiveBytes
	if r.queue.large() {
		f.mux.recv.noteGrown(f)
	}
}

func (f *Flow) roomToReceive(payload []byte) bool {
	r := &f.recv
	return r.queue.len() == 0 || r.queue.len() < f.cfg.ReceiveMessages && r.bytes+len(payload) <= f.cfg.ReceiveBytes
}

// Settle returns how long it is still worth waiting for stragglers, when the peer says that it sent so many messages,
// and that end is the last datagram number it used, plus one. That is 0 if the counts agree, or if every number below end
// that is missing has been noticed to be missing for the grace: by the arrival of a higher number; or, if there is none,
// since the given time. What is missing may have been of another session: only the peer knows.
func (f *Flow) Settle(now time.Time, sent, end uint64, since time.Time, grace time.Duration) (wait time.Duration) {
	m := f.mux
	m.recv.mu.Lock()
	defer m.recv.mu.Unlock()
	if f.recv.err != nil || f.recv.received >= sent {
		return 0
	}
	if end > m.recv.numbers.end {
		wait = since.Add(grace).Sub(now)
	}
	if n, ok := m.recv.numbers.newestMissing(end); ok {
		if noticed, ok := m.recv.timeline.passed(n); ok {
			wait = max(wait, noticed.Add(grace).Sub(now))
		}
	}
	return max(wait, 0)
}

// Arrived returns a channel that is closed when as many messages have been received as the peer sent. It stays open if
// the receiving side is closed before.
func (f *Flow) Arrived(sent uint64) <-chan struct{} {
	f.mux.recv.mu.Lock()
	defer f.mux.recv.mu.Unlock()
	r := &f.recv
	if r.received >= sent {
		return closedChannel
	}
	for i := range r.arrivals {
		if r.arrivals[i].sent == sent {
			return r.arrivals[i].event.done()
		}
	}
	r.arrivals = append(r.arrivals, arrival{sent: sent})
	return r.arrivals[len(r.arrivals)-1].event.done()
}

func (f *Flow) checkArrived() {
	r := &f.recv
	for i := 0; i < len(r.arrivals); {
		if r.received < r.arrivals[i].sent {
			i++
			continue
		}
		r.arrivals[i].event.fire()
		r.arrivals[i] = r.arrivals[len(r.arrivals)-1]
		r.arrivals = r.arrivals[:len(r.arrivals)-1]
	}
}

func (f *Flow) countReceiving(c *Counts) {
	f.mux.recv.mu.Lock()
	defer f.mux.recv.mu.Unlock()
	r := &f.recv
	c.Received, c.ReceivedBytes = r.received, r.receivedBytes
	c.ReceiveDrops = r.drops.all()
	c.Dropped = c.ReceiveDrops[ReasonOldest] + c.ReceiveDrops[ReasonNewest]
	c.Late = c.ReceiveDrops[ReasonLate]
	c.Unread, c.UnreadBytes = r.queue.len(), r.bytes
}
