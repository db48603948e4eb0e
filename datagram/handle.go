package datagram

import (
	"fmt"
	"time"
)

// An EventKind says what the link has to do about a datagram.
type EventKind uint8

const (
	EventNone          EventKind = iota // nothing
	EventHeartbeat                      // answer with QueueHeartbeat(true, Token)
	EventHeartbeatEcho                  // the peer lives: it answered Token
	EventCredit                         // the peer has come as far as Credit
	EventViolation                      // abort Session, which is open here, because of Err
)

// An Event is what Handle found in a datagram beside messages.
type Event struct {
	Kind    EventKind
	Session uint64
	Token   [8]byte
	Credit  Credit
	Err     error
	// Owed: this datagram is the first that no credit covers. Credit for it is due within 25 ms: QueueCredit.
	Owed bool
	// Drive: something is to be sent, and nobody drives: Drive, or Kick.
	Drive bool
	// Pressed: a receive queue is more than half full. Its application may need the processor more than the link does. One
	// that goes on taking nothing is not told of any more.
	Pressed bool
}

// Handle takes a received datagram apart. It belongs to the Mux from now on: payloads that applications will read are
// parts of it. Heartbeats and credits are left to the caller, as events.
func (m *Mux) Handle(now time.Time, d []byte) Event {
	r := &m.recv
	r.mu.Lock()
	r.pressed = false
	e, due := r.handle(now, d)
	e.Pressed = r.pressed
	r.unlock()
	if due {
		e.Drive = m.QueueCredit()
	}
	return e
}

// handle is Handle, and reports whether credit is due.
func (r *receiver) handle(now time.Time, d []byte) (e Event, due bool) {
	r.received++
	r.bytes += uint64(len(d))
	if r.closed {
		r.datagramDrops[ReasonLinkClosed]++
		return Event{}, false
	}
	h, body, err := ParseHeader(d)
	if err != nil {
		return r.malformed(err), false
	}
	if r.numbers.old(h.Number) {
		r.datagramDrops[ReasonOldNumber]++
		return Event{}, false
	}
	if r.numbers.seen(h.Number) {
		r.datagramDrops[ReasonDuplicate]++
		return Event{}, false
	}
	if h.Number >= r.numbers.end {
		r.timeline.record(now, h.Number+1)
	}
	r.numbers.mark(h.Number)
	r.taken++

	switch h.Kind {
	case KindHeartbeat, KindHeartbeatEcho, KindCredit:
	default:
		e.Owed, due = r.cover()
	}
	switch h.Kind {
	case KindMessage:
		var message Message
		if message, err = ParseMessage(body); err == nil {
			r.message(now, message)
		}
	case KindBundle:
		if err = checkBundle(body); err == nil {
			r.bundle(now, body, len(d))
		}
	case KindFragment:
		var fragment Fragment
		if fragment, err = ParseFragment(body); err == nil && fragment.Total > r.maxMessage {
			err = malformedOf(fragment.Session, fmt.Sprintf("message of %d bytes, the limit is %d", fragment.Total, r.maxMessage))
		}
		if err == nil {
			r.fragment(now, fragment, body)
		}
	case KindHeartbeat:
		e.Kind = EventHeartbeat
		e.Token, err = ParseHeartbeat(body)
	case KindHeartbeatEcho:
		e.Kind = EventHeartbeatEcho
		e.Token, err = ParseHeartbeat(body)
	case KindCredit:
		e.Kind = EventCredit
		e.Credit, err = ParseCredit(body)
	default:
		r.datagramDrops[ReasonUnknownKind]++
		return e, due
	}
	if err != nil {
		bad := r.malformed(err)
		bad.Owed = e.Owed
		return bad, due
	}
	r.accepted++
	return e, due
}

// malformed counts a datagram that does not parse. It is a violation if it names a session that is open here.
func (r *receiver) malformed(err error) Event {
	r.datagramDrops[ReasonMalformed]++
	if e, ok := err.(*MalformedError); ok && e.HasSession && r.flows[e.Session] != nil {
		return Event{Kind: EventViolation, Session: e.Session, Err: err}
	}
	return Event{}
}

// checkBundle parses a bundle to its end, so that a malformed one is dropped as a whole.
func checkBundle(body []byte) error {
	for {
		_, rest, err := NextBundleItem(body)
		if err != nil || len(rest) == 0 {
			return err
		}
		body = rest
	}
}

// A place is where the datagrams of a session go.
type place uint8

const (
	placeFlow    place = iota
	placeEarly         // its stream may still come, or it waits to be opened
	placeLate          // it was removed
	placeUnknown       // nobody opened it
)

func (r *receiver) lookup(id uint64) (*Flow, place) {
	f, known := r.flows[id]
	switch {
	case f != nil:
		return f, placeFlow
	case known:
		return nil, placeEarly
	case r.ours(id) && id < r.ownEnd, !r.ours(id) && id < r.peerEnd:
		return nil, placeLate
	case r.ours(id):
		return nil, placeUnknown
	}
	return nil, placeEarly
}

// miss deals with what found no flow.
func (r *receiver) miss(now time.Time, p place, e earlyEntry) {
	switch p {
	case placeLate:
		r.messageDrops[ReasonLate] += uint64(e.messages)
	case placeUnknown:
		r.messageDrops[ReasonUnknownSession] += uint64(e.messages)
	default:
		e.at = now
		r.early.keep(e, &r.messageDrops)
	}
}

func (r *receiver) message(now time.Time, message Message) {
	f, p := r.lookup(message.Session)
	if f == nil {
		r.miss(now, p, earlyEntry{session: message.Session, kind: KindMessage, body: message.Payload, messages: 1})
		return
	}
	f.deliver(message.Payload)
}

func (r *receiver) fragment(now time.Time, fragment Fragment, body []byte) {
	f, p := r.lookup(fragment.Session)
	if f == nil {
		r.miss(now, p, earlyEntry{session: fragment.Session, kind: KindFragment, body: body, messages: 1})
		return
	}
	f.reassemble(now, fragment)
}

// copyBelow is the part of a bundle, as a divisor, below which a run of messages of one session is copied. The others
// keep the whole datagram in memory as long as they wait to be read, so this bounds what a short message can hold.
const copyBelow = 4

// bundle delivers a bundle that was checked, in runs of messages of one session.
func (r *receiver) bundle(now time.Time, body []byte, size int) {
	for len(body) > 0 {
		first, rest, _ := NextBundleItem(body)
		if first.Session == paddingID {
			body = rest
			continue
		}
		messages, bytes := 1, len(first.Payload)
		for len(rest) > 0 {
			next, after, _ := NextBundleItem(rest)
			if next.Session != first.Session {
				break
			}
			messages++
			bytes += len(next.Payload)
			rest = after
		}
		items := body[: len(body)-len(rest) : len(body)-len(rest)]
		body = rest
		f, p := r.lookup(first.Session)
		small := len(items)*copyBelow < size
		if f != nil {
			f.deliverRun(run{b: items, messages: messages}, messages, bytes, small)
			continue
		}
		if small && p == placeEarly {
			items = append([]byte(nil), items...)
		}
		r.miss(now, p, earlyEntry{session: first.Session, kind: KindBundle, body: items, messages: messages})
	}
}

// payloadBytes sums up the payloads of a bundle's items.
func payloadBytes(items []byte) (n int) {
	for len(items) > 0 {
		var m Message
		m, items, _ = NextBundleItem(items)
		n += len(m.Payload)
	}
	return n
}
