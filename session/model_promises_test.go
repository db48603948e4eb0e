package session

import (
	"fmt"
)

// What must hold in every state of a model, whoever does what in which order.

// checkOrder checks a step beyond what checkStep does: what is told, and in
// which order, between two machines that keep the protocol.
func checkOrder(before machine, in *input, after machine, out []output) error {
	knows, signalsOver := before.cause.Cause != 0, false
	var states, opened, stops, ends int
	answers := before.finished || before.reset || in.kind != inReset && in.kind != inStopSending
	for i, o := range out {
		switch o.kind {
		case outCause:
			c := after.cause
			c.Confirmed = o.cause.Confirmed
			if knows || o.cause != c {
				return fmt.Errorf("shows the cause %v, and has %v", o.cause.Error(), after.cause.Error())
			}
			knows = true
		case outWrite:
			last := false
			switch o.frame.(type) {
			case CloseAck:
				if !knows {
					return fmt.Errorf("acknowledges a close before its calls know of it")
				}
				last = !after.closeSent
			case Done, Reject:
				last = true
			}
			if last && (i+1 == len(out) || out[i+1].kind != outFIN) {
				return fmt.Errorf("%v without FIN", o.frame.FrameType())
			}
		case outSignals:
			first := !signalsOver // it settles all
			signalsOver = signalsOver || o.cause.Cause != 0
			if first && !tellsAll(in.frame, o.tally) {
				return fmt.Errorf("says that %d signals are taken and %d have arrived, and read %+v", o.tally.Sent, o.tally.Received, in.frame)
			}
		case outState:
			states++
		case outClosed:
			if !knows || !signalsOver || o.cause.Cause == 0 {
				return fmt.Errorf("is over, and not every call knows why")
			}
		case outReset:
			answers = answers || o.code == in.code
			if want := resetCode(in, after); o.code != want {
				return fmt.Errorf("resets the stream with %v, want %v", o.code, want)
			}
		case outConfirmed:
			if want := closeResult(in, after); !sameCause(o.cause, want) {
				return fmt.Errorf("has Close return %+v, want %+v", o.cause, want)
			}
		case outOpened:
			opened++
		case outStopSend:
			stops++
		case outFIN:
			if _, rejected := in.frame.(Reject); after.closeSent && !after.closeAcked && !after.finRead && !rejected {
				return fmt.Errorf("FIN before its CLOSE is acknowledged")
			}
			ends++
		case outFinished:
			if i+1 != len(out) {
				return fmt.Errorf("does more after the end")
			}
			ends++
		}
	}
	wanted := 0
	if after.finSent && !before.finSent {
		wanted++
	}
	if after.finished && !before.finished {
		wanted++
	}
	switch {
	case knows != (after.cause.Cause != 0):
		return fmt.Errorf("has the cause %v, and does not show it", after.cause.Error())
	case (states > 0) != (before.state != after.state):
		return fmt.Errorf("goes from %v to %v and tells it %d times", before.state, after.state, states)
	case ends != wanted:
		return fmt.Errorf("tells of FIN and the end %d times, and there were %d", ends, wanted)
	case (opened == 1) != (before.state == StateOpening && after.state == StateOpen) || opened > 1:
		return fmt.Errorf("goes from %v to %v and tells its dialer %d times", before.state, after.state, opened)
	case after.finished && !after.reset && !(after.finSent && after.finRead):
		return fmt.Errorf("is done with a stream that has not ended both ways")
	case !answers:
		return fmt.Errorf("does not answer %v with the same code", met(&before, in))
	case after.peerClosed && !before.peerClosed && stops == 0:
		return fmt.Errorf("goes on sending after the peer's close")
	}
	return nil
}

// resetCode is the code with which a stream is torn: that of the one who does
// it, or of what went before (PROTOCOL.md, "Codes on streams"). A violation is
// none between two machines, unless it is the cause.
func resetCode(in *input, after machine) Code {
	switch in.kind {
	case inReset, inStopSending:
		return in.code
	case inAbort:
		return in.cause.Code
	}
	return after.cause.Code
}

// closeResult is what Close has to return: nothing if the close is confirmed,
// else what has come in between.
func closeResult(in *input, after machine) Error {
	switch in.kind {
	case inReset, inStopSending:
		return Error{Cause: CauseAborted, Code: in.code, Remote: true}
	case inAbort, inLinkLost:
		return in.cause
	case inTimer:
		return Error{Cause: CauseTimeout, Code: after.closing.Code, Reason: after.closing.Reason}
	}
	if r, ok := in.frame.(Reject); ok {
		return Error{Cause: CauseRejected, Code: r.Code, Reason: r.Reason, Remote: true}
	}
	return Error{}
}

func sameCause(a, b Error) bool {
	return a.Cause == b.Cause && a.Code == b.Code && a.Reason == b.Reason && a.Remote == b.Remote
}

// tellsAll: when the peer's counts are read, the calls of Signal hear them.
func tellsAll(f Frame, told Tally) bool {
	switch f := f.(type) {
	case Close:
		return told.Sent >= f.SignalsTaken && told.Received >= f.SignalsReceived
	case CloseAck:
		return told.Sent >= f.SignalsTaken && told.Received >= max(f.SignalsReceived, told.Sent)
	case SignalAck:
		return told.Sent >= f.Taken
	}
	return true
}

// checkIdle checks what must not move a machine: what comes too early, too
// late, or a second time; and that its deadline, if it has one, ends it.
func checkIdle(m machine) error {
	inputs := append(make([]input, 0, 16), input{kind: inTimer}) // too early
	tally := Tally{Sent: 9, End: 99, Received: 9, Late: 9, Dropped: 9}
	if m.state != StateOpening && m.state != StateOpen {
		inputs = append(inputs, input{kind: inClose, frame: Close{Code: 0x999}, until: epoch.Add(closeTimeout)})
	}
	if m.state == StateDraining || m.state == StateClosed {
		inputs = append(inputs, input{kind: inAbort, cause: Error{Cause: CauseAborted}})
	}
	if m.state != StateIncoming {
		inputs = append(inputs, input{kind: inAccept, frame: Accept{}}, input{kind: inReject, frame: Reject{}})
	}
	if m.state != StateClosing || m.closeSent {
		inputs = append(inputs, input{kind: inFlushed, tally: tally})
	}
	if !m.settling {
		inputs = append(inputs, input{kind: inSettled, tally: tally})
	}
	if m.state != StateOpen {
		inputs = append(inputs, input{kind: inReport, tally: tally})
	}
	if m.finRead {
		inputs = append(inputs, input{kind: inFIN})
	}
	if m.finished {
		inputs = append(inputs, input{kind: inReset}, input{kind: inStopSending}, input{kind: inMalformed},
			input{kind: inLinkLost, cause: Error{Cause: CauseLinkLost}}, input{kind: inFrame, frame: Close{}})
	}
	for i := range inputs {
		after := m
		if out := after.step(epoch, &inputs[i], nil); len(out) > 0 || after != m {
			return fmt.Errorf("is moved by %v while it is %s: %v", met(&m, &inputs[i]), phase(&m), out)
		}
	}
	if m.deadline.IsZero() {
		return nil
	}
	after := m
	after.step(m.deadline, &input{kind: inTimer}, nil)
	if !after.finished {
		return fmt.Errorf("goes on after its deadline: %v, then %v", phase(&m), phase(&after))
	}
	return nil
}

// checkFrame checks the counts that a side states against what is the case, and
// that the case cannot change any more.
func (md *model) checkFrame(w *world, side uint8, f Frame) error {
	s := &w.sides[side]
	is := s.tally(0).tally()
	final := s.drained && s.frozen && s.settle >= freezing
	switch f := f.(type) {
	case Close:
		if !s.drained || f.Sent != is.Sent || f.End != is.End {
			return fmt.Errorf("states %d messages sent, the last in %d, when it is %d and %d (final: %v)", f.Sent, f.End, is.Sent, is.End, s.drained)
		}
		return s.checkSignals(f.SignalsReceived, f.SignalsTaken)
	case CloseAck:
		if stated := (Tally{f.Sent, f.End, f.Received, f.Late, f.Dropped}); s.flow && !final || stated != is {
			return fmt.Errorf("acknowledges with %+v when it is %+v (final: %v)", stated, is, final)
		}
		return s.checkSignals(f.SignalsReceived, f.SignalsTaken)
	case Report:
		if stated := (Tally{is.Sent, is.End, f.Received, f.Late, f.Dropped}); stated != is {
			return fmt.Errorf("reports %+v when it is %+v", stated, is)
		}
	case Done:
		if stated := (Tally{is.Sent, is.End, f.Received, f.Late, f.Dropped}); !final || stated != is {
			return fmt.Errorf("is done with %+v when it is %+v (final: %v)", stated, is, final)
		}
	}
	return nil
}

func (s *worldSide) checkSignals(received, taken uint64) error {
	if received != uint64(s.taken+s.unread) || taken != uint64(s.taken) {
		return fmt.Errorf("states %d signals received and %d taken when it is %d and %d", received, taken, s.taken+s.unread, s.taken)
	}
	return nil
}

// check checks one state.
func (md *model) check(w *world) error {
	if err := md.promises(w); err != nil || !md.rests(w) {
		return err
	}
	return md.atRest(w)
}

func (md *model) promises(w *world) error {
	for i := range w.sides {
		s, peer := &w.sides[i], &w.sides[1-i]
		m, pm := &md.machines[s.machine], &md.machines[peer.machine]
		for _, check := range [...]func(*world, int, *worldSide, *worldSide, *machine, *machine) error{
			md.checkCause, md.checkClose, md.checkTotals, md.checkEnd,
		} {
			if err := check(w, i, s, peer, m, pm); err != nil {
				return fmt.Errorf("the %s %w", sideNames[i], err)
			}
		}
	}
	return nil
}

const tooLate = "no complete OPEN in time"

// checkCause: nobody breaks the protocol, and both sides agree on who ended the
// session, and how.
func (md *model) checkCause(w *world, i int, s, peer *worldSide, m, pm *machine) error {
	c, pc := &m.cause, &pm.cause
	if c.Cause == CauseViolation && !(md.timers && c.Reason == tooLate && i == 1) {
		return fmt.Errorf("finds a violation: %s", c.Reason)
	}
	if c.Err != nil || m.bareFIN {
		return fmt.Errorf("misses an answer: %v", c.Error())
	}
	if s.knows != (c.Cause != 0) {
		return fmt.Errorf("has the cause %v, and its calls do not know it", c.Error())
	}
	same := pc.Code == c.Code && pc.Reason == c.Reason
	ok := true
	if c.Remote {
		ok = c.Confirmed && !pc.Remote && peer.knows
		switch c.Cause {
		case CauseClosed, CauseRejected:
			ok = ok && pc.Cause == c.Cause && same
		case CauseAborted:
			own := peer.aborted && c.Code == codeOf(codeAbort, uint8(1-i), w.session) // it may cut short its own Close
			ok = ok && pm.reset && c.Reason == "" && (own || pc.Code == c.Code)
		case CauseLinkClosed:
			ok = w.idle && peer.gone && !c.Confirmed && peer.offer == notOffered // Rule 10
		default:
			ok = false
		}
	} else {
		ok = !c.Confirmed || s.call == returnedNil
		switch c.Cause {
		case 0, CauseViolation:
		case CauseClosed:
			ok = ok && s.call != notCalled && c.Code == codeOf(codeClose, uint8(i), w.session) && c.Reason == reasonOf(c.Code)
		case CauseRejected:
			ok = ok && s.offer == answered && !s.flow && c.Code == codeOf(codeReject, uint8(i), w.session) && c.Reason == reasonOf(c.Code)
		case CauseAborted:
			ok = ok && s.aborted
		case CauseTimeout:
			ok = ok && s.call == returnedError
		case CauseLinkLost, CauseLinkClosed:
			ok = ok && s.gone
		default:
			ok = false
		}
	}
	if !ok {
		return fmt.Errorf("has the cause %+v, the other side %+v", *c, *pc)
	}
	return nil
}

// checkClose: Close has returned nil only if the peer's session has code and
// reason; and it has returned once the session is over.
func (md *model) checkClose(w *world, i int, s, peer *worldSide, m, pm *machine) error {
	if s.closed && s.call == waiting {
		return fmt.Errorf("is over, and its Close still waits")
	}
	if s.call != returnedNil {
		return nil
	}
	code := codeOf(codeClose, uint8(i), w.session)
	c, pc := &m.cause, &pm.cause
	mine := c.Cause == CauseClosed && !c.Remote && c.Confirmed && c.Code == code
	theirs := peer.knows && pc.Cause == CauseClosed && pc.Remote && pc.Code == code && pc.Reason == reasonOf(code)
	crossed := peer.knows && pc.Cause == CauseClosed && !pc.Remote && pm.peerClosed &&
		pm.peerClosing.Code == code && pm.peerClosing.Reason == reasonOf(code)
	if !mine || !theirs && !crossed {
		return fmt.Errorf("has its Close confirmed, its cause is %+v, the other side's %+v", *c, *pc)
	}
	return nil
}

// checkTotals: totals that are claimed are exact, and those of both sides are
// the same.
func (md *model) checkTotals(w *world, i int, s, peer *worldSide, m, pm *machine) error {
	if !m.totals {
		return nil
	}
	mine, theirs := s.tally(0).tally(), peer.tally(0).tally()
	stated := m.counts
	stated.Late, mine.Late = 0, 0 // more may be late later
	claimed := m.peer
	claimed.Late, theirs.Late = 0, 0
	if stated != mine || claimed != theirs {
		return fmt.Errorf("claims to know the totals, %+v and %+v, which are %+v and %+v", m.counts, m.peer, mine, theirs)
	}
	if pm.totals && (m.peer != pm.counts || m.counts != pm.peer) {
		return fmt.Errorf("and the other side know different totals: %+v and %+v, %+v and %+v", m.counts, m.peer, pm.peer, pm.counts)
	}
	return nil
}

// checkEnd: the end is told as it is, and nothing is invented.
func (md *model) checkEnd(w *world, i int, s, peer *worldSide, m, pm *machine) error {
	switch {
	case s.closed != (m.state == StateClosed), s.finished != m.finished, s.finished && !s.closed:
		return fmt.Errorf("is %v, and that is not what was told", m.state)
	case s.closed && !s.told:
		return fmt.Errorf("is over, and a call of Signal still waits: %+v", *s)
	case s.offer == offered && m.state != StateIncoming && !s.crashed:
		return fmt.Errorf("is %v, and still offered to the application", m.state)
	case m.signalsReceived != uint64(s.unread+s.taken), m.signalsReceived > pm.signalsSent, m.signalsAcked > uint64(peer.taken):
		return fmt.Errorf("has signals that nobody sent, or took: %+v, the other side %+v", *m, *pm)
	case s.heard > peer.reports:
		return fmt.Errorf("has more reports than were sent")
	}
	return nil
}

// owed reports whether e, which can happen, cannot stay away for ever. That a
// link is lost is owed only after the other side has lost it, or has stopped;
// and where time passes, a session that is ending must not wait for that: the
// peer's process may hang, and its link live.
func (md *model) owed(w *world, e event) bool {
	if e.kind == evLost {
		peer := &w.sides[1-e.side]
		return (peer.gone || peer.crashed) && !(md.timers && w.sides[e.side].knows)
	}
	return e.kind <= evTimer
}

// rests reports whether nothing more happens in w by itself.
func (md *model) rests(w *world) bool {
	for side := range uint8(2) {
		for kind := evRead; kind <= evTimer; kind++ {
			if e := (event{kind, side}); md.owed(w, e) && md.may(w, e) {
				return false
			}
		}
	}
	return true
}

// atRest checks a state in which nothing more happens by itself: every session
// that has begun to end has ended, on both sides, and every call that waits
// waits for an application.
func (md *model) atRest(w *world) error {
	a, b := &w.sides[0], &w.sides[1]
	am, bm := &md.machines[a.machine], &md.machines[b.machine]
	if a.over() != b.over() {
		return fmt.Errorf("one side is over, the other hangs: %v, %v", phase(am), phase(bm))
	}
	if !a.over() {
		unanswered := am.state == StateOpening && bm.state == StateIncoming && b.offer == offered
		open := am.state == StateOpen && bm.state == StateOpen
		if !unanswered && !open || a.call == waiting || b.call == waiting || a.knows || b.knows {
			return fmt.Errorf("it hangs: %v, %v", phase(am), phase(bm))
		}
		for i := range w.sides {
			s, peer := &w.sides[i], &w.sides[1-i]
			m, pm := &md.machines[s.machine], &md.machines[peer.machine]
			if m.signalsReceived != pm.signalsSent || m.signalsAcked != uint64(peer.taken) || s.heard != peer.reports {
				return fmt.Errorf("the %s has %d signals of %d, knows that %d of %d are taken, and has %d reports of %d", sideNames[i],
					m.signalsReceived, pm.signalsSent, m.signalsAcked, peer.taken, s.heard, peer.reports)
			}
		}
		return nil
	}
	if !md.orderly() {
		return nil
	}
	for i := range w.sides {
		s, m := &w.sides[i], &md.machines[w.sides[i].machine]
		switch {
		case m.reset:
			return fmt.Errorf("the %s tore its stream, and nothing was wrong", sideNames[i])
		case bm.cause.Cause == CauseRejected:
		case s.call == returnedError:
			return fmt.Errorf("the %s's Close failed, and nothing was wrong", sideNames[i])
		case !m.totals:
			return fmt.Errorf("the %s does not know the totals, and nothing was wrong", sideNames[i])
		}
	}
	return nil
}
