package quicpeer

import (
	"context"
	"slices"
	"sync"

	"github.com/oneportnet/quicpeer/session"
)

// Accept returns the next session that a peer wants to open, of one of
// [Config.Protocols]. It waits for ctx, or returns [ErrEndpointClosed] once the
// endpoint is closed, and what befell the socket if that has failed. The caller
// answers with [session.Incoming.Accept] or [session.Incoming.Reject].
func (e *Endpoint) Accept(ctx context.Context) (*Incoming, error) { return e.backlog.take(ctx) }

// Handle serves a protocol with a handler: it is called for each incoming
// session of that protocol, on a goroutine of its own, and answers it. Such
// sessions do not wait for Accept. How many there can be at once is bounded by
// [Limits].SessionsPerLink and Links: a session keeps its place among those
// that the peer may have open until its handler has returned. A nil handler
// ends it for new sessions.
func (e *Endpoint) Handle(protocol string, handler func(*Incoming)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if handler == nil {
		delete(e.handlers, protocol)
		return
	}
	e.handlers[protocol] = handler
}

// offer passes an incoming session to whoever serves its protocol, whichever
// side dialed the link.
func (e *Endpoint) offer(in *Incoming) {
	e.mu.Lock()
	handler, closing := e.handlers[in.Protocol()], e.closing
	e.mu.Unlock()
	switch {
	case closing:
		_ = in.Reject(session.CodeGoingAway, "the endpoint is shutting down", 0)
	case handler == nil && !slices.Contains(e.config.Protocols, in.Protocol()):
		e.counters.refusedSessions.Add(1)
		_ = in.Reject(session.CodeRefused, "no such protocol is served here", 0)
	case e.config.AdmitSession != nil && !e.config.AdmitSession(in):
		// If the callback has not answered, this does; else it changes nothing.
		e.counters.refusedSessions.Add(1)
		_ = in.Reject(session.CodeRefused, "", 0)
	case handler != nil:
		release, ok := session.Hold(in)
		if !ok {
			return // it was taken back, and its place is given to another
		}
		session.Serve(in, func() {
			defer release()
			handler(in)
		})
	case e.backlog.put(in):
	case e.isClosing():
		_ = in.Reject(session.CodeGoingAway, "the endpoint is shutting down", 0)
	default:
		e.counters.busySessions.Add(1)
		_ = in.Reject(session.CodeBusy, "too many sessions wait to be accepted", 0)
	}
}

func (e *Endpoint) withdraw(in *Incoming) {
	if e.backlog.remove(in) {
		e.counters.withdrawnSessions.Add(1)
	}
}

// backlog holds the incoming sessions that wait for Accept. Safe for
// concurrent use.
type backlog struct {
	limit int

	mu      sync.Mutex
	waiting []*Incoming
	err     error         // why nothing comes any more
	changed chan struct{} // closed at the next change
}

func (b *backlog) init(limit int) {
	b.limit = limit
	b.changed = make(chan struct{})
}

func (b *backlog) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// put reports false when the backlog is full, closed or failed.
func (b *backlog) put(in *Incoming) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || len(b.waiting) >= b.limit {
		return false
	}
	b.waiting = append(b.waiting, in)
	b.wake()
	return true
}

func (b *backlog) remove(in *Incoming) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, in)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	return true
}

func (b *backlog) take(ctx context.Context) (*Incoming, error) {
	for {
		b.mu.Lock()
		if len(b.waiting) > 0 {
			in := b.waiting[0]
			b.waiting = slices.Delete(b.waiting, 0, 1)
			b.mu.Unlock()
			return in, nil
		}
		err, changed := b.err, b.changed
		b.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// fail ends all that wait, and all that come: the socket has failed.
func (b *backlog) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		b.wake()
	}
}

// close ends all that wait, and returns the sessions that were left.
func (b *backlog) close() []*Incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.waiting
	b.waiting = nil
	b.err = ErrEndpointClosed
	b.wake()
	return left
}
