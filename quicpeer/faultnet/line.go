package faultnet

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Line decides what becomes of the packets of one direction. It has no clock
// and moves nothing: [Relay] and [Sim] do, and so can you.
//
// Each packet takes the same number of random draws, whatever becomes of it.
// So the n-th packet of a line always meets the same luck: with the same seed
// and the same faults it is lost or not, whatever was in the packets before it.
//
// Not safe for concurrent use. Make one with [NewLine].
type Line struct {
	random *rand.Rand
	faults Faults
	burst  bool // in the bad state
	counts Counts
}

// Delivery is a packet that arrives.
type Delivery struct {
	After  time.Duration // from when it was sent
	Packet []byte        // what was sent, or an altered copy of it
}

// NewLine returns a line without faults. Lines with the same seed and different
// streams have nothing to do with each other.
func NewLine(seed, stream uint64) *Line {
	return &Line{random: rand.New(rand.NewPCG(seed, stream))}
}

// Set gives the packets that follow other faults. On an error nothing changes.
func (l *Line) Set(f Faults) error {
	if err := f.Check(); err != nil {
		return err
	}
	l.faults = f
	if f.Burst == (Burst{}) {
		l.burst = false
	}
	return nil
}

// Faults returns what was set last.
func (l *Line) Faults() Faults { return l.faults }

// Cut loses everything from now on, and keeps the other faults for [Line.Mend].
func (l *Line) Cut() { l.faults.Blackhole = true }

// Mend ends a blackhole.
func (l *Line) Mend() { l.faults.Blackhole = false }

// Counts returns what was decided so far. Delivered, QueueFull and Unsent are
// for whoever moves the packets, and zero here.
func (l *Line) Counts() Counts { return l.counts }

// luck is what one packet draws, each from 0 to below 1.
type luck struct {
	state, loss, burst          float64
	duplicate, reorder, corrupt float64
	bit, jitter, copyJitter     float64
}

// Append decides about the next packet, and appends its deliveries to dst:
// none, one, or two. They share the packet's memory unless it was altered.
func (l *Line) Append(dst []Delivery, packet []byte) []Delivery {
	u := l.draw()
	l.counts.Offered++
	if l.drop(&u, len(packet)) {
		return dst
	}
	f := &l.faults
	first := Delivery{After: f.Delay + jitter(f, u.jitter), Packet: packet}
	harmed := false
	if u.corrupt < f.Corrupt && len(packet) > 0 {
		first.Packet = slices.Clone(packet)
		bit := int(u.bit * float64(8*len(packet)))
		first.Packet[bit/8] ^= 1 << (bit % 8)
		l.counts.Corrupted++
		harmed = true
	}
	if u.reorder < f.Reorder {
		first.After += f.reorderBy()
		l.counts.Reordered++
		harmed = true
	}
	dst = append(dst, first)
	if u.duplicate < f.Duplicate {
		dst = append(dst, Delivery{After: f.Delay + jitter(f, u.copyJitter), Packet: packet})
		l.counts.Duplicated++
		harmed = true
	}
	if harmed {
		l.counts.Harmed++
	} else {
		l.counts.Unharmed++
	}
	return dst
}

func (l *Line) draw() luck {
	r := l.random
	return luck{
		state: r.Float64(), loss: r.Float64(), burst: r.Float64(),
		duplicate: r.Float64(), reorder: r.Float64(), corrupt: r.Float64(),
		bit: r.Float64(), jitter: r.Float64(), copyJitter: r.Float64(),
	}
}

// drop reports whether a packet is lost, and counts why. The state of the burst
// moves with every packet, those included that are lost for another reason.
func (l *Line) drop(u *luck, size int) bool {
	f := &l.faults
	if l.burst {
		l.burst = u.state >= f.Burst.Leave
	} else {
		l.burst = u.state < f.Burst.Enter
	}
	switch {
	case f.Blackhole:
		l.counts.Blackholed++
	case f.MTU > 0 && size > f.MTU:
		l.counts.TooLong++
	case l.burst && u.burst < f.burstLoss():
		l.counts.Burst++
	case !l.burst && u.loss < f.Loss:
		l.counts.Lost++
	default:
		return false
	}
	return true
}

func jitter(f *Faults, u float64) time.Duration { return time.Duration(u * float64(f.Jitter)) }
