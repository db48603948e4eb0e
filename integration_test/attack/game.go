package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// Bounds for all attacks.
const (
	// warmUp is how long honest peers run before anything is measured.
	warmUp = 300 * time.Millisecond
	// recoveryLimit is how long a victim may take to give back what an attacker
	// held: a link that fell silent lasts 30 s at most.
	recoveryLimit = 45 * time.Second
	// memoryBound is how much more memory the victim may have during an attack
	// than before: 64 links of 1,024 sessions each, at the figures of Limits,
	// would have 450 MB; no attack has that many links.
	memoryBound = 128 << 20
	// leftBound is what may be left in the heap afterwards, in pools and tables.
	leftBound = 3 << 20
	// logBound and logPace are how many lines the log may get in one half of a
	// round, at once and in each second: a hundred, and then one, of each kind,
	// of which there are eight.
	logBound, logPace = 1000, 8
	// keptThroughput is the honest throughput below which a run fails, and
	// grossLoss that of one too short for the former: the machine's other work
	// makes the two halves differ.
	keptThroughput, grossLoss = 0.9, 0.5
	enoughRounds, enoughTime  = 3, 2 * time.Second
)

// game plays attacks.
type game struct {
	dir                         string
	duration                    time.Duration
	rounds, times, load         int
	honest, newcomer, hostile   string // key files
	honestID, newcomerID, badID string
	recovering                  sync.WaitGroup // victims that are watched after their attack
}

func newGame(duration time.Duration, rounds, times, load int) (*game, error) {
	dir, err := os.MkdirTemp("", "quicpeer-attack-")
	if err != nil {
		return nil, err
	}
	g := &game{dir: dir, duration: duration, rounds: rounds, times: times, load: load}
	for name, to := range map[string]struct{ file, id *string }{
		"honest": {&g.honest, &g.honestID}, "newcomer": {&g.newcomer, &g.newcomerID}, "hostile": {&g.hostile, &g.badID},
	} {
		*to.file = filepath.Join(dir, name)
		id, err := certs.LoadOrCreate(*to.file)
		if err != nil {
			g.close()
			return nil, err
		}
		*to.id = id.ID().String()
	}
	return g, nil
}

func (g *game) close() { _ = os.RemoveAll(g.dir) }

// half is what was measured in one half of a round.
type half struct {
	begin, end victimSample
	honest     honestSample
	seconds    float64
	attacker   attackerTally // of the second half
}

func (h half) messages() float64 { return float64(h.end.Messages-h.begin.Messages) / h.seconds }
func (h half) cpu() float64      { return (h.end.CPU - h.begin.CPU).Seconds() / h.seconds }

// attack plays all rounds of one.
func (g *game) attack(ctx context.Context, a attack) (*result, error) {
	r := &result{
		Attack: a.name, Tried: a.tried, Act: a.act, Promised: a.promised,
		Rate: a.rate * g.times, Times: g.times, Rounds: g.rounds, Seconds: g.duration.Seconds(), Load: g.load,
	}
	var without, with []half
	for round := range g.rounds {
		w, v, err := g.round(ctx, a, r, round == g.rounds-1)
		if err != nil {
			return nil, err
		}
		without, with = append(without, w), append(with, v)
	}
	r.fill(a, without, with)
	return r, nil
}

// round plays one, with processes of its own.
func (g *game) round(ctx context.Context, a attack, r *result, last bool) (without, with half, err error) {
	victim, err := startPart(ctx, "victim")
	if err != nil {
		return half{}, half{}, err
	}
	stay := false
	defer func() {
		if !stay {
			victim.kill()
		}
	}()
	at, err := victim.call(request{Op: "listen", IDs: []string{g.honestID, g.newcomerID, g.badID}, Log: filepath.Join(g.dir, "log")})
	if err != nil {
		return half{}, half{}, err
	}
	base, err := victim.call(request{Op: "sample", GC: true})
	if err != nil {
		return half{}, half{}, err
	}
	honest, err := startPart(ctx, "honest")
	if err != nil {
		return half{}, half{}, err
	}
	defer honest.kill()
	if _, err := honest.call(request{Op: "start", Address: at.Address, PeerID: at.PeerID, Identity: g.honest, Second: g.newcomer, Load: g.load}); err != nil {
		return half{}, half{}, err
	}
	hostile, err := startPart(ctx, "attacker")
	if err != nil {
		return half{}, half{}, err
	}
	defer hostile.kill()
	if _, err := hostile.call(request{Op: "ready", Attack: a.name, Address: at.Address, Identity: g.hostile, Rate: a.rate * g.times, For: g.duration}); err != nil {
		return half{}, half{}, err
	}
	if err := pause(ctx, warmUp); err != nil {
		return half{}, half{}, err
	}
	without, err = g.measure(victim, honest, func() (response, error) { return response{}, pause(ctx, g.duration) })
	if err != nil {
		return half{}, half{}, err
	}
	with, err = g.measure(victim, honest, func() (response, error) {
		return hostile.call(request{Op: "go", Rate: a.rate * g.times, For: g.duration})
	})
	if err == nil && last {
		stay = true
		g.recovering.Go(func() {
			defer victim.kill()
			r.recovered = recovers(victim, *base.Victim)
		})
	}
	return without, with, err
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// measure takes samples before and after.
func (g *game) measure(victim, honest *part, do func() (response, error)) (half, error) {
	var h half
	for _, p := range []*part{victim, honest} {
		if _, err := p.call(request{Op: "mark"}); err != nil {
			return h, err
		}
	}
	before, err := victim.call(request{Op: "sample"})
	if err != nil {
		return h, err
	}
	began := time.Now()
	done, err := do()
	if err != nil {
		return h, err
	}
	after, err := victim.call(request{Op: "sample"})
	if err != nil {
		return h, err
	}
	h.seconds = time.Since(began).Seconds()
	others, err := honest.call(request{Op: "sample"})
	if err != nil {
		return h, err
	}
	h.begin, h.end, h.honest = *before.Victim, *after.Victim, *others.Honest
	if done.Attack != nil {
		h.attacker = *done.Attack
	}
	return h, nil
}

// recovered is what became of a victim after its attack.
type recovered struct {
	seconds float64 // until it held what it held before all
	left    int64   // bytes that it then held more
	broken  string  // why not, if it did not
}

// recovers watches a victim whose attacker and honest peers have gone without a
// word, until it holds what it held in the beginning.
func recovers(victim *part, base victimSample) recovered {
	began := time.Now()
	var s victimSample
	for time.Since(began) < recoveryLimit {
		time.Sleep(time.Second)
		a, err := victim.call(request{Op: "sample", GC: true})
		if err != nil {
			return recovered{broken: fmt.Sprintf("the victim has died: %v", err)}
		}
		s = *a.Victim
		if s.Goroutines <= base.Goroutines+2 && s.Heap <= base.Heap+leftBound {
			return recovered{seconds: time.Since(began).Seconds(), left: s.Heap - base.Heap}
		}
	}
	return recovered{broken: fmt.Sprintf("after %v the victim still holds %d goroutines and %d KiB more than in the beginning",
		recoveryLimit, s.Goroutines-base.Goroutines, (s.Heap-base.Heap)>>10)}
}

// growth is by how much counters grew.
func growth(from, to quicpeer.Stats) statsGrowth {
	return statsGrowth{
		Refused:         to.RefusedConnections - from.RefusedConnections,
		Untrusted:       to.UntrustedPeers - from.UntrustedPeers,
		Violations:      to.Violations - from.Violations,
		RefusedSessions: to.RefusedSessions - from.RefusedSessions,
		Busy:            to.BusySessions - from.BusySessions,
		Withdrawn:       to.WithdrawnSessions - from.WithdrawnSessions,
	}
}

// add adds up tallies of several rounds.
func (t *attackerTally) add(o attackerTally) {
	t.Acts += o.Acts
	t.Packets += o.Packets
	t.Bytes += o.Bytes
	t.CPU += o.CPU
	t.Links += o.Links
	for _, m := range []struct {
		to   *map[string]uint64
		from map[string]uint64
	}{{&t.Cut, o.Cut}, {&t.Reset, o.Reset}, {&t.Notes, o.Notes}} {
		if *m.to == nil {
			*m.to = make(map[string]uint64)
		}
		for k, n := range m.from {
			(*m.to)[k] += n
		}
	}
}

// counts writes a map in order.
func counts(m map[string]uint64) string {
	text := ""
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s: %s", k, number(float64(m[k])))
	}
	return text
}
