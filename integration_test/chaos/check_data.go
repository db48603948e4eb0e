package main

import "github.com/oneportnet/quicpeer/datagram"

// checkMessages judges each message that a side received.
func (v *verdict) checkMessages(s *half) {
	id := s.conversation.id
	for _, e := range s.bad {
		v.judge(false, pMessages, s.life, id, "%s", e.Text)
	}
	o := s.other()
	if o == nil {
		v.judge(len(s.got) == 0, pMessages, s.life, id, "messages of a session that nobody opened")
		return
	}
	limit := make(map[uint64]bool) // numbers that may come
	for _, c := range o.callsOf(opSend) {
		end := c.begin.N[1]
		if c.end != nil {
			end = c.end.N[1] // what was not taken is not sent
		}
		for n := c.begin.N[0]; n < end; n++ {
			limit[n] = true
			v.Figures["messages sent"]++
		}
	}
	seen := make(map[uint64]bool)
	for _, e := range s.got {
		for _, n := range e.N {
			v.Figures["messages received"]++
			v.judge(!seen[n], pMessages, s.life, id, "the %s got message %d twice", s.role, n)
			v.judge(limit[n], pMessages, s.life, id, "the %s got message %d, which was not sent", s.role, n)
			seen[n] = true
		}
	}
}

// checkSignals judges the signals that a side sent, and what it was told of
// them.
func (v *verdict) checkSignals(s *half) {
	id, o := s.conversation.id, s.other()
	if o == nil || o.other() != s { // shown to this side, which has not accepted
		return
	}
	sent := s.callsOf(opSignal)
	next := 0 // the first that may come now
	taken := make(map[uint64]bool)
	for _, c := range o.callsOf(opReceiveSignal) {
		if c.end == nil || c.end.Err != nil {
			continue
		}
		v.count("signals taken")
		n := c.end.N[0]
		for next < len(sent) && sent[next].begin.N[0] != n && sent[next].end != nil && sent[next].end.Err != nil && sent[next].end.Err.Class == cNotSent {
			next++
		}
		inOrder := next < len(sent) && sent[next].begin.N[0] == n
		v.judge(inOrder, pSignals, o.life, id, "the %s took signal %d out of order, twice, or without that it was sent", o.role, n)
		taken[n] = true
		if inOrder {
			next++
		}
	}
	for _, c := range sent {
		n := c.begin.N[0]
		switch {
		case c.end == nil:
		case c.end.Err == nil:
			v.count("signals confirmed")
			switch {
			case taken[n] || o.life.bye || o.life.last-c.end.T > seenMargin && o.life.silence(c.end.T, o.life.last) == 0:
				v.judge(taken[n], pTaken, o.life, id, "Signal %d of the %s returned nil, and the other side's application has not taken it", n, s.role)
			default:
				v.excuse(pTaken)
			}
		case c.end.Err.Class == cNotSent || c.end.Err.Class == cSession:
			v.judge(!taken[n], pNotSent, s.life, id, "signal %d of the %s was taken, after %q", n, s.role, c.end.Err.Text)
		default:
			v.count("signals with another outcome: " + c.end.Err.Class)
		}
	}
}

// checkCounts judges the counts of a session that is over.
func (v *verdict) checkCounts(c *conversation) {
	for _, s := range append([]*half{c.opener}, c.acceptors...) {
		if s == nil || s.final == nil {
			continue
		}
		v.checkSums(s)
		if !s.final.Stats.Complete {
			v.count("counts incomplete")
			continue
		}
		v.count("counts complete")
		o := s.other()
		if o == nil || o.final == nil {
			v.excuse(pStats)
			continue
		}
		mine, theirs := s.final.Stats, o.final.Stats
		v.judge(mine.Remote.Sent == theirs.Local.Sent && mine.Remote.Received == theirs.Local.Received && mine.Remote.Dropped == theirs.Local.Dropped &&
			mine.Lost == mine.Local.Sent-theirs.Local.Received && mine.LostIncoming == theirs.Local.Sent-mine.Local.Received &&
			theirs.Local.Received <= mine.Local.Sent && mine.Local.Received <= theirs.Local.Sent, pStats, s.life, c.id,
			"the %s has %+v\nthe %s has %+v", s.role, *mine, o.role, *theirs)
		if theirs.Complete {
			v.judge(mine.Lost == theirs.LostIncoming && theirs.Lost == mine.LostIncoming, pStats, s.life, c.id,
				"lost by the %s's counts %d and %d, by the other's %d and %d", s.role, mine.Lost, mine.LostIncoming, theirs.LostIncoming, theirs.Lost)
		}
		v.Figures["messages lost, by complete counts"] += int(mine.Lost)
	}
}

// checkSums judges that a side's counts are what its application did, and that
// they account for every message.
func (v *verdict) checkSums(s *half) {
	var pushed, got uint64
	for _, c := range s.callsOf(opSend) {
		pushed += c.end.N[1] - c.end.N[0] // the session is over: each has returned
	}
	for _, e := range s.got {
		got += uint64(len(e.N))
	}
	n := s.final.Stats.Local
	if n.Queued > 0 { // handed to a link that is dead, and does not take them
		v.count("sessions torn with messages in hand")
	}
	v.judge(n.Pushed == pushed && n.Pushed == n.Sent+n.SendDrops.Total()+uint64(n.Queued) && (n.Queued == 0 || !s.final.Stats.Complete), pSums, s.life, s.conversation.id,
		"the %s's Send took %d messages; its counts: %+v", s.role, pushed, n)
	v.judge(n.Received == got+n.Dropped+n.ReceiveDrops[datagram.ReasonDiscarded]+uint64(n.Unread), pSums, s.life, s.conversation.id,
		"the %s's application took %d messages; its counts: %+v", s.role, got, n)
	v.judge(n.Dropped == n.ReceiveDrops[datagram.ReasonOldest]+n.ReceiveDrops[datagram.ReasonNewest] && n.Late == n.ReceiveDrops[datagram.ReasonLate], pSums, s.life, s.conversation.id,
		"the %s's drops do not add up: %+v", s.role, n)
	v.Figures["messages dropped by full queues"] += int(n.Dropped)
}
