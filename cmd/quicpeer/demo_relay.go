package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// lossyRelay forwards packets between one client and one server, and loses
// some: in each direction, every n-th one.
type lossyRelay struct {
	front, back *net.UDPConn
	client      atomic.Pointer[net.UDPAddr]
	every       int // 0: none is lost
	passed      atomic.Int64
	lost        atomic.Int64
	running     sync.WaitGroup
}

// startRelay returns a relay to a port of this machine. It ends with ctx.
func startRelay(ctx context.Context, port uint16, percent int) (*lossyRelay, error) {
	loopback := net.IPv4(127, 0, 0, 1)
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback})
	if err != nil {
		return nil, err
	}
	back, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: loopback, Port: int(port)})
	if err != nil {
		_ = front.Close()
		return nil, err
	}
	r := &lossyRelay{front: front, back: back}
	if percent > 0 {
		r.every = 100 / percent
	}
	r.running.Go(func() {
		r.forward(func(b []byte) (int, error) {
			n, from, err := front.ReadFromUDP(b)
			if err == nil {
				r.client.Store(from)
			}
			return n, err
		}, back.Write)
	})
	r.running.Go(func() {
		r.forward(back.Read, func(b []byte) (int, error) {
			return front.WriteToUDP(b, r.client.Load())
		})
	})
	context.AfterFunc(ctx, func() {
		_ = front.Close()
		_ = back.Close()
	})
	return r, nil
}

// address is where the client finds the server.
func (r *lossyRelay) address() string { return r.front.LocalAddr().String() }

// wait returns once the relay has ended.
func (r *lossyRelay) wait() { r.running.Wait() }

// forward passes packets on until a socket is closed. A failed write is one
// more packet lost, by the system.
func (r *lossyRelay) forward(read, write func([]byte) (int, error)) {
	buf := make([]byte, 64<<10) // the largest UDP payload fits
	for n := 1; ; n++ {
		size, err := read(buf)
		if err != nil {
			return
		}
		if r.every > 0 && n%r.every == 0 {
			r.lost.Add(1)
			continue
		}
		r.passed.Add(1)
		_, _ = write(buf[:size])
	}
}
