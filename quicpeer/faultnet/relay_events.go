package faultnet

import (
	"fmt"
	"net"
	"slices"
)

// maxForgotten is how many addresses stay bound after they were given up, so
// that packets to them vanish, as behind a NAT, instead of being refused by the
// system, or going to somebody else.
const maxForgotten = 16

// Set sets the faults of a direction, for all clients, also for those to come.
func (r *Relay) Set(d Direction, f Faults) error {
	if err := f.Check(); err != nil {
		return err
	}
	return r.change(d, func(faults *Faults, lines []*Line) {
		*faults = f
		for _, l := range lines {
			_ = l.Set(f) // checked
		}
	})
}

// Cut loses everything of a direction, and keeps its other faults.
func (r *Relay) Cut(d Direction) error {
	return r.change(d, func(f *Faults, lines []*Line) {
		f.Blackhole = true
		for _, l := range lines {
			l.Cut()
		}
	})
}

// Mend undoes [Relay.Cut].
func (r *Relay) Mend(d Direction) error {
	return r.change(d, func(f *Faults, lines []*Line) {
		f.Blackhole = false
		for _, l := range lines {
			l.Mend()
		}
	})
}

// change changes a direction of all clients.
func (r *Relay) change(d Direction, f func(*Faults, []*Line)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.each(func(d Direction) error {
		var lines []*Line
		for _, c := range r.clients {
			lines = append(lines, c.lines[index(d)])
		}
		f(&r.faults[index(d)], lines)
		return nil
	})
}

// RebindClient has a client's packets leave from another port.
func (r *Relay) RebindClient(client int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.client(client)
	if err != nil {
		return err
	}
	back, err := r.newOutside()
	if err != nil {
		return err
	}
	r.forget(c.back)
	c.back, r.sockets[back] = back, c
	return nil
}

// RebindServer has the server's packets come from another port.
func (r *Relay) RebindServer() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return net.ErrClosed
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: r.front.LocalAddr().(*net.UDPAddr).IP})
	if err != nil {
		return fmt.Errorf("faultnet: %w", err)
	}
	r.forget(r.front)
	r.front = front
	r.serve(front, r.fromClient)
	return nil
}

// forget keeps a socket bound, for a while at least, that is nobody's any more.
func (r *Relay) forget(socket *net.UDPConn) {
	delete(r.sockets, socket)
	r.forgotten = append(r.forgotten, socket)
	if len(r.forgotten) > maxForgotten {
		_ = r.forgotten[0].Close()
		r.forgotten = slices.Delete(r.forgotten, 0, 1)
	}
}

// Swap has two clients exchange their outside ports.
func (r *Relay) Swap(a, b int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ca, err := r.client(a)
	if err != nil {
		return err
	}
	cb, err := r.client(b)
	if err != nil {
		return err
	}
	ca.back, cb.back = cb.back, ca.back
	r.sockets[ca.back], r.sockets[cb.back] = ca, cb
	return nil
}

func (r *Relay) client(i int) (*client, error) {
	if i < 0 || i >= len(r.clients) {
		return nil, fmt.Errorf("faultnet: there is no client %d, %d have come", i, len(r.clients))
	}
	return r.clients[i], nil
}
