package datagram

import "time"

// What the specification fixes: how much a link keeps of datagrams that come before the stream of their session.
const (
	earlyBytes     = 64 << 10
	earlyDatagrams = 64
	earlyTime      = time.Second
)

// An earlyEntry is what one datagram holds for one session that is not open yet: a message, a fragment, or a run of
// messages of a bundle.
type earlyEntry struct {
	session  uint64
	kind     Kind
	body     []byte // KindMessage: the payload; KindFragment: the body; KindBundle: the items of the run
	messages int    // and fragments
	at       time.Time
}

// An earlyBuffer holds them for a link, in the order of arrival. The zero value is empty.
type earlyBuffer struct {
	entries  ring[earlyEntry]
	bytes    int
	messages int
}

// keep keeps e if there is room; if not, e is dropped: what came first has the better chance of being complete.
func (b *earlyBuffer) keep(e earlyEntry, drops *Drops) {
	b.expire(e.at, drops)
	if b.entries.len() >= earlyDatagrams || b.bytes+len(e.body) > earlyBytes {
		drops[ReasonEarlyFull] += uint64(e.messages)
		return
	}
	b.entries.pushBack(e)
	b.bytes += len(e.body)
	b.messages += e.messages
}

// expire drops what is too old.
func (b *earlyBuffer) expire(now time.Time, drops *Drops) {
	for b.entries.len() > 0 {
		if now.Sub(b.entries.at(0).at) < earlyTime {
			return
		}
		e := b.entries.popFront()
		b.forget(&e)
		drops[ReasonEarlyExpired] += uint64(e.messages)
	}
	b.entries.trim()
}

// take removes what is held for a session, and gives it to f in order.
func (b *earlyBuffer) take(session uint64, f func(*earlyEntry)) {
	b.entries.filter(func(e *earlyEntry) bool {
		if e.session != session {
			return true
		}
		b.forget(e)
		f(e)
		return false
	})
	b.entries.trim()
}

// discard drops everything.
func (b *earlyBuffer) discard(drops *Drops) {
	drops[ReasonEarlyDiscarded] += uint64(b.messages)
	*b = earlyBuffer{}
}

func (b *earlyBuffer) forget(e *earlyEntry) {
	b.bytes -= len(e.body)
	b.messages -= e.messages
}
