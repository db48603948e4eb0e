package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The promises, as the summary names them.
const (
	pProcess  = "a process ends only when it is told or killed"
	pRest     = "an ended process keeps no goroutine, file or heap"
	pCalls    = "every call ends in its time"
	pCause    = "every call on a session that is over returns one cause"
	pClose    = "Close nil: the peer's session has code and reason"
	pShutdown = "shutdown confirmed: the peer's session has code and reason, or closed itself"
	pWho      = "an end by the peer is one that the peer began"
	pOwn      = "an end by this side is one that this side began"
	pLink     = "a link ends only for a reason"
	pStats    = "complete counts: both sides have the same"
	pSums     = "counts are what the application did, and every drop is in them"
	pMessages = "a message arrives whole, once, as sent, on its session"
	pSignals  = "signals arrive in order, each once"
	pTaken    = "Signal nil: the peer's application took it"
	pNotSent  = "a signal that was not sent does not arrive"
	pDial     = "Dial nil: the peer's application accepted, once"
	pNotActed = "Dial fails as not acted on: the peer's application did not accept"
	pRejected = "Dial fails as rejected: the peer's application rejected, with that code"
	pIdentity = "the peer's id is that of its key"
	pNoticed  = "a peer that is gone is noticed in 20 s"
	pShort    = "a short stop ends nothing"
)

// Margins of the checker, on top of what was promised: the machine has other
// things to do.
const (
	callMargin = int64(3 * time.Second / time.Microsecond)
	// A peer's application is held to log what its session knows only if its
	// process went on for so long, undisturbed.
	seenMargin = int64(5 * time.Second / time.Microsecond)
	// After a close the last answer of the peer is waited for 5 s, and only
	// then the session is over for the side that owes it nothing.
	finalMargin = 2 * seenMargin
	// 15 s without an answer to a heartbeat, which comes every 5 s
	// (session/PROTOCOL.md, section 11), and the application's time to log it.
	noticeLimit = int64(20*time.Second/time.Microsecond) + seenMargin
	// A link can be lost if its sides were silent for so long: 15 s, less what
	// a side may have been late itself.
	lossSilence    = int64(9 * time.Second / time.Microsecond)
	handshakeLimit = int64(5 * time.Second / time.Microsecond)
	// A peer that does not answer for 1 s may be superseded.
	supersedeSilence = int64(900 * time.Millisecond / time.Microsecond)
	// A stop that must be noticed, and one that must not.
	longSilence, shortSilence = int64(26 * time.Second / time.Microsecond), int64(8 * time.Second / time.Microsecond)
	// The heap that may be left: caches of the runtime and of crypto/tls.
	heapMargin = 16 << 20
	// How much loss of packets, of both sides together, no live link dies of: in
	// 15 s three heartbeats come and three echoes, of which one is enough. A
	// handshake, or an answer within a second, does not bear any.
	bearable = 0.1
)

// A tally says how often a promise was checked. Excused are those whose witness
// was killed, or so late that nothing follows.
type tally struct{ Checked, Excused, Broken int }

// A breach is a promise broken.
type breach struct {
	Promise string
	Session string // empty: it is about a process
	Process string
	Text    string
}

// A verdict is what the checker finds.
type verdict struct {
	Promises map[string]*tally
	Breaches []breach
	Figures  map[string]int
}

func newVerdict() *verdict {
	return &verdict{Promises: make(map[string]*tally), Figures: make(map[string]int)}
}

func (v *verdict) of(promise string) *tally {
	if v.Promises[promise] == nil {
		v.Promises[promise] = &tally{}
	}
	return v.Promises[promise]
}

func (v *verdict) excuse(promise string) { v.of(promise).Excused++ }

func (v *verdict) count(figure string) { v.Figures[figure]++ }

// judge counts a check of a promise, and the breach if it does not hold.
func (v *verdict) judge(holds bool, promise string, l *life, session, format string, args ...any) {
	t := v.of(promise)
	t.Checked++
	if holds {
		return
	}
	t.Broken++
	b := breach{Promise: promise, Session: session, Text: fmt.Sprintf(format, args...)}
	if l != nil {
		b.Process = fmt.Sprintf("%d.%d", l.p, l.g)
	}
	v.Breaches = append(v.Breaches, b)
}

// add adds another round's verdict, without the breaches.
func (v *verdict) add(o *verdict) {
	for name, t := range o.Promises {
		sum := v.of(name)
		sum.Checked += t.Checked
		sum.Excused += t.Excused
		sum.Broken += t.Broken
	}
	for name, n := range o.Figures {
		v.Figures[name] += n
	}
}

// check finds which promises the history keeps. It is a pure function.
func check(h *history) *verdict {
	v := newVerdict()
	for _, k := range slices.SortedFunc(maps.Keys(h.starts), func(a, b [2]int) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	}) {
		l := h.starts[k]
		v.checkLife(l)
		for _, c := range l.calls {
			v.checkCall(c)
		}
		v.checkGone(h, l)
	}
	for _, id := range slices.Sorted(maps.Keys(h.talks)) {
		c := h.talks[id]
		v.count("sessions asked for")
		if c.opener != nil && c.opener.opened > 0 {
			v.count("sessions opened")
		}
		v.checkDial(h, c)
		v.checkCounts(c)
		for _, s := range append([]*half{c.opener}, c.acceptors...) {
			if s == nil {
				continue
			}
			v.checkMessages(s)
			v.checkSignals(s)
			v.checkCause(s)
			v.checkEnd(h, s)
			v.checkClose(s)
			v.checkReports(s)
		}
	}
	return v
}

// checkLife judges one start of a process.
func (v *verdict) checkLife(l *life) {
	v.count("processes started")
	if l.g > 0 {
		v.count("restarts")
	}
	if l.killed > 0 {
		v.count("kills")
	}
	for _, s := range l.stops {
		v.count("stops")
		if s.to-s.from >= longSilence {
			v.count("stops longer than a link")
		}
	}
	for range l.stalls {
		v.count("times a process got no turn for half a second")
	}
	v.judge(l.dead == "", pProcess, l, "", "%s", l.dead)
	for _, e := range l.bad {
		v.judge(false, pProcess, l, "", "%s", e.Text)
	}
	switch {
	case l.rest != nil:
		r := l.rest.Rest
		v.judge(r.Goroutines <= r.BaseGoroutines && r.Files <= r.BaseFiles && r.Heap <= r.BaseHeap+heapMargin, pRest, l, "",
			"%d goroutines, %d before; %d files, %d before; %d KiB of heap, %d before\n%s",
			r.Goroutines, r.BaseGoroutines, r.Files, r.BaseFiles, r.Heap>>10, r.BaseHeap>>10, l.rest.Text)
	case l.killed > 0:
		v.excuse(pRest)
	default:
		v.judge(false, pProcess, l, "", "it was not killed, and has not come to its end")
	}
}

// checkCall judges that a call has ended, in time. Time in which the process
// could do nothing does not count.
func (v *verdict) checkCall(c *call) {
	b, l := &c.begin, c.life
	v.count("calls of " + b.Op)
	end := l.last
	if c.end != nil {
		end = c.end.T
	}
	took := end - b.T - l.silence(b.T, end)
	inTime := b.Limit == 0 || took <= b.Limit+callMargin
	switch {
	case c.end != nil || !inTime:
		v.judge(inTime, pCalls, l, b.Session, "call %d of process %d, %s, took %v, its limit was %v", b.Call, l.p, b.Op, us(took), us(b.Limit))
	case l.bye:
		v.judge(false, pCalls, l, b.Session, "call %d of process %d, %s, has not returned although the process has ended in order", b.Call, l.p, b.Op)
	default:
		v.excuse(pCalls) // killed in the middle of it
	}
}

func us(t int64) time.Duration { return time.Duration(t) * time.Microsecond }
