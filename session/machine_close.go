package session

import "errors"

// The closing half of the machine: CLOSE, CLOSE_ACK, DONE, and what ends a
// stream without them.

var (
	errNotAnswered     = errors.New("the peer ended the stream without an answer")
	errNotAcknowledged = errors.New("the peer ended the stream without acknowledging the close")
)

// close begins our own close. Before the peer has answered the OPEN it takes
// the OPEN back.
func (s *stepper) close(in *input) {
	if s.state != StateOpening && s.state != StateOpen {
		return
	}
	s.closing = in.frame.(Close)
	s.setCause(Error{Cause: CauseClosed, Code: s.closing.Code, Reason: s.closing.Reason})
	s.deadline = in.until
	s.changeState(StateClosing)
	s.do(outFlush).cause = s.cause
}

// flushed: all that will ever be sent has been handed to QUIC. The counts are
// stated in CLOSE, and frozen with it.
func (s *stepper) flushed(t Tally) {
	if s.state != StateClosing || s.closeSent {
		return
	}
	s.closeSent = true
	s.counts.Sent, s.counts.End = t.Sent, t.End
	s.closing.Sent, s.closing.End = t.Sent, t.End
	s.closing.SignalsReceived, s.closing.SignalsTaken = s.signalsReceived, s.signalsTaken
	s.write(s.closing)
	s.ackPeersClose()
}

// settle asks for the stragglers of the peer, up to the counts it stated.
func (s *stepper) settle() {
	s.settling = true
	o := s.do(outSettle)
	o.tally, o.unknown = s.peer, s.bareFIN
}

// settledNow: the receive side is frozen. If the peer closed, it is told our
// counts with CLOSE_ACK; if we did, with DONE.
func (s *stepper) settledNow(t Tally) {
	if !s.settling {
		return
	}
	s.settling, s.settled = false, true
	s.counts.Received, s.counts.Late, s.counts.Dropped = t.Received, t.Late, t.Dropped
	if s.state == StateDraining {
		s.counts.Sent, s.counts.End = t.Sent, t.End
	}
	if s.peerClosed {
		s.ackPeersClose()
		return
	}
	if s.counts.Received > s.peer.Sent {
		s.violation("CLOSE_ACK states fewer messages than have arrived")
		return
	}
	s.totals = true
	s.write(Done{Received: t.Received, Late: t.Late, Dropped: t.Dropped})
	s.fin()
	s.over(s.cause)
	s.await(closeTimeout)
}

// ackPeersClose sends CLOSE_ACK once the cause is visible here, the stragglers
// are in, and our own CLOSE, if there is one, has gone before it.
func (s *stepper) ackPeersClose() {
	if !s.settled || s.state == StateClosing && !s.closeSent {
		return
	}
	if !s.bareFIN && s.counts.Received > s.peer.Sent {
		s.violation("CLOSE states fewer messages than have arrived")
		return
	}
	s.peerCloseDone = true
	s.answered = true
	s.write(CloseAck{
		Sent: s.counts.Sent, End: s.counts.End,
		Received: s.counts.Received, Late: s.counts.Late, Dropped: s.counts.Dropped,
		SignalsReceived: s.signalsReceived, SignalsTaken: s.signalsTaken,
	})
	s.endIfDone()
}

// endIfDone ends our side once the peer's close is acknowledged, and our own, if
// there is one, and closes the session when nothing more can be learned.
func (s *stepper) endIfDone() {
	switch {
	case !s.peerCloseDone:
	case !s.closeSent:
		s.fin()
		if s.finRead {
			s.over(s.cause) // no DONE will come; the totals stay incomplete
		}
		s.await(closeTimeout)
	case s.closeAcked:
		s.fin()
		s.totals = !s.bareFIN
		s.over(s.cause)
		s.await(closeTimeout)
	case s.finRead:
		// The peer has ended its side: it will not acknowledge our CLOSE.
		s.unacknowledged()
	}
}

// unacknowledged ends a close of ours that the peer can no longer confirm,
// because it has ended its side of the stream.
func (s *stepper) unacknowledged() {
	c := Error{Cause: CauseClosed, Code: s.peerClosing.Code, Reason: s.peerClosing.Reason, Remote: true, Err: errNotAcknowledged}
	s.fin()
	s.over(c)
	s.await(closeTimeout)
}

func (s *stepper) closeRead(f Close) {
	switch {
	case s.peerClosed:
		s.violation("a second CLOSE")
		return
	case f.SignalsReceived > s.signalsSent:
		s.violation("CLOSE counts more signals than were sent")
		return
	}
	s.peerClosed = true
	s.peerClosing = f
	s.peer.Sent, s.peer.End = f.Sent, f.End
	s.peersClose(f)
}

// peersClose begins the answer to a CLOSE, or to a bare FIN in its place.
func (s *stepper) peersClose(f Close) {
	s.setCause(Error{Cause: CauseClosed, Code: f.Code, Reason: f.Reason, Remote: true, Confirmed: true})
	s.tellSignals(f.SignalsReceived, f.SignalsTaken)
	switch s.state {
	case StateIncoming:
		// Closed before it was accepted: nothing was delivered, and nothing
		// will be.
		s.withdraw()
		s.changeState(StateDraining)
		s.stopSend()
		s.settled = true
		s.ackPeersClose()
	case StateOpen:
		s.changeState(StateDraining)
		s.deadline = s.now.Add(closeTimeout)
		s.stopSend()
		s.settle()
	case StateClosing:
		s.stopSend() // what is still queued would come too late
		s.settle()
	}
}

// tellSignals reports what the peer's counts say of our signals.
func (s *stepper) tellSignals(received, taken uint64) {
	s.signalsAcked = max(s.signalsAcked, taken)
	o := s.do(outSignals)
	o.tally, o.cause = Tally{Sent: s.signalsAcked, Received: max(received, s.signalsAcked)}, s.cause
}

func (s *stepper) closeAckRead(f CloseAck) {
	switch {
	case !s.closeSent:
		s.violation("CLOSE_ACK without a CLOSE")
		return
	case f.Received > s.counts.Sent:
		s.violation("CLOSE_ACK counts more messages than were sent")
		return
	case f.SignalsReceived > s.signalsSent:
		s.violation("CLOSE_ACK counts more signals than were sent")
		return
	case s.peerClosed && (f.Sent != s.peer.Sent || f.End != s.peer.End):
		s.violation("CLOSE_ACK contradicts the counts of CLOSE")
		return
	}
	s.answered = true
	s.closeAcked = true
	s.cause.Confirmed = true // it is our own: else we had not closed
	s.peer = Tally{Sent: f.Sent, End: f.End, Received: f.Received, Late: f.Late, Dropped: f.Dropped}
	s.tellSignals(f.SignalsReceived, f.SignalsTaken)
	s.do(outConfirmed)
	s.deadline = s.now.Add(closeTimeout)
	if s.peerClosed {
		s.endIfDone()
		return
	}
	s.settle()
}

func (s *stepper) doneRead(f Done) {
	switch {
	case !s.peerCloseDone || s.closeSent:
		s.violation("DONE out of place")
		return
	case f.Received > s.counts.Sent:
		s.violation("DONE counts more messages than were sent")
		return
	}
	s.peer.Received, s.peer.Late, s.peer.Dropped = f.Received, f.Late, f.Dropped
	s.totals = true
	s.over(s.cause) // its FIN is owed since ours was sent
}

// finReadNow: the peer has ended its side, between two frames.
func (s *stepper) finReadNow(in *input) {
	s.finRead = true
	switch {
	case !s.opened:
		s.violation("the stream ended before OPEN")
	case s.opener && !s.answered:
		// The acceptor owed an answer: a bare FIN stands for REJECT(internal).
		s.rejected(Reject{Code: CodeInternal}, errNotAnswered)
	case s.state == StateOpen, s.state == StateIncoming,
		s.state == StateClosing && !s.peerClosed && !s.closeAcked:
		// A bare FIN stands for CLOSE(0, ""), with no counts.
		s.peerClosed, s.bareFIN = true, true
		s.peersClose(Close{SignalsReceived: s.signalsAcked, SignalsTaken: s.signalsAcked})
	case s.state == StateClosing:
		s.endIfDone()
	case s.peerCloseDone:
		s.over(s.cause) // without DONE: the totals stay incomplete
		s.finishIfEnded()
	default:
		s.finishIfEnded()
	}
}

// rejected takes a REJECT, or a bare FIN in its place.
func (s *stepper) rejected(r Reject, err error) {
	s.answered = true
	c := Error{Cause: CauseRejected, Code: r.Code, Reason: r.Reason, RetryAfter: r.RetryAfter, Remote: true, Confirmed: true, Err: err}
	s.setCause(c)
	s.stopSend()
	s.fin()
	s.over(c)
	s.await(closeTimeout)
}
