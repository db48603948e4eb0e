package bench

import (
	"fmt"
	"slices"
	"time"
)

// The settings that nobody has asked otherwise.
const (
	DefaultRounds  = 5
	DefaultSeconds = 1.0
	DefaultPings   = 2000
)

// DefaultSizes go from what a system call costs to what must be cut into many
// packets; 1,390 bytes nearly fill a packet of 1,452.
func DefaultSizes() []int { return []int{16, 64, 256, 1024, 1390, 4096, 16384, 65536} }

// QuickSettings are for trying a bench out: its figures are no more than a hint.
func QuickSettings() Settings {
	return Settings{
		Rounds: 1, Quick: true, Only: slices.Clone(Measures), Sizes: []int{64, 1390, 16384}, Seconds: 0.3, Pings: 300,
	}
}

// What a message may have: one byte for its kind, and what sessions take by
// default.
const (
	minSize = 1
	maxSize = 64 << 10
)

// Check finds settings that cannot be followed, by the names of their flags.
func (s Settings) Check() error {
	switch {
	case s.Rounds < 1:
		return fmt.Errorf("--rounds: %d is less than one round", s.Rounds)
	case !(s.Seconds > 0 && s.Seconds <= maxSeconds):
		return fmt.Errorf("--seconds: %v is not above 0 and at most %d", s.Seconds, maxSeconds)
	case s.Pings < 1 || s.Pings > maxPings:
		return fmt.Errorf("--pings: %d is not from 1 to %d", s.Pings, maxPings)
	case len(s.Sizes) == 0:
		return fmt.Errorf("--sizes: at least one is needed")
	case len(s.Only) == 0:
		return fmt.Errorf("--only: at least one measure is needed")
	}
	for _, size := range s.Sizes {
		if size < minSize || size > maxSize {
			return fmt.Errorf("--sizes: %d is not from %d to %d bytes", size, minSize, maxSize)
		}
	}
	for _, m := range s.Only {
		if !slices.Contains(Measures, m) {
			return fmt.Errorf("--only: %q is not one of %v", m, Measures)
		}
	}
	return nil
}

// Bounds of what a single measurement may take.
const (
	maxSeconds = 600
	maxPings   = 1_000_000
)

// work is how much each measurement does, besides what the settings say.
type work struct {
	controls int // rounds of measurements under load
	opens    int // one after another
	parallel int // many at once
	sessions int // idle ones
	links    int // idle ones
}

func (s Settings) work() work {
	if s.Quick {
		return work{controls: 40, opens: 100, parallel: 1000, sessions: 200, links: 20}
	}
	return work{controls: 300, opens: 500, parallel: 10_000, sessions: 1000, links: 100}
}

// Opens returns how many sessions are opened one after another, and how many by
// many at once.
func (s Settings) Opens() (one, many int) {
	w := s.work()
	return w.opens, w.parallel
}

func (s Settings) duration() time.Duration { return time.Duration(s.Seconds * float64(time.Second)) }

// Sizes of messages where the settings do not say.
const (
	PingSize    = 64   // of a lone message
	controlSize = 1300 // of the flood: one message a packet, on any path
	senders     = 4    // of the flood
	Openers     = 64   // of sessions, at once
)
