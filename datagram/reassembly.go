package datagram

import (
	"bytes"
	"time"
)

const (
	// Specification: what a session holds of messages that are not complete.

	reassemblyMessages = 8
	reassemblyBytes    = 256 << 10 // and always one message of the largest size
	reassemblyTime     = time.Second

	// Implementation choices.

	// finishedWindow is among how many message ids a session tells those it is done with. Older ones count as done.
	finishedWindow = 256
	// reassemblySpans is in how many separate pieces a message may be. Half of the fragments of the largest message by
	// default, if each second one comes late, is 32; more than this many are an attack on the receiver's time.
	reassemblySpans = 512
	// reassemblyPage is how much memory is taken at once for an incomplete message: it follows the bytes that arrive, not
	// the length that announces them. Otherwise a fragment of one byte would cost 64 KiB.
	reassemblyPage = 4 << 10
	// reassemblyShare is the part of a message, one in so many, that must have arrived before the memory of all of it is
	// taken. From then on its bytes are written where they stay; a peer that stops there had to send that part.
	reassemblyShare = 4
)

// reassembly holds the incomplete messages of a flow.
type reassembly struct {
	incomplete []*incomplete // oldest first
	bytes      int           // their full lengths
	finished   window        // ids of messages that were completed, given up, or counted late
}

// An incomplete message.
type incomplete struct {
	id    uint64
	since time.Time
	total int      // its full length
	pages [][]byte // at first: of reassemblyPage bytes, the last one shorter; nil where nothing has arrived
	data  []byte   // then, in their place: the message
	have  []span   // disjoint, not adjacent, in order
	got   int      // bytes in have
}

// A span is a piece of a message, from its first byte to the one after its last.
type span struct{ from, to int }

// reassemble takes a fragment that was checked against the largest message.
func (f *Flow) reassemble(now time.Time, fragment Fragment) {
	if f.recv.reassembly == nil {
		f.recv.reassembly = &reassembly{finished: newWindow(finishedWindow)}
	}
	r := f.recv.reassembly
	f.expireIncomplete(now)
	if r.finished.old(fragment.ID) || r.finished.seen(fragment.ID) {
		f.recv.drops.add(ReasonStaleFragment, 1)
		return
	}
	if f.recv.err != nil {
		r.finished.mark(fragment.ID)
		f.recv.drops.add(ReasonLate, 1)
		return
	}
	i := r.find(fragment.ID)
	if i < 0 {
		if uint64(len(fragment.Payload)) == fragment.Total {
			r.finished.mark(fragment.ID)
			f.deliver(fragment.Payload)
			return
		}
		i = f.begin(now, fragment)
	}
	p := r.incomplete[i]
	switch p.add(fragment) {
	case addContradiction:
		f.giveUp(i, ReasonContradiction)
	case addTooMany:
		f.giveUp(i, ReasonReassemblyFull)
	case addComplete:
		r.remove(i)
		r.finished.mark(p.id)
		f.deliver(p.data)
	}
	f.noteAssembling()
}

// begin makes room for a new message, at the cost of the oldest ones, and returns its index.
func (f *Flow) begin(now time.Time, fragment Fragment) int {
	r := f.recv.reassembly
	total := int(fragment.Total)
	limit := max(reassemblyBytes, int(f.mux.recv.maxMessage))
	for len(r.incomplete) >= reassemblyMessages || r.bytes+total > limit {
		f.giveUp(0, ReasonReassemblyFull)
	}
	r.incomplete = append(r.incomplete, &incomplete{id: fragment.ID, since: now, total: total, pages: make([][]byte, (total+reassemblyPage-1)/reassemblyPage)})
	r.bytes += total
	return len(r.incomplete) - 1
}

// giveUp drops an incomplete message. Fragments of it that come later are stale.
func (f *Flow) giveUp(i int, reason Reason) {
	r := f.recv.reassembly
	r.finished.mark(r.incomplete[i].id)
	r.remove(i)
	f.recv.drops.add(reason, 1)
}

// expireIncomplete drops messages that did not become complete in time.
func (f *Flow) expireIncomplete(now time.Time) {
	r := f.recv.reassembly
	if r == nil {
		return
	}
	for len(r.incomplete) > 0 && now.Sub(r.incomplete[0].since) >= reassemblyTime {
		f.giveUp(0, ReasonReassemblyTimeout)
	}
	f.noteAssembling()
}

// dropIncomplete drops them all, because the counts are frozen. Their ids are not finished: what comes of them is late.
func (f *Flow) dropIncomplete() {
	r := f.recv.reassembly
	if r == nil {
		return
	}
	f.recv.drops.add(ReasonIncomplete, len(r.incomplete))
	r.incomplete, r.bytes = nil, 0
	f.noteAssembling()
}

// noteAssembling keeps the Mux's list of flows with incomplete messages true.
func (f *Flow) noteAssembling() {
	m := &f.mux.recv
	if len(f.recv.reassembly.incomplete) == 0 {
		delete(m.assembling, f)
		return
	}
	if m.assembling == nil {
		m.assembling = map[*Flow]struct{}{}
	}
	m.assembling[f] = struct{}{}
}

func (r *reassembly) find(id uint64) int {
	for i, p := range r.incomplete {
		if p.id == id {
			return i
		}
	}
	return -1
}

func (r *reassembly) remove(i int) {
	r.bytes -= r.incomplete[i].total
	copy(r.incomplete[i:], r.incomplete[i+1:])
	r.incomplete[len(r.incomplete)-1] = nil
	r.incomplete = r.incomplete[:len(r.incomplete)-1]
}

type addResult uint8

const (
	addIncomplete addResult = iota
	addComplete
	addContradiction // it does not agree with what is there
	addTooMany       // too many separate pieces
)

// add puts a fragment in its place.
func (p *incomplete) add(fragment Fragment) addResult {
	if fragment.Total != uint64(p.total) {
		return addContradiction
	}
	from := int(fragment.Offset)
	to := from + len(fragment.Payload)

	// first..last are the spans that the fragment touches; it becomes one span with them.
	first := 0
	for first < len(p.have) && p.have[first].to < from {
		first++
	}
	last := first
	merged := span{from, to}
	for ; last < len(p.have) && p.have[last].from <= to; last++ {
		s := p.have[last]
		if lo, hi := max(s.from, from), min(s.to, to); lo < hi && !p.equal(lo, fragment.Payload[lo-from:hi-from]) {
			return addContradiction
		}
		p.got -= s.to - s.from
		merged = span{min(merged.from, s.from), max(merged.to, s.to)}
	}
	p.write(from, fragment.Payload)
	p.got += merged.to - merged.from
	switch {
	case last > first:
		p.have[first] = merged
		p.have = append(p.have[:first+1], p.have[last:]...)
	case len(p.have) == reassemblySpans:
		return addTooMany
	default:
		p.have = append(p.have, span{})
		copy(p.have[first+1:], p.have[first:])
		p.have[first] = merged
	}
	if p.data == nil && p.got*reassemblyShare >= p.total {
		p.gather()
	}
	if p.got == p.total {
		return addComplete
	}
	return addIncomplete
}

// write puts bytes where they belong.
func (p *incomplete) write(from int, b []byte) {
	if p.data != nil {
		copy(p.data[from:], b)
		return
	}
	for len(b) > 0 {
		i := from / reassemblyPage
		if p.pages[i] == nil {
			p.pages[i] = make([]byte, min(reassemblyPage, p.total-i*reassemblyPage))
		}
		n := copy(p.pages[i][from%reassemblyPage:], b)
		from, b = from+n, b[n:]
	}
}

// equal compares bytes with those that have arrived at the same place.
func (p *incomplete) equal(from int, b []byte) bool {
	if p.data != nil {
		return bytes.Equal(p.data[from:from+len(b)], b)
	}
	for len(b) > 0 {
		have := p.pages[from/reassemblyPage][from%reassemblyPage:]
		n := min(len(have), len(b))
		if !bytes.Equal(have[:n], b[:n]) {
			return false
		}
		from, b = from+n, b[n:]
	}
	return true
}

// gather puts what is in pages together.
func (p *incomplete) gather() {
	if len(p.pages) == 1 {
		p.data, p.pages = p.pages[0], nil
		return
	}
	p.data = make([]byte, p.total)
	for i, page := range p.pages {
		copy(p.data[i*reassemblyPage:], page)
	}
	p.pages = nil
}
