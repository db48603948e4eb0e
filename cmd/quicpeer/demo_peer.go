package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// newDemoPeer is the command of the demo's own processes.
func newDemoPeer(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:    "demo-peer",
		Short:  "One peer of the demo, which starts it and talks JSON with it",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			// Ctrl-C reaches the whole terminal group; the demo decides.
			signal.Ignore(os.Interrupt)
			return runDemoPeer(std.in, std.out)
		},
	}
}

// demoPeer is one peer of the demo: it does what it is told, each command on a
// goroutine of its own, and reports what happens.
type demoPeer struct {
	identity *certs.Identity
	endpoint *quicpeer.Endpoint // set by listen, before any other command
	work     sync.WaitGroup     // sessions that are not over, commands under way

	out struct {
		mu  sync.Mutex
		enc *json.Encoder
	}

	mu       sync.Mutex
	sessions map[string]*demoSession
}

// runDemoPeer returns once the peer was told to quit, or its input has ended.
func runDemoPeer(in io.Reader, out io.Writer) error {
	identity, err := certs.Generate()
	if err != nil {
		return err
	}
	p := &demoPeer{identity: identity, sessions: make(map[string]*demoSession)}
	p.out.enc = json.NewEncoder(out)
	ctx, cancel := context.WithCancel(context.Background())
	defer p.work.Wait()
	defer cancel()
	defer func() {
		if p.endpoint != nil {
			_ = p.endpoint.Close(ctx) // after quit it is closed already
		}
	}()
	p.report(demoEvent{Kind: evStarted, PID: os.Getpid(), ID: identity.ID()})
	commands := json.NewDecoder(in)
	for {
		var c demoCommand
		if err := commands.Decode(&c); err != nil {
			cancel() // the demo is gone: no time for goodbyes
			return fmt.Errorf("demo peer: no more commands: %w", err)
		}
		switch c.Do {
		case doListen:
			p.listen(ctx, c)
		case doDial:
			p.work.Go(func() { p.dial(ctx, c) })
		case doTalk:
			p.work.Go(func() { p.talk(ctx, c) })
		case doClose:
			p.work.Go(func() { p.close(ctx, c) })
		case doQuit:
			p.quit(ctx, c)
			return nil
		default:
			p.fail(fmt.Errorf("unknown command %q", c.Do))
		}
	}
}

func (p *demoPeer) report(e demoEvent) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	e.At = time.Now().UnixNano()
	_ = p.out.enc.Encode(e) // if the demo is gone, the input ends too
}

func (p *demoPeer) fail(err error) { p.report(demoEvent{Kind: evFailed, Error: err.Error()}) }

func (p *demoPeer) listen(ctx context.Context, c demoCommand) {
	config := &quicpeer.Config{Identity: p.identity, Trust: certs.IDs(c.Trust...)}
	if c.Serve {
		config.Protocols = []string{demoProtocol}
	}
	if p.endpoint != nil {
		_ = p.endpoint.Close(ctx) // the ends of its sessions are reported one by one
		p.work.Wait()
	}
	e, err := quicpeer.Listen(c.Address, config)
	if err != nil {
		p.report(demoEvent{Kind: evNotListening, Error: err.Error()})
		return
	}
	p.endpoint = e
	p.work.Go(func() { p.accept(ctx, e) })
	p.report(demoEvent{Kind: evListening, Address: e.Addr().String()})
}

func (p *demoPeer) accept(ctx context.Context, e *quicpeer.Endpoint) {
	for {
		in, err := e.Accept(ctx)
		if err != nil {
			return
		}
		s, err := in.Accept(nil)
		if err != nil {
			p.fail(fmt.Errorf("accept: %w", err))
			continue
		}
		p.opened(ctx, string(in.Metadata()), s, demoOpened{})
	}
}

// opened reports a new session, and its end when it comes.
func (p *demoPeer) opened(ctx context.Context, name string, s *quicpeer.Session, o demoOpened) {
	ds := &demoSession{name: name, Session: s}
	p.mu.Lock()
	p.sessions[name] = ds
	p.mu.Unlock()
	o.Remote = s.RemoteAddr().String()
	o.RemoteID, _ = s.RemoteID()
	p.report(demoEvent{Kind: evOpened, Session: name, Opened: &o})
	p.work.Go(func() {
		ended := ds.listen(ctx)
		p.mu.Lock()
		delete(p.sessions, name)
		p.mu.Unlock()
		p.report(demoEvent{Kind: evEnded, Session: name, Ended: ended})
	})
}

func (p *demoPeer) dial(ctx context.Context, c demoCommand) {
	waitUntil(ctx, c.At)
	began := time.Now().UnixNano()
	// With Trust in place of PeerID, a link that the other side dialed is not
	// used: what the demo shows is two dials that cross.
	s, err := p.endpoint.Dial(ctx, c.Address, &quicpeer.DialOptions{
		Protocol: demoProtocol, Metadata: []byte(c.Session), Trust: certs.IDs(c.Peer),
	})
	if err != nil {
		cause, _ := explain(err, p.identity.ID())
		p.report(demoEvent{Kind: evDialFailed, Session: c.Session, Error: cause})
		return
	}
	p.opened(ctx, c.Session, s, demoOpened{Dialed: true, Began: began})
}

func (p *demoPeer) talk(ctx context.Context, c demoCommand) {
	p.mu.Lock()
	var talking sync.WaitGroup
	errs := make(chan error, len(p.sessions))
	n := len(p.sessions)
	for _, s := range p.sessions {
		talking.Go(func() { errs <- s.talk(ctx, c.Messages, c.Signals) })
	}
	p.mu.Unlock()
	talking.Wait()
	close(errs)
	var failed []error
	for err := range errs {
		failed = append(failed, err)
	}
	if err := errors.Join(failed...); err != nil {
		p.fail(fmt.Errorf("talk: %w", err))
		return
	}
	p.report(demoEvent{Kind: evTalked, Count: n * c.Messages, Signals: n * c.Signals})
}

func (p *demoPeer) close(ctx context.Context, c demoCommand) {
	p.mu.Lock()
	s := p.sessions[c.Session]
	p.mu.Unlock()
	if s == nil {
		p.fail(fmt.Errorf("close: no session %q", c.Session))
		return
	}
	waitUntil(ctx, c.At)
	if err := s.CloseWithError(ctx, session.Code(c.Code), c.Reason); err != nil {
		p.fail(fmt.Errorf("close %s: %w", c.Session, err))
	}
}

// quit ends the endpoint, and reports the outcome after the end of every
// session has been reported.
func (p *demoPeer) quit(ctx context.Context, c demoCommand) {
	if p.endpoint == nil {
		p.report(demoEvent{Kind: evQuit})
		return
	}
	outcome, err := p.endpoint.Shutdown(ctx, quicpeer.ShutdownOptions{Code: session.Code(c.Code), Reason: c.Reason})
	p.work.Wait()
	e := demoEvent{Kind: evQuit}
	for _, s := range outcome.Sessions {
		if s.Err == nil {
			e.Count++
		}
	}
	if err != nil {
		e.Error = err.Error()
	}
	p.report(e)
}

// waitUntil waits for a moment in Unix time, in ns.
func waitUntil(ctx context.Context, at int64) {
	timer := time.NewTimer(time.Until(time.Unix(0, at)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
