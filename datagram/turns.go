package datagram

import (
	"time"

	"github.com/quic-go/quic-go/quicvarint"
)

// Fair turns between the flows of a link: deficit round robin by bytes. The flows with something to send stand in a
// circle. At its turn a flow may send a quantum, the size of one datagram, plus what it left of earlier turns; then the
// next one's turn begins. A flow that has nothing more to send leaves the circle and loses what it had left.

// activate puts a flow that has something to send into the circle, last.
func (s *sender) activate(f *Flow) {
	if f.send.inRing {
		return
	}
	f.send.inRing = true
	s.wakeWanted = true
	if s.ring == nil {
		s.ring, f.send.next, f.send.prev = f, f, f
		return
	}
	last := s.ring.send.prev
	last.send.next, f.send.prev = f, last
	f.send.next, s.ring.send.prev = s.ring, f
}

// reactivate puts a flow whose datagram was refused into the circle, first.
func (s *sender) reactivate(f *Flow) {
	if !f.send.inRing {
		s.activate(f)
		s.ring = f
	}
}

// deactivate takes a flow out of the circle.
func (s *sender) deactivate(f *Flow) {
	if !f.send.inRing {
		return
	}
	if f.send.next == f {
		s.ring = nil
	} else {
		f.send.prev.send.next, f.send.next.send.prev = f.send.next, f.send.prev
		if s.ring == f {
			s.ring = f.send.next
		}
	}
	f.send.next, f.send.prev, f.send.inRing = nil, nil, false
	f.send.granted, f.send.deficit = false, 0
}

// turn returns the flow whose turn it is, and its message. It drops messages that cannot go.
func (s *sender) turn(now time.Time) (f *Flow, it *item, isPartial bool) {
	for f = s.ring; f != nil; f = s.ring {
		it, isPartial = f.candidate(now)
		if it == nil {
			s.deactivate(f)
			continue
		}
		if !s.fitsAtAll(f, it, isPartial) {
			f.dropCandidate(isPartial)
			continue
		}
		if !f.send.granted {
			f.send.granted = true
			f.send.deficit += s.maxDatagram
		}
		if f.cost(it, isPartial) <= f.send.deficit {
			return f, it, isPartial
		}
		f.send.granted = false
		s.ring = f.send.next
	}
	return nil, nil, false
}

// dropCandidate drops a message of which not even a piece fits.
func (f *Flow) dropCandidate(isPartial bool) {
	if isPartial {
		f.dropPartial(ReasonTooLarge)
	} else {
		it := f.send.queue.popFront()
		f.mux.send.free(&it)
		f.send.drops.add(ReasonTooLarge, 1)
		f.admit()
	}
	f.checkDrained()
}

// fitsWhole reports whether it fits a datagram of its own.
func (s *sender) fitsWhole(f *Flow, it *item) bool {
	return 1+quicvarint.Len(s.number)+quicvarint.Len(f.id)+it.n <= s.maxDatagram
}

// fitsAtAll reports whether at least a byte of it fits.
func (s *sender) fitsAtAll(f *Flow, it *item, isPartial bool) bool {
	if !isPartial && s.fitsWhole(f, it) {
		return true
	}
	offset := 0
	if isPartial {
		offset = f.send.partial.offset
	}
	return f.fragmentOverhead(it.n, offset) < s.maxDatagram
}

// fragmentOverhead is the size of a fragment without its payload.
func (f *Flow) fragmentOverhead(total, offset int) int {
	id := f.send.nextMessageID
	if f.send.partial.active {
		id = f.send.partial.id
	}
	return 1 + quicvarint.Len(f.mux.send.number) + quicvarint.Len(f.id) + quicvarint.Len(id) +
		quicvarint.Len(uint64(total)) + quicvarint.Len(uint64(offset))
}

// bundleCost is the size of it as part of a bundle.
func (f *Flow) bundleCost(it *item) int {
	return quicvarint.Len(f.id) + quicvarint.Len(uint64(it.n)) + it.n
}

// cost is what sending it, or the next piece of it, takes off a flow's deficit: at most the quantum.
func (f *Flow) cost(it *item, isPartial bool) int {
	if isPartial {
		rest := it.n - f.send.partial.offset
		return min(f.mux.send.maxDatagram, rest+f.fragmentOverhead(it.n, f.send.partial.offset))
	}
	return min(f.mux.send.maxDatagram, f.bundleCost(it))
}
