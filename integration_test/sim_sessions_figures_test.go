package integration_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
	"github.com/oneportnet/quicpeer/session"
)

// figures of TestSessionsUnderFaults, of one kind of fault. Safe for concurrent
// use.
type figures struct {
	mu                                              sync.Mutex
	sessions, opened, rejected, aborted             int
	confirmed, peerFirst, messages, arrived, broken int
	uncounted                                       int // sides of closed sessions without the totals
	unopened, unconfirmed                           map[string]int
	packets                                         faultnet.Counts
}

func (f *figures) addPackets(c faultnet.Counts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.packets.Add(c)
}

func (f *figures) add(p *pair, broken []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unopened == nil {
		f.unopened, f.unconfirmed = make(map[string]int), make(map[string]int)
	}
	f.sessions++
	f.broken += len(broken)
	var end *session.Error
	switch err := p.sides[0].refused; {
	case err == nil:
		f.opened++
	case errors.As(err, &end) && end.Cause == session.CauseRejected:
		f.rejected++
	case errors.As(err, &end) && end.Cause == session.CauseAborted:
		f.unopened["aborted by the peer"]++
	case errors.Is(err, quicpeer.ErrOutcomeUnknown):
		f.unopened["outcome unknown"]++
	case errors.Is(err, context.DeadlineExceeded):
		f.unopened["out of time"]++
	case errors.Is(err, quicpeer.ErrNotActedOn):
		f.unopened["not acted on"]++
	default:
		f.unopened["no link"]++
	}
	for _, e := range p.sides {
		if e.s != nil && errors.As(e.s.Err(), &end) && end.Cause == session.CauseClosed && !e.s.Stats().Complete {
			f.uncounted++
		}
		f.messages += e.sent
		f.arrived += len(e.got)
		how := p.plan.sides[e.who].end
		switch {
		case !e.ended:
		case how == endsAbort:
			f.aborted++
		case e.ending == nil:
			f.confirmed++
		case errors.As(e.ending, &end) && end.Remote && (end.Cause == session.CauseClosed || end.Cause == session.CauseAborted):
			f.peerFirst++
		case errors.As(e.ending, &end):
			f.unconfirmed[end.Cause.String()]++
		default:
			f.unconfirmed[e.ending.Error()]++
		}
	}
}

func (f *figures) String() string {
	return fmt.Sprintf("%d sessions: %d opened, %d rejected%s; closes: %d confirmed, %d after the peer's%s, %d sides without totals; %d aborts; %d of %d messages arrived; of %d packets %d dropped, %d harmed; %d promises broken",
		f.sessions, f.opened, f.rejected, listed(f.unopened), f.confirmed, f.peerFirst, listed(f.unconfirmed), f.uncounted, f.aborted, f.arrived, f.messages,
		f.packets.Offered, f.packets.Dropped(), f.packets.Harmed, f.broken)
}

// listed is a list of what happened how often.
func listed(m map[string]int) string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, ", %d %s", m[what], what)
	}
	return b.String()
}
