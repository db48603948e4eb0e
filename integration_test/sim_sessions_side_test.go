package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/quicpeer"
)

// side is one end of a session of TestSessionsUnderFaults, and all that its
// application did and saw. Each field belongs to one goroutine until the session
// is over.
type side struct {
	n    *network
	plan *plan
	who  int // 0: the opener, 1: the acceptor

	s       *quicpeer.Session // nil: it has none
	refused error             // why not, if it dialed
	offered int               // how often the acceptor's application was asked
	answer  error             // of Accept, or of Reject

	sent            int // messages that Send took
	sending         error
	got             map[int]bool // messages by number
	receiving       error
	signals         []error // what Signal said of each; several are on their way at once
	gotSignals      int
	signalReceiving error
	ended           bool  // Close or Abort was called
	ending          error // and its result
	took            time.Duration

	broken []string // promises, noticed by its own goroutines
	mu     sync.Mutex
}

func (e *side) breaks(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.broken = append(e.broken, fmt.Sprintf("side %d: ", e.who)+fmt.Sprintf(format, args...))
}

// play follows the plan until the session is over.
func (e *side) play(ctx context.Context) {
	own := e.plan.sides[e.who]
	var parts sync.WaitGroup
	parts.Go(func() { e.send(ctx, own) })
	parts.Go(func() { e.receive(ctx) })
	parts.Go(func() { e.signal(ctx, own) })
	if !own.takesNone {
		parts.Go(func() { e.receiveSignals(ctx) })
	}
	if own.end != endsNothing {
		parts.Go(func() { e.end(ctx, own) })
	}
	parts.Wait()
	select {
	case <-e.s.Done():
	case <-ctx.Done():
		e.breaks("not over in time: %v, %v", e.s.State(), e.s.Err())
	}
}

func (e *side) send(ctx context.Context, own sidePlan) {
	for i := range own.messages {
		if e.sending = e.s.Send(ctx, e.plan.message(e.who, i)); e.sending != nil {
			return
		}
		e.sent++
		e.n.pass(own.gap)
	}
}

func (e *side) receive(ctx context.Context) {
	e.got = make(map[int]bool)
	for {
		m, err := e.s.Receive(ctx)
		if err != nil {
			e.receiving = err
			return
		}
		var number, who, i int
		if _, err := fmt.Sscanf(string(m[:min(len(m), 40)]), "%d %d %d ", &number, &who, &i); err != nil || number != e.plan.number || who != 1-e.who {
			e.breaks("got a message that nobody sent on this session: %.40q", m)
			continue
		}
		if !bytes.Equal(m, e.plan.message(who, i)) {
			e.breaks("message %d was altered", i)
		}
		if e.got[i] {
			e.breaks("message %d came twice", i)
		}
		e.got[i] = true
	}
}

func (e *side) signal(ctx context.Context, own sidePlan) {
	e.signals = make([]error, own.signals)
	var waiting sync.WaitGroup
	for i := range e.signals {
		waiting.Go(func() { e.signals[i] = e.s.Signal(ctx, e.plan.signal(e.who, i)) })
		e.n.pass(time.Millisecond) // in which it is sent, if it may be, but not taken
	}
	waiting.Wait()
}

func (e *side) receiveSignals(ctx context.Context) {
	for {
		p, err := e.s.ReceiveSignal(ctx)
		if err != nil {
			e.signalReceiving = err
			return
		}
		if want := e.plan.signal(1-e.who, e.gotSignals); !bytes.Equal(p, want) {
			e.breaks("got signal %q, want %q", p, want)
		}
		e.gotSignals++
	}
}

func (e *side) end(ctx context.Context, own sidePlan) {
	e.n.pass(own.after)
	e.ended = true
	began := time.Now()
	defer func() { e.took = time.Since(began) }()
	if own.end == endsAbort {
		e.ending = e.s.Abort(e.plan.code(e.who))
		return
	}
	e.ending = e.s.CloseWithError(context.WithoutCancel(ctx), e.plan.code(e.who), e.plan.reason(e.who))
}

// closed reports whether it called Close, confirmed whether that returned nil.
func (e *side) closed() bool    { return e.ended && e.plan.sides[e.who].end == endsClose }
func (e *side) confirmed() bool { return e.closed() && e.ending == nil }
