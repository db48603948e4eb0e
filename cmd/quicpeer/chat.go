package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// chatProtocol is the application protocol of the interactive peer: messages
// and signals are lines of text.
const chatProtocol = "quicpeer-chat/1"

// chat is the interactive peer. Its loop, which reads the user's lines, is one
// goroutine; each session has two that print what arrives.
type chat struct {
	runConfig
	out      *printer
	endpoint *quicpeer.Endpoint
	piped    bool // no user at a terminal: one thing after another
	refusals refusals

	work sync.WaitGroup // sessions, and what the user has started

	mu       sync.Mutex
	trusted  trustSet
	last     int // number of the newest session
	sessions map[int]*chatSession
	first    chan struct{} // closed when there is a first session
	failed   bool          // something went wrong that the exit status must tell
}

// fail makes the exit status say that not all went well.
func (c *chat) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
}

// open returns the open sessions in the order of their numbers.
func (c *chat) open() []*chatSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*chatSession, 0, len(c.sessions))
	for _, s := range c.sessions {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *chatSession) int { return a.number - b.number })
	return all
}

// chosen returns the sessions that a line is about.
func (c *chat) chosen(l chatLine) ([]*chatSession, error) {
	all := c.open()
	if len(all) == 0 && !l.chosen {
		return nil, errors.New("no session is open; /dial opens one")
	}
	if l.session == everySession {
		return all, nil
	}
	for _, s := range all {
		if s.number == l.session {
			return []*chatSession{s}, nil
		}
	}
	return nil, fmt.Errorf("there is no session %d; /list shows them", l.session)
}

// accept takes every session of the chat's protocol.
func (c *chat) accept(ctx context.Context) {
	for {
		in, err := c.endpoint.Accept(ctx)
		if err != nil {
			return
		}
		s, err := in.Accept(nil)
		if err != nil {
			continue // taken back: as if it had never come
		}
		c.add(s)
	}
}

// add takes in a session that has just opened.
func (c *chat) add(s *quicpeer.Session) {
	cs := &chatSession{chat: c, Session: s, printed: make(chan struct{})}
	c.mu.Lock()
	c.last++
	cs.number = c.last
	c.sessions[cs.number] = cs
	if c.last == 1 {
		close(c.first)
	}
	c.mu.Unlock()
	how := "has opened it"
	if s.Opener() {
		how = "has accepted it"
	}
	c.out.linef("* session %d: %s at %v %s", cs.number, cs.peer(), s.RemoteAddr(), how)
	c.work.Go(cs.run)
}

func (c *chat) remove(s *chatSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s.number)
}

// dial opens a session.
func (c *chat) dial(ctx context.Context, t dialTarget) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s, err := c.endpoint.Dial(ctx, t.address, &quicpeer.DialOptions{Protocol: chatProtocol, PeerID: t.id})
	if err != nil {
		return err
	}
	c.add(s)
	return nil
}

// explain tells what went wrong, with what to do on a line of its own.
func (c *chat) explain(err error) string {
	cause, remedy := explain(err, c.endpoint.ID())
	if remedy != "" {
		cause += "\n  What to do: " + remedy
	}
	return cause
}

// addTrust lets more peers in from now on.
func (c *chat) addTrust(spec string) error {
	c.mu.Lock()
	err := c.trusted.add(spec)
	trust := c.trusted.trust(c.refused)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.endpoint.SetTrust(trust)
	return nil
}

// refused tells the user of a peer that wanted to come in.
func (c *chat) refused(id certs.PeerID) {
	if more, tell := c.refusals.count(time.Now()); tell {
		text := fmt.Sprintf("* a peer was turned away, since it is not trusted: %s\n  What to do: if you know it, enter /trust %s, or start with --trust and its id", id, id)
		if more > 0 {
			text += fmt.Sprintf("\n  (%d more were turned away before)", more)
		}
		c.out.linef("%s", text)
	}
}

// refusals bounds how often the user is told: strangers decide how often they
// come.
type refusals struct {
	mu     sync.Mutex
	told   time.Time
	untold int
}

// refusalInterval is long enough that the lines between can be read.
const refusalInterval = 2 * time.Second

// count counts one more, and reports whether to tell, and how many have not
// been told.
func (r *refusals) count(now time.Time) (untold int, tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.told.IsZero() && now.Sub(r.told) < refusalInterval {
		r.untold++
		return 0, false
	}
	untold, r.untold, r.told = r.untold, 0, now
	return untold, true
}

// shutdown ends all sessions, tells what each peer confirmed, and reports
// whether all did.
func (c *chat) shutdown(reason string, accepted <-chan struct{}) error {
	if n := len(c.open()); n > 0 {
		c.out.linef("* closing %s: %s", plural(n, "session"), reason)
	}
	// Without a deadline every close has the session's CloseTimeout.
	report, err := c.endpoint.Shutdown(context.Background(), quicpeer.ShutdownOptions{Reason: reason})
	<-accepted
	c.work.Wait()
	if err != nil {
		return err
	}
	for _, o := range report.Sessions {
		if cause, ok := errors.AsType[*session.Error](o.Err); o.Err != nil && !(ok && cause.Remote && cause.Confirmed) {
			return statusError(exitFailure)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed {
		return statusError(exitFailure)
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
