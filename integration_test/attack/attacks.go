package main

import "fmt"

// attack is one way to harm a victim.
type attack struct {
	name    string
	tried   string // what the attacker does
	act     string // what the rate counts
	rate    int    // acts a second that a victim has to endure
	parts   int    // goroutines that share the rate
	trusted bool   // the attacker's key is one that the victim trusts
	prepare func(*attacker, request) error
	run     func(a *attacker, part int)
	// promised says what the library promises then, and check returns what of it
	// was not kept, as far as that shows from outside. Bounds for all attacks are
	// in game.go.
	promised string
	check    func(*outcome) []string
}

// attacks are all there are. Rates are chosen so that the attacker, which shares
// the machine's processors with the victim and the honest peers, takes a
// fraction of one.
func attacks() []attack {
	all := append(strangerAttacks(), linkAttacks()...)
	all = append(all, sessionAttacks()...)
	all = append(all, datagramAttacks()...)
	return append(all, stackAttacks()...)
}

func find(name string) (attack, error) {
	for _, a := range attacks() {
		if a.name == name {
			return a, nil
		}
	}
	return attack{}, fmt.Errorf("there is no attack %q", name)
}

// outcome is what an attack came to, over all rounds, for its checks.
type outcome struct {
	attacker  attackerTally // of all rounds
	stats     statsGrowth   // while the attacks ran
	peakLinks int           // of attackers
	slowClose float64       // seconds
	closes    uint64
	logLines  int64   // more than in the half without the attack, at most
	rounds    int     // that were played
	seconds   float64 // each attack took
}

// statsGrowth is by how much the victim's counters grew.
type statsGrowth struct{ Refused, Untrusted, Violations, RefusedSessions, Busy, Withdrawn uint64 }

// kept collects what was not.
type kept []string

func (k *kept) want(ok bool, format string, args ...any) {
	if !ok {
		*k = append(*k, fmt.Sprintf(format, args...))
	}
}

// linksOfOneAddress is the victim's limit.
const linksOfOneAddress = 64

// notYet is how much of what was done may still be on its way, or undecided, when
// an attack ends.
func notYet(acts uint64) uint64 { return acts/20 + 10 }
