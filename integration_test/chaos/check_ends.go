package main

import "slices"

// sameEnd reports whether two outcomes tell the same end of a session.
func sameEnd(a, b *outcome) bool {
	return a != nil && b != nil && a.Cause == b.Cause && a.Code == b.Code && a.Reason == b.Reason && a.Remote == b.Remote
}

// checkCause judges that all calls on a session that is over return one cause.
func (v *verdict) checkCause(s *half) {
	if s.final == nil {
		return
	}
	f := s.final.Err
	v.judge(f != nil && f.Cause != "", pCause, s.life, s.conversation.id, "the session is over, and has no cause: %v", text(f))
	if f == nil {
		return
	}
	for _, c := range s.calls {
		switch c.begin.Op {
		case opSend, opReceive, opReceiveSignal, opSignal:
			if c.end != nil && c.end.Err != nil && c.end.Err.Cause != "" {
				v.judge(sameEnd(c.end.Err, f), pCause, s.life, s.conversation.id, "%s by the %s returns %q, the session's cause is %q", c.begin.Op, s.role, c.end.Err.Text, f.Text)
			}
			if c.begin.Limit == 0 && c.end != nil && c.end.Err != nil {
				v.judge(c.end.Err.Cause != "", pCause, s.life, s.conversation.id, "%s by the %s returns %q, which is no end of a session", c.begin.Op, s.role, c.end.Err.Text)
			}
		}
	}
	for _, e := range s.again {
		v.judge(sameEnd(e.Err, f), pCause, s.life, s.conversation.id, "%s by the %s, after the end, returns %v, the session's cause is %q", e.Op, s.role, text(e.Err), f.Text)
	}
}

func text(o *outcome) string {
	if o == nil {
		return "nil"
	}
	return o.Text
}

// began reports whether a side began to end a session in a way, by itself or
// with its endpoint.
func (s *half) began(ops []string, code uint64, reason string, anyReason bool) bool {
	match := func(c *call) bool {
		return slices.Contains(ops, c.begin.Op) && c.begin.Code == code && (anyReason || c.begin.Reason == reason)
	}
	return slices.ContainsFunc(s.calls, match) ||
		slices.ContainsFunc(s.life.shuts, func(c *call) bool {
			// A session that opens while its endpoint shuts down is closed with
			// a code that says so.
			return c.begin.E == s.endpoint && (match(c) || code == codeGoingAway && slices.Contains(ops, opShutdown))
		})
}

// codeCancelled is what takes back an OPEN, codeGoingAway what refuses one.
const codeCancelled, codeGoingAway = 0x0a, 0x05

// gaveUp reports whether a side that has no session in hand may have taken its
// OPEN back: its Dial failed, or was cut off.
func (s *half) gaveUp() bool { return s.role == roleOpener && s.opened == 0 }

// checkEnd judges how a session ended: by whom, and that it was that one.
func (v *verdict) checkEnd(h *history, s *half) {
	if s.opened == 0 || s.final == nil || s.final.Err == nil {
		return
	}
	f, id, o := s.final.Err, s.conversation.id, s.other()
	v.count("ends: " + f.Cause)
	byWhom := f.Remote
	switch f.Cause {
	case "closed", "aborted":
		ops := []string{opClose, opShutdown}
		anyReason := f.Cause == "aborted" // an abort carries none
		if anyReason {
			ops = append(ops, opAbort) // a close without confirmation ends as one
		}
		if byWhom {
			v.judge(o != nil && (o.began(ops, f.Code, f.Reason, anyReason) || o.gaveUp() && f.Code == codeCancelled), pWho, s.life, id,
				"the %s got %q, which the other side has not begun", s.role, f.Text)
		} else {
			v.judge(s.began(ops, f.Code, f.Reason, anyReason), pOwn, s.life, id, "the %s got %q, which it has not begun", s.role, f.Text)
		}
	case "link closed", "link lost", "peer restarted", "superseded":
		v.checkLoss(h, s, o)
	default:
		v.judge(false, pWho, s.life, id, "the %s got %q, which nobody should", s.role, f.Text)
	}
}

// checkLoss judges that the link under a session was lost for a reason, and
// that the reason is named rightly.
func (v *verdict) checkLoss(h *history, s, o *half) {
	f, id := s.final.Err, s.conversation.id
	if o == nil {
		v.excuse(pLink) // killed before it could say that it has the session
		return
	}
	silence, bears := lossSilence, bearable
	if f.Cause == "superseded" || f.Code == 0x06 {
		silence, bears = supersedeSilence, 0
	}
	from, to := s.asked(), s.ended()
	v.judgeLoss(h, s.life, o.life.p, bears, h.disturbed(s.life, s.endpoint, o.life.p, o.endpoint, from, to, silence), pLink, id,
		"the %s got %q, although nothing has befallen the two", s.role, f.Text)
	if f.Cause == "peer restarted" {
		again := false
		for _, l := range h.lives(o.life.p) {
			again = again || slices.ContainsFunc(l.listens, func(e event) bool { return e.E == o.endpoint && e.T > from && e.T < to+seenMargin })
		}
		// A peer that has given a link up answers like one that has restarted.
		v.judge(again || s.life.silence(from-lossSilence, to)+o.life.silence(from-lossSilence, to) >= lossSilence, pLink, s.life, id,
			"the %s got %q, and the peer has not", s.role, f.Text)
	}
}

// checkClose judges what Close promised.
func (v *verdict) checkClose(s *half) {
	for _, c := range s.callsOf(opClose) {
		id := s.conversation.id
		if c.end == nil {
			continue
		}
		if c.end.Err != nil {
			v.count("closes not confirmed: " + closeFailure(c.end.Err))
			v.judge(c.end.Err.Class == cSession, pClose, s.life, id, "Close failed with %q, which is no session's end", c.end.Err.Text)
			continue
		}
		v.count("closes confirmed")
		// Of several closes of a side the first decides code and reason, and that
		// may be its endpoint's shutdown.
		if s.final != nil && s.final.Err != nil {
			f := s.final.Err
			v.judge(f.Cause == "closed" && !f.Remote && f.Confirmed && s.began([]string{opClose, opShutdown}, f.Code, f.Reason, false), pOwn, s.life, id,
				"Close returned nil to the %s, whose session's cause is %q", s.role, f.Text)
		}
		v.seenByPeer(pClose, s, c.end.T, func(o *half, f *outcome) {
			told, crossed := s.told(o, f)
			if crossed {
				v.count("crossed closes")
			}
			v.judge(told || crossed, pClose, o.life, id, "Close of the %s returned nil, and the other side got %q", s.role, f.Text)
		})
	}
}

// told reports whether the end that the other side got is what this side's close
// has told it, or else one that the other side began itself.
func (s *half) told(o *half, f *outcome) (told, byItself bool) {
	if f.Cause != "closed" {
		return false, false
	}
	closes := []string{opClose, opShutdown}
	if !f.Remote {
		return false, o.began(closes, f.Code, f.Reason, false)
	}
	same := s.final == nil || s.final.Err == nil || f.Code == s.final.Err.Code && f.Reason == s.final.Err.Reason
	return same && s.began(closes, f.Code, f.Reason, false), false
}

func closeFailure(o *outcome) string {
	if o.Cause == "" {
		return o.Class
	}
	if o.Remote {
		return o.Cause + " by the peer"
	}
	return o.Cause
}

// seenByPeer has the end of the other side of a session judged, at the latest
// known to it at t. Excused is a peer that was killed too soon after, and a
// session that the peer's application never had.
func (v *verdict) seenByPeer(promise string, s *half, t int64, judge func(*half, *outcome)) {
	o := s.other()
	switch {
	case o == nil && s.role == roleOpener:
		v.judge(false, pDial, s.life, s.conversation.id, "a session that no application has accepted")
	case o == nil:
		v.judge(false, pDial, s.life, s.conversation.id, "a session that nobody has dialed")
	case o.final != nil && o.final.Err != nil:
		judge(o, o.final.Err)
	case o.life.bye && o.opened > 0:
		v.judge(false, promise, o.life, s.conversation.id, "the %s's application was told nothing", o.role)
	case o.opened > 0 && o.life.last-t > finalMargin && o.life.silence(t, o.life.last) == 0:
		v.judge(false, promise, o.life, s.conversation.id, "the %s's application was told nothing in %v", o.role, us(o.life.last-t))
	default:
		v.excuse(promise)
	}
}

// checkReports judges what a shutdown reported of a session.
func (v *verdict) checkReports(s *half) {
	for _, r := range s.reports {
		if r.Err != nil {
			v.count("sessions not confirmed at a shutdown")
			continue
		}
		v.count("sessions confirmed at a shutdown")
		v.seenByPeer(pShutdown, s, r.T, func(o *half, f *outcome) {
			told, byItself := s.told(o, f)
			v.judge(told || byItself, pShutdown, o.life, s.conversation.id, "the shutdown of the %s is confirmed, and the other side got %q", s.role, f.Text)
		})
	}
}
