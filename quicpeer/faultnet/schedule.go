package faultnet

import (
	"context"
	"fmt"
	"time"
)

// Direction is one of the two between clients and their server.
type Direction uint8

// The two directions, and both.
const (
	ToServer Direction = iota + 1
	ToClient
	BothWays
)

// String returns the direction in words.
func (d Direction) String() string {
	switch d {
	case ToServer:
		return "to the server"
	case ToClient:
		return "to the client"
	case BothWays:
		return "both ways"
	}
	return fmt.Sprintf("direction %d", uint8(d))
}

// each calls f with the one direction that d is, or with both.
func (d Direction) each(f func(Direction) error) error {
	switch d {
	case ToServer, ToClient:
		return f(d)
	case BothWays:
		if err := f(ToServer); err != nil {
			return err
		}
		return f(ToClient)
	}
	return fmt.Errorf("faultnet: %v: want ToServer, ToClient or BothWays", d)
}

func (d Direction) check() error { return d.each(func(Direction) error { return nil }) }

// Network is what a [Schedule] is played on: a [Relay], or clients and a server
// on a simulated network, [Sim.Between]. Clients are numbered from 0.
type Network interface {
	// Set gives all packets of a direction that follow other faults.
	Set(Direction, Faults) error
	// Cut loses everything of a direction, and keeps its faults for Mend.
	Cut(Direction) error
	// Mend undoes Cut.
	Mend(Direction) error
	// RebindClient gives a client another outside address, as its NAT does
	// when it has forgotten it: the server sees it come from there, and what
	// is sent to its last one is lost.
	RebindClient(client int) error
	// RebindServer gives the server another outside address. Clients see
	// packets come from there, and what they send to its last one is lost.
	RebindServer() error
	// Swap has two clients exchange their outside addresses.
	Swap(a, b int) error
}

// Schedule is what happens to a network, in order of time.
type Schedule []Step

// Step is one of the things that happen.
type Step struct {
	At time.Duration // after the schedule's beginning
	Do Event
}

// Event is one of [Set], [Cut], [Mend], [RebindClient], [RebindServer], [Swap].
type Event interface{ on(Network) error }

type (
	// Set calls Network.Set.
	Set struct {
		Direction Direction
		Faults    Faults
	}
	// Cut calls Network.Cut.
	Cut struct{ Direction Direction }
	// Mend calls Network.Mend.
	Mend struct{ Direction Direction }
	// RebindClient calls Network.RebindClient.
	RebindClient struct{ Client int }
	// RebindServer calls Network.RebindServer.
	RebindServer struct{}
	// Swap calls Network.Swap.
	Swap struct{ A, B int }
)

func (e Set) on(n Network) error          { return n.Set(e.Direction, e.Faults) }
func (e Cut) on(n Network) error          { return n.Cut(e.Direction) }
func (e Mend) on(n Network) error         { return n.Mend(e.Direction) }
func (e RebindClient) on(n Network) error { return n.RebindClient(e.Client) }
func (e RebindServer) on(n Network) error { return n.RebindServer() }
func (e Swap) on(n Network) error         { return n.Swap(e.A, e.B) }

// Check says what is wrong with s, if anything that can be known beforehand.
func (s Schedule) Check() error {
	for i, step := range s {
		switch {
		case step.Do == nil:
			return fmt.Errorf("faultnet: step %d does nothing, want an Event", i)
		case step.At < 0:
			return fmt.Errorf("faultnet: step %d is at %v, before the beginning", i, step.At)
		case i > 0 && step.At < s[i-1].At:
			return fmt.Errorf("faultnet: step %d is at %v, step %d before it at %v: want them in order", i, step.At, i-1, s[i-1].At)
		}
		if err := checkEvent(step.Do); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func checkEvent(e Event) error {
	switch e := e.(type) {
	case Set:
		if err := e.Faults.Check(); err != nil {
			return err
		}
		return e.Direction.check()
	case Cut:
		return e.Direction.check()
	case Mend:
		return e.Direction.check()
	}
	return nil
}

// Play has everything happen in its time, and returns after the last step. It
// ends early, with the cause, when ctx ends or a step fails.
func (s Schedule) Play(ctx context.Context, n Network) error {
	if err := s.Check(); err != nil {
		return err
	}
	began := time.Now()
	for i, step := range s {
		timer := time.NewTimer(time.Until(began.Add(step.At)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		if ctx.Err() != nil { // also where both were ready
			return fmt.Errorf("faultnet: before step %d of %d: %w", i, len(s), context.Cause(ctx))
		}
		if err := step.Do.on(n); err != nil {
			return fmt.Errorf("faultnet: step %d, %T: %w", i, step.Do, err)
		}
	}
	return nil
}
