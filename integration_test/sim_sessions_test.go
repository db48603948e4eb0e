package integration_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

var sessionsPerKind = flag.Int("sessions", 50, "how many sessions TestSessionsUnderFaults opens with each kind of fault")

const (
	sessionsPerBubble = 50
	clientsPerBubble  = 2
	// sessionStarts is the time in which the sessions begin, and the faults
	// come and go.
	sessionStarts = 20 * time.Second
	// sessionTime is more than any session takes: it does what it has planned
	// in 5 s, or its link is lost after 20.
	sessionTime = 3 * time.Minute
	// heapGrowth is what the heap may have grown by after a kind of faults:
	// 10,000 sessions that leave 1 KB each would show.
	heapGrowth = 8 << 20
)

// Whatever befalls the packets, each promise holds for each session: two clients
// and a server open sessions both ways, send, signal, close, abort, at random,
// while one kind of fault comes and goes. With -sessions 10000 each kind takes
// some 20 seconds of CPU.
//
// A failure names its kind and seed: -run
// 'TestSessionsUnderFaults/KIND/links/SEED$' with the same -sessions, or more,
// repeats it, as far as the order of goroutines lets it.
func TestSessionsUnderFaults(t *testing.T) {
	for _, kind := range everyKind {
		t.Run(kind.name, func(t *testing.T) {
			var f figures
			heap, goroutines := memory()
			t.Run("links", func(t *testing.T) {
				for seed := range uint64((*sessionsPerKind + sessionsPerBubble - 1) / sessionsPerBubble) {
					t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
						t.Parallel()
						bubble(t, seed, func(t *testing.T, n *network) { sessionsUnderFaults(t, n, seed, kind.schedule, &f) })
					})
				}
			})
			heapAfter, left := memory()
			for deadline := time.Now().Add(5 * time.Second); left > goroutines && time.Now().Before(deadline); pause() {
				heapAfter, left = memory() // some are just ending
			}
			t.Logf("%v; heap %+d KB", &f, (heapAfter-heap)>>10)
			require.LessOrEqual(t, heapAfter, heap+heapGrowth, "memory is given back")
			require.LessOrEqual(t, left, goroutines, "goroutines")
			require.Positive(t, f.confirmed)
			if kind.schedule == nil { // then nothing but the applications ends a session
				delete(f.unopened, "aborted by the peer") // at once: it overtakes the ACCEPT
				require.Empty(t, f.unopened)
				require.Empty(t, f.unconfirmed)
				require.Zero(t, f.uncounted)
			}
			if kind.met != nil {
				require.Positive(t, kind.met(f.packets), "nothing has gone wrong: %+v", f.packets)
			}
		})
	}
}

// memory is what is in use, once what can go is gone.
func memory() (heap int64, goroutines int) {
	runtime.GC()
	runtime.GC() // for what finalizers and pools have kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), runtime.NumGoroutine()
}

// sessionsUnderFaults opens the sessions of one bubble, and checks each when
// all are over.
func sessionsUnderFaults(t *testing.T, n *network, seed uint64, schedule faultnet.Schedule, f *figures) {
	everyone := quicpeer.Config{HeapReserve: -1}
	server := n.peer(t, "10.0.0.100:1000", everyone)
	clients := make([]*peer, clientsPerBubble)
	addresses := make([]netip.AddrPort, clientsPerBubble)
	for i := range clients {
		clients[i] = n.peer(t, fmt.Sprintf("10.0.0.%d:1000", i+1), everyone)
		addresses[i] = addrPort(clients[i].addr)
	}
	star := n.Between(addrPort(server.addr), addresses...)
	require.NoError(t, star.Set(faultnet.BothWays, path(faultnet.Faults{})))

	pairs := make([]*pair, sessionsPerBubble)
	for i := range pairs {
		pairs[i] = newPair(n, newPlan(seed, i, clientsPerBubble, sessionStarts))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	// Each client keeps a link, so that it is never dialed, as if behind a NAT.
	keepers := make([]*quicpeer.Session, clientsPerBubble)
	for i, c := range clients {
		keepers[i], _ = c.open(server)
	}
	var playing, serving, accepted sync.WaitGroup
	playing.Go(func() {
		if err := schedule.Play(ctx, star); err != nil {
			t.Errorf("play the schedule: %v", err)
		}
	})
	for _, p := range append(slices.Clone(clients), server) {
		serving.Go(func() { serve(ctx, p, pairs, &accepted) })
	}
	for _, p := range pairs {
		from, to := clients[p.plan.client], server
		if p.plan.byServer {
			from, to = to, from
		}
		playing.Go(func() { p.dial(ctx, from, to) })
	}
	playing.Wait()
	for _, s := range keepers {
		_ = s.Close(ctx)
	}
	require.NoError(t, star.Set(faultnet.BothWays, path(faultnet.Faults{})))
	n.pass(time.Minute) // links that are idle, or have lost their peer, are gone
	accepted.Wait()
	for _, p := range append(slices.Clone(clients), server) {
		p.wantLinks("nothing is left of what happened", 0)
	}
	cancel()
	serving.Wait()
	f.addPackets(n.Total())
	for _, p := range pairs {
		broken := promises{sides: p.sides}
		broken.check()
		f.add(p, broken.broken)
		for _, why := range broken.broken {
			t.Errorf("session %d of seed %d, %+v:\n%s", p.plan.number, seed, p.plan, why)
		}
	}
}

// pair is both sides of a session.
type pair struct {
	n     *network
	plan  plan
	sides [2]*side
	mu    sync.Mutex // of offered
}

func newPair(n *network, p plan) *pair {
	both := &pair{n: n, plan: p}
	for i := range both.sides {
		both.sides[i] = &side{n: n, plan: &both.plan, who: i}
	}
	return both
}

// dial opens the session in its time, and plays the opener's side.
func (p *pair) dial(ctx context.Context, from, to *peer) {
	p.n.pass(p.plan.start)
	dialing, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	e := p.sides[0]
	e.s, e.refused = from.Dial(dialing, p.n.Outside(addrPort(to.addr)).String(), &quicpeer.DialOptions{
		Protocol: simProto, Metadata: strconv.AppendInt(nil, int64(p.plan.number), 10), PeerID: to.ID(),
	})
	if e.refused == nil {
		playing, cancel := context.WithTimeout(ctx, sessionTime)
		defer cancel()
		e.play(playing)
	}
}

// serve accepts what comes to an endpoint, and plays the acceptors' sides.
func serve(ctx context.Context, at *peer, pairs []*pair, accepted *sync.WaitGroup) {
	for {
		in, err := at.Accept(ctx)
		if err != nil {
			return
		}
		number, err := strconv.Atoi(string(in.Metadata()))
		if err != nil || number >= len(pairs) {
			panic(fmt.Sprintf("nobody opened session %q", in.Metadata()))
		}
		p := pairs[number]
		e := p.sides[1]
		p.mu.Lock()
		e.offered++
		first := e.offered == 1
		p.mu.Unlock()
		switch {
		case !first: // noticed later
		case p.plan.reject:
			e.answer = in.Reject(p.plan.code(1), p.plan.reason(1), 0)
		default:
			if e.s, e.answer = in.Accept(nil); e.answer == nil {
				accepted.Go(func() {
					playing, cancel := context.WithTimeout(ctx, sessionTime)
					defer cancel()
					e.play(playing)
				})
			}
		}
	}
}
