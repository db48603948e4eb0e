package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

// demoScript is the demo as seen by the process that directs it. One goroutine
// plays it and owns everything here.
type demoScript struct {
	demoConfig
	out   *printer
	start time.Time

	alice, bob, carol *demoProcess
	running           []<-chan struct{} // one for each process, closed when it has ended
	relay             *faultnet.Relay
	events            chan demoEvent
	quitting          bool

	log      []demoEvent // everything reported so far
	printed  int         // of log, how much the timeline shows
	sessions []*demoPair
	checks   []demoCheck
}

// demoPair is one session, with what both sides say of it.
type demoPair struct {
	name         string
	from, to     *demoProcess
	family       string
	relayed      bool
	fromSide     demoSide
	toSide       demoSide
	wrong        *demoProcess // whose id is expected instead; nil if the right one
	closer       *demoProcess
	code         uint64
	reason       string
	refusedError string // of a dial that must fail
}

type demoSide struct {
	opened *demoOpened
	at     int64 // when
	ended  *demoEnded
}

func newDemoScript(f demoConfig, out *printer) *demoScript {
	// Room for what arrives while the script is busy printing.
	return &demoScript{demoConfig: f, out: out, start: time.Now(), events: make(chan demoEvent, 64)}
}

// play runs the demo from the first process to the last.
func (d *demoScript) play(ctx context.Context) error {
	d.out.linef("Two peers on this machine, each with one UDP port, dial each other from the port they listen on.\n")
	d.out.linef("   time    peer   what")
	for _, act := range []func(context.Context) error{
		d.startProcesses, d.listen, d.dialBothWays, d.joinAsClient, d.refuse, d.countSockets, d.talk, d.close, d.quit,
	} {
		err := act(ctx)
		d.flush()
		if err != nil {
			return err
		}
	}
	return nil
}

// until takes in reports until done is satisfied.
func (d *demoScript) until(ctx context.Context, what string, done func() bool) error {
	for !done() {
		select {
		case e := <-d.events:
			d.log = append(d.log, e)
			if err := d.note(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("still waiting for %s", what)
		}
	}
	d.flush()
	return nil
}

// note keeps what a report tells about processes and sessions.
func (d *demoScript) note(e demoEvent) error {
	p := d.process(e.peer)
	switch e.Kind {
	case evStarted:
		p.pid, p.id = e.PID, e.ID
	case evListening:
		addr, err := netip.ParseAddrPort(e.Address)
		if err != nil {
			return err
		}
		p.port = addr.Port()
	case evOpened, evEnded, evDialFailed:
		pair := d.pair(e.Session)
		if pair == nil {
			return fmt.Errorf("%s speaks of a session %q that the demo does not know", e.peer, e.Session)
		}
		side := &pair.fromSide
		if p == pair.to {
			side = &pair.toSide
		}
		switch e.Kind {
		case evOpened:
			side.opened, side.at = e.Opened, e.At
		case evEnded:
			side.ended = e.Ended
		case evDialFailed:
			pair.refusedError = e.Error
		}
	case evFailed:
		return fmt.Errorf("%s: %s", e.peer, e.Error)
	case evExited:
		if !d.quitting {
			return fmt.Errorf("the process of %s has ended before its time: %s", e.peer, cmp.Or(e.Error, "exit status 0"))
		}
	}
	return nil
}

func (d *demoScript) processes() []*demoProcess { return []*demoProcess{d.alice, d.bob, d.carol} }

func (d *demoScript) process(name string) *demoProcess {
	for _, p := range d.processes() {
		if p.name == name {
			return p
		}
	}
	panic("BUG: a report of nobody")
}

func (d *demoScript) pair(name string) *demoPair {
	for _, p := range d.sessions {
		if p.name == name {
			return p
		}
	}
	return nil
}

// reports counts the reports of a kind.
func (d *demoScript) reports(kind string) int {
	n := 0
	for _, e := range d.log {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// waitProcesses returns once every process has ended, and the relay.
func (d *demoScript) waitProcesses() {
	for _, ended := range d.running {
		<-ended
	}
	if d.relay != nil {
		_ = d.relay.Close()
	}
}

// flush prints what the timeline does not show yet, in order of time.
func (d *demoScript) flush() {
	news := slices.Clone(d.log[d.printed:])
	d.printed = len(d.log)
	slices.SortStableFunc(news, func(a, b demoEvent) int { return cmp.Compare(a.At, b.At) })
	for _, e := range news {
		if text := d.describe(e); text != "" {
			d.timeline(time.Unix(0, e.At), e.peer, text)
		}
	}
}

// timeline prints one line of the timeline, or several that belong together.
func (d *demoScript) timeline(at time.Time, peer, text string) {
	text = strings.ReplaceAll(text, "\n", "\n                  ")
	d.out.linef("%7.3f s  %-5s  %s", at.Sub(d.start).Seconds(), peer, text)
}
