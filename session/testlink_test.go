package session

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
)

// testLink is one side of a link between two that exists in memory. Its
// datagrams may be lost, late or stuck; nothing else happens by chance.
type testLink struct {
	mux       *datagram.Mux
	peer      *testLink
	options   Options             // of its sessions
	serve     func(*Incoming)     // takes what is offered, if set
	drive     func()              // does what Drive does, if set, in place of the pump
	pass      func(time.Duration) // lets the bubble's time go by
	rtt       time.Duration
	offered   chan *Incoming
	withdrawn chan *Incoming
	finished  chan *Runner
	done      chan struct{}
	loss      *Error // set when done is closed
	nextID    uint64

	mu      sync.Mutex
	changed sync.Cond
	remote  *net.UDPAddr
	limits  PeerLimits
	stuck   bool          // QUIC takes no datagram
	delay   time.Duration // of datagrams
	sent    int           // datagrams with messages
	lose    func(n int) bool
	runners map[uint64]*Runner
	streams []*testStream
}

var _ Link = (*testLink)(nil)

func newTestLinks() (client, server *testLink) {
	make := func(isClient bool, port uint16) *testLink {
		l := &testLink{
			mux:     datagram.NewMux(datagram.MuxConfig{Client: isClient}),
			offered: make(chan *Incoming, 16), withdrawn: make(chan *Incoming, 16), finished: make(chan *Runner, 64),
			done:    make(chan struct{}),
			remote:  net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), port)),
			limits:  PeerLimits{MaxMessage: DefaultMaxMessage, MaxSignal: DefaultMaxSignal, MaxSignals: DefaultMaxSignals},
			runners: make(map[uint64]*Runner),
		}
		l.changed.L = &l.mu
		return l
	}
	client, server = make(true, 2), make(false, 1)
	client.peer, server.peer = server, client
	server.nextID = 1
	for _, l := range []*testLink{client, server} {
		go l.pump()
	}
	return client, server
}

func (l *testLink) Mux() *datagram.Mux             { return l.mux }
func (l *testLink) LocalAddr() net.Addr            { return l.peer.RemoteAddr() }
func (l *testLink) RemoteID() (certs.PeerID, bool) { return certs.PeerID{1}, true }
func (l *testLink) RTT() time.Duration             { return l.rtt }
func (l *testLink) Withdraw(in *Incoming)          { l.withdrawn <- in }
func (l *testLink) Read(r *Runner)                 { go r.Read() }
func (l *testLink) Finished(r *Runner)             { l.finished <- r }

func (l *testLink) Drive() {
	if l.drive != nil {
		l.drive()
		return
	}
	l.mux.Kick()
}

func (l *testLink) Offer(in *Incoming) {
	if l.serve != nil {
		Serve(in, func() { l.serve(in) })
		return
	}
	l.offered <- in
}

func (l *testLink) RemoteAddr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remote
}

func (l *testLink) PeerLimits() PeerLimits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits
}

func (l *testLink) Ping(ctx context.Context) (time.Duration, error) {
	timer := time.NewTimer(l.rtt)
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.rtt, nil
	case <-l.done:
		return 0, l.loss
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// pump brings the datagrams of l to its peer.
func (l *testLink) pump() {
	for {
		d, ok := l.mux.Next(time.Now(), nil)
		if !ok {
			select {
			case <-l.mux.Wake():
				continue
			case <-l.done:
				return
			}
		}
		l.mu.Lock()
		for l.stuck && !l.over() {
			l.changed.Wait()
		}
		over, delay := l.over(), l.delay
		h, _, _ := datagram.ParseHeader(d)
		lost := false
		if h.Kind <= datagram.KindFragment {
			lost = l.lose != nil && l.lose(l.sent)
			l.sent++
		}
		delay += time.Duration(l.sent) // in order
		l.mu.Unlock()
		if over {
			return
		}
		l.mux.Sent()
		switch arrive := func() { l.peer.handle(bytes.Clone(d)) }; {
		case lost:
		case delay < time.Millisecond:
			arrive()
		default:
			time.AfterFunc(delay, arrive)
		}
	}
}

func (l *testLink) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *testLink) handle(d []byte) {
	if ev := l.mux.Handle(time.Now(), d); ev.Kind == datagram.EventViolation {
		l.mu.Lock()
		r := l.runners[ev.Session]
		l.mu.Unlock()
		if r != nil {
			r.Violation(ev.Err.Error())
		}
	}
}

// stick makes QUIC take no datagram, or take them again.
func (l *testLink) stick(stuck bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = stuck
	l.changed.Broadcast()
}

// set changes l under its lock.
func (l *testLink) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// run starts a session on a stream.
func (l *testLink) run(id uint64, s *testStream, begin func() *Runner) *Runner {
	r := begin()
	l.mu.Lock()
	l.runners[id] = r
	l.streams = append(l.streams, s)
	l.mu.Unlock()
	l.Read(r)
	return r
}

// dial opens a session from l, which its peer has not answered yet.
func (l *testLink) dial(open Open) (r *Runner, mine, theirs *testStream) {
	r, mine, theirs = l.dialRaw(open)
	id := r.Session().ID()
	l.peer.run(id, theirs, func() *Runner { return Arrived(l.peer, theirs, id, &l.peer.options) })
	return r, mine, theirs
}

// dialRaw opens a session from l whose other end is the test's.
func (l *testLink) dialRaw(open Open) (r *Runner, mine, theirs *testStream) {
	mine, theirs = newTestStreams()
	id := l.nextID
	l.nextID += 2
	return l.run(id, mine, func() *Runner { return Dialed(l, mine, id, open, &l.options) }), mine, theirs
}

// arriveRaw gives l a session that the test opens.
func (l *testLink) arriveRaw() (r *Runner, mine, theirs *testStream) {
	mine, theirs = newTestStreams()
	id := l.peer.nextID
	l.peer.nextID += 2
	return l.run(id, mine, func() *Runner { return Arrived(l, mine, id, &l.options) }), mine, theirs
}

// fail ends this side of the link.
func (l *testLink) fail(e Error) {
	l.mu.Lock()
	if l.over() {
		l.mu.Unlock()
		return
	}
	l.loss = &e
	close(l.done)
	l.changed.Broadcast()
	runners, streams := l.runners, l.streams
	l.mu.Unlock()
	l.mux.Close()
	for _, s := range streams {
		s.lose()
	}
	for _, r := range runners {
		r.LinkLost(e)
	}
}

// A pair is a link with one open session: a opened it, b accepted.
type pair struct {
	t                *testing.T
	client, server   *testLink
	a, b             *Session
	ra, rb           *Runner
	aStream, bStream *testStream
}

// testPair runs f in a bubble with a pair whose sides differ from the default
// as prepare says.
func testPair(t *testing.T, prepare func(client, server *testLink), f func(t *testing.T, p *pair)) {
	t.Helper()
	testLinks(t, func(t *testing.T, client, server *testLink) {
		if prepare != nil {
			prepare(client, server)
		}
		p := &pair{t: t, client: client, server: server}
		p.ra, p.aStream, p.bStream = client.dial(Open{Protocol: "chat", Metadata: []byte("hello")})
		p.a = p.ra.Session()
		var err error
		p.b, err = (<-server.offered).Accept([]byte("welcome"))
		require.NoError(t, err)
		p.rb = server.runners[p.b.ID()]
		require.NoError(t, p.ra.WaitOpen(t.Context()))
		f(t, p)
	})
}

// testLinks runs f in a bubble with a link, which it ends after f.
func testLinks(t *testing.T, f func(t *testing.T, client, server *testLink)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server := newTestLinks()
		client.pass, server.pass = time.Sleep, time.Sleep
		defer func() {
			for _, l := range []*testLink{client, server} {
				l.fail(Error{Cause: CauseLinkLost, Reason: "the test is over"})
			}
		}()
		f(t, client, server)
	})
}

// write writes frames.
func (s *testStream) write(frames ...Frame) {
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	_, _ = s.Write(b)
}

// want reads the next frame, of the type of want, and compares them.
func (s *testStream) want(t *testing.T, want Frame, why string) {
	t.Helper()
	if s.frames == nil {
		s.frames = NewFrameReader(s, Limits{})
	}
	f, err := s.frames.NextFrame()
	require.NoError(t, err, why)
	require.Equal(t, want, f, why)
}

// wantEnd reads the end of the stream.
func (s *testStream) wantEnd(t *testing.T, want error, why string) {
	t.Helper()
	_, err := s.Read(make([]byte, 1))
	require.Equal(t, want, err, why)
}

// wantChan checks whether c is closed once all goroutines have come to rest.
func wantChan(t *testing.T, c <-chan struct{}, closed bool, why string) {
	t.Helper()
	synctest.Wait()
	select {
	case <-c:
		require.True(t, closed, "too early: %s", why)
	default:
		require.False(t, closed, "not yet: %s", why)
	}
}
