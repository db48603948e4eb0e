package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// attackerTally is what an attacker did, and what became of it.
type attackerTally struct {
	Acts    uint64 // initials, handshakes, streams, frames, …: the attack says which
	Packets uint64 // UDP packets sent
	Bytes   uint64 // in them
	CPU     time.Duration
	Links   uint64            // handshakes that the attacker saw complete
	Cut     map[string]uint64 // how its connections ended, other than by itself
	Reset   map[string]uint64 // how its streams ended, other than by itself
	Notes   map[string]uint64 // what else is worth counting
}

// attacker plays one attack. Its parts may run on many goroutines.
type attacker struct {
	ctx      context.Context // ends with the attack
	victim   *net.UDPAddr
	identity *certs.Identity // trusted by the victim, if the attack says so
	rate     *pace
	packets  atomic.Uint64
	bytes    atomic.Uint64
	links    atomic.Uint64
	initials [][]byte // made before the attack begins, if it needs them

	mu    sync.Mutex
	tally attackerTally
	hosts []*host
}

func playAttacker() {
	var a attacker
	var what attack
	play(func(r request) (response, error) {
		switch r.Op {
		case "ready":
			var err error
			if what, err = find(r.Attack); err != nil {
				return response{}, err
			}
			return response{}, a.ready(r, what)
		case "go":
			return response{Attack: a.run(r, what)}, nil
		}
		return response{}, fmt.Errorf("an attacker does not know %q", r.Op)
	})
}

func (a *attacker) ready(r request, what attack) error {
	ap, err := net.ResolveUDPAddr("udp4", r.Address)
	if err != nil {
		return err
	}
	a.victim = ap
	a.tally = attackerTally{Cut: make(map[string]uint64), Reset: make(map[string]uint64), Notes: make(map[string]uint64)}
	if what.trusted {
		a.identity, err = certs.Load(r.Identity)
	} else {
		a.identity, err = certs.Generate()
	}
	if err != nil {
		return err
	}
	if what.prepare != nil {
		return what.prepare(a, r)
	}
	return nil
}

// run plays the attack. When its time is up, the process stays as it is until it
// is killed: nothing says goodbye to the victim.
func (a *attacker) run(r request, what attack) *attackerTally {
	ctx, cancel := context.WithTimeout(context.Background(), r.For)
	defer cancel()
	a.ctx = ctx
	a.rate = newPace(r.Rate)
	before := cpuTime()
	var parts sync.WaitGroup
	for i := range what.parts {
		parts.Go(func() { what.run(a, i) })
	}
	parts.Wait()
	<-ctx.Done()
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tally
	t.Acts, t.CPU = a.rate.taken(), cpuTime()-before
	t.Packets, t.Bytes, t.Links = a.packets.Load(), a.bytes.Load(), a.links.Load()
	return &t
}

// pace lets so many acts a second happen, and makes up for at most 50 ms in
// which the attacker had no processor. Safe for concurrent use.
type pace struct {
	mu    sync.Mutex
	rate  float64
	next  time.Time
	total uint64
}

func newPace(rate int) *pace { return &pace{rate: float64(rate), next: time.Now()} }

// wait waits until n acts may happen, and reports false once the attack is over.
func (p *pace) wait(ctx context.Context, n int) bool {
	p.mu.Lock()
	now := time.Now()
	if late := now.Add(-50 * time.Millisecond); p.next.Before(late) {
		p.next = late
	}
	at := p.next
	p.next = p.next.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	if wait := at.Sub(now); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	if ctx.Err() != nil {
		return false
	}
	p.mu.Lock()
	p.total += uint64(n)
	p.mu.Unlock()
	return true
}

func (p *pace) taken() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// act waits for the time of n acts.
func (a *attacker) act(n int) bool { return a.rate.wait(a.ctx, n) }

func (a *attacker) note(what string) { a.count(a.tally.Notes, what) }

func (a *attacker) count(in map[string]uint64, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(in) < 20 || in[what] > 0 {
		in[what]++
	}
}

// host is a QUIC stack on a socket of its own.
type host struct {
	*quic.Transport
	conn *hostConn
}

// hostConn counts what is sent, and may lose it. Not being a *net.UDPConn, it
// is used packet by packet.
type hostConn struct {
	*net.UDPConn
	a    *attacker
	drop atomic.Pointer[func([]byte) bool]
	from atomic.Pointer[func() []byte] // control messages, for a source of each packet's own
}

// plainConn hides what a UDPConn has besides a net.PacketConn's methods.
type plainConn struct{ net.PacketConn }

func (c *hostConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if drop := c.drop.Load(); drop != nil && (*drop)(b) {
		return len(b), nil
	}
	c.a.packets.Add(1)
	c.a.bytes.Add(uint64(len(b)))
	if from := c.from.Load(); from != nil {
		_, _, err := c.WriteMsgUDP(b, (*from)(), to.(*net.UDPAddr))
		return len(b), err
	}
	return c.UDPConn.WriteTo(b, to)
}

// host makes one at an address of 127/8: any of them will do, and the victim
// takes each for another site.
func (a *attacker) host(address string) (*host, error) {
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address)})
	if err != nil {
		return nil, err
	}
	c := &hostConn{UDPConn: u, a: a}
	h := &host{&quic.Transport{Conn: plainConn{c}}, c}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts = append(a.hosts, h) // kept open until the process is killed
	return h, nil
}

// address is the n-th of the attackers' addresses.
func address(n int) string { return fmt.Sprintf("127.2.%d.%d", n>>8&0xff, n&0xff) }

// quicConfig is an attacker's: as lenient as it gets.
func quicConfig() *quic.Config {
	return &quic.Config{EnableDatagrams: true, MaxIncomingStreams: 1 << 16, MaxIncomingUniStreams: 100, MaxIdleTimeout: 30 * time.Second, HandshakeIdleTimeout: 10 * time.Second, DisablePathMTUDiscovery: true}
}

func (a *attacker) clientTLS() *tls.Config {
	return a.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), a.victim.String())
}

// hostile is a connection of an attacker, which answers nothing but heartbeats.
type hostile struct {
	*quic.Conn
	a      *attacker
	host   *host
	link   *quic.SendStream
	number atomic.Uint64 // of the next datagram
}

// connect makes a link, and writes SETTINGS.
func (a *attacker) connect(h *host, config *quic.Config) (*hostile, error) {
	conn, err := h.Dial(a.ctx, a.victim, a.clientTLS(), config)
	if err != nil {
		a.ended(err)
		return nil, err
	}
	a.links.Add(1)
	context.AfterFunc(conn.Context(), func() { a.ended(context.Cause(conn.Context())) })
	p := &hostile{Conn: conn, a: a, host: h}
	if p.link, err = conn.OpenUniStream(); err != nil {
		return nil, err
	}
	_, err = p.link.Write(session.Settings{}.Append([]byte{0})) // stream type 0
	return p, err
}

// answer reads what comes, and answers heartbeats.
func (p *hostile) answer() {
	for {
		d, err := p.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		h, body, err := datagram.ParseHeader(d)
		if err == nil && h.Kind == datagram.KindHeartbeat {
			token, _ := datagram.ParseHeartbeat(body)
			_ = p.SendDatagram(datagram.AppendHeartbeat(nil, p.number.Add(1), true, token))
		}
	}
}

// ended counts how a connection ended, unless that was the attacker's doing.
func (a *attacker) ended(err error) {
	var te *quic.TransportError
	var ae *quic.ApplicationError
	switch {
	case errors.As(err, &ae) && ae.Remote:
		a.count(a.tally.Cut, session.Code(ae.ErrorCode).String())
	case errors.As(err, &te) && te.Remote:
		a.count(a.tally.Cut, te.ErrorCode.String())
	case err != nil && a.ctx.Err() == nil && ae == nil:
		a.count(a.tally.Cut, "no answer")
	}
}

// stream opens a control stream and writes to it.
func (p *hostile) stream(b []byte) (*quic.Stream, error) {
	s, err := p.OpenStreamSync(p.a.ctx)
	if err == nil {
		_, err = s.Write(b)
	}
	return s, err
}

// over reads a stream to its end, and counts how that was.
func (p *hostile) over(s *quic.Stream) {
	b := make([]byte, 4096)
	for {
		if _, err := s.Read(b); err != nil {
			var e *quic.StreamError
			if errors.As(err, &e) && e.Remote {
				p.a.count(p.a.tally.Reset, session.Code(e.ErrorCode).String())
			}
			return
		}
	}
}

// frames encodes some.
func frames(all ...session.Frame) []byte {
	var b []byte
	for _, f := range all {
		b = f.Append(b)
	}
	return b
}

// sessionID is the id of the session on a stream (session/PROTOCOL.md, 4.3).
func sessionID(s *quic.Stream) uint64 { id := uint64(s.StreamID()); return id>>2<<1 | id&1 }
