package session

import "context"

// signalWait is one signal of ours on its way.
type signalWait struct {
	number uint64        // from 1
	done   chan struct{} // closed when err is known
	err    error
}

// Signal sends a small message reliably and in order, and returns nil once the
// peer's application has taken it with ReceiveSignal. At most as many signals
// are outstanding as the peer allows (16 by default); further calls wait.
//
// If ctx or the session ends first, the error is a *[SignalError] that says
// whether the signal was delivered, not sent, or on its way with an unknown
// outcome. A payload above the peer's limit (16 KiB by default) is refused
// with a *[MessageTooLargeError]. The payload may be empty, and may be reused
// after the call.
func (s *Session) Signal(ctx context.Context, payload []byte) error {
	if limit := s.link.PeerLimits().MaxSignal; len(payload) > limit {
		return &MessageTooLargeError{Kind: "signal", Size: len(payload), Max: limit}
	}
	s.mu.Lock()
	if s.err != nil {
		err := s.err
		s.unlock()
		return err
	}
	for s.m.state != StateOpen || !s.m.maySignal() {
		if s.err != nil {
			err := s.err
			s.unlock()
			return &SignalError{Outcome: ErrSignalNotSent, Cause: err}
		}
		changed := s.changedLocked()
		s.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return &SignalError{Outcome: ErrSignalNotSent, Cause: context.Cause(ctx)}
		}
		s.mu.Lock()
	}
	if ctx.Err() != nil { // there would be nobody to hear the outcome
		s.unlock()
		return &SignalError{Outcome: ErrSignalNotSent, Cause: context.Cause(ctx)}
	}
	s.stepLocked(&input{kind: inSignal, frame: Signal{Payload: payload}})
	w := &signalWait{number: s.m.signalsSent, done: make(chan struct{})}
	s.signalling = append(s.signalling, w)
	s.unlock()

	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	select {
	case <-w.done: // a result beats a cancelled context
		return w.err
	default:
		return &SignalError{Outcome: ErrSignalUnknown, Cause: context.Cause(ctx)}
	}
}

// resolveSignals releases the calls whose signals the peer's application has
// taken, and, at the session's end, all others.
func (s *Session) resolveSignals(taken, received uint64, end bool) {
	for len(s.signalling) > 0 {
		w := s.signalling[0]
		switch {
		case w.number <= taken:
		case !end:
			s.notify() // there is credit again
			return
		case w.number <= received:
			w.err = &SignalError{Outcome: ErrSignalNotTaken, Cause: s.err}
		default:
			w.err = &SignalError{Outcome: ErrSignalUnknown, Cause: s.err}
		}
		close(w.done)
		s.signalling[0] = nil
		s.signalling = s.signalling[1:]
	}
	s.signalling = nil
	s.notify()
}

// ReceiveSignal returns the peer's next signal, in the order they were sent,
// and lets the peer's Signal return. It waits for ctx, or until the session
// ends; signals that arrived before the end are returned first.
func (s *Session) ReceiveSignal(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	for len(s.signals) == 0 {
		// The peer may send signals until it closes, and until our own close
		// is over.
		if s.err != nil && (s.err.Remote || s.m.state == StateClosed) {
			err := s.err
			s.unlock()
			return nil, err
		}
		changed := s.changedLocked()
		s.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		s.mu.Lock()
	}
	payload := s.signals[0]
	s.signals[0] = nil
	if s.signals = s.signals[1:]; len(s.signals) == 0 {
		s.signals = nil
	}
	s.stepLocked(&input{kind: inSignalTaken})
	s.releaseCredit()
	s.unlock()
	return payload, nil
}
