package path

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// headers of IPv4 and UDP count for the rate, as they do on a wire.
	headers = 20 + 8
	// maxPayload is what fits in the frame of an Ethernet.
	maxPayload = 1500 - headers
	// maxHeld bounds the packets that one direction holds, and with that its
	// memory to 96 MB: five seconds of full-size packets at 150 Mbit/s.
	maxHeld = 1 << 16
	// batch is how many packets that are due are sent at a time, between which
	// others may come in.
	batch = 32
)

// line is one direction of a path. Time comes in with each call, and must not
// go back. Safe for concurrent use.
type line struct {
	rate  float64 // bytes a second; 0: no limit
	queue float64 // bytes
	delay time.Duration
	loss  float64
	wake  chan struct{} // capacity 1: a packet has come to an empty line

	mu     sync.Mutex
	random *rand.Rand
	free   time.Time // when the bottleneck has sent what it took so far
	held   []packet  // a ring, in order of arrival
	first  int       // in held
	count  int       // in held
	spare  [][]byte  // buffers of packets that are gone
	counts Counts
}

// packet is on its way, and arrives at a time.
type packet struct {
	at time.Time
	b  []byte
}

func newLine(c Config, direction uint64) *line {
	return &line{
		rate:   float64(c.Rate) / 8,
		queue:  float64(c.queue()),
		delay:  c.Delay,
		loss:   c.Loss,
		wake:   make(chan struct{}, 1),
		random: rand.New(rand.NewPCG(c.Seed, direction)),
		held:   make([]packet, 256), // a power of two
	}
}

// take copies a packet that comes now, or drops it.
func (l *line) take(now time.Time, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// One random number a packet, whatever becomes of it: the fate of the
	// n-th depends on nothing but the seed.
	lost := l.random.Float64() < l.loss
	if len(b) > maxPayload {
		l.counts.TooLong++
		return
	}
	leaves := now
	if l.rate > 0 {
		size := float64(len(b) + headers)
		if l.free.Before(now) {
			l.free = now
		}
		if l.free.Sub(now).Seconds()*l.rate+size > l.queue {
			l.counts.QueueFull++
			return
		}
		l.free = l.free.Add(time.Duration(size / l.rate * float64(time.Second)))
		leaves = l.free
	}
	switch {
	case lost: // on the wire: it has used the bottleneck
		l.counts.Lost++
		return
	case l.count == maxHeld:
		l.counts.TooMany++
		return
	}
	l.push(packet{leaves.Add(l.delay), append(l.buffer(), b...)})
}

func (l *line) push(p packet) {
	if l.count == len(l.held) {
		held := make([]packet, 2*len(l.held))
		n := copy(held, l.held[l.first:])
		copy(held[n:], l.held[:l.first])
		l.held, l.first = held, 0
	}
	l.held[(l.first+l.count)&(len(l.held)-1)] = p
	l.count++
	if l.count == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (l *line) buffer() []byte {
	n := len(l.spare)
	if n == 0 {
		return make([]byte, 0, maxPayload)
	}
	b := l.spare[n-1]
	l.spare = l.spare[:n-1]
	return b
}

// due appends what has arrived by now, a batch at most, and returns when the next
// packet does. It is the zero time if there is none.
func (l *line) due(now time.Time, to [][]byte) (arrived [][]byte, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count > 0 {
		p := &l.held[l.first]
		if len(to) == batch || p.at.After(now) {
			return to, p.at
		}
		to = append(to, p.b)
		*p = packet{}
		l.first = (l.first + 1) & (len(l.held) - 1)
		l.count--
	}
	return to, time.Time{}
}

// deliver writes packets that have arrived, and gives their buffers back.
func (l *line) deliver(arrived [][]byte, write func([]byte) error) {
	var c Counts
	for _, b := range arrived {
		if write(b) != nil {
			c.Unsent++
			continue
		}
		c.Passed++
		c.Bytes += uint64(len(b))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range arrived {
		l.spare = append(l.spare, b[:0])
	}
	l.counts.Passed += c.Passed
	l.counts.Bytes += c.Bytes
	l.counts.Unsent += c.Unsent
}

// run writes packets as they arrive, until ctx ends.
func (l *line) run(ctx context.Context, write func([]byte) error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	arrived := make([][]byte, 0, batch)
	for ctx.Err() == nil {
		now := time.Now()
		var next time.Time
		arrived, next = l.due(now, arrived[:0])
		l.deliver(arrived, write)
		var at <-chan time.Time
		if !next.IsZero() {
			if !next.After(now) {
				continue
			}
			timer.Reset(time.Until(next))
			at = timer.C
		}
		select {
		case <-at:
		case <-l.wake:
		case <-ctx.Done():
		}
	}
}
