package session

import (
	"context"
	"math"
	"time"
)

// Close closes the session with code 0 and no reason. See
// [Session.CloseWithError].
func (s *Session) Close(ctx context.Context) error {
	return s.CloseWithError(ctx, CodeNormal, "")
}

// CloseWithError ends the session in order: it takes no more messages, hands
// over those that are queued, tells the peer code and reason, and waits. It
// returns nil once the peer's session is known to know: every call on it
// returns, or will return after what had arrived before, an *[Error] with this
// code and reason. What was lost both ways is known a moment later, at
// [Session.Done].
//
// Any other result means that nothing is promised, and the session is over all
// the same: if ctx, or without a deadline in ctx the CloseTimeout of
// [Options], ends first, it is aborted with the same code. If the session had
// ended before, the result is why, and what was left unread is discarded; so
// Close after the peer's close returns the peer's *[Error]. If the OPEN was
// not yet answered, it is taken back; should the peer have rejected it, the
// result is the rejection.
//
// At most half of the time is spent on handing over queued messages; what is
// still queued then is dropped and counted. Messages and signals that arrived
// before stay readable. Of several calls the first decides code, reason and
// time; the others wait for the same result, or until their ctx ends.
//
// The code is 0 or at least [FirstApplicationCode], the reason at most
// [MaxReason] bytes of UTF-8.
func (s *Session) CloseWithError(ctx context.Context, code Code, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	return s.closeWith(ctx, code, reason, true)
}

func checkClose(code Code, reason string) error {
	if code != CodeNormal && code < FirstApplicationCode || code > MaxCode {
		return &InvalidCodeError{Code: code}
	}
	if len(reason) > MaxReason {
		return &ReasonTooLongError{Size: len(reason)}
	}
	return nil
}

// closeWith is CloseWithError with any code. discard says what becomes of what
// is unread on a session that had ended before.
func (s *Session) closeWith(ctx context.Context, code Code, reason string, discard bool) error {
	s.mu.Lock()
	defer s.unlock()
	first := s.err == nil
	switch {
	case first:
		until := time.Now().Add(s.opts.closeTimeout())
		if d, ok := ctx.Deadline(); ok {
			until = d
		}
		s.startClose(code, reason, until)
	case !s.closeBegun:
		if discard {
			s.closing = true
			s.discard()
		}
		return s.err
	}
	for !s.closeOver {
		changed := s.changedLocked()
		s.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if !s.closeOver && ctx.Err() != nil {
			err := &Error{Cause: CauseTimeout, Code: code, Reason: reason, Err: context.Cause(ctx)}
			if first {
				s.stepLocked(&input{kind: inAbort, cause: *err})
			}
			return err
		}
	}
	if s.closeResult != nil {
		return s.closeResult
	}
	return nil
}

// startClose begins our close; closeOver tells when its result is known.
func (s *Session) startClose(code Code, reason string, until time.Time) {
	s.closing, s.closeBegun = true, true
	s.stepLocked(&input{kind: inClose, frame: Close{Code: code, Reason: reason}, until: until})
}

// Abort ends the session at once: messages and signals on their way are lost,
// what is unread is discarded, and the peer learns the code, but no reason,
// if the network lets it. A close of this side that is under way is cut short.
// On a session that the peer has closed, or that is over, Abort only discards
// what is unread.
//
// The code is 0 or at least [FirstApplicationCode].
func (s *Session) Abort(code Code) error {
	if err := checkClose(code, ""); err != nil {
		return err
	}
	s.mu.Lock()
	s.closing = true
	s.stepLocked(&input{kind: inAbort, cause: Error{Cause: CauseAborted, Code: code}})
	s.discard()
	s.unlock()
	return nil
}

// discard drops what is unread.
func (s *Session) discard() {
	if s.flow != nil {
		s.flow.Discard()
	}
	s.signals = nil
	s.releaseCredit()
}

// confirmed notes what became of our close.
func (s *Session) confirmed(c Error) {
	s.closeOver = true
	if c.Cause != 0 {
		s.closeResult = &c
	} else {
		e := *s.err // those who have the old one keep it
		e.Confirmed = true
		s.err = &e
	}
	s.notify()
}

// stopSend takes no more messages and drops those that are queued.
func (s *Session) stopSend() {
	if s.flow == nil {
		return
	}
	s.flow.CloseSend(errEnded)
	s.flow.DropQueued()
}

// startFlush takes no more messages and reports to the machine once those
// that are queued have been handed to QUIC.
func (s *Session) startFlush() {
	s.flow.CloseSend(errEnded)
	select {
	case <-s.flow.Drained():
		s.later(input{kind: inFlushed, tally: s.tally()})
		return
	default:
	}
	half := time.Until(s.m.deadline) / 2
	over := s.doneLocked()
	go func() {
		timer := time.NewTimer(half)
		defer timer.Stop()
		select {
		case <-s.flow.Drained():
		case <-timer.C:
			s.flow.DropQueued()
			select {
			case <-s.flow.Drained():
			case <-over:
				return
			}
		case <-over:
			return
		}
		s.step(&input{kind: inFlushed, tally: s.tally()})
	}()
}

// startSettle waits for the stragglers that the peer's counts announce,
// freezes the receive side, and reports to the machine. It is over at once
// when nothing is missing, or nothing that is still worth waiting for.
func (s *Session) startSettle(now time.Time, peer Tally, unknown bool) {
	if unknown {
		peer.Sent, peer.End = math.MaxUint64, math.MaxUint64
	}
	grace := min(max(s.link.RTT()/2, minGrace), maxGrace)
	select {
	case <-s.flow.Drained():
		if s.flow.Settle(now, peer.Sent, peer.End, now, grace) == 0 {
			s.later(s.freeze())
			return
		}
	default:
	}
	over := s.doneLocked()
	go func() {
		arrived := s.flow.Arrived(peer.Sent)
		for {
			wait := s.flow.Settle(time.Now(), peer.Sent, peer.End, now, grace)
			if wait == 0 {
				break
			}
			timer := time.NewTimer(wait)
			select {
			case <-arrived:
			case <-timer.C:
			case <-over:
			}
			timer.Stop()
			select {
			case <-over:
				return
			default:
			}
		}
		// Our own counts are final once the pump's hands are empty.
		select {
		case <-s.flow.Drained():
		case <-over:
			return
		}
		in := s.freeze()
		s.step(&in)
	}()
}

// freeze freezes the receive side.
func (s *Session) freeze() input {
	s.flow.CloseReceive(errEnded)
	return input{kind: inSettled, tally: s.tally()}
}

// tally is what this side knows of the session's messages now.
func (s *Session) tally() Tally {
	if s.flow == nil {
		return Tally{}
	}
	c := s.flow.Totals()
	return Tally{Sent: c.Sent, End: c.End, Received: c.Received, Late: c.Late, Dropped: c.Dropped}
}
