package datagram

import (
	"context"
	"time"
)

// receiveSide is the part of a Flow under the Mux's receiving lock.
type receiveSide struct {
	queue    ring[run] // none is empty
	messages int       // in all of them
	bytes    int       // their payload
	waiting  waitList  // blocked Pop calls; none while the queue holds anything

	err      error // not nil: closed, the counts are frozen
	emptied  event
	arrivals []arrival
	grown    bool // on the Mux's list of flows whose memory may be trimmed
	pressed  int  // how often the Mux was pressed for this flow since its application has taken a message

	reassembly *reassembly // made when the first fragment comes

	received, receivedBytes uint64
	drops                   flowDrops
}

// An arrival is what a call of Arrived waits for.
type arrival struct {
	sent  uint64
	event event
}

// A run is messages that came together: one, or the items of a bundle that are of the same session.
type run struct {
	b        []byte // the payload of one message, or items of a bundle
	messages int    // how many are left in b; 0: b is a payload
}

// next takes the next message off the run, and reports whether that was the last.
func (r *run) next() (payload []byte, last bool) {
	if r.messages == 0 {
		return r.b, true
	}
	m, rest, _ := NextBundleItem(r.b) // it was checked before
	r.b = rest
	r.messages--
	return m.Payload, r.messages == 0
}

// Pop returns the next message. It waits for one until the receiving side is closed, and returns the error of
// CloseReceive once the queue is empty; or until ctx ends, and returns its cause. A message that is there beats both.
// Calls that wait are served in the order they came in.
//
// The message belongs to the caller. It may be a part of a larger piece of memory, the datagram it came in: whoever
// keeps small messages for long should copy them.
func (f *Flow) Pop(ctx context.Context) ([]byte, error) {
	var one [1][]byte
	_, err := f.PopBatch(ctx, one[:])
	return one[0], err
}

// PopBatch is Pop for as many messages as are there and fit into batch: one at least, unless it fails or batch is
// empty. It returns how many.
func (f *Flow) PopBatch(ctx context.Context, batch [][]byte) (n int, err error) {
	m, r := f.mux, &f.recv
	m.recv.mu.Lock()
	if r.messages == 0 && len(batch) > 0 {
		if err := r.err; err != nil {
			m.recv.mu.Unlock()
			return 0, err
		}
		w := m.waiters.get()
		r.waiting.push(w)
		m.recv.mu.Unlock()
		payload, err := f.await(ctx, w)
		if err != nil {
			return 0, err
		}
		batch[0], n = payload, 1
		if len(batch) == 1 {
			return 1, nil
		}
		m.recv.mu.Lock()
	}
	for n < len(batch) && r.messages > 0 {
		batch[n] = f.take()
		n++
	}
	m.recv.mu.Unlock()
	return n, nil
}

// PopInto copies the next message into buf and returns its length. A message that buf is too small for stays where
// it is, and the error is an *[ShortBufferError]. Otherwise it is Pop.
func (f *Flow) PopInto(ctx context.Context, buf []byte) (int, error) {
	m, r := f.mux, &f.recv
	m.recv.mu.Lock()
	if r.messages == 0 {
		if err := r.err; err != nil {
			m.recv.mu.Unlock()
			return 0, err
		}
		w := m.waiters.get()
		w.into, w.copies = buf, true
		r.waiting.push(w)
		m.recv.mu.Unlock()
		payload, err := f.await(ctx, w)
		return len(payload), err
	}
	front := *r.queue.at(0)
	payload, _ := front.next()
	if len(payload) > len(buf) {
		m.recv.mu.Unlock()
		return 0, &ShortBufferError{Size: len(payload), Buffer: len(buf)}
	}
	n := copy(buf, f.take())
	m.recv.mu.Unlock()
	return n, nil
}

// await waits until w is settled, or takes it off the list when ctx ends before.
func (f *Flow) await(ctx context.Context, w *waiter) ([]byte, error) {
	m, r := f.mux, &f.recv
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
	if f.recv.messages == 0 {
		return nil, false
	}
	return f.take(), true
}

// take is pop for the application.
func (f *Flow) take() []byte {
	f.recv.pressed = 0
	return f.pop()
}

// pop takes the next message off the queue, which must not be empty.
func (f *Flow) pop() []byte {
	r := &f.recv
	payload, last := r.queue.at(0).next()
	if last {
		r.queue.popFront()
	}
	r.messages--
	r.bytes -= len(payload)
	if r.err != nil {
		f.checkEmptied()
	}
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
	r.drops.add(ReasonDiscarded, r.messages)
	r.queue, r.messages, r.bytes = ring[run]{}, 0, 0
	f.checkEmptied()
}

// Emptied returns a channel that is closed once the receiving side is closed and its queue is empty, read or discarded.
func (f *Flow) Emptied() <-chan struct{} {
	f.mux.recv.mu.Lock()
	defer f.mux.recv.mu.Unlock()
	return f.recv.emptied.done()
}

func (f *Flow) checkEmptied() {
	if f.recv.err != nil && f.recv.messages == 0 {
		f.recv.emptied.fire()
	}
}

// deliver takes a complete message: it is received, or late.
func (f *Flow) deliver(payload []byte) { f.deliverRun(run{b: payload}, 1, len(payload), false) }

// deliverRun takes a run of so many messages, with so many bytes of payload. Of a run that is a small part of its datagram
// it keeps a copy, and gives a copy away; PopInto calls that wait have theirs without another one.
func (f *Flow) deliverRun(in run, messages, bytes int, small bool) {
	r := &f.recv
	if r.err != nil {
		r.drops.add(ReasonLate, messages)
		return
	}
	r.received += uint64(messages)
	r.receivedBytes += uint64(bytes)
	if len(r.arrivals) > 0 {
		f.checkArrived()
	}
	for !r.waiting.empty() {
		if small && !r.waiting.first.copies {
			in.b, small = append([]byte(nil), in.b...), false
		}
		front := in
		payload, last := front.next()
		if f.hand(payload) {
			if in = front; last {
				return
			}
			messages--
			bytes -= len(payload)
		}
	}
	if small {
		in.b = append([]byte(nil), in.b...)
	}
	for !f.roomToReceive(messages, bytes) {
		if f.cfg.ReceiveFull == ReceiveDropNewest {
			if messages > 1 { // as many of them as fit
				f.deliverEach(in)
			} else {
				r.drops.add(ReasonNewest, 1)
			}
			return
		}
		if r.messages == 0 { // one run is more than the queue holds
			f.deliverEach(in)
			return
		}
		f.pop()
		r.drops.add(ReasonOldest, 1)
	}
	r.queue.pushBack(in)
	r.messages += messages
	r.bytes += bytes
	if 2*r.messages > f.cfg.ReceiveMessages || 2*r.bytes > f.cfg.ReceiveBytes {
		f.press()
	}
	if r.queue.large() {
		f.mux.recv.noteGrown(f)
	}
}

// deliverEach queues the messages of a run one by one, those that there is room for.
func (f *Flow) deliverEach(in run) {
	r := &f.recv
	for last := false; !last; {
		var payload []byte
		payload, last = in.next()
		for !f.roomToReceive(1, len(payload)) && f.cfg.ReceiveFull == ReceiveDropOldest {
			f.pop()
			r.drops.add(ReasonOldest, 1)
		}
		if !f.roomToReceive(1, len(payload)) {
			r.drops.add(ReasonNewest, 1)
			continue
		}
		r.queue.pushBack(run{b: payload})
		r.messages++
		r.bytes += len(payload)
	}
	f.press()
	f.mux.recv.noteGrown(f)
}

// maxPressed is how often a link gives way to an application that takes nothing: often enough for one that is only waiting
// for the processor, and not for ever, at the cost of the other sessions, for one that does not read.
const maxPressed = 64

// press has the link give way to the application, which is behind with reading.
func (f *Flow) press() {
	if f.recv.pressed < maxPressed {
		f.recv.pressed++
		f.mux.recv.pressed = true
	}
}

// hand settles the first blocked Pop call, and reports whether that has taken the message: one with too small a buffer
// has not.
func (f *Flow) hand(payload []byte) bool {
	w := f.recv.waiting.pop()
	if w.copies && len(payload) > len(w.into) {
		f.mux.recv.woken.settle(w, &ShortBufferError{Size: len(payload), Buffer: len(w.into)})
		return false
	}
	w.payload = payload
	if w.copies {
		w.payload = w.into[:copy(w.into, payload)]
	}
	f.mux.recv.woken.settle(w, nil)
	return true
}

// roomToReceive reports whether the queue can take so many messages at once.
func (f *Flow) roomToReceive(messages, bytes int) bool {
	r := &f.recv
	return r.messages == 0 && messages == 1 || r.messages+messages <= f.cfg.ReceiveMessages && r.bytes+bytes <= f.cfg.ReceiveBytes
}

// Settle returns how long it is still worth waiting for stragglers, when the peer says that it sent so many messages,
// and that end is the last datagram number it used, plus one. That is 0 if the counts agree, or if every number below end
// that is missing has been noticed to be missing for the grace: by the arrival of a higher number, or at the given
// time if there was none. What is missing may have been of another session: only the peer knows.
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
			if noticed.After(since) { // it was above all others then
				noticed = since
			}
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
	c.Unread, c.UnreadBytes = r.messages, r.bytes
}
