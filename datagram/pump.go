package datagram

import (
	"time"

	"github.com/quic-go/quic-go/quicvarint"
)

// hand is the datagram in the pump's hands, between Next and Sent or Refused.
type hand struct {
	full    bool
	size    int
	kind    Kind
	token   [tokenSize]byte // of a heartbeat or echo
	items   []handItem      // of a message or bundle; kept for reuse
	partial *Flow           // of a fragment
	length  int             // of the fragment's payload
	cost    int             // of the fragment
}

type handItem struct {
	flow *Flow
	item item
}

// Next returns the next datagram to hand to QUIC, made in buf, whose contents are lost. Control comes first, then the
// flows in fair turns. Each call that returns one must be followed by Sent, SentNext or Refused, before the next call.
// Only one goroutine at a time drives them: the one that Drive has told so.
func (m *Mux) Next(now time.Time, buf []byte) (d []byte, ok bool) {
	s := &m.send
	s.mu.Lock()
	defer s.unlock()
	return m.drive(now, buf)
}

// SentNext is Sent and Next in one, with less work.
func (m *Mux) SentNext(now time.Time, buf []byte) (d []byte, ok bool) {
	s := &m.send
	s.mu.Lock()
	defer s.unlock()
	s.sent()
	return m.drive(now, buf)
}

func (m *Mux) drive(now time.Time, buf []byte) (d []byte, ok bool) {
	s := &m.send
	d, ok = m.next(now, buf)
	s.driven = ok
	if !ok {
		s.wakeAdmitted()
		s.wakeWanted = false // of what there is, nothing may go
	}
	return d, ok
}

func (m *Mux) next(now time.Time, buf []byte) (d []byte, ok bool) {
	s := &m.send
	if s.hand.full {
		panic("BUG: datagram: Next before Sent or Refused")
	}
	if s.closed {
		return nil, false
	}
	buf = buf[:0]
	header := 1 + quicvarint.Len(s.number)
	// The peer decides how often echoes and credits are due: they may take every second datagram, not all of them.
	if s.answered {
		s.answered = false
		if d, ok = s.nextMessages(now, buf, header); !ok {
			d, ok = m.nextControl(buf)
		}
	} else if d, ok = m.nextControl(buf); !ok {
		d, ok = s.nextMessages(now, buf, header)
	}
	if !ok && s.followable && m.recv.nearlyDue() {
		s.creditQueued = true // it goes into the packet of the message that has just gone
		d, ok = m.nextControl(buf)
	}
	s.followable = false
	s.hand.full, s.hand.size = ok, len(d)
	return d, ok
}

// nextControl makes a heartbeat, echo or credit.
func (m *Mux) nextControl(buf []byte) ([]byte, bool) {
	s := &m.send
	if s.heartbeat.queued {
		s.heartbeat.queued = false
		if d := AppendHeartbeat(buf, s.number, false, s.heartbeat.value); s.fits(d) {
			s.hand.kind, s.hand.token = KindHeartbeat, s.heartbeat.value
			return d, true
		}
	}
	if s.echo.queued {
		s.echo.queued = false
		if d := AppendHeartbeat(buf, s.number, true, s.echo.value); s.fits(d) {
			s.hand.kind, s.hand.token = KindHeartbeatEcho, s.echo.value
			s.answered = true
			s.creditQueued = s.creditQueued || m.recv.creditEvery > 0
			return d, true
		}
	}
	if s.creditQueued {
		s.creditQueued = false
		if d := AppendCredit(buf, s.number, m.recv.credit()); s.fits(d) {
			s.hand.kind = KindCredit
			s.answered = true
			return d, true
		}
	}
	return nil, false
}

// fits reports whether a control datagram fits, and counts it if it does not.
func (s *sender) fits(d []byte) bool {
	if len(d) > s.maxDatagram {
		s.controlDrops++
		return false
	}
	return true
}

// nextMessages makes a message, bundle or fragment.
func (s *sender) nextMessages(now time.Time, buf []byte, header int) ([]byte, bool) {
	if s.held() {
		return nil, false
	}
	f, it, isPartial := s.turn(now)
	if f == nil {
		return nil, false
	}
	if isPartial || !s.fitsWhole(f, it) {
		return s.nextFragment(f, it, isPartial, buf), true
	}

	// As many whole messages as fit, in turns.
	s.hand.items = s.hand.items[:0]
	size := header
	for f != nil && !isPartial && s.fitsWhole(f, it) {
		if !s.take(f, &size) {
			break
		}
		f, it, isPartial = s.turn(now)
	}
	gap := 0
	if f != nil { // nothing is worth filling a packet for that is the last
		gap = s.maxDatagram - size
	}

	if len(s.hand.items) == 1 && (gap <= stretchable || !s.mayPad(gap)) {
		h := &s.hand.items[0]
		s.hand.kind = KindMessage
		d := AppendMessage(buf, s.number, Message{h.flow.id, h.item.payload()})
		if f != nil {
			d = stretch(d, s.maxDatagram)
		}
		return d, true
	}
	s.hand.kind = KindBundle
	return s.appendBundle(buf, gap), true
}

// take moves messages from the front of f's queue into the hand, as long as it is f's turn and they fit into a datagram
// that has size bytes so far. It reports whether it took any.
func (s *sender) take(f *Flow, size *int) bool {
	q := &f.send.queue
	taken := 0
	for q.messages > 0 {
		it := q.front()
		cost := f.bundleCost(it)
		if len(s.hand.items) > 0 && *size+cost > s.maxDatagram || cost > f.send.deficit && taken > 0 {
			break
		}
		if taken > 0 && (q.expiring > 0 || f.send.partial.active || !s.fitsWhole(f, it)) {
			break // turn looks at these more closely
		}
		*size += cost
		taken++
		f.send.inHandBytes += it.n
		f.send.deficit -= cost
		s.hand.items = append(s.hand.items, handItem{flow: f, item: q.popFront()})
	}
	f.send.inHand += taken
	f.admit()
	return taken > 0
}

// nextFragment makes the next fragment of f's message, as large as fits. There is room for at least one byte.
func (s *sender) nextFragment(f *Flow, it *item, isPartial bool, buf []byte) []byte {
	p := &f.send.partial
	cost := f.cost(it, isPartial)
	if !isPartial {
		*p = partial{active: true, item: f.send.queue.popFront(), id: f.send.nextMessageID}
		f.admit()
	}
	payload := p.item.payload()
	rest := payload[p.offset:]
	rest = rest[:min(len(rest), s.maxDatagram-f.fragmentOverhead(len(payload), p.offset))]
	p.inHand = true
	f.send.inHand++
	f.send.deficit -= cost
	s.hand.kind, s.hand.partial, s.hand.length, s.hand.cost = KindFragment, f, len(rest), cost
	return AppendFragment(buf, s.number, Fragment{
		Session: f.id, ID: p.id, Total: uint64(len(payload)), Offset: uint64(p.offset), Payload: rest,
	})
}

// Sent says that the datagram of the last Next was handed to QUIC: its messages count as sent.
func (m *Mux) Sent() {
	s := &m.send
	s.mu.Lock()
	defer s.unlock()
	s.sent()
}

func (s *sender) sent() {
	h := s.release()
	end := s.number + 1
	s.number = end
	s.bytes += uint64(h.size)
	switch h.kind {
	case KindMessage, KindBundle:
		s.followable = true
		for i := range h.items {
			f, it := h.items[i].flow, &h.items[i].item
			f.send.inHand--
			f.send.inHandBytes -= it.n
			f.send.sent++
			f.send.sentBytes += uint64(it.n)
			f.send.end = end
			s.free(it)
			if f.send.err != nil {
				f.checkDrained()
			}
		}
		clear(h.items)
	case KindFragment:
		h.partial.fragmentSent(h.length, end)
	}
}

func (f *Flow) fragmentSent(length int, end uint64) {
	s := &f.send
	p := &s.partial
	s.inHand--
	s.end = end
	p.inHand = false
	p.offset += length
	if !p.started {
		p.started = true
		s.sent++
		s.sentBytes += uint64(p.item.n)
		s.nextMessageID++
	}
	switch {
	case p.offset == p.item.n:
		f.mux.send.free(&p.item)
		*p = partial{}
	case p.dropped:
		f.dropPartial(ReasonClosed)
	}
	f.checkDrained()
}

// Refused says that QUIC did not take the datagram of the last Next. Everything in it goes back to the front,
// in order, and its number will be used for the next one. limit is the new MaxDatagram; 0 leaves that as it is.
func (m *Mux) Refused(limit int) {
	s := &m.send
	s.mu.Lock()
	defer s.unlock()
	h := s.release()
	s.setMaxDatagram(limit)
	switch h.kind {
	case KindHeartbeat:
		if !s.heartbeat.queued {
			s.heartbeat = token{true, h.token}
		}
	case KindHeartbeatEcho:
		if !s.echo.queued {
			s.echo = token{true, h.token}
		}
	case KindCredit:
		s.creditQueued = true
	case KindMessage, KindBundle:
		for i := len(h.items) - 1; i >= 0; i-- {
			it := &h.items[i]
			it.flow.send.inHandBytes -= it.item.n
			it.flow.takeBack(it.item, it.flow.bundleCost(&it.item))
		}
		clear(h.items)
	case KindFragment:
		f := h.partial
		p := &f.send.partial
		p.inHand = false
		switch {
		case !p.started && !p.dropped:
			it := p.item
			*p = partial{}
			f.takeBack(it, h.cost)
		case p.dropped:
			f.send.inHand--
			f.dropPartial(ReasonClosed)
			f.checkDrained()
		default:
			f.send.inHand--
			s.reactivate(f)
			f.send.deficit += h.cost
		}
	}
}

// takeBack puts a message that was in the pump's hands back to the front, unless the flow has given up.
func (f *Flow) takeBack(it item, cost int) {
	s := &f.send
	s.inHand--
	if s.abandoned {
		s.drops.add(ReasonClosed, 1)
		f.mux.send.free(&it)
		f.checkDrained()
		return
	}
	s.queue.pushFront(it)
	f.mux.send.reactivate(f)
	s.deficit += cost
}

// release empties the hand.
func (s *sender) release() hand {
	if !s.hand.full {
		panic("BUG: datagram: Sent or Refused without Next")
	}
	h := s.hand
	s.hand = hand{items: h.items[:0]}
	return h
}
