package integration_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// promises of the README, for one session whose both sides are over: what each
// side was told must be true of the other.
type promises struct {
	sides  [2]*side
	broken []string
}

func (c *promises) broke(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

func (c *promises) check() {
	c.opening()
	for who, e := range c.sides {
		c.broken = append(c.broken, e.broken...)
		if e.s == nil {
			continue
		}
		other := c.sides[1-who]
		c.ends(e)
		c.close(e, other)
		c.blame(e, other)
		c.messages(e, other)
		c.signals(e, other)
		c.counts(e, other)
	}
}

// opening: Dial returns a session when the peer's application has accepted it;
// or its refusal; or an error that says whether it may have acted on it.
func (c *promises) opening() {
	dialer, acceptor := c.sides[0], c.sides[1]
	if acceptor.offered > 1 {
		c.broke("one Dial was offered %d times", acceptor.offered)
	}
	rejected := dialer.plan.reject
	var end *session.Error
	switch err := dialer.refused; {
	case dialer.s != nil:
		if acceptor.s == nil {
			c.broke("Dial succeeded, and nobody had accepted: offered %d times, then %v", acceptor.offered, acceptor.answer)
		}
	case errors.As(err, &end) && end.Cause == session.CauseRejected:
		if !rejected || acceptor.offered == 0 || end.Code != acceptor.plan.code(1) || end.Reason != acceptor.plan.reason(1) || !end.Remote {
			c.broke("rejected, which the acceptor had not said: %v", err)
		}
	case errors.As(err, &end) && end.Cause == session.CauseAborted && end.Remote && end.Code == session.CodeViolation:
		// Rule 2: the peer saw that there is such a stream, by a later one, and
		// the OPEN, lost again and again, had not come 10 s later.
		if acceptor.offered > 0 {
			c.broke("aborted as a violation, and there was none: %v", err)
		}
	case errors.As(err, &end) && end.Cause == session.CauseAborted && end.Remote:
		// An answer, too: an abort overtakes an ACCEPT that was lost, and one
		// with a REJECT's code follows it when nothing confirms it for 5 s.
		if acceptor.offered == 0 || end.Code != acceptor.plan.code(1) || acceptor.s != nil && !acceptor.ended {
			c.broke("aborted, which the acceptor had not done: %v", err)
		}
	case errors.Is(err, quicpeer.ErrOutcomeUnknown), errors.Is(err, context.DeadlineExceeded):
		// It may have been accepted, or not.
	case acceptor.offered > 0:
		c.broke("the peer surely has not acted, says Dial, and it was asked: %v", err)
	}
}

// ends: every call on a dead session returns the same typed error.
func (c *promises) ends(e *side) {
	end, ok := e.s.Err().(*session.Error)
	if !ok {
		c.broke("side %d: ended with %v", e.who, e.s.Err())
		return
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_, again := e.s.Receive(over)
	_, signal := e.s.ReceiveSignal(over)
	if e.plan.sides[e.who].takesNone {
		e.signalReceiving, signal = end, end // it has not asked, and there may be some
	}
	for call, err := range map[string]error{
		"Receive": e.receiving, "ReceiveSignal": e.signalReceiving, "Send": e.sending,
		"Receive again": again, "ReceiveSignal again": signal,
		"Send again": e.s.Send(over, nil), "Signal again": e.s.Signal(over, nil),
	} {
		if err == nil && call != "Send" || err != nil && !sameEnd(err, end) {
			c.broke("side %d: %s returned %v, the session ended with %v", e.who, call, err, end)
		}
	}
	// Of several Closes the first decides; a Close that comes too late says why.
	want, again := error(end), e.s.Close(over)
	if e.closed() && !end.Remote {
		want = e.ending
		if end.Confirmed != e.confirmed() {
			c.broke("side %d: confirmed is %v, Close returned %v", e.who, end.Confirmed, e.ending)
		}
	}
	if fmt.Sprint(again) != fmt.Sprint(want) {
		c.broke("side %d: Close again returned %v, want %v", e.who, again, want)
	}
}

func sameEnd(err error, want *session.Error) bool {
	var e *session.Error
	return errors.As(err, &e) && e.Cause == want.Cause && e.Code == want.Code && e.Reason == want.Reason && e.Remote == want.Remote
}

// close: a nil from Close means that the peer's session knows code and reason;
// if it had closed as well, its own is its cause. Close takes at most 5 s.
func (c *promises) close(e, other *side) {
	if e.took > session.DefaultCloseTimeout {
		c.broke("side %d: its end took %v", e.who, e.took)
	}
	if !e.confirmed() {
		return
	}
	if !sameEnd(e.s.Err(), &session.Error{Cause: session.CauseClosed, Code: e.plan.code(e.who), Reason: e.plan.reason(e.who)}) {
		c.broke("side %d: Close returned nil, its own cause is %v", e.who, e.s.Err())
	}
	if other.s == nil {
		c.broke("side %d: Close returned nil, the other side has no session", e.who)
		return
	}
	err := other.s.Err()
	known := sameEnd(err, &session.Error{Cause: session.CauseClosed, Code: e.plan.code(e.who), Reason: e.plan.reason(e.who), Remote: true})
	crossed := other.ended && sameEnd(err, &session.Error{Cause: session.CauseClosed, Code: other.plan.code(other.who), Reason: other.plan.reason(other.who)})
	if !known && !crossed {
		c.broke("side %d: Close returned nil, the other side's cause is %v", e.who, err)
	}
}

// blame: who is said to have ended the session did it, as it is said.
func (c *promises) blame(e, other *side) {
	var end *session.Error
	if !errors.As(e.s.Err(), &end) {
		return // noticed before
	}
	doer := e
	if end.Remote {
		doer = other
	}
	how := doer.plan.sides[doer.who].end
	switch end.Cause {
	case session.CauseClosed:
		if !doer.ended || how != endsClose || end.Code != doer.plan.code(doer.who) || end.Reason != doer.plan.reason(doer.who) {
			c.broke("side %d: says %v; side %d did not", e.who, end, doer.who)
		}
	case session.CauseAborted:
		// A Close that was not confirmed in time aborts with its code; a Dial
		// that was given up takes its OPEN back.
		if doer.s != nil && (!doer.ended || end.Code != doer.plan.code(doer.who)) {
			c.broke("side %d: says %v; side %d did not", e.who, end, doer.who)
		}
	case session.CauseTimeout:
		if end.Remote || !e.ended || e.ending == nil {
			c.broke("side %d: says %v; its Close said %v", e.who, end, e.ending)
		}
	case session.CauseViolation, session.CauseRejected, session.CauseSuperseded:
		c.broke("side %d: %v", e.who, end)
	}
}

// messages: what came was sent.
func (c *promises) messages(e, other *side) {
	for i := range e.got {
		if i < 0 || i >= other.sent {
			c.broke("side %d: got message %d, the other side has sent %d", e.who, i, other.sent)
		}
	}
}

// signals: nil means that the peer's application has taken it, any other result
// is as honest.
func (c *promises) signals(e, other *side) {
	for i, err := range e.signals {
		taken, arrived := i < other.gotSignals, other.s != nil && uint64(i) < other.s.Stats().SignalsReceived
		switch {
		case err == nil && !taken:
			c.broke("side %d: signal %d was taken, says Signal; it was not", e.who, i)
		case errors.Is(err, session.ErrSignalNotTaken) && !arrived: // it may be taken after the end
			c.broke("side %d: signal %d did not arrive; Signal says %v", e.who, i, err)
		case errors.Is(err, session.ErrSignalNotSent) && arrived:
			c.broke("side %d: signal %d arrived; Signal says %v", e.who, i, err)
		}
	}
	if other.s != nil && other.gotSignals > len(e.signals) {
		c.broke("side %d: sent %d signals, the other side took %d", e.who, len(e.signals), other.gotSignals)
	}
}

// counts: what each side counts is what its application did; and once they are
// complete, they are what the other side counts.
func (c *promises) counts(e, other *side) {
	st := e.s.Stats()
	if own := st.Local; own.Pushed != uint64(e.sent) || own.Pushed != own.Sent+own.SendDrops.Total()+uint64(own.Queued) {
		c.broke("side %d: Send took %d messages, the counts say %+v", e.who, e.sent, own)
	}
	if st.Local.Received < uint64(len(e.got)) {
		c.broke("side %d: got %d messages, counted %d", e.who, len(e.got), st.Local.Received)
	}
	if !st.Complete {
		return
	}
	if other.s == nil {
		c.broke("side %d: complete counts, and no other side", e.who)
		return
	}
	o := other.s.Stats().Local
	if st.Remote.Sent != o.Sent || st.Remote.Received != o.Received || st.Lost != st.Local.Sent-o.Received || st.LostIncoming != o.Sent-st.Local.Received {
		c.broke("side %d: complete counts %+v, the other side has %+v", e.who, st, o)
	}
	if int(st.Local.Received) != len(e.got)+int(st.Local.Dropped)+int(st.Local.ReceiveDrops[datagram.ReasonDiscarded])+st.Local.Unread {
		c.broke("side %d: got %d messages of %+v", e.who, len(e.got), st.Local)
	}
}
