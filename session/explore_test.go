package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// exploreSeeds is how many random histories TestExplore runs: about a second
// with the race detector.
const exploreSeeds = 6000

// TestExplore joins two machines by streams that lose nothing and keep order,
// lets chance decide what happens next, and checks after every step what must
// always hold. A failure prints its seed and the history.
func TestExplore(t *testing.T) {
	var ends [2]int
	for seed := range uint64(exploreSeeds) {
		w := newWorld(seed)
		if err := w.run(); err != nil {
			w = newWorld(seed)
			w.tracing = true
			_ = w.run()
			for _, line := range w.trace {
				t.Log(line)
			}
			t.Fatalf("seed %d: %v", seed, err)
		}
		if w.sides[0].m.totals && w.sides[1].m.totals {
			ends[0]++
		} else {
			ends[1]++
		}
	}
	t.Logf("%d histories ended with both totals known, %d without", ends[0], ends[1])
	if ends[0] < exploreSeeds/4 || ends[1] < exploreSeeds/20 {
		t.Error("the histories are all alike: nothing was explored")
	}
}

// A world is two sides of one session and all that lies between them. Side 0
// is the opener.
type world struct {
	rng     *rand.Rand
	now     time.Time
	sides   [2]*worldSide
	rough   bool // this history has aborts, lost links and time that passes
	tracing bool
	trace   []string
}

type worldSide struct {
	m    machine
	peer *worldSide
	name string

	// What travels to this side.
	frames    []Frame // nil is FIN
	reset     *Code   // RESET_STREAM; when it arrives it erases frames
	stop      *Code   // STOP_SENDING
	messages  int     // on their way, unreliably
	cancelled bool    // it has sent STOP_SENDING: nothing arrives any more

	// What the runtime around the machine would know.
	offered, withdrawn bool // the acceptor's application may answer
	accepted           bool // there is a queue for messages
	flushing           bool // inFlushed is owed
	settling           bool // inSettled is owed
	mute               bool // takes no more messages
	sent               uint64
	early              uint64 // arrived before ACCEPT
	received, late     uint64
	frozen             bool
	unread, taken      uint64 // signals
	closed, finished   bool
	close              *Close // the application has closed
	confirmed          *Error // what became of it
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 0)), now: epoch}
	w.sides[0] = &worldSide{m: newMachine(true), name: "opener", accepted: true}
	w.sides[1] = &worldSide{m: newMachine(false), name: "acceptor", peer: w.sides[0]}
	w.sides[0].peer = w.sides[1]
	w.rough = w.rng.IntN(3) == 0
	return w
}

func (w *world) run() error {
	if err := w.step(w.sides[0], input{kind: inStart, frame: Open{}}); err != nil {
		return err
	}
	if err := w.step(w.sides[1], input{kind: inStart, until: w.now.Add(openTimeout)}); err != nil {
		return err
	}
	for range 10 + w.rng.IntN(150) {
		if err := w.chance(); err != nil {
			return err
		}
	}
	if err := w.settleDown(); err != nil {
		return err
	}
	if a, b := w.sides[0].m, w.sides[1].m; a.finished != b.finished {
		return fmt.Errorf("one side is over, the other is not: %v, %v", a.state, b.state)
	}
	// Whatever still stands is answered and closed.
	for _, s := range w.sides {
		if s.offered && !s.withdrawn {
			if err := w.answer(s); err != nil {
				return err
			}
		}
	}
	first := w.rng.IntN(2)
	for i := range 1 + w.rng.IntN(2) {
		if err := w.close(w.sides[(first+i)%2]); err != nil {
			return err
		}
	}
	if err := w.settleDown(); err != nil {
		return err
	}
	return w.atTheEnd()
}

func (w *world) atTheEnd() error {
	a, b := w.sides[0], w.sides[1]
	for _, s := range w.sides {
		switch {
		case !s.m.finished || !s.finished || !s.closed:
			return fmt.Errorf("the %s is stuck: %v", s.name, s.m.state)
		case s.close != nil && s.confirmed == nil:
			return fmt.Errorf("the %s's Close never returns", s.name)
		case !w.rough && s.m.reset:
			return fmt.Errorf("the %s tore its stream in an orderly history", s.name)
		case !w.rough && !s.m.totals && s.m.cause.Cause != CauseRejected && s.peer.m.cause.Cause != CauseRejected:
			return fmt.Errorf("the %s's totals are incomplete in an orderly history", s.name)
		case s.m.totals && (s.m.counts.Sent != s.sent || s.m.counts.Received != s.received):
			return fmt.Errorf("the %s's own counts are wrong: %+v, sent %d, received %d", s.name, s.m.counts, s.sent, s.received)
		}
	}
	if a.m.totals && b.m.totals && (a.m.peer != b.m.counts || b.m.peer != a.m.counts) {
		return fmt.Errorf("both know the totals, and differ: %+v and %+v, %+v and %+v", a.m.counts, b.m.peer, b.m.counts, a.m.peer)
	}
	return nil
}

// step feeds one machine and does what it says.
func (w *world) step(s *worldSide, in input) error {
	before := s.m
	out := s.m.step(w.now, &in, nil)
	if w.tracing {
		line := fmt.Sprintf("%-8s input %d %v %v:", s.name, in.kind, in.frame, in.code)
		for _, o := range out {
			line += " " + describeOutput(o) + ";"
		}
		w.trace = append(w.trace, line)
	}
	if err := checkStep(before, s.m, out); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if s.m.cause.Cause == CauseViolation {
		return fmt.Errorf("the %s found a violation: %s", s.name, s.m.cause.Reason)
	}
	for _, o := range out {
		if err := w.carryOut(s, o); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (w *world) carryOut(s *worldSide, o output) error {
	switch o.kind {
	case outWrite:
		s.peer.frames = append(s.peer.frames, o.frame)
	case outFIN:
		s.peer.frames = append(s.peer.frames, nil)
	case outReset:
		code := o.code
		s.peer.reset, s.peer.stop = &code, &code
		s.cancelled = true
	case outIncoming:
		s.offered = true
	case outWithdrawn:
		s.withdrawn = true
	case outFlush:
		s.flushing, s.mute = true, true
	case outStopSend:
		s.mute = true
	case outSettle:
		s.settling = true
	case outSignal:
		s.unread++
	case outSignals:
		if o.tally.Sent > s.peer.taken || o.tally.Received > s.peer.m.signalsReceived {
			return fmt.Errorf("%d signals taken and %d arrived, says it; %d and %d did", o.tally.Sent, o.tally.Received, s.peer.taken, s.peer.m.signalsReceived)
		}
	case outConfirmed:
		if s.close == nil || s.confirmed != nil {
			return fmt.Errorf("a close that was not asked for, or has its result, is confirmed")
		}
		c := o.cause
		s.confirmed = &c
		if c.Cause != 0 {
			return nil
		}
		theirs := s.peer.m.cause
		if theirs.Cause != CauseClosed || theirs.Remote && (theirs.Code != s.close.Code || theirs.Reason != s.close.Reason) {
			return fmt.Errorf("the close with %v is confirmed, but the peer's cause is %v", s.close.Code, theirs.Error())
		}
	case outClosed:
		s.closed = true
		s.frozen, s.mute = true, true
	case outFinished:
		s.finished = true
	}
	return nil
}

// chance lets something happen that can.
func (w *world) chance() error {
	s := w.sides[w.rng.IntN(2)]
	switch n := w.rng.IntN(100); {
	case n < 30:
		return w.deliver(s)
	case n < 38:
		w.send(s)
	case n < 48:
		w.message(s)
	case n < 54:
		return w.flush(s)
	case n < 60:
		return w.settle(s)
	case n < 68:
		if s.offered && !s.withdrawn {
			return w.answer(s)
		}
	case n < 76:
		if s.m.state == StateOpen && s.m.maySignal() {
			return w.step(s, input{kind: inSignal, frame: Signal{}})
		}
	case n < 84:
		if s.unread > 0 {
			s.unread--
			s.taken++
			return w.step(s, input{kind: inSignalTaken})
		}
	case n < 86:
		return w.step(s, input{kind: inReport, tally: s.tally()})
	case n < 89:
		return w.close(s)
	case !w.rough:
		return w.deliver(s)
	case n < 91:
		return w.step(s, input{kind: inAbort, cause: Error{Cause: CauseAborted, Code: 0x500}})
	case n < 92:
		return w.loseLink()
	default:
		return w.pass(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
	}
	return nil
}

// deliver brings the next frame, or an abort, to s.
func (w *world) deliver(s *worldSide) error {
	if s.stop != nil && w.rng.IntN(2) == 0 {
		code := *s.stop
		s.stop = nil
		return w.step(s, input{kind: inStopSending, code: code})
	}
	if s.cancelled {
		return nil
	}
	if s.reset != nil && w.rng.IntN(2) == 0 {
		code := *s.reset
		s.reset, s.frames, s.cancelled = nil, nil, true
		return w.step(s, input{kind: inReset, code: code})
	}
	if len(s.frames) == 0 {
		return nil
	}
	f := s.frames[0]
	s.frames = s.frames[1:]
	if f == nil {
		return w.step(s, input{kind: inFIN})
	}
	return w.step(s, input{kind: inFrame, frame: f, tally: s.tally()})
}

func (s *worldSide) tally() Tally {
	// Every message in a datagram of its own, every second number another
	// session's.
	return Tally{Sent: s.sent, End: 2 * s.sent, Received: s.received, Late: s.late, Dropped: s.received / 3}
}

// send hands over a message, from the moment the session may.
func (w *world) send(s *worldSide) {
	if !s.mute && (s.m.state == StateOpening || s.m.state == StateOpen || s.flushing) {
		s.sent++
		s.peer.messages++
	}
}

// message brings a message to s, or loses it.
func (w *world) message(s *worldSide) {
	if s.messages == 0 {
		return
	}
	s.messages--
	switch {
	case w.rng.IntN(4) == 0: // lost
	case !s.accepted:
		s.early++
	case s.frozen:
		s.late++
	default:
		s.received++
	}
}

func (w *world) flush(s *worldSide) error {
	if !s.flushing {
		return nil
	}
	s.flushing = false
	return w.step(s, input{kind: inFlushed, tally: s.tally()})
}

func (w *world) settle(s *worldSide) error {
	if !s.settling {
		return nil
	}
	s.settling, s.frozen = false, true
	return w.step(s, input{kind: inSettled, tally: s.tally()})
}

func (w *world) answer(s *worldSide) error {
	s.offered = false
	if w.rng.IntN(4) == 0 {
		return w.step(s, input{kind: inReject, frame: Reject{Code: CodeBusy}})
	}
	if s.m.state == StateIncoming {
		s.accepted = true
		s.received = s.early
	}
	return w.step(s, input{kind: inAccept, frame: Accept{}})
}

func (w *world) close(s *worldSide) error {
	if s.m.state != StateOpening && s.m.state != StateOpen {
		return w.step(s, input{kind: inClose, frame: Close{Code: 0x999}, until: w.now.Add(closeTimeout)})
	}
	s.close = &Close{Code: Code(0x100 + w.rng.Uint64N(9)), Reason: s.name}
	return w.step(s, input{kind: inClose, frame: *s.close, until: w.now.Add(closeTimeout)})
}

func (w *world) loseLink() error {
	for _, s := range w.sides {
		s.frames, s.reset, s.stop, s.messages, s.cancelled = nil, nil, nil, 0, true
		if err := w.step(s, input{kind: inLinkLost, cause: Error{Cause: CauseLinkLost}}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) pass(d time.Duration) error {
	w.now = w.now.Add(d)
	for _, s := range w.sides {
		if err := w.step(s, input{kind: inTimer}); err != nil {
			return err
		}
	}
	return nil
}

// settleDown lets everything happen that needs no application, and no time
// unless this history has it.
func (w *world) settleDown() error {
	for range 10_000 {
		if w.quiet() {
			var deadlines []time.Time
			for _, s := range w.sides {
				if !s.m.deadline.IsZero() {
					deadlines = append(deadlines, s.m.deadline)
				}
			}
			if !w.rough || len(deadlines) == 0 {
				return nil
			}
			if err := w.pass(slices.MinFunc(deadlines, time.Time.Compare).Sub(w.now)); err != nil {
				return err
			}
			continue
		}
		s := w.sides[w.rng.IntN(2)]
		w.message(s)
		for _, f := range []func(*worldSide) error{w.deliver, w.flush, w.settle} {
			if err := f(s); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("it never comes to rest")
}

func (w *world) quiet() bool {
	for _, s := range w.sides {
		arriving := !s.cancelled && (len(s.frames) > 0 || s.reset != nil)
		if arriving || s.stop != nil || s.messages > 0 || s.flushing || s.settling {
			return false
		}
	}
	return true
}
