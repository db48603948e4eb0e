package main

import (
	"slices"

	"github.com/oneportnet/quicpeer/session"
)

// checkDial judges what a Dial said of its outcome, and who the peers are.
func (v *verdict) checkDial(h *history, c *conversation) {
	accepted, showings := 0, 0
	cutOff := false // by a kill, so that nobody knows whether it was accepted
	for _, a := range c.acceptors {
		for _, call := range a.callsOf(opAccept) {
			switch {
			case call.end == nil:
				cutOff = true
			case call.end.Err == nil:
				accepted++
			}
		}
		showings += len(a.in)
		for _, in := range a.in {
			if c.opener != nil {
				v.judge(c.opener.life.hadID(c.opener.endpoint, in.Peer), pIdentity, a.life, c.id, "the opener shows as %s", in.Peer)
			}
		}
	}
	if c.opener == nil {
		v.judge(false, pDial, nil, c.id, "it was offered to an application, and nobody has dialed it")
		return
	}
	v.judge(accepted <= 1, pDial, c.opener.life, c.id, "it was accepted %d times", accepted)
	v.judge(showings <= 1, pDial, c.opener.life, c.id, "it was shown to an application %d times", showings)
	for _, dial := range c.opener.callsOf(opDial) {
		if dial.end == nil {
			v.count("dials cut off by a kill")
			continue
		}
		o := dial.end.Err
		if o == nil {
			v.count("dials accepted")
			a := c.opener.other()
			has := a != nil && len(a.callsOf(opAccept)) > 0
			v.judge(has, pDial, c.opener.life, c.id, "Dial returned, and no application has accepted")
			if has {
				v.judge(a.life.hadID(a.endpoint, dial.end.Peer), pIdentity, c.opener.life, c.id, "the acceptor shows as %s", dial.end.Peer)
			}
			continue
		}
		v.count("dials failed: " + failure(o))
		target := int(dial.begin.N[0])
		switch {
		case cutOff:
			v.excuse(pNotActed)
		case o.Class == cNotActed:
			v.judge(accepted == 0, pNotActed, c.opener.life, c.id, "%s, and it was accepted", o.Text)
		case o.Class == cUntrusted || o.Class == cRefused || o.Class == cLimit || o.Class == cUnreachable,
			// Refused, busy, or, when there was no time to try again, going away.
			o.Class == cSession && o.Cause == "rejected" && (o.Code == 0x02 || o.Code == 0x03 || o.Code == codeGoingAway):
			v.judge(accepted == 0 && !shown(c, dial.end.T), pNotActed, c.opener.life, c.id, "%s, and an application has seen it", o.Text)
		case o.Class == cSession && o.Cause == "rejected" && slices.ContainsFunc(c.acceptors, func(a *half) bool { return a.leaving(o, dial.end.T) }):
			v.judge(accepted == 0, pRejected, c.opener.life, c.id, "%s, and it was accepted", o.Text)
		case o.Class == cSession && o.Cause == "rejected":
			v.judge(accepted == 0 && slices.ContainsFunc(c.acceptors, func(a *half) bool {
				return slices.ContainsFunc(a.callsOf(opReject), func(r *call) bool { return r.begin.Code == o.Code && r.begin.Reason == o.Reason })
			}), pRejected, c.opener.life, c.id, "%s, and no application has rejected it so", o.Text)
		}
		// Whatever is lost is lost for a reason. The link may be an old one, whose
		// peer has been gone for as long as that takes to notice. A handshake
		// takes 5 s at most until it fails, and may be shared with dials that
		// began before.
		from, silence := max(dial.begin.T-noticeLimit, h.linkSince(c.opener, target, int(dial.begin.N[1]), dial.begin.T)), lossSilence
		if o.Class == cUnreachable {
			from, silence = dial.begin.T-handshakeLimit, handshakeLimit-seenMargin/5
		}
		if o.Class == cUnknown || o.Class == cUnreachable {
			v.judgeLoss(h, c.opener.life, target, 0, h.disturbed(c.opener.life, c.opener.endpoint, target, int(dial.begin.N[1]), from, dial.end.T, silence), pLink, c.id,
				"%s, although nothing has befallen the two", o.Text)
		}
	}
}

// linkSince returns the earliest time from which a link that a dial uses at t
// can be.
func (h *history) linkSince(s *half, process, endpoint int, t int64) int64 {
	var own int64
	for _, e := range s.life.listens {
		if e.E == s.endpoint && e.T <= t {
			own = max(own, e.T)
		}
	}
	theirs := t
	for _, l := range h.lives(process) {
		for _, e := range l.listens {
			if e.E == endpoint {
				theirs = min(theirs, e.T)
			}
		}
	}
	return max(own, theirs)
}

// leaving reports whether an acceptor's endpoint answered for its application,
// because it was shutting down at t.
func (s *half) leaving(o *outcome, t int64) bool {
	return o.Code == uint64(session.CodeInternal) && slices.ContainsFunc(s.life.shuts, func(c *call) bool {
		return c.begin.E == s.endpoint && c.begin.T <= t+clockMargin
	})
}

// judgeLoss judges that a link was lost for a reason. If its sides together lose
// more packets than it has to bear, a loss without another reason is excused.
func (v *verdict) judgeLoss(h *history, l *life, process int, bears float64, disturbed bool, promise, session, format string, args ...any) {
	if !disturbed && h.loss(l.p)+h.loss(process) > bears {
		v.excuse(promise)
		v.count("links lost to loss")
		return
	}
	v.judge(disturbed, promise, l, session, format, args...)
}

// failure names an outcome in the summary.
func failure(o *outcome) string {
	if o.Class == cSession {
		return o.Cause
	}
	return o.Class
}

// shown reports whether an application was shown an open and had the time to
// answer it: its endpoint did not shut down before t. If it did, the open was
// rejected, and tried again.
func shown(c *conversation, t int64) bool {
	return slices.ContainsFunc(c.acceptors, func(a *half) bool {
		return slices.ContainsFunc(a.in, func(in event) bool { return !a.life.endpointEnds(a.endpoint, in.T, t) })
	})
}

// hadID reports whether an endpoint had a peer id.
func (l *life) hadID(endpoint int, id string) bool {
	return slices.ContainsFunc(l.listens, func(e event) bool { return e.E == endpoint && e.Peer == id })
}

// disturbed reports whether a link between two endpoints can have been lost
// between two times: one of them ended, was not there, or both together were
// silent for long enough.
func (h *history) disturbed(l *life, endpoint, process, theirs int, from, to, silence int64) bool {
	if l.endpointEnds(endpoint, from, to) {
		return true
	}
	sum := l.silence(from-silence, to)
	for _, peer := range h.lives(process) {
		if peer.first > to || peer.last < from-silence {
			continue
		}
		if !peer.upThroughout(theirs, from, to) || peer.endpointEnds(theirs, from, to) {
			return true
		}
		sum += peer.silence(from-silence, min(to, max(peer.last, from)))
	}
	return sum >= silence || !slices.ContainsFunc(h.lives(process), func(p *life) bool { return p.first <= from && p.last >= from })
}

// upThroughout reports whether an endpoint listened between two times, without
// a break. Between its end and its return it does not.
func (l *life) upThroughout(endpoint int, from, to int64) bool {
	up := int64(0)
	for _, e := range l.listens {
		if e.E == endpoint && e.T <= from {
			up = max(up, e.T)
		}
	}
	return up > 0 && !slices.ContainsFunc(l.shuts, func(c *call) bool {
		return c.begin.E == endpoint && c.begin.T >= up && c.begin.T <= to
	})
}
