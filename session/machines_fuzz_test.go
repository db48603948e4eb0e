package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzMachines joins two machines by streams that keep order, and lets the bytes
// decide what happens: which side's frame arrives, what the applications do, when
// time passes, and what the second side's runtime claims of its messages, which
// need not be true. What must hold: that of FuzzMachine for both; the side that
// tells the truth is never called a violator, and where both know the totals they
// know the same; both come to an end.
func FuzzMachines(f *testing.F) {
	bye := []byte{doClose, 3, doFlushed, 0, doDeliver | 1, doSettled | 1, 0, doDeliver, doDeliver, doSettled, 0, doDeliver | 1, doDeliver | 1}
	open := []byte{doDeliver | 1, doAccept | 1, doDeliver}
	f.Add(append(open, bye...))
	f.Add(append(append(open, doSignal, doDeliver|1, doTaken|1, doDeliver, doSend, doSend|1, doReport|1, 0, doDeliver), bye...))
	f.Add(append(open, doSend, doReport|1, 200, doDeliver)) // a lie
	f.Add([]byte{doClose, 0, doFlushed, 0, doDeliver | 1, doDeliver | 1, doDeliver, doSettled, 0})
	f.Add(append(open, doClose, 1, doClose|1, 2, doFlushed, 1, doFlushed|1, 77, doDeliver, doDeliver|1, doSettled, 1, doSettled|1, 88, doDeliver, doDeliver|1))
	f.Add(append(open, doAbort|1, 5, doDeliver, doTime, 200))
	f.Add([]byte{doDeliver | 1, doReject | 1, 4, doDeliver, doDeliver})
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, runPair(data))
	})
}

// What happens next: the lower bit says to which side, but for doTime and doLost.
const (
	doDeliver byte = 2 * iota // the next frame, FIN or reset
	doAccept
	doReject  // code
	doClose   // code
	doAbort   // code
	doFlushed // claim
	doSettled // claim
	doSend    // a message, which arrives
	doLose    // a message, which does not
	doSignal
	doTaken
	doReport // claim
	doTime   // tenths of a second
	doLost   // the link
	doKinds
)

// pairSide is one of two machines, and what is on its way to it.
type pairSide struct {
	m        machine
	history  *outputHistory
	liar     bool
	frames   []Frame // nil is FIN
	reset    *Code   // follows them
	flushing bool    // inFlushed is owed
	settling bool    // inSettled is owed
	mute     bool    // takes no more messages
	tally    Tally   // the truth
	claimed  bool    // it has lied
}

type machinePair struct {
	now   time.Time
	sides [2]*pairSide
}

// runPair runs what data says.
func runPair(data []byte) error {
	p := &machinePair{now: epoch}
	for i := range p.sides {
		p.sides[i] = &pairSide{m: newMachine(i == 0), history: newOutputHistory(i == 0), liar: i == 1}
	}
	if err := p.step(0, input{kind: inStart, frame: Open{}}); err != nil {
		return err
	}
	if err := p.step(1, input{kind: inStart, until: p.now.Add(openTimeout)}); err != nil {
		return err
	}
	r := fuzzReader(data)
	for len(r) > 0 {
		b := r.next()
		if err := p.act(int(b&1), b&^1%doKinds, &r); err != nil {
			return err
		}
	}
	return p.end()
}

// act lets one thing happen, if it can.
func (p *machinePair) act(i int, what byte, r *fuzzReader) error {
	s, other := p.sides[i], p.sides[1-i]
	switch what {
	case doDeliver:
		return p.deliver(i)
	case doAccept:
		return p.step(i, input{kind: inAccept, frame: Accept{}})
	case doReject:
		return p.step(i, input{kind: inReject, frame: Reject{Code: Code(r.next())}})
	case doClose:
		return p.step(i, input{kind: inClose, frame: Close{Code: 0x100 + Code(r.next())}, until: p.now.Add(closeTimeout)})
	case doAbort:
		return p.step(i, input{kind: inAbort, cause: Error{Cause: CauseAborted, Code: 0x100 + Code(r.next())}})
	case doFlushed:
		if claim := r.next(); s.flushing {
			s.flushing = false
			return p.step(i, input{kind: inFlushed, tally: s.claim(claim)})
		}
	case doSettled:
		if claim := r.next(); s.settling {
			s.settling = false
			return p.step(i, input{kind: inSettled, tally: s.claim(claim)})
		}
	case doSend, doLose:
		if !s.mute && (s.m.state == StateOpening || s.m.state == StateOpen) {
			s.tally.Sent++
			s.tally.End = 2 * s.tally.Sent
			if what == doSend && !other.m.settled && !other.m.settling && other.m.opened {
				other.tally.Received++
			}
		}
	case doSignal:
		if s.m.state == StateOpen && s.m.maySignal() {
			return p.step(i, input{kind: inSignal, frame: Signal{}})
		}
	case doTaken:
		if s.m.signalsTaken < s.m.signalsReceived {
			return p.step(i, input{kind: inSignalTaken})
		}
	case doReport:
		return p.step(i, input{kind: inReport, tally: s.claim(r.next())})
	case doTime:
		p.now = p.now.Add(time.Duration(r.next()) * 100 * time.Millisecond)
		return p.both(input{kind: inTimer})
	case doLost:
		for _, s := range p.sides {
			s.frames, s.reset = nil, nil
		}
		return p.both(input{kind: inLinkLost, cause: Error{Cause: CauseLinkLost}})
	}
	return nil
}

// claim is what a side says of its messages: the truth, unless it lies.
func (s *pairSide) claim(lie byte) Tally {
	t := s.tally
	if s.liar && lie > 0 {
		s.claimed = true
		t.Sent += uint64(lie >> 6)
		t.End += uint64(lie >> 5 & 1)
		t.Received += uint64(lie >> 2 & 7)
		t.Late += uint64(lie >> 1 & 1)
		t.Dropped += uint64(lie & 1)
	}
	t.Dropped = min(t.Dropped, t.Received) // else it would not parse
	return t
}

// deliver brings the next thing to a side.
func (p *machinePair) deliver(i int) error {
	s := p.sides[i]
	if len(s.frames) == 0 {
		if code := s.reset; code != nil {
			s.reset = nil
			return p.step(i, input{kind: inReset, code: *code})
		}
		return nil
	}
	f := s.frames[0]
	s.frames = s.frames[1:]
	if f == nil {
		return p.step(i, input{kind: inFIN})
	}
	return p.step(i, input{kind: inFrame, frame: f, tally: s.tally})
}

func (p *machinePair) both(in input) error {
	for i := range p.sides {
		if err := p.step(i, in); err != nil {
			return err
		}
	}
	return nil
}

// step feeds one machine, and carries out what it says.
func (p *machinePair) step(i int, in input) error {
	s, other := p.sides[i], p.sides[1-i]
	before := s.m
	out := s.m.step(p.now, &in, nil)
	if err := checkStep(before, s.m, out); err != nil {
		return err
	}
	if err := s.history.step(before, s.m, out); err != nil {
		return err
	}
	caused := s.m.opened && s.m.cause.Cause == CauseViolation
	if !other.claimed && (caused || !s.claimed && blames(&in, out)) {
		return fmt.Errorf("side %d calls an honest peer a violator: %s, then %+v", i, s.m.cause.Reason, in)
	}
	for _, o := range out {
		switch o.kind {
		case outWrite:
			other.frames = append(other.frames, o.frame)
		case outFIN:
			other.frames = append(other.frames, nil)
		case outReset:
			code := o.code
			other.reset = &code
			s.frames, s.reset = nil, nil
		case outFlush:
			s.flushing, s.mute = true, true
		case outStopSend, outClosed:
			s.mute = true
		case outSettle:
			s.settling = true
		}
	}
	return nil
}

// blames reports whether a step found that the peer has broken the protocol,
// which is the cause only of a session that had none. What else tears a stream
// is an abort, a reset, or time.
func blames(in *input, out []output) bool {
	return (in.kind == inFrame || in.kind == inFIN || in.kind == inFlushed || in.kind == inSettled) &&
		slices.ContainsFunc(out, func(o output) bool { return o.kind == outReset })
}

// end lets everything arrive, closes what is open, and checks what is left.
func (p *machinePair) end() error {
	none := fuzzReader{}
	for round := range 2 {
		for range 20 + len(p.sides[0].frames) + len(p.sides[1].frames) {
			for i := range p.sides {
				for _, what := range []byte{doDeliver, doFlushed, doSettled} {
					if err := p.act(i, what, &none); err != nil {
						return err
					}
				}
			}
		}
		if round == 0 {
			if err := p.both(input{kind: inClose, frame: Close{Code: 0x100}, until: p.now.Add(closeTimeout)}); err != nil {
				return err
			}
		}
	}
	for range 4 {
		p.now = p.now.Add(time.Hour)
		if err := p.both(input{kind: inTimer}); err != nil {
			return err
		}
	}
	a, b := p.sides[0], p.sides[1]
	if !a.m.finished || !b.m.finished {
		return fmt.Errorf("for ever %v and %v", a.m.state, b.m.state)
	}
	if a.m.totals && b.m.totals && !a.claimed && !b.claimed && (a.m.peer != b.m.counts || b.m.peer != a.m.counts) {
		return fmt.Errorf("both know the totals, and differ: %+v and %+v, %+v and %+v", a.m.counts, b.m.peer, b.m.counts, a.m.peer)
	}
	// What a liar says cannot make the honest side believe in more than it sent.
	if a.m.totals && a.m.peer.Received > a.tally.Sent {
		return fmt.Errorf("%d of %d messages are said to have arrived", a.m.peer.Received, a.tally.Sent)
	}
	return nil
}
