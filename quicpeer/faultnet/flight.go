package faultnet

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// maxFlying bounds the packets that are on their way at once to one
	// receiver, or through one relay: three seconds at 20,000 packets a second.
	maxFlying = 1 << 16
	// maxFlyingBytes bounds their memory.
	maxFlyingBytes = 64 << 20
)

// flight holds packets that are on their way, and sends each when its time has
// come; those for the same time in the order in which they came. Safe for
// concurrent use.
type flight struct {
	wake chan struct{} // capacity 1: something is due sooner than before, or it is over

	mu     sync.Mutex
	held   flyingHeap
	bytes  int
	next   uint64
	closed bool
}

// flying is one packet on its way.
type flying struct {
	at    time.Time
	order uint64
	size  int
	send  func() // called once, by the flight's own goroutine
}

func newFlight() *flight { return &flight{wake: make(chan struct{}, 1)} }

// add reports whether there was room. What is added after the end is forgotten.
func (f *flight) add(at time.Time, size int, send func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return true
	}
	if len(f.held) >= maxFlying || f.bytes+size > maxFlyingBytes {
		return false
	}
	heap.Push(&f.held, flying{at: at, order: f.next, size: size, send: send})
	f.next++
	f.bytes += size
	if f.held[0].order == f.next-1 {
		f.poke()
	}
	return true
}

// close makes run return; what is still on its way is gone.
func (f *flight) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.held = true, nil
	f.poke()
}

func (f *flight) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // it is about to look
	}
}

// run sends what is due, until close.
func (f *flight) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p, wait, over := f.due(time.Now())
		switch {
		case over:
			return
		case p != nil:
			p.send()
			continue
		case wait > 0:
			timer.Reset(wait)
		default:
			timer.Stop()
		}
		select {
		case <-f.wake:
		case <-timer.C:
		}
	}
}

// due returns the next packet if its time has come, or how long that takes; 0
// if there is none.
func (f *flight) due(now time.Time) (p *flying, wait time.Duration, over bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.held) == 0 {
		return nil, 0, f.closed
	}
	if wait := f.held[0].at.Sub(now); wait > 0 {
		return nil, wait, false
	}
	first := heap.Pop(&f.held).(flying)
	f.bytes -= first.size
	return &first, 0, false
}

// flyingHeap is ordered by time, then by arrival.
type flyingHeap []flying

func (h flyingHeap) Len() int { return len(h) }

func (h flyingHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].order < h[j].order
}

func (h flyingHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *flyingHeap) Push(x any) { *h = append(*h, x.(flying)) }

func (h *flyingHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = flying{} // so that its packet can be freed
	*h = old[:len(old)-1]
	return last
}
