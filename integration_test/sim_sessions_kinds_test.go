package integration_test

import (
	"time"

	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

// smallMTU is as much as QUIC needs (RFC 9000 section 14.1), and less than
// quic-go takes for granted: full packets vanish.
const smallMTU = 1200

// everyKind of fault, as a schedule between a server and its clients.
var everyKind = []struct {
	name     string
	schedule faultnet.Schedule
	met      func(faultnet.Counts) uint64 // how many packets it has befallen; nil: that is not counted
}{
	{"none", nil, nil},
	{"loss", always(faultnet.Faults{Loss: 0.1}), func(c faultnet.Counts) uint64 { return c.Lost }},
	{"bursts", always(faultnet.Faults{Burst: faultnet.Burst{Enter: 0.02, Leave: 0.2}}), func(c faultnet.Counts) uint64 { return c.Burst }},
	{"delay", faultnet.Schedule{
		{Do: faultnet.Set{Direction: faultnet.ToServer, Faults: path(faultnet.Faults{Delay: 300 * time.Millisecond})}},
		{Do: faultnet.Set{Direction: faultnet.ToClient, Faults: path(faultnet.Faults{Delay: 100 * time.Millisecond})}},
	}, nil},
	{"jitter", always(faultnet.Faults{Jitter: 80 * time.Millisecond}), nil},
	{"reordering", always(faultnet.Faults{Reorder: 0.2, ReorderBy: 60 * time.Millisecond}), func(c faultnet.Counts) uint64 { return c.Reordered }},
	{"duplication", always(faultnet.Faults{Duplicate: 0.3}), func(c faultnet.Counts) uint64 { return c.Duplicated }},
	{"corruption", always(faultnet.Faults{Corrupt: 0.1}), func(c faultnet.Counts) uint64 { return c.Corrupted }},
	{"MTU", repeat(10*time.Second,
		after(0, faultnet.Set{Direction: faultnet.BothWays, Faults: path(faultnet.Faults{MTU: smallMTU})}),
		after(3*time.Second, faultnet.Set{Direction: faultnet.BothWays, Faults: path(faultnet.Faults{})})), func(c faultnet.Counts) uint64 { return c.TooLong }},
	{"blackhole", holes(faultnet.BothWays), blackholed},
	{"blackhole to the server", holes(faultnet.ToServer), blackholed},
	{"blackhole to the client", holes(faultnet.ToClient), blackholed},
	{"dead network", faultnet.Schedule{
		after(14*time.Second, faultnet.Cut{Direction: faultnet.BothWays}),
		after(44*time.Second, faultnet.Mend{Direction: faultnet.BothWays}),
	}, blackholed},
	{"dead to the client", faultnet.Schedule{ // what is opened then is accepted, and nobody knows
		after(14*time.Second, faultnet.Cut{Direction: faultnet.ToClient}),
		after(44*time.Second, faultnet.Mend{Direction: faultnet.ToClient}),
	}, blackholed},
	{"client rebinding", repeat(2*time.Second,
		after(0, faultnet.RebindClient{Client: 0}), after(300*time.Millisecond, faultnet.RebindClient{Client: 1})), unrouted},
	{"server rebinding", faultnet.Schedule{after(14*time.Second, faultnet.RebindServer{})}, unrouted},
	{"address swap", repeat(3*time.Second, after(time.Second, faultnet.Swap{A: 0, B: 1})), nil},
	// But no addresses of clients: quic-go v0.65.0, with path probes and other
	// packets in flight, now and then handles a probe timeout (RFC 9002 section
	// 6.2) again and again at the same instant, which in a bubble never passes.
	{"all at once", append(repeat(10*time.Second,
		after(0, faultnet.Set{Direction: faultnet.BothWays, Faults: path(faultnet.Faults{
			Loss: 0.03, Burst: faultnet.Burst{Enter: 0.01, Leave: 0.3}, Jitter: 40 * time.Millisecond,
			Reorder: 0.1, ReorderBy: 30 * time.Millisecond, Duplicate: 0.1, Corrupt: 0.02, MTU: smallMTU,
		})}),
		after(3*time.Second, faultnet.Set{Direction: faultnet.BothWays, Faults: path(faultnet.Faults{
			Loss: 0.1, Jitter: 40 * time.Millisecond, Duplicate: 0.1,
		})}),
		after(4*time.Second, faultnet.Cut{Direction: faultnet.ToServer}),
		after(5*time.Second, faultnet.Mend{Direction: faultnet.ToServer}),
		after(7*time.Second, faultnet.Cut{Direction: faultnet.ToClient}),
		after(8*time.Second, faultnet.Mend{Direction: faultnet.ToClient})),
		after(sessionStarts, faultnet.RebindServer{})), func(c faultnet.Counts) uint64 {
		return min(c.Lost, c.Burst, c.Reordered, c.Duplicated, c.Corrupted, c.TooLong, c.Blackholed, c.Unrouted)
	}},
}

func blackholed(c faultnet.Counts) uint64 { return c.Blackholed }
func unrouted(c faultnet.Counts) uint64   { return c.Unrouted }

// path is what a path has besides f.
func path(f faultnet.Faults) faultnet.Faults {
	if f.Delay == 0 {
		f.Delay = 20 * time.Millisecond
	}
	if f.MTU == 0 {
		f.MTU = simMTU
	}
	return f
}

func after(d time.Duration, e faultnet.Event) faultnet.Step { return faultnet.Step{At: d, Do: e} }

func always(f faultnet.Faults) faultnet.Schedule {
	return faultnet.Schedule{after(0, faultnet.Set{Direction: faultnet.BothWays, Faults: path(f)})}
}

// repeat plays steps again and again, while sessions begin.
func repeat(every time.Duration, steps ...faultnet.Step) (s faultnet.Schedule) {
	for at := time.Duration(0); at < sessionStarts; at += every {
		for _, step := range steps {
			s = append(s, after(at+step.At, step.Do))
		}
	}
	return s
}

// holes are blackholes that QUIC survives, of which the longest outlasts a
// Close.
func holes(d faultnet.Direction) (s faultnet.Schedule) {
	for i, length := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 7 * time.Second} {
		at := time.Duration(i) * 6 * time.Second
		s = append(s, after(at+time.Second, faultnet.Cut{Direction: d}), after(at+time.Second+length, faultnet.Mend{Direction: d}))
	}
	return s
}
