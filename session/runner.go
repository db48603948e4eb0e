package session

import (
	"context"
	"time"

	"github.com/quic-go/quic-go/quicvarint"
)

func varintLen(v uint64) int { return quicvarint.Len(v) }

// Runner is a session as its link sees it: the link starts it, has its stream
// read, and tells it what befalls the link. Applications never see one.
type Runner struct{ s *Session }

// Dialed starts a session on a stream that this side opened, and sends its
// OPEN. The caller has checked it with [Open.Validate], and does not change
// the options any more.
func Dialed(link Link, stream Stream, id uint64, open Open, opts *Options) *Runner {
	s := newSession(link, stream, id, true, opts)
	s.open = open
	s.flow = link.Mux().Open(time.Now(), id, s.opts.Queues)
	s.begin(&input{kind: inStart, frame: open})
	return &Runner{s}
}

// Arrived starts a session on a stream that the peer opened. It is offered to
// the link once its OPEN is there.
func Arrived(link Link, stream Stream, id uint64, opts *Options) *Runner {
	s := newSession(link, stream, id, false, opts)
	s.link.Mux().Announce(id)
	s.begin(&input{kind: inStart, until: time.Now().Add(openTimeout)})
	return &Runner{s}
}

func (s *Session) begin(in *input) {
	s.mu.Lock()
	s.m.signalLimit = uint64(s.link.PeerLimits().MaxSignals)
	s.stepLocked(in) // first, for the peer waits
	if !s.m.finished {
		s.stopStop = s.writer.stream.OnStopSending(func(code Code) { s.step(&input{kind: inStopSending, code: code}) })
	}
	s.unlock()
}

// Hold keeps the place of an incoming session among those that the peer may
// have open, until release is called: something works on it, which may take
// longer than the session lasts. It reports false if the place has already been
// given back.
func Hold(in *Incoming) (release func(), ok bool) {
	s := in.s
	s.mu.Lock()
	defer s.unlock()
	if s.released {
		return nil, false
	}
	s.held = true
	return func() {
		s.mu.Lock()
		s.held = false
		s.releaseCredit()
		s.unlock()
	}, true
}

// Session returns the session.
func (r *Runner) Session() *Session { return r.s }

// WaitOpen waits until the peer has answered the OPEN. If ctx ends first, the
// OPEN is taken back, without waiting for the outcome, and the error is ctx's;
// if the peer rejects it, or the session ends otherwise, the error is a
// *[Error].
func (r *Runner) WaitOpen(ctx context.Context) error {
	s := r.s
	s.mu.Lock()
	defer s.unlock()
	s.waiting = true
	err := s.waitOpen(ctx)
	s.waiting = false
	if s.owed {
		s.callLater(s.resume)
	}
	return err
}

// waitOpen is WaitOpen, with mu held.
func (s *Session) waitOpen(ctx context.Context) error {
	for {
		switch {
		case s.accepted:
			return nil // also if the peer has closed it already: its messages can be read
		case s.err != nil:
			return s.err
		case ctx.Err() != nil:
			s.startClose(CodeCancelled, "the dialer gave up", time.Now().Add(s.opts.closeTimeout()))
			return context.Cause(ctx)
		}
		changed := s.changedLocked()
		s.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
}

// LinkLost ends the session because its link has gone, in the way that e
// tells.
func (r *Runner) LinkLost(e Error) { r.s.step(&input{kind: inLinkLost, cause: e}) }

// Violation ends the session because a datagram of it broke the protocol.
func (r *Runner) Violation(reason string) { r.s.step(&input{kind: inMalformed, reason: reason}) }

// LinkChanged tells that the link's address or sizes may have changed, and
// passes the peer's limits on.
func (r *Runner) LinkChanged() {
	s := r.s
	s.mu.Lock()
	s.stepLocked(&input{kind: inSignalLimit, code: Code(s.link.PeerLimits().MaxSignals)})
	s.notify()
	s.unlock()
}

// Report tells the peer how many of its messages have arrived, if that has
// changed since the last time.
func (r *Runner) Report() {
	s := r.s
	s.mu.Lock()
	defer s.unlock()
	t := s.tally()
	if s.m.state == StateOpen && t.Received != s.reported {
		s.reported = t.Received
		s.stepLocked(&input{kind: inReport, tally: t})
	}
}

// CloseWith closes the session with a code of the protocol: the endpoint is
// going away, the peer is no longer trusted. It waits as
// [Session.CloseWithError] does; but what is unread on a session that has ended
// already stays there for its application, which has not closed it.
func (r *Runner) CloseWith(ctx context.Context, code Code, reason string) error {
	return r.s.closeWith(ctx, code, reason, false)
}

// Unproven reports whether the session ended with something of ours that
// nothing shows the peer to have read: a DONE, or a reset. Everything else that
// a side sends is read by the time the peer sends FIN.
func (r *Runner) Unproven() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.m.reset || r.s.m.closeAcked && !r.s.m.peerClosed
}

// Finished reports whether the session and its stream are over, and the link
// has been told, or is being told.
func (r *Runner) Finished() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.m.finished
}

// Live reports whether the session is one that an application has: accepted,
// by whichever side's application that was to do, and not over.
func (r *Runner) Live() bool {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted := s.flow != nil
	if s.opener {
		accepted = s.accepted
	}
	return accepted && s.m.state != StateClosed
}

// GiveUp ends a session that never opened here, because the endpoint is
// shutting down: an incoming one is rejected, an opening one taken back. One
// that opens just now is closed. It waits as [Session.CloseWithError] does.
//
// The code of the rejection is CodeInternal. An application may have seen the
// session, so CodeGoingAway, after which the peer opens it elsewhere, would say
// too much (PROTOCOL.md, "Shutdown").
func (r *Runner) GiveUp(ctx context.Context) {
	const reason = "the endpoint is shutting down"
	s := r.s
	s.mu.Lock()
	state := s.m.state
	switch {
	case state != StateIncoming:
	case s.incoming == nil: // its OPEN is not complete
		s.stepLocked(&input{kind: inAbort, cause: Error{Cause: CauseAborted, Code: CodeGoingAway}})
	default:
		s.incoming.answered = true
		s.stepLocked(&input{kind: inReject, frame: Reject{Code: CodeInternal, Reason: reason}})
	}
	s.unlock()
	switch state {
	case StateOpening:
		_ = s.closeWith(ctx, CodeCancelled, reason, true)
	case StateOpen:
		_ = s.closeWith(ctx, CodeGoingAway, reason, true)
	}
}
