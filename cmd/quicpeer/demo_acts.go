package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

// Codes that the demo's sessions are closed with: an application's own begin
// at 0x100.
const (
	codeGoodbye = 0x101
	codeDemoEnd = 0x1ff
)

const demoEndReason = "the demo is over"

// dialAhead is how far ahead the moment lies at which both sides dial: time
// for the command to reach both processes.
const dialAhead = 50 * time.Millisecond

func (d *demoScript) startProcesses(ctx context.Context) error {
	for _, p := range []struct {
		name string
		at   **demoProcess
	}{{"alice", &d.alice}, {"bob", &d.bob}, {"carol", &d.carol}} {
		process, ended, err := startDemoProcess(ctx, p.name, d.events)
		if err != nil {
			return err
		}
		*p.at = process
		d.running = append(d.running, ended)
	}
	return d.until(ctx, "the processes to start", func() bool { return d.reports(evStarted) == 3 })
}

// listenAttempts is how many ports are tried for a peer before any will do.
const listenAttempts = 5

// listen has every peer open its one port. Ports that are taken are left to
// who has them.
func (d *demoScript) listen(ctx context.Context) error {
	for i, p := range []*demoProcess{d.alice, d.bob} {
		others := []certs.PeerID{d.bob.id, d.carol.id}
		if p == d.bob {
			others = []certs.PeerID{d.alice.id, d.carol.id}
		}
		for attempt := 0; p.port == 0; attempt++ {
			port := d.ports[i] + 2*attempt // alice's ports and bob's stay apart
			switch {
			case attempt > listenAttempts:
				return fmt.Errorf("%s cannot open a UDP port: %s", p.name, d.log[len(d.log)-1].Error)
			case attempt == listenAttempts || port > 65535:
				port = 0
			}
			failed := d.reports(evNotListening)
			p.listening = demoCommand{Do: doListen, Address: net.JoinHostPort("", strconv.Itoa(port)), Trust: others, Serve: true}
			p.tell(p.listening)
			if err := d.until(ctx, p.name+" to listen", func() bool { return p.port != 0 || d.reports(evNotListening) > failed }); err != nil {
				return err
			}
		}
	}
	// A client trusts whom it dials, and nobody who dials it.
	d.carol.tell(demoCommand{Do: doListen, Address: ":0"})
	return d.until(ctx, "carol's port", func() bool { return d.carol.port != 0 })
}

// loopback returns the address of a port on this machine.
func loopback(family string, port uint16) string {
	host := "127.0.0.1"
	if family == "IPv6" {
		host = "::1"
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// dial has one peer open a session with another.
func (d *demoScript) dial(from, to *demoProcess, family string, at time.Time) *demoPair {
	pair := &demoPair{name: from.name + "-" + to.name + " " + family, from: from, to: to, family: family}
	d.sessions = append(d.sessions, pair)
	from.tell(demoCommand{Do: doDial, Session: pair.name, Address: loopback(family, to.port), Peer: to.id, At: at.UnixNano()})
	return pair
}

// untilOpen waits until both sides of all sessions have seen them open.
func (d *demoScript) untilOpen(ctx context.Context) error {
	return d.until(ctx, "the sessions to open", func() bool {
		for _, s := range d.sessions {
			if s.refusedError != "" {
				return true
			}
			if s.fromSide.opened == nil || s.toSide.opened == nil {
				return false
			}
		}
		return true
	})
}

func (d *demoScript) families(ctx context.Context) []string {
	if d.hasIPv6(ctx) {
		return []string{"IPv4", "IPv6"}
	}
	return []string{"IPv4"}
}

// hasIPv6 reports whether this machine has the IPv6 loopback address, and the
// peers' sockets take both families.
func (d *demoScript) hasIPv6(ctx context.Context) bool {
	c, err := new(net.ListenConfig).ListenPacket(ctx, "udp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = c.Close()
	for _, e := range d.log {
		if e.Kind == evListening {
			if a, err := netip.ParseAddrPort(e.Address); err != nil || a.Addr().Is4() {
				return false
			}
		}
	}
	return true
}

// crossAttempts is how often the two dials are tried that must be under way at
// the same time: on a busy machine, a process may get its turn too late.
const crossAttempts = 5

// dialBothWays has alice and bob dial each other at the same moment, over one
// family and then over the other.
func (d *demoScript) dialBothWays(ctx context.Context) error {
	families := d.families(ctx)
	for attempt := 1; ; attempt++ {
		missed := false
		for _, family := range families {
			at := time.Now().Add(dialAhead)
			a := d.dial(d.alice, d.bob, family, at)
			b := d.dial(d.bob, d.alice, family, at)
			if err := d.untilOpen(ctx); err != nil {
				return err
			}
			if err := errors.Join(a.failed(), b.failed()); err != nil {
				return err
			}
			missed = missed || !crossed(a, b)
		}
		if !missed || attempt == crossAttempts {
			break
		}
		d.timeline(time.Now(), "", "one dial was over before the other began: this machine is busy; once more")
		if err := d.reopen(ctx, d.alice, d.bob); err != nil {
			return err
		}
	}
	for i, family := range families {
		d.checkCrossed(family, d.sessions[2*i], d.sessions[2*i+1])
	}
	if len(families) == 1 {
		d.noteNoIPv6()
	}
	return nil
}

// crossed reports whether two dials were under way at the same time.
func crossed(a, b *demoPair) bool {
	return a.fromSide.opened.Began < b.fromSide.at && b.fromSide.opened.Began < a.fromSide.at
}

// reopen has the peers end everything and open their ports again.
func (d *demoScript) reopen(ctx context.Context, peers ...*demoProcess) error {
	for _, p := range peers {
		listen := p.listening
		listen.Address = net.JoinHostPort("", strconv.Itoa(int(p.port)))
		p.port = 0
		p.tell(listen)
	}
	failed := d.reports(evNotListening)
	if err := d.until(ctx, "the ports to open again", func() bool {
		return d.reports(evNotListening) > failed || d.over(func(*demoPair) bool { return true }) &&
			!slices.ContainsFunc(peers, func(p *demoProcess) bool { return p.port == 0 })
	}); err != nil {
		return err
	}
	if d.reports(evNotListening) > failed {
		return errors.New("another program has taken a port in the meantime; start the demo again")
	}
	d.sessions = nil
	return nil
}

func (p *demoPair) failed() error {
	if p.refusedError == "" {
		return nil
	}
	return fmt.Errorf("%s dials %s over %s: %s", p.from.name, p.to.name, p.family, p.refusedError)
}

// joinAsClient has carol, who serves nothing, dial both: alice directly, bob
// through a relay that loses packets.
func (d *demoScript) joinAsClient(ctx context.Context) error {
	families := d.families(ctx)
	direct := d.dial(d.carol, d.alice, families[len(families)-1], time.Now())
	if err := d.untilOpen(ctx); err != nil {
		return err
	}
	var err error
	lossy := faultnet.Faults{Loss: float64(d.loss) / 100}
	if d.relay, err = faultnet.Start(ctx, fmt.Sprintf("127.0.0.1:%d", d.bob.port), &faultnet.Config{ToServer: lossy, ToClient: lossy}); err != nil {
		return fmt.Errorf("the relay between carol and bob: %w", err)
	}
	relayed := &demoPair{name: "carol-bob IPv4", from: d.carol, to: d.bob, family: "IPv4", relayed: true}
	d.sessions = append(d.sessions, relayed)
	d.carol.tell(demoCommand{Do: doDial, Session: relayed.name, Address: d.relay.Addr().String(), Peer: d.bob.id})
	if err := d.untilOpen(ctx); err != nil {
		return err
	}
	return errors.Join(direct.failed(), relayed.failed())
}

// refuse has carol dial bob's port with alice's id: the session must not open.
func (d *demoScript) refuse(ctx context.Context) error {
	pair := &demoPair{name: "carol-bob with a wrong id", from: d.carol, to: d.bob, wrong: d.alice}
	d.sessions = append(d.sessions, pair)
	d.carol.tell(demoCommand{Do: doDial, Session: pair.name, Address: loopback("IPv4", d.bob.port), Peer: d.alice.id})
	if err := d.until(ctx, "the wrong id to be noticed", func() bool {
		return pair.refusedError != "" || pair.fromSide.opened != nil
	}); err != nil {
		return err
	}
	d.sessions = slices.DeleteFunc(d.sessions, func(p *demoPair) bool { return p == pair })
	d.checkRefused(pair)
	return nil
}

// talk has everybody send on all sessions at once.
func (d *demoScript) talk(ctx context.Context) error {
	for _, p := range d.processes() {
		p.tell(demoCommand{Do: doTalk, Messages: d.messages, Signals: d.signals})
	}
	return d.until(ctx, "everybody to have talked", func() bool { return d.reports(evTalked) == 3 })
}

// close has alice and bob close the sessions that they dialed; carol's stay
// open, for the endpoints to close at the end.
func (d *demoScript) close(ctx context.Context) error {
	for _, s := range d.sessions {
		if s.from == d.carol {
			s.closer, s.code, s.reason = s.to, codeDemoEnd, demoEndReason
			continue
		}
		s.closer, s.code, s.reason = s.from, codeGoodbye, fmt.Sprintf("goodbye %s, this was %s", s.to.name, s.family)
		s.from.tell(demoCommand{Do: doClose, Session: s.name, Code: s.code, Reason: s.reason})
	}
	return d.until(ctx, "the sessions to end", func() bool { return d.over(func(s *demoPair) bool { return s.from != d.carol }) })
}

// over reports whether both sides of the sessions have seen their end.
func (d *demoScript) over(of func(*demoPair) bool) bool {
	return !slices.ContainsFunc(d.sessions, func(s *demoPair) bool {
		return of(s) && (s.fromSide.ended == nil || s.toSide.ended == nil)
	})
}

// quit ends alice's endpoint, and bob's, which closes their sessions with
// carol, and then hers.
func (d *demoScript) quit(ctx context.Context) error {
	d.quitting = true
	for _, p := range []*demoProcess{d.alice, d.bob} {
		p.tell(demoCommand{Do: doQuit, Code: codeDemoEnd, Reason: demoEndReason})
	}
	if err := d.until(ctx, "alice and bob to quit", func() bool {
		return d.reports(evQuit) == 2 && d.over(func(*demoPair) bool { return true })
	}); err != nil {
		return err
	}
	d.carol.tell(demoCommand{Do: doQuit, Code: codeDemoEnd, Reason: demoEndReason})
	return d.until(ctx, "the processes to end", func() bool { return d.reports(evExited) == 3 })
}
