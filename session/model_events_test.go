package session

import "fmt"

// may reports whether e can happen in w.
func (md *model) may(w *world, e event) bool {
	s, peer := &w.sides[e.side], &w.sides[1-e.side]
	if e.kind == evAgain {
		return e.side == 0 && s.over() && peer.over() && int(w.session) < md.sessions
	}
	if s.crashed {
		return false
	}
	m := &md.machines[s.machine]
	switch e.kind {
	case evRead:
		return s.in != emptyStream
	case evReset:
		return s.reset != 0
	case evStop:
		return s.stop != 0
	case evResetLost:
		return s.reset != 0 && s.stop != 0
	case evStopLost:
		return s.stop != 0 && (s.reset != 0 || m.finSent && m.finRead)
	case evFlush:
		return s.flushing
	case evFreeze:
		return s.settle == settling
	case evSettled:
		return s.settle == freezing
	case evLost:
		return !s.finished && (md.loss || peer.gone || peer.crashed)
	case evTimer:
		return md.timers && !m.deadline.IsZero()
	case evMessage:
		return s.flow && !s.gone && (!s.frozen || s.settle == freezing) && peer.sent > s.received+s.late
	case evSend:
		return s.flow && !s.drained && !s.closed && int(s.sent) < md.messages
	case evAccept:
		return s.offer == offered
	case evReject:
		return md.reject && s.offer == offered
	case evSignal:
		return m.state == StateOpen && m.maySignal() && m.signalsSent < uint64(md.signals)
	case evTake:
		return s.unread > 0
	case evReport:
		return m.state == StateOpen && int(s.reports) < md.reports
	case evClose:
		return s.flow && s.call == notCalled && !s.knows
	case evGiveUp:
		return md.giveUp && s.call == waiting
	case evAbort:
		return md.aborts && !s.aborted && !s.finished && (s.flow || !m.opened)
	case evCrash:
		return md.crash && !s.finished && !peer.crashed
	case evIdle:
		return md.idle && e.side == 1 && !m.opened && !s.finished
	}
	return false
}

// happen has e happen. An error says which promise was broken.
func (md *model) happen(w *world, e event) error {
	s := &w.sides[e.side]
	switch e.kind {
	case evRead:
		next := &md.streams[s.in]
		s.in = next.rest
		if next.first == frameFIN {
			s.reset = 0 // RESET_STREAM means nothing any more (RFC 9000 section 3.2)
			return md.feed(w, e.side, inputKey{kind: inFIN})
		}
		return md.feed(w, e.side, inputKey{kind: inFrame, frame: next.first, sent: s.reportable(md.frames[next.first])})
	case evReset:
		code := s.reset
		s.reset, s.in = 0, emptyStream
		return md.feed(w, e.side, inputKey{kind: inReset, code: code})
	case evStop:
		code := s.stop
		s.stop = 0
		return md.feed(w, e.side, inputKey{kind: inStopSending, code: code})
	case evResetLost:
		s.reset = 0
	case evStopLost:
		s.stop = 0
	case evFlush:
		s.flushing, s.drained = false, true
		return md.feed(w, e.side, s.tally(inFlushed))
	case evFreeze:
		s.settle, s.frozen, s.drained = freezing, true, true
	case evSettled:
		s.settle = settled
		return md.feed(w, e.side, s.tally(inSettled))
	case evLost:
		k := inputKey{kind: inLinkLost, cause: CauseLinkLost}
		if w.idle {
			k.cause, k.code, k.remote = CauseLinkClosed, md.codeID(CodeLinkIdle), true
		}
		return md.loseLink(w, e.side, k)
	case evTimer:
		return md.feed(w, e.side, inputKey{kind: inTimer})
	case evMessage:
		if s.frozen {
			s.late++
		} else {
			s.received++
		}
	case evSend:
		s.sent++
	case evAccept:
		s.offer, s.flow = answered, true
		return md.feed(w, e.side, inputKey{kind: inAccept})
	case evReject:
		s.offer = answered
		return md.feed(w, e.side, inputKey{kind: inReject, code: md.codeID(codeOf(codeReject, e.side, w.session))})
	case evSignal:
		return md.feed(w, e.side, inputKey{kind: inSignal})
	case evTake:
		s.unread--
		s.taken++
		return md.feed(w, e.side, inputKey{kind: inSignalTaken})
	case evReport:
		s.reports++
		return md.feed(w, e.side, s.tally(inReport))
	case evClose:
		s.call = waiting
		return md.feed(w, e.side, inputKey{kind: inClose, code: md.codeID(codeOf(codeClose, e.side, w.session))})
	case evGiveUp:
		err := md.feed(w, e.side, inputKey{kind: inAbort, cause: CauseTimeout, code: md.codeID(codeOf(codeClose, e.side, w.session))})
		s.call = returnedError
		return err
	case evAbort:
		s.aborted = true
		return md.feed(w, e.side, inputKey{kind: inAbort, cause: CauseAborted, code: md.codeID(codeOf(codeAbort, e.side, w.session))})
	case evCrash:
		s.crashed = true
		s.forget()
	case evIdle:
		w.idle = true
		return md.loseLink(w, e.side, inputKey{kind: inLinkLost, cause: CauseLinkClosed, code: md.codeID(CodeLinkIdle)})
	case evAgain:
		var err error
		*w, err = md.open(world{session: w.session + 1})
		return err
	}
	return nil
}

// reportable is how many messages the peer may have seen, which only a REPORT
// is judged by.
func (s *worldSide) reportable(f Frame) uint8 {
	if f.FrameType() == TypeReport {
		return s.sent
	}
	return 0
}

func (s *worldSide) tally(kind inputKind) inputKey {
	return inputKey{kind: kind, sent: s.sent, received: s.received, late: s.late}
}

// forget drops what is on its way to a side that reads no more.
func (s *worldSide) forget() { s.in, s.reset, s.stop = emptyStream, 0, 0 }

func (md *model) loseLink(w *world, side uint8, k inputKey) error {
	s := &w.sides[side]
	s.gone = true
	s.forget()
	before := md.machines[s.machine].cause
	if err := md.feed(w, side, k); err != nil {
		return err
	}
	after := md.machines[s.machine].cause
	if before.Cause == 0 && after.Cause != k.cause || !s.finished {
		return fmt.Errorf("the link is gone, and the %s has the cause %v", sideNames[side], after.Error())
	}
	return nil
}

// feed gives one machine an input, and does what it says.
func (md *model) feed(w *world, side uint8, k inputKey) error {
	s := &w.sides[side]
	r := md.step(s.machine, k)
	if r.err != nil {
		return fmt.Errorf("the %s: %w", sideNames[side], r.err)
	}
	s.machine = r.machine
	for i := range r.effects {
		if err := md.carryOut(w, side, &r.effects[i]); err != nil {
			return fmt.Errorf("the %s: %w", sideNames[side], err)
		}
	}
	return nil
}

// carryOut does what a machine asks for, as Session does.
func (md *model) carryOut(w *world, side uint8, e *effect) error {
	s, peer := &w.sides[side], &w.sides[1-side]
	reads := !peer.finished && !peer.gone && !peer.crashed
	switch e.kind {
	case outWrite, outFIN:
		frame := uint16(frameFIN)
		if e.kind == outWrite {
			frame = e.frame
			if err := md.checkFrame(w, side, md.frames[frame]); err != nil {
				return err
			}
		}
		if reads {
			peer.in = md.push(peer.in, frame)
		}
	case outReset:
		if s.gone {
			return fmt.Errorf("resets a stream that died with its link")
		}
		if reads {
			if !md.machines[peer.machine].finRead {
				peer.reset = e.code
			}
			peer.stop = e.code
		}
	case outIncoming:
		if s.offer != notOffered {
			return fmt.Errorf("offers the session again")
		}
		s.offer = offered
	case outWithdrawn:
		if s.offer != offered {
			return fmt.Errorf("takes back what was not offered, or answered")
		}
		s.offer = withdrawn
	case outFlush:
		if !s.flow || s.muted || s.drained {
			return fmt.Errorf("flushes out of turn")
		}
		s.flushing, s.muted = true, true
	case outStopSend:
		s.muted = true
	case outSettle:
		if !s.flow || s.settle != notSettling {
			return fmt.Errorf("waits for stragglers out of turn")
		}
		if is := peer.tally(0).tally(); e.unknown || uint64(e.sent) != is.Sent || uint64(e.end) != is.End {
			return fmt.Errorf("waits for %d messages, the last in %d (unknown: %v), when it is %d and %d", e.sent, e.end, e.unknown, is.Sent, is.End)
		}
		s.settle = settling
	case outCause:
		s.knows = true
	case outSignal:
		s.unread++
	case outReport:
		s.heard++
	case outSignals:
		if e.sent > peer.taken || uint64(e.arrive) > md.machines[peer.machine].signalsReceived {
			return fmt.Errorf("says that %d signals are taken and %d have arrived; %d and %d are", e.sent, e.arrive, peer.taken, md.machines[peer.machine].signalsReceived)
		}
		s.told = s.told || e.failed
	case outConfirmed:
		if s.call != waiting {
			return fmt.Errorf("a Close has a result that has one already, or was never called")
		}
		s.call = returnedNil
		if e.failed {
			s.call = returnedError
		}
	case outClosed:
		s.closed, s.muted, s.frozen, s.drained = true, true, true, true
		s.flushing, s.settle = false, settled // nobody waits any longer
	case outFinished:
		s.finished = true
		s.forget()
	}
	return nil
}
