package main

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// A lossyConn is a socket that loses some of what is sent through it, sends
// some twice, and some late, so that it is overtaken.
type lossyConn struct {
	net.PacketConn
	loss float64 // the probability of a loss; twice and late are half as likely each

	mu sync.Mutex
	r  *rand.Rand
}

// lateMax is how late packets are at most: several round trips of loopback,
// and less than a probe timeout.
const lateMax = 20 * time.Millisecond

func (c *lossyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	d, late := c.r.Float64(), time.Duration(c.r.Int64N(int64(lateMax)))
	c.mu.Unlock()
	switch {
	case d < c.loss:
		return len(b), nil
	case d < c.loss*1.5:
		_, _ = c.PacketConn.WriteTo(b, to)
	case d < c.loss*2:
		b = slices.Clone(b)
		time.AfterFunc(late, func() { _, _ = c.PacketConn.WriteTo(b, to) })
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

// lossOf draws how much the endpoints of a process lose. Half of the processes
// lose nothing, and so does the first.
func (s shape) lossOf(process int) float64 {
	r := stream(s.Seed, "loss of %d", process)
	if process == 0 || r.IntN(2) == 0 {
		return 0
	}
	return s.Loss * r.Float64()
}
