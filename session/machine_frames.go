package session

// frameRead takes one frame of the control stream. Which frame may come when
// is the table in PROTOCOL.md, "What is read when"; anything else breaks the
// protocol.
func (s *stepper) frameRead(in *input) {
	if s.state == StateClosed {
		// What crossed our REJECT, or came after the end, changes nothing.
		return
	}
	if s.firstFrame(in.frame) {
		return
	}
	name := in.frame.FrameType().String()
	if s.closeAcked {
		s.violation(name + " after CLOSE_ACK") // only FIN may follow it
		return
	}
	switch f := in.frame.(type) {
	case Signal:
		s.signalRead(f)
	case SignalAck:
		s.signalAckRead(f)
	case Report:
		s.reportRead(f, in.tally.Sent)
	case Close:
		s.closeRead(f)
	case CloseAck:
		s.closeAckRead(f)
	case Done:
		s.doneRead(f)
	default:
		s.violation(name + " out of place")
	}
}

// firstFrame handles the frames that open a session: OPEN from the opener,
// and the acceptor's answer. It reports whether f was such a frame, or broke
// the rule that nothing else comes before they have gone their way.
func (s *stepper) firstFrame(f Frame) bool {
	if !s.opened {
		o, ok := f.(Open)
		if !ok {
			s.violation("the first frame is " + f.FrameType().String() + ", want OPEN")
			return true
		}
		s.opened = true
		s.deadline = noDeadline
		s.do(outIncoming).frame = o
		return true
	}
	if s.answered {
		return false
	}
	if !s.opener {
		if _, ok := f.(Close); ok {
			return false // the opener takes its OPEN back
		}
		s.violation(f.FrameType().String() + " before ACCEPT")
		return true
	}
	switch f := f.(type) {
	case Accept:
		s.answered = true
		if s.state == StateOpening {
			s.changeState(StateOpen)
			s.do(outOpened).frame = f
		} // else our CLOSE has crossed it, and wins
	case Reject:
		s.rejected(f, nil)
	case CloseAck:
		return false // closed before it was accepted
	default:
		s.violation("the first frame is " + f.FrameType().String() + ", want ACCEPT, REJECT or CLOSE_ACK")
	}
	return true
}

func (s *stepper) signalRead(f Signal) {
	switch {
	case s.peerClosed:
		s.violation("SIGNAL after CLOSE")
	case s.signalsReceived-s.signalsTaken >= s.peerSignalLimit:
		s.violation("more signals outstanding than allowed")
	default:
		s.signalsReceived++
		s.do(outSignal).frame = f
	}
}

func (s *stepper) signalAckRead(f SignalAck) {
	switch {
	case f.Taken > s.signalsSent:
		s.violation("SIGNAL_ACK counts more signals than were sent")
	case f.Taken > s.signalsAcked:
		s.signalsAcked = f.Taken
		s.do(outSignals).tally = Tally{Sent: f.Taken, Received: f.Taken}
	}
}

// reportRead takes the peer's counts of what it got of ours. offered is how
// many of our messages it can have seen.
func (s *stepper) reportRead(f Report, offered uint64) {
	switch {
	case s.peerClosed:
		s.violation("REPORT after CLOSE")
	case f.Received > offered:
		s.violation("REPORT counts more messages than were sent")
	default:
		s.do(outReport).frame = f
	}
}
