package faultnet

import (
	"errors"
	"fmt"
	"time"
)

// Faults are what befalls the packets of one direction. The zero value is a
// perfect path. Shares are from 0 (no packet) to 1 (every packet).
type Faults struct {
	Loss  float64 // share of packets lost, each by itself
	Burst Burst   // losses that come together, besides

	Delay  time.Duration // of every packet, one way
	Jitter time.Duration // a random part of it, evenly spread, is added to Delay: packets overtake each other

	Reorder   float64       // share of packets held back so that others overtake them
	ReorderBy time.Duration // for so long, on top of Delay and Jitter; 0: DefaultReorderBy

	Duplicate float64 // share of packets that arrive twice; the copy is unharmed, with a Jitter of its own
	Corrupt   float64 // share of packets that arrive with one bit flipped, and a correct UDP checksum

	MTU       int  // bytes of UDP payload; longer packets are dropped; 0: no limit
	Blackhole bool // nothing gets through
}

// Burst is the bad state of the model of Gilbert and Elliott: packets meet a
// good state, in which Faults.Loss of them are lost, or a bad one. The zero
// value has no bad state. A burst has 1/Leave packets on average.
//
// E. N. Gilbert, "Capacity of a Burst-Noise Channel", Bell System Technical
// Journal 39 (1960); E. O. Elliott, "Estimates of Error Rates for Codes on
// Burst-Noise Channels", Bell System Technical Journal 42 (1963).
type Burst struct {
	Enter float64 // probability that the next packet finds the state turned bad
	Leave float64 // probability that the next packet finds it good again
	Loss  float64 // share of packets lost while it is bad; 0: all
}

// DefaultReorderBy holds a packet back behind those of the next few
// milliseconds, and is less than QUIC's first probe timeout on most paths.
const DefaultReorderBy = 10 * time.Millisecond

// Check says what is wrong with f, if anything.
func (f Faults) Check() error {
	for _, share := range []struct {
		name  string
		value float64
	}{
		{"Loss", f.Loss}, {"Burst.Enter", f.Burst.Enter}, {"Burst.Leave", f.Burst.Leave}, {"Burst.Loss", f.Burst.Loss},
		{"Reorder", f.Reorder}, {"Duplicate", f.Duplicate}, {"Corrupt", f.Corrupt},
	} {
		if !(share.value >= 0 && share.value <= 1) { // neither is NaN
			return fmt.Errorf("faultnet: %s is %v, want a share from 0 to 1", share.name, share.value)
		}
	}
	switch {
	case f.Delay < 0 || f.Jitter < 0 || f.ReorderBy < 0:
		return fmt.Errorf("faultnet: Delay %v, Jitter %v or ReorderBy %v is negative", f.Delay, f.Jitter, f.ReorderBy)
	case f.MTU < 0:
		return fmt.Errorf("faultnet: MTU is %d, want bytes, or 0 for no limit", f.MTU)
	case f.Burst.Enter > 0 && f.Burst.Leave == 0:
		return errors.New("faultnet: Burst.Enter without Burst.Leave: the burst would never end; Blackhole does that")
	}
	return nil
}

// burstLoss is the share that a burst loses.
func (f *Faults) burstLoss() float64 {
	if f.Burst.Loss == 0 {
		return 1
	}
	return f.Burst.Loss
}

func (f *Faults) reorderBy() time.Duration {
	if f.ReorderBy == 0 {
		return DefaultReorderBy
	}
	return f.ReorderBy
}
