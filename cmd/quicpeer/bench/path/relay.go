package path

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config of a path. The zero value is one without limits, delay and loss.
type Config struct {
	Rate  int64         // bits a second, IPv4 and UDP headers included; 0: no limit
	Delay time.Duration // one way, on top of the time in the queue
	Loss  float64       // share of packets lost at random, from 0 to below 1
	Queue int           // bytes that wait for the bottleneck at most; 0: one bandwidth-delay product, but at least 32 full packets
	Seed  uint64        // of the loss: with the same one, the same packets are lost
}

// minQueue lets a burst through where delay and rate are small.
const minQueue = 32 * 1500

func (c Config) queue() int {
	if c.Queue > 0 {
		return c.Queue
	}
	return max(int(float64(c.Rate)/8*2*c.Delay.Seconds()), minQueue)
}

func (c Config) check() error {
	switch {
	case c.Rate < 0, c.Delay < 0, c.Queue < 0:
		return errors.New("path: rate, delay or queue is negative")
	case !(c.Loss >= 0 && c.Loss < 1):
		return fmt.Errorf("path: a loss of %v is no share", c.Loss)
	}
	return nil
}

// Counts say what became of the packets of one direction. Those that are still
// on their way are in none of them.
type Counts struct {
	Passed, Bytes uint64 // packets that were sent on, and their UDP payload

	Lost      uint64 // at random, as configured
	QueueFull uint64 // the queue was full
	TooLong   uint64 // longer than the path takes
	TooMany   uint64 // the relay held as many as it may
	Stranger  uint64 // of somebody else than the one client
	Unsent    uint64 // the system did not take them
	Missed    uint64 // dropped by the system before the relay saw them; known on Linux only
}

// Faults counts the packets that were lost for no reason that the path's
// configuration gives. If there are any, what was measured is the relay.
func (c Counts) Faults() uint64 { return c.TooLong + c.TooMany + c.Stranger + c.Unsent + c.Missed }

// Relay is a running path between one client and one server. The client is who
// first sends to it. Safe for concurrent use.
type Relay struct {
	front, back *net.UDPConn
	there, here *line // to the server, to the client

	mu     sync.Mutex
	client netip.AddrPort

	running sync.WaitGroup
}

// Start starts a relay on loopback in front of a server. It ends with ctx;
// packets that are still on their way then are gone.
func Start(ctx context.Context, to netip.AddrPort, c Config) (*Relay, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		_ = front.Close()
		return nil, fmt.Errorf("path: %w", err)
	}
	for _, s := range []*net.UDPConn{front, back} {
		_ = s.SetReadBuffer(socketBuffer) // as much of it as the system allows
		countMissed(s)
	}
	r := &Relay{front: front, back: back, there: newLine(c, 0), here: newLine(c, 1)}
	r.running.Go(func() { r.read(front, r.there, r.fromClient) })
	r.running.Go(func() { r.read(back, r.here, func(netip.AddrPort) bool { return true }) })
	r.running.Go(func() {
		r.there.run(ctx, func(b []byte) error { _, err := back.Write(b); return err })
	})
	r.running.Go(func() {
		r.here.run(ctx, func(b []byte) error { _, err := front.WriteToUDPAddrPort(b, r.clientAddr()); return err })
	})
	context.AfterFunc(ctx, func() {
		_ = front.Close()
		_ = back.Close()
	})
	return r, nil
}

// socketBuffer is asked for, so that a burst waits until the relay has the CPU.
const socketBuffer = 4 << 20

// Addr is where the client finds the server.
func (r *Relay) Addr() netip.AddrPort { return r.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// Counts returns what became of the packets so far, to the server and to the
// client.
func (r *Relay) Counts() (toServer, toClient Counts) { return r.there.snapshot(), r.here.snapshot() }

// Wait returns once the relay has ended, which it does with the context of
// Start.
func (r *Relay) Wait() { r.running.Wait() }

// read takes packets off a socket until it is closed.
func (r *Relay) read(from *net.UDPConn, l *line, known func(netip.AddrPort) bool) {
	b, oob := make([]byte, maxPayload+1), make([]byte, 64)
	for {
		n, oobn, _, addr, err := from.ReadMsgUDPAddrPort(b, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // nobody listens on the other side now
		}
		if missed, ok := parseMissed(oob[:oobn]); ok {
			l.missed(missed)
		}
		if !known(addr) {
			l.stranger()
			continue
		}
		l.take(time.Now(), b[:n])
	}
}

func (r *Relay) fromClient(addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.client.IsValid() {
		r.client = addr
	}
	return r.client == addr
}

func (r *Relay) clientAddr() netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.client
}

func (l *line) snapshot() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

func (l *line) stranger() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Stranger++
}

// missed takes the system's count of what it dropped so far.
func (l *line) missed(n uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Missed = uint64(n)
}
