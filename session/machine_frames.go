package session

// frameRead takes one frame of the control stream. Which frame may come when
// is the table in PROTOCOL.md; anything else breaks the protocol.
func (s *stepper) frameRead(in input) {
	if s.state == StateClosed {
		// What crossed our REJECT, or came after the end, changes nothing.
		return
	}
	if s.firstFrame(in.frame) {
		return
	}
	switch f := in.frame.(type) {
	case Open:
		s.violation("a second OPEN")
	case Accept:
		s.violation("ACCEPT out of place")
	case Reject:
		s.violation("REJECT out of place")
	case Signal:
		s.signalRead(f)
	case SignalAck:
		s.signalAckRead(f)
	case Report:
		if f.Received > in.tally.Sent {
			s.violation("REPORT counts more messages than were sent")
			return
		}
		s.do(output{kind: outReport, frame: f})
	case Close:
		s.closeRead(f)
	case CloseAck:
		s.closeAckRead(f)
	case Done:
		s.doneRead(f)
	default:
		s.violation("frame " + in.frame.FrameType().String() + " does not belong on a control stream")
	}
}

// firstFrame handles the frames that open a session: OPEN from the opener,
// and the acceptor's answer. It reports whether f was such a frame, or broke
// the rule that nothing comes before them.
func (s *stepper) firstFrame(f Frame) bool {
	if !s.opened {
		o, ok := f.(Open)
		if !ok {
			s.violation("the first frame is " + f.FrameType().String() + ", want OPEN")
			return true
		}
		s.opened = true
		s.deadline = noDeadline
		s.do(output{kind: outIncoming, frame: o})
		return true
	}
	if !s.opener || s.answered {
		return false
	}
	switch f := f.(type) {
	case Accept:
		s.answered = true
		if s.state == StateOpening {
			s.deadline = noDeadline
			s.changeState(StateOpen)
			s.do(output{kind: outOpened, frame: f})
		} // else our CLOSE has crossed it, and wins
	case Reject:
		s.rejected(f)
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
	case !s.opener && !s.answered:
		s.violation("SIGNAL before ACCEPT")
	case s.signalsReceived-s.signalsTaken >= s.peerSignalLimit:
		s.violation("more signals outstanding than allowed")
	default:
		s.signalsReceived++
		s.do(output{kind: outSignal, frame: f})
	}
}

func (s *stepper) signalAckRead(f SignalAck) {
	switch {
	case f.Taken > s.signalsSent:
		s.violation("SIGNAL_ACK counts more signals than were sent")
	case f.Taken > s.signalsAcked:
		s.signalsAcked = f.Taken
		s.do(output{kind: outSignals, tally: Tally{Sent: f.Taken, Received: f.Taken}})
	}
}
