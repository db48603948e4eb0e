package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// demoCheck is one thing the demo set out to prove.
type demoCheck struct {
	result string // ok, FAILED, or "--" for what could not be measured
	what   string
}

const (
	checkOK          = "ok"
	checkFailed      = "FAILED"
	checkNotMeasured = "--"
)

// check notes whether something held. What failed is told by wrong, one line
// each.
func (d *demoScript) check(wrong []string, format string, args ...any) {
	c := demoCheck{checkOK, fmt.Sprintf(format, args...)}
	if len(wrong) > 0 {
		c.result = checkFailed
		c.what += "\n  " + strings.Join(wrong, "\n  ")
	}
	d.checks = append(d.checks, c)
}

func (d *demoScript) notMeasured(format string, args ...any) {
	d.checks = append(d.checks, demoCheck{checkNotMeasured, fmt.Sprintf(format, args...)})
}

// noteNoIPv6 says why there is nothing to see of IPv6.
func (d *demoScript) noteNoIPv6() {
	d.notMeasured("IPv6: this machine has no IPv6 loopback address, or no sockets for both families; IPv4 only")
}

// checkCrossed tells whether two dials were under way at the same time.
func (d *demoScript) checkCrossed(family string, a, b *demoPair) {
	apart := time.Duration(a.fromSide.opened.Began - b.fromSide.opened.Began).Abs()
	var wrong []string
	if !crossed(a, b) {
		wrong = append(wrong, "one dial was over before the other began")
	}
	d.check(wrong, "over %s alice and bob dialed each other at the same moment (%v apart); both sessions opened", family, apart.Round(time.Microsecond))
}

// checkRefused tells whether a dial with the wrong id was refused.
func (d *demoScript) checkRefused(p *demoPair) {
	var wrong []string
	switch {
	case p.fromSide.opened != nil:
		wrong = append(wrong, "the session opened")
	case !strings.Contains(p.refusedError, d.alice.id.String()), !strings.Contains(p.refusedError, d.bob.id.String()):
		wrong = append(wrong, "the error does not name both ids: "+p.refusedError)
	}
	d.check(wrong, "a peer with another id than the one dialed is refused, and the error names both ids")
}

// countSockets counts the UDP sockets of each process, while all sessions are
// open.
func (d *demoScript) countSockets(context.Context) error {
	var wrong []string
	for _, p := range d.processes() {
		ports, err := udpPorts(p.pid)
		if errors.Is(err, errors.ErrUnsupported) {
			d.notMeasured("UDP sockets of each process: not measured here (on Linux they are)")
			return nil
		}
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("%s: %v", p.name, err))
		case len(ports) != 1 || ports[0] != p.port:
			wrong = append(wrong, fmt.Sprintf("%s has sockets on the ports %v, and its port is %d", p.name, ports, p.port))
		}
	}
	d.check(wrong, "each process has exactly one UDP socket, while %d sessions are open (the kernel's tables say)", len(d.sessions))
	return nil
}

// verdict prints what was proved, and reports whether all of it holds.
func (d *demoScript) verdict() bool {
	d.checkPorts()
	d.checkIDs()
	d.checkMessages()
	d.checkSignals()
	d.checkCloses()
	d.checkProcesses()
	d.out.linef("\nWhat this proves, measured:")
	failed := 0
	for _, c := range d.checks {
		d.out.linef("  %-6s  %s", c.result, strings.ReplaceAll(c.what, "\n", "\n          "))
		if c.result == checkFailed {
			failed++
		}
	}
	took := time.Since(d.start).Seconds()
	if failed > 0 {
		d.out.linef("\n%d of %d checks FAILED, after %.1f s.", failed, len(d.checks), took)
		return false
	}
	d.out.linef("\nAll of it held, in %.1f s.", took)
	return true
}

// sides calls f for both sides of every session.
func (d *demoScript) sides(f func(p *demoPair, who, other *demoProcess, side, otherSide demoSide)) {
	for _, p := range d.sessions {
		f(p, p.from, p.to, p.fromSide, p.toSide)
		f(p, p.to, p.from, p.toSide, p.fromSide)
	}
}

// checkPorts: whatever the others saw of a peer came from its one port.
func (d *demoScript) checkPorts() {
	var wrong []string
	seen := make(map[*demoProcess]int)
	d.sides(func(p *demoPair, who, other *demoProcess, side, _ demoSide) {
		if p.relayed {
			return // what is seen there is the relay
		}
		remote, err := netip.ParseAddrPort(side.opened.Remote)
		if err != nil || remote.Port() != other.port {
			wrong = append(wrong, fmt.Sprintf("%s: %s saw %s at %s", p.name, who.name, other.name, side.opened.Remote))
			return
		}
		seen[other]++
	})
	d.check(wrong, "all sessions, dialed or accepted, used the one port, as the other side saw it:\nalice %d in %d sessions, bob %d in %d, carol %d in %d",
		d.alice.port, seen[d.alice], d.bob.port, seen[d.bob], d.carol.port, seen[d.carol])
}

// checkIDs: both sides of every session verified who the other is.
func (d *demoScript) checkIDs() {
	var wrong []string
	d.sides(func(p *demoPair, who, other *demoProcess, side, _ demoSide) {
		if side.opened.RemoteID != other.id {
			wrong = append(wrong, fmt.Sprintf("%s: %s saw the id %v, not %s's", p.name, who.name, side.opened.RemoteID, other.name))
		}
	})
	d.check(wrong, "both sides of all %d sessions verified the other's id", len(d.sessions))
}

// checkMessages: what one side says of the messages, the other says too, and
// so does who counted outside the library.
func (d *demoScript) checkMessages() {
	var wrong []string
	var sent, unsent, received, dropped, lost uint64
	d.sides(func(p *demoPair, who, other *demoProcess, side, otherSide demoSide) {
		s, o := side.ended, otherSide.ended
		sent, received, lost = sent+s.Sent, received+s.TheyGot, lost+s.Lost
		dropped, unsent = dropped+s.TheyDropped, unsent+s.Unsent
		bad := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("%s, from %s to %s: ", p.name, who.name, other.name)+fmt.Sprintf(format, args...))
		}
		switch {
		case !s.Complete:
			bad("the counts never became complete")
		case s.Sent != o.TheySent || s.TheyGot != o.Received || s.TheyDropped != o.Dropped || s.Lost != o.LostIn:
			bad("one side counts %d sent, %d received, %d dropped, %d lost, the other %d, %d, %d, %d",
				s.Sent, s.TheyGot, s.TheyDropped, s.Lost, o.TheySent, o.Received, o.Dropped, o.LostIn)
		case s.Sent != s.TheyGot+s.Lost:
			bad("%d sent are not %d received and %d lost", s.Sent, s.TheyGot, s.Lost)
		case s.Offered != s.Sent+s.Unsent || o.Taken != o.Received-o.Dropped:
			bad("counted by hand, %d were given to send and %d taken; the library says %d sent, %d not, and %d received, %d of them dropped", s.Offered, o.Taken, s.Sent, s.Unsent, o.Received, o.Dropped)
		case o.Damaged > 0 || o.Repeated > 0:
			bad("%d messages came damaged, %d twice", o.Damaged, o.Repeated)
		case s.Offered != uint64(d.messages):
			bad("%d given to send, not %d", s.Offered, d.messages)
		}
	})
	text := fmt.Sprintf("%d messages sent = %d received + %d lost; both sides' counts agree in all sessions, and with a count by hand", sent, received, lost)
	if dropped > 0 {
		text += fmt.Sprintf(";\n%d of those received were dropped by a full receive queue", dropped)
	}
	if unsent > 0 {
		text += fmt.Sprintf(";\n%d more were never sent, the other side closed before; their senders know", unsent)
	}
	there, back := d.relay.Counts()
	d.check(wrong, "%s;\nthe relay swallowed %d packets of %d; none came twice or damaged", text, there.Dropped()+back.Dropped(), there.Offered+back.Offered)
}

// checkSignals: all of them arrived, in order.
func (d *demoScript) checkSignals() {
	var wrong []string
	taken := uint64(0)
	d.sides(func(p *demoPair, who, other *demoProcess, side, otherSide demoSide) {
		taken += otherSide.ended.SignalsIn
		if side.ended.SignalsOut != uint64(d.signals) || otherSide.ended.SignalsIn != uint64(d.signals) || otherSide.ended.Disorder > 0 {
			wrong = append(wrong, fmt.Sprintf("%s, from %s to %s: %d sent, %d confirmed, %d taken, %d in disorder",
				p.name, who.name, other.name, d.signals, side.ended.SignalsOut, otherSide.ended.SignalsIn, otherSide.ended.Disorder))
		}
	})
	d.check(wrong, "all %d signals arrived, in order, and their senders know", taken)
}

// checkCloses: who closed knows that the other side knows, and the other side
// has the same code and reason.
func (d *demoScript) checkCloses() {
	var wrong []string
	d.sides(func(p *demoPair, who, other *demoProcess, side, _ demoSide) {
		s := side.ended
		if !s.Closed || !s.Confirmed || s.Remote == (who == p.closer) || s.Code != p.code || s.Reason != p.reason {
			wrong = append(wrong, fmt.Sprintf("%s: %s closed with %#x %q; %s has: %s (confirmed: %v)", p.name, p.closer.name, p.code, p.reason, who.name, s.Error, s.Confirmed))
		}
	})
	d.check(wrong, "all %d closes were confirmed, and both sides have the same code and reason", len(d.sessions))
}

// checkProcesses: every process ended by itself.
func (d *demoScript) checkProcesses() {
	var wrong []string
	for _, e := range d.log {
		if (e.Kind == evExited || e.Kind == evQuit) && e.Error != "" {
			wrong = append(wrong, e.peer+": "+e.Error)
		}
	}
	d.check(wrong, "all three processes ended by themselves")
}
