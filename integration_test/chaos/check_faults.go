package main

// checkGone judges that the peers of a process that is gone, killed or stopped
// for long, notice it in time; that it notices itself that it was stopped for
// long; and that a short stop ends nothing.
func (v *verdict) checkGone(h *history, l *life) {
	if l.killed > 0 {
		v.noticed(h, l, l.killed)
	}
	for _, stop := range l.stops {
		switch length := stop.to - stop.from; {
		case length >= longSilence:
			v.noticed(h, l, stop.from)
			for _, c := range h.talks {
				for _, s := range c.halvesOf(l) {
					if o := s.other(); o != nil && o.life != l && s.opened > 0 && s.opened < stop.from && s.ended() > stop.from && o.opened > 0 {
						v.inTime(s, stop.to, "it was stopped itself")
					}
				}
			}
		case length <= shortSilence:
			for _, c := range h.talks {
				for _, s := range c.halvesOf(l) {
					o := s.other()
					if o == nil || o.life == l || s.opened == 0 || s.opened > stop.from || o.opened == 0 || o.opened > stop.from ||
						s.final == nil || s.final.Err == nil || s.ended() < stop.to || o.ended() < stop.from {
						continue
					}
					if o.ended() > stop.to {
						// What ends later for want of a link, checkLoss judges.
						v.judge(true, pShort, l, c.id, "")
					} else if o.final != nil && o.final.Err != nil && o.final.Err.Cause == "link lost" {
						v.judgeLoss(h, o.life, l.p, bearable, h.disturbed(o.life, o.endpoint, l.p, s.endpoint, o.opened, o.ended(), lossSilence), pShort, c.id,
							"%q, while the peer was stopped for %v", o.final.Err.Text, us(length))
					}
				}
			}
		}
	}
}

// halvesOf returns the sides of a session that one start of a process has.
func (c *conversation) halvesOf(l *life) []*half {
	var all []*half
	for _, s := range append([]*half{c.opener}, c.acceptors...) {
		if s != nil && s.life == l {
			all = append(all, s)
		}
	}
	return all
}

// noticed judges that all who had a session with l when it was gone, at t, know
// in time that it is over.
func (v *verdict) noticed(h *history, l *life, t int64) {
	for _, c := range h.talks {
		for _, gone := range c.halvesOf(l) {
			s := gone.other()
			if s == nil || s.life == l || s.opened == 0 || s.opened >= t || gone.opened == 0 || gone.ended() < t || s.ended() < t {
				continue
			}
			v.inTime(s, t, "its peer is gone")
		}
	}
}

// inTime judges that a side knew soon after t that its session was over.
func (v *verdict) inTime(s *half, t int64, why string) {
	by := t + noticeLimit
	switch {
	case s.ended() <= by:
		v.judge(true, pNoticed, s.life, s.conversation.id, "")
		if s.final != nil && s.final.Err != nil && s.life.killed == 0 {
			v.count("gone peers noticed as " + s.final.Err.Cause)
		}
	case s.life.last < by || s.life.silence(t, by) > 0:
		v.excuse(pNoticed) // nobody was there to notice it
	default:
		v.judge(false, pNoticed, s.life, s.conversation.id, "the %s does not know %v after %s", s.role, us(min(s.ended(), s.life.last)-t), why)
	}
}
