package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// errQuit ends the loop at the user's wish; its text is the reason that the
// peers learn.
type errQuit string

func (e errQuit) Error() string { return string(e) }

// loop dials what the command line says, and then does what the user enters.
// It returns why it ended: an errQuit, or ctx's cause. Piped input waits for
// the dials; a user at a terminal does not.
func (c *chat) loop(ctx context.Context, input <-chan inputLine) error {
	dialed := c.dialAll(ctx)
	lines := input
	if c.piped {
		lines = nil
	}
	for {
		select {
		case err := <-dialed:
			if err != nil {
				return err
			}
			dialed, lines = nil, input
		case l := <-lines:
			if l.err != nil {
				return l.err
			}
			if err := c.do(ctx, l.text); err != nil {
				if _, quit := errors.AsType[errQuit](err); quit || ctx.Err() != nil {
					return err
				}
				c.out.errorf("* %s", c.explain(err))
				if c.piped {
					c.fail()
				}
			}
			c.out.ask()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// dialAll dials the addresses of the command line at once. The channel gets an
// error if there is nothing left to do: all have failed, and nobody can come
// in because the port was not chosen.
func (c *chat) dialAll(ctx context.Context) <-chan error {
	result := make(chan error, 1)
	var dials sync.WaitGroup
	errs := make([]error, len(c.dials))
	for i, t := range c.dials {
		dials.Go(func() {
			if errs[i] = c.dial(ctx, t); errs[i] != nil && ctx.Err() == nil {
				c.out.errorf("* %s", c.explain(errs[i]))
			}
		})
	}
	c.work.Go(func() {
		dials.Wait()
		failed := 0
		for _, err := range errs {
			if err != nil {
				failed++
			}
		}
		switch {
		case failed > 0 && failed == len(errs) && !c.listens:
			result <- statusError(exitFailure)
			return
		case failed > 0 && !c.listens:
			c.fail()
		}
		result <- nil
	})
	return result
}

// do does what one line says.
func (c *chat) do(ctx context.Context, line string) error {
	l, err := parseLine(line)
	if err != nil {
		return err
	}
	switch l.verb {
	case verbSay, verbSignal:
		return c.say(ctx, l)
	case verbDial:
		c.background(func() error { return c.dial(ctx, l.target) })
	case verbList:
		c.list()
	case verbStats:
		return c.each(l, func(s *chatSession) error {
			c.out.linef("%s", s.stats())
			return nil
		})
	case verbPing:
		return c.each(l, func(s *chatSession) error {
			c.background(func() error {
				rtt, err := s.Ping(context.WithoutCancel(ctx)) // ends with the session

				if err == nil {
					c.out.linef("* session %d: the peer answered after %v", s.number, rtt.Round(10*time.Microsecond))
				}
				return err
			})
			return nil
		})
	case verbTrust:
		if err := c.addTrust(l.text); err != nil {
			return err
		}
		c.out.linef("* trusted from now on: %s", l.text)
	case verbID:
		c.out.linef("* you are peer %s", c.endpoint.ID())
	case verbClose:
		return c.closeSessions(ctx, l)
	case verbHelp:
		c.out.linef("%s", chatHelp)
	case verbQuit:
		if l.text == "" {
			l.text = "the user has quit"
		}
		return errQuit(l.text)
	}
	return nil
}

// background does something that takes a while: beside the loop if a user is
// there to see it, before the next line if the input is piped.
func (c *chat) background(f func() error) {
	run := func() {
		if err := f(); err != nil {
			c.out.errorf("* %s", c.explain(err))
			if c.piped {
				c.fail()
			}
		}
	}
	if c.piped {
		run()
		return
	}
	c.work.Go(run)
}

func (c *chat) each(l chatLine, f func(*chatSession) error) error {
	sessions, err := c.chosen(l)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range sessions {
		errs = append(errs, f(s))
	}
	return errors.Join(errs...)
}

// say sends a line. Piped input waits for somebody who can get it.
func (c *chat) say(ctx context.Context, l chatLine) error {
	if c.piped {
		select {
		case <-c.first:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return c.each(l, func(s *chatSession) error {
		if l.verb == verbSay {
			if err := s.Send(ctx, []byte(l.text)); err != nil {
				return fmt.Errorf("session %d: not sent: %w", s.number, err)
			}
			return nil
		}
		c.background(func() error {
			// It ends with the session, which says what became of it.
			if err := s.Signal(context.WithoutCancel(ctx), []byte(l.text)); err != nil {
				return fmt.Errorf("session %d: %w", s.number, err)
			}
			c.out.linef("* session %d: the peer has taken the signal", s.number)
			return nil
		})
		return nil
	})
}

// closeSessions ends one session, or all; how it ended is printed by the
// session itself.
func (c *chat) closeSessions(ctx context.Context, l chatLine) error {
	if all := c.open(); !l.chosen && len(all) > 1 {
		return fmt.Errorf("%d sessions are open: /close N or /close all; /list shows them", len(all))
	}
	return c.each(l, func(s *chatSession) error {
		c.background(func() error {
			_ = s.CloseWithError(context.WithoutCancel(ctx), l.code, l.text) // how it ended, it prints itself
			<-s.printed
			return nil
		})
		return nil
	})
}

func (c *chat) list() {
	sessions := c.open()
	if len(sessions) == 0 {
		c.out.linef("* no session is open; /dial opens one")
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "* %s:", plural(len(sessions), "session"))
	for _, s := range sessions {
		how := "came in"
		if s.Opener() {
			how = "dialed"
		}
		fmt.Fprintf(&b, "\n  %3d  %s  %v  %s, %v", s.number, s.peer(), s.RemoteAddr(), how, s.State())
	}
	c.out.linef("%s", b.String())
}
