package datagram

import "time"

// receiver is the receiving side of a Mux. mu guards everything below it, and the receiving sides of all flows.
type receiver struct {
	lockable
	closed      bool
	parity      uint64 // bit 0 of the ids of sessions that we open
	maxMessage  uint64
	pressed     bool // a queue was found more than half full
	creditEvery int  // datagrams between two credits; 0: no credit is given
	uncovered   int  // datagrams with messages that came since the last credit was made

	// flows holds the sessions that may still get datagrams: opened, or nil where only announced.
	flows   map[uint64]*Flow
	opened  int
	ownEnd  uint64 // highest id that we opened + 1
	peerEnd uint64 // highest id that the peer's streams have reached + 1

	numbers  window
	timeline timeline
	early    earlyBuffer

	assembling map[*Flow]struct{} // flows with incomplete messages
	grown      []*Flow            // flows whose memory tick may trim

	received, bytes, accepted, taken uint64
	datagramDrops, messageDrops      Drops
}

func (r *receiver) init(c MuxConfig) {
	if !c.Client {
		r.parity = 1
	}
	r.maxMessage = uint64(c.MaxMessage)
	r.creditEvery = max(c.CreditEvery, 0)
	r.flows = map[uint64]*Flow{}
	r.numbers = newWindow(windowSize)
}

func (r *receiver) ours(id uint64) bool { return id&1 == r.parity }

func (r *receiver) announce(id uint64) {
	if r.ours(id) || r.closed || id < r.peerEnd {
		return
	}
	r.peerEnd = id + 1
	r.flows[id] = nil
}

func (r *receiver) open(now time.Time, f *Flow) {
	if r.ours(f.id) {
		r.ownEnd = max(r.ownEnd, f.id+1)
	} else {
		r.peerEnd = max(r.peerEnd, f.id+1)
	}
	r.flows[f.id] = f
	r.opened++
	r.early.expire(now, &r.messageDrops)
	r.early.take(f.id, func(e *earlyEntry) {
		switch e.kind {
		case KindMessage:
			f.deliver(e.body)
		case KindFragment:
			fragment, _ := ParseFragment(e.body) // it was parsed before
			f.reassemble(e.at, fragment)
		case KindBundle:
			f.deliverRun(run{b: e.body, messages: e.messages}, e.messages, payloadBytes(e.body), false)
		}
	})
	f.expireIncomplete(now)
}

// remove forgets a session and returns its flow, if it has one.
func (r *receiver) remove(id uint64) *Flow {
	f := r.flows[id]
	if f != nil {
		r.opened--
	}
	delete(r.flows, id)
	if !r.ours(id) {
		r.peerEnd = max(r.peerEnd, id+1)
	}
	r.early.take(id, func(e *earlyEntry) {
		r.messageDrops[ReasonEarlyDiscarded] += uint64(e.messages)
	})
	return f
}

func (r *receiver) close() {
	r.closed = true
	r.early.discard(&r.messageDrops)
}

// credit returns what this side can give credit for.
func (r *receiver) credit() Credit {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uncovered = 0
	return Credit{End: r.numbers.end, Taken: r.taken}
}

// noteGrown remembers a flow whose memory tick should look at.
func (r *receiver) noteGrown(f *Flow) {
	if !f.recv.grown {
		f.recv.grown = true
		r.grown = append(r.grown, f)
	}
}

func (r *receiver) tick(now time.Time) {
	r.early.expire(now, &r.messageDrops)
	for f := range r.assembling {
		f.expireIncomplete(now)
	}
	kept := r.grown[:0]
	for _, f := range r.grown {
		if f.recv.messages > 0 {
			kept = append(kept, f)
			continue
		}
		f.recv.queue.trim()
		f.recv.grown = false
	}
	clear(r.grown[len(kept):])
	r.grown = kept
}
