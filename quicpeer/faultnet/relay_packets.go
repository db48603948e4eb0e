package faultnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// socketBuffer is asked for, so that a burst waits until the relay runs.
	socketBuffer = 4 << 20
	// quickFailures is after how many failed reads in a row there are pauses of
	// failurePause. Most are of one packet each, which nobody took on the other
	// side, so a client may cause many of them while its server is away.
	quickFailures = 1000
	failurePause  = 10 * time.Millisecond
)

// serve reads a socket until it is closed.
func (r *Relay) serve(socket *net.UDPConn, take func(*net.UDPConn, netip.AddrPort, []byte)) {
	_ = socket.SetReadBuffer(socketBuffer) // as much of it as the system allows
	r.running.Go(func() {
		readAll(socket.ReadFromUDPAddrPort, func(from netip.AddrPort, packet []byte) { take(socket, unmap(from), packet) })
	})
}

// readAll reads until the socket is closed. Other errors pass.
func readAll(read func([]byte) (int, netip.AddrPort, error), take func(netip.AddrPort, []byte)) {
	buf := make([]byte, 64<<10) // the largest UDP payload fits
	for failures := 0; ; {
		n, from, err := read(buf)
		switch {
		case err == nil:
			failures = 0
			take(from, buf[:n])
		case errors.Is(err, net.ErrClosed):
			return
		default:
			if failures++; failures > quickFailures {
				<-time.After(failurePause)
			}
		}
	}
}

// fromClient takes a packet that came to the front.
func (r *Relay) fromClient(front *net.UDPConn, from netip.AddrPort, packet []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := &r.counts[index(ToServer)]
	switch c := r.known[from]; {
	case front != r.front: // an address that the server had before
		counts.Offered++
		counts.Unrouted++
	case c != nil:
		r.take(c, ToServer, packet)
	case len(r.clients) == r.max:
		counts.Offered++
		counts.TooMany++
	default:
		c, err := r.newClient(from)
		if err != nil {
			counts.Offered++
			counts.Unrouted++
			return
		}
		r.take(c, ToServer, packet)
	}
}

// fromServer takes a packet that came to an outside socket.
func (r *Relay) fromServer(socket *net.UDPConn, _ netip.AddrPort, packet []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.sockets[socket]; c != nil {
		r.take(c, ToClient, packet)
		return
	}
	r.counts[index(ToClient)].Offered++
	r.counts[index(ToClient)].Unrouted++
}

// newClient gives a client an outside.
func (r *Relay) newClient(addr netip.AddrPort) (*client, error) {
	back, err := r.newOutside()
	if err != nil {
		return nil, err
	}
	c := &client{addr: addr, back: back}
	for d := range c.lines {
		c.lines[d] = NewLine(r.seed, uint64(2*len(r.clients)+d))
		_ = c.lines[d].Set(r.faults[d]) // checked when they came
	}
	r.clients = append(r.clients, c)
	r.known[addr], r.sockets[back] = c, c
	return c, nil
}

func (r *Relay) newOutside() (*net.UDPConn, error) {
	if r.closed {
		return nil, net.ErrClosed
	}
	back, err := net.DialUDP("udp", nil, r.server)
	if err != nil {
		return nil, fmt.Errorf("faultnet: %w", err)
	}
	r.serve(back, r.fromServer)
	return back, nil
}

// take decides about one packet, and sends it on its way.
func (r *Relay) take(c *client, d Direction, packet []byte) {
	now := time.Now()
	for _, delivery := range c.lines[index(d)].Append(nil, packet) {
		b := slices.Clone(delivery.Packet)
		if !r.flight.add(now.Add(delivery.After), len(b), func() { r.send(c, d, b) }) {
			r.counts[index(d)].QueueFull++
		}
	}
}

// send writes a packet to where its receiver is now.
func (r *Relay) send(c *client, d Direction, packet []byte) {
	r.mu.Lock()
	front, back := r.front, c.back
	r.mu.Unlock()
	var err error
	if d == ToServer {
		_, err = back.Write(packet)
	} else {
		_, err = front.WriteToUDPAddrPort(packet, c.addr)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.counts[index(d)].Unsent++
		return
	}
	r.counts[index(d)].Delivered++
}
