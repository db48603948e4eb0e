package main

import (
	"cmp"
	"slices"
	"time"
)

// A history is what the logs of one round say, put together. All times are
// microseconds since the round began.
type history struct {
	starts map[[2]int]*life
	talks  map[string]*conversation
}

// A life is one start of a process.
type life struct {
	p, g     int
	first    int64 // it was started
	last     int64 // its last line
	killed   int64 // when it was killed; 0 if it was not
	bye      bool  // it ended in order
	stops    []span
	stalls   []span // it got no turn, though nobody stopped it
	listens  []event
	shuts    []*call // shutdowns of endpoints
	calls    []*call
	bad      []event // that are of no session
	dead     string  // it ended although nobody wanted it to
	rest     *event
	lastTick int64
}

type span struct{ from, to int64 }

// A call is a begin with its end.
type call struct {
	life  *life
	begin event
	end   *event // nil: it has none
}

// A conversation is a session, with all that its two sides say of it.
type conversation struct {
	id string
	// halves of the opener and of the acceptor. There is one acceptor, unless
	// an open was tried again after a peer that was going away.
	opener    *half
	acceptors []*half
}

// A half is one side of a session.
type half struct {
	conversation *conversation
	life         *life
	role         string
	endpoint     int
	opened       int64 // Dial or Accept returned it; 0: never
	calls        []*call
	got          []event // in order
	again        []event
	bad          []event
	in           []event
	reports      []event
	final        *event
}

// stalled is how long a process that ticks ten times a second may show no tick
// before it is taken to have been without a processor, or in a long queue for
// one.
const stalled = int64(500 * time.Millisecond / time.Microsecond)

// newHistory puts logs together.
func newHistory(logs ...[]event) *history {
	h := &history{starts: make(map[[2]int]*life), talks: make(map[string]*conversation)}
	for _, log := range logs {
		for i := range log {
			h.add(&log[i])
		}
	}
	for _, l := range h.starts {
		h.stallsOf(l)
	}
	return h
}

func (h *history) life(e *event) *life {
	k := [2]int{e.P, e.G}
	l := h.starts[k]
	if l == nil {
		l = &life{p: e.P, g: e.G}
		h.starts[k] = l
	}
	return l
}

func (h *history) half(e *event) *half {
	c := h.talks[e.Session]
	if c == nil {
		c = &conversation{id: e.Session}
		h.talks[e.Session] = c
	}
	l := h.life(e)
	if e.Role == roleOpener {
		if c.opener == nil {
			c.opener = &half{conversation: c, life: l, role: e.Role, endpoint: e.E}
		}
		return c.opener
	}
	for _, a := range c.acceptors {
		if a.life == l && a.endpoint == e.E {
			return a
		}
	}
	a := &half{conversation: c, life: l, role: e.Role, endpoint: e.E}
	c.acceptors = append(c.acceptors, a)
	return a
}

func (h *history) add(e *event) {
	l := h.life(e)
	switch e.K {
	case kStart:
		l.first = e.T
		return
	case kKill:
		l.killed = e.T
		return
	case kDead:
		l.dead = e.Text
		return
	case kStop:
		l.stops = append(l.stops, span{e.T, forever})
		return
	case kCont:
		l.stops[len(l.stops)-1].to = e.T
		return
	case kTell:
		return
	}
	// The rest are lines of the process itself.
	l.last = max(l.last, e.T)
	switch e.K {
	case kTick:
		if l.lastTick > 0 && e.T-l.lastTick > stalled {
			l.stalls = append(l.stalls, span{l.lastTick, e.T})
		}
		l.lastTick = e.T
	case kListen:
		l.listens = append(l.listens, *e)
	case kRest:
		l.rest = e
	case kBye:
		l.bye = true
	case kBegin:
		c := &call{life: l, begin: *e}
		l.calls = append(l.calls, c)
		if e.Op == opShutdown {
			l.shuts = append(l.shuts, c)
			return
		}
		s := h.half(e)
		s.calls = append(s.calls, c)
	case kEnd:
		h.addEnd(l, e)
	case kBad:
		if e.Session == "" {
			l.bad = append(l.bad, *e)
			return
		}
		s := h.half(e)
		s.bad = append(s.bad, *e)
	case kGot:
		s := h.half(e)
		s.got = append(s.got, *e)
	case kAgain:
		s := h.half(e)
		s.again = append(s.again, *e)
	case kIn:
		s := h.half(e)
		s.in = append(s.in, *e)
	case kReport:
		s := h.half(e)
		s.reports = append(s.reports, *e)
	case kFinal:
		h.half(e).final = e
	}
}

func (h *history) addEnd(l *life, e *event) {
	i, ok := slices.BinarySearchFunc(l.calls, e.Call, func(c *call, n uint64) int { return cmp.Compare(c.begin.Call, n) })
	if !ok || l.calls[i].end != nil {
		l.bad = append(l.bad, event{K: kBad, P: l.p, G: l.g, Text: "an end without a begin"})
		return
	}
	l.calls[i].end = e
	if e.Session != "" && (e.Op == opDial || e.Op == opAccept) && e.Err == nil {
		h.half(e).opened = e.T
	}
}

const forever = int64(1) << 62

// stallsOf takes from the stalls of a life what its stops explain.
func (h *history) stallsOf(l *life) {
	l.stalls = slices.DeleteFunc(l.stalls, func(s span) bool {
		return slices.ContainsFunc(l.stops, func(t span) bool { return t.from < s.to && s.from < t.to })
	})
}

// silence returns for how long a process could do nothing between two times,
// because it was stopped, got no turn, or is dead.
func (l *life) silence(from, to int64) int64 {
	var sum int64
	for _, spans := range [][]span{l.stops, l.stalls} {
		for _, s := range spans {
			sum += max(0, min(s.to, to)-max(s.from, from))
		}
	}
	return sum + max(0, to-max(l.last, from))
}

// loss returns how much of the packets of a process is lost by plan.
func (h *history) loss(process int) float64 {
	most := 0.0
	for _, l := range h.lives(process) {
		for _, e := range l.listens {
			most = max(most, e.Loss)
		}
	}
	return most
}

// clockMargin is how far the times of two processes may be apart: each reads
// the wall clock once, and goes on by its own monotonic clock.
const clockMargin = int64(50 * time.Millisecond / time.Microsecond)

// endpointEnds reports whether an endpoint ended, or its process, or began to,
// between two times.
func (l *life) endpointEnds(endpoint int, from, to int64) bool {
	from, to = from-clockMargin, to+clockMargin
	if l.killed > 0 && l.killed <= to || l.dead != "" {
		return true
	}
	return slices.ContainsFunc(l.shuts, func(c *call) bool {
		return c.begin.E == endpoint && c.begin.T <= to && (c.end == nil || c.end.T >= from)
	})
}

// other returns the side that a session was with: the one that had it, if one
// did.
func (s *half) other() *half {
	if s.role == roleAcceptor {
		return s.conversation.opener
	}
	var seen *half
	for _, a := range s.conversation.acceptors {
		if a.opened > 0 || seen == nil || len(a.callsOf(opAccept)) > 0 && seen.opened == 0 {
			seen = a
		}
	}
	return seen
}

func (s *half) callsOf(op string) []*call {
	var all []*call
	for _, c := range s.calls {
		if c.begin.Op == op {
			all = append(all, c)
		}
	}
	return all
}

// asked returns when a session was asked for: by its Dial, which its acceptor,
// if it was stopped meanwhile, may learn much later.
func (s *half) asked() int64 {
	t := s.opened
	if o := s.conversation.opener; o != nil {
		for _, c := range o.callsOf(opDial) {
			t = min(t, c.begin.T)
		}
	}
	return t
}

// ended returns when the side's application knew that the session was over, or
// forever.
func (s *half) ended() int64 {
	t := forever
	if s.final != nil {
		t = s.final.T
	}
	for _, c := range s.calls {
		if (c.begin.Op == opReceive || c.begin.Op == opReceiveSignal) && c.end != nil && c.end.Err != nil {
			t = min(t, c.end.T)
		}
	}
	return t
}

// lives returns all starts of a process, in order.
func (h *history) lives(p int) []*life {
	var all []*life
	for _, l := range h.starts {
		if l.p == p {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *life) int { return cmp.Compare(a.g, b.g) })
	return all
}
