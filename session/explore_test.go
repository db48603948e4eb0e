package session

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	exploreHistories = flag.Uint64("explore.histories", 0, "how many random histories TestExplore goes through; 0: as many as take a second or two")
	exploreFrom      = flag.Uint64("explore.from", 0, "the seed of TestExplore's first history")
)

// TestExplore goes far beyond the bounds of TestExhaust: long histories, in
// which chance decides what may happen and what happens next. The checks are
// the same, after every step. A failure prints its seed and the history.
func TestExplore(t *testing.T) {
	var complete, incomplete, longest, events uint64
	n := *exploreHistories
	switch {
	case n == 0 && raceDetector:
		n = 800
	case n == 0:
		n = 5000
	}
	c := newCast()
	for seed := *exploreFrom; seed < *exploreFrom+n; seed++ {
		if len(c.machines) > 1<<13 {
			c = newCast() // it never forgets anything, and there is no end to what happens here
		}
		h := newHistory(c, seed)
		if err := h.run(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(h.tell(h.events), "\n"))
		}
		a, b := &h.machines[h.world.sides[0].machine], &h.machines[h.world.sides[1].machine]
		if a.totals && b.totals {
			complete++
		} else {
			incomplete++
		}
		longest, events = max(longest, uint64(len(h.events))), events+uint64(len(h.events))
	}
	t.Logf("%d events; %d histories ended with both totals known, %d without; the longest has %d events", events, complete, incomplete, longest)
	require.True(t, complete >= n/4 && incomplete >= n/20, "the histories are all alike: nothing was explored")
}

// A history is one way through a model, by chance.
type history struct {
	model
	rng    *rand.Rand
	world  world
	events []event
}

func newHistory(c *cast, seed uint64) *history {
	rng := rand.New(rand.NewPCG(seed, 0))
	h := &history{rng: rng, model: model{c, bounds{
		messages: rng.IntN(40), signals: rng.IntN(20), reports: rng.IntN(5), credit: 1 + rng.Uint64N(DefaultMaxSignals),
		reject: rng.IntN(2) == 0, sessions: 1 + rng.IntN(3),
	}}}
	if rng.IntN(3) == 0 { // a rough one
		for _, may := range []*bool{&h.giveUp, &h.aborts, &h.timers, &h.loss, &h.crash, &h.idle} {
			*may = rng.IntN(2) == 0
		}
	}
	return h
}

// weights says how likely each kind of event is, against the others that can
// happen. What ends a session is rare, for there is more to see before.
var weights = [eventKinds]int{
	evRead: 60, evReset: 40, evStop: 40, evResetLost: 10, evStopLost: 10, evFlush: 20, evFreeze: 20, evSettled: 20, evLost: 1, evTimer: 1,
	evMessage: 40, evSend: 40, evAccept: 20, evReject: 4, evSignal: 30, evTake: 30, evReport: 5,
	evClose: 3, evGiveUp: 2, evAbort: 1, evCrash: 1, evIdle: 2, evAgain: 40,
}

// run goes through the history: for as long as chance has it, and then until
// everything that has begun has ended.
func (h *history) run() (err error) {
	if h.world, err = h.begin(); err != nil {
		return err
	}
	for range 10 + h.rng.IntN(200) {
		if ok, err := h.step(func(event) bool { return true }); err != nil || !ok {
			return err
		}
	}
	for round := 0; ; round++ {
		for !h.rests(&h.world) {
			if _, err := h.step(func(e event) bool { return h.owed(&h.world, e) }); err != nil {
				return err
			}
		}
		if h.world.sides[0].over() && h.world.sides[1].over() {
			return nil
		}
		if round == 2 {
			return fmt.Errorf("its applications have answered and closed, and it goes on")
		}
		// Whatever still stands is answered, and then closed by one or both.
		if ok, err := h.step(func(e event) bool { return e.kind == evAccept || e.kind == evReject }); err != nil || ok {
			if err != nil {
				return err
			}
			continue
		}
		for range 1 + h.rng.IntN(2) {
			if _, err := h.step(func(e event) bool { return e.kind == evClose }); err != nil {
				return err
			}
		}
	}
}

// step has one of the events happen that can, if there is one that will do, and
// checks the state that comes of it.
func (h *history) step(will func(event) bool) (happened bool, err error) {
	var can [2 * eventKinds]event
	n, sum := 0, 0
	h.model.events(&h.world, func(e event) {
		if will(e) {
			can[n] = e
			n++
			sum += weights[e.kind]
		}
	})
	if n == 0 {
		return false, nil
	}
	i := 0
	for at := h.rng.IntN(sum); at >= weights[can[i].kind]; i++ {
		at -= weights[can[i].kind]
	}
	h.events = append(h.events, can[i])
	if err := h.happen(&h.world, can[i]); err != nil {
		return true, err
	}
	return true, h.check(&h.world)
}
