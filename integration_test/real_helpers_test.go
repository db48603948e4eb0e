package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// chat is the application protocol of these tests.
const chat = "chat"

// within returns a context for a whole test, or a step of it.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a condition that announces nothing.
func until(ctx context.Context, t testing.TB, what string, condition func() bool) {
	t.Helper()
	for !condition() {
		require.NoError(t, ctx.Err(), "waiting until %s", what)
		pause()
	}
}

// open to everyone, serving chat: what most tests want.
func chatConfig() *quicpeer.Config {
	// A heap reserve would count as memory in use, where that is measured.
	return &quicpeer.Config{Trust: certs.Anyone(), Protocols: []string{chat}, HeapReserve: -1}
}

// startPeer starts an endpoint on a socket of this machine, and closes it with
// the test. c may be nil: chatConfig.
func startPeer(t testing.TB, address string, c *quicpeer.Config) *quicpeer.Endpoint {
	t.Helper()
	if c == nil {
		c = chatConfig()
	}
	e, err := quicpeer.Listen(address, c)
	require.NoError(t, err)
	closePeer(t, e)
	return e
}

// keptAddress returns a free address of this machine, for tests that bind it
// more than once: its port is none that a system gives to those who ask for
// port 0, so nobody takes it in between.
func keptAddress(t testing.TB) string {
	t.Helper()
	for {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		pc, err := net.ListenPacket("udp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, pc.Close())
		return address
	}
}

// closePeer closes an endpoint with the test, which by then may have closed
// it, or its peers.
func closePeer(t testing.TB, e *quicpeer.Endpoint) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = e.Close(ctx)
	})
}

// dialOpen opens a session from one endpoint to another that serves chat with
// Accept, and returns both ends.
func dialOpen(ctx context.Context, t testing.TB, from, to *quicpeer.Endpoint) (dialed, accepted *quicpeer.Session) {
	t.Helper()
	return dialAt(ctx, t, from, to, to.Addr().String())
}

// dialAt is dialOpen with the address to be dialed.
func dialAt(ctx context.Context, t testing.TB, from, to *quicpeer.Endpoint, address string) (dialed, accepted *quicpeer.Session) {
	t.Helper()
	acceptNext := accepting(ctx, to)
	dialed, err := from.Dial(ctx, address, dialChat())
	require.NoError(t, err)
	accepted, err = acceptNext()
	require.NoError(t, err)
	return dialed, accepted
}

// accepting accepts the next session of an endpoint, in the background; the
// function returned waits for it.
func accepting(ctx context.Context, e *quicpeer.Endpoint) func() (*quicpeer.Session, error) {
	type result struct {
		s   *quicpeer.Session
		err error
	}
	results := make(chan result, 1)
	go func() {
		in, err := e.Accept(ctx)
		if err != nil {
			results <- result{nil, err}
			return
		}
		s, err := in.Accept(nil)
		results <- result{s, err}
	}()
	return func() (*quicpeer.Session, error) {
		r := <-results // comes in time, since Accept has ctx
		return r.s, r.err
	}
}

// echo serves chat on an endpoint: it sends every message back on the session
// it came by, until that ends.
func echo(e *quicpeer.Endpoint) {
	e.Handle(chat, func(in *quicpeer.Incoming) {
		s, err := in.Accept(nil)
		if err == nil {
			echoSession(s)
		}
	})
}

func echoSession(s *quicpeer.Session) {
	ctx := context.Background() // ends with the session
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			return
		}
		if s.Send(ctx, m) != nil {
			return
		}
	}
}

// exchange sends a message and takes the answer, which over a loopback that is
// not flooded always comes.
func exchange(ctx context.Context, t testing.TB, s *quicpeer.Session, message string) {
	t.Helper()
	require.NoError(t, tryExchange(ctx, s, message))
}

func tryExchange(ctx context.Context, s *quicpeer.Session, message string) error {
	if err := s.Send(ctx, []byte(message)); err != nil {
		return err
	}
	answer, err := s.Receive(ctx)
	if err == nil && string(answer) != message {
		err = errors.New("got " + string(answer) + ", want " + message)
	}
	return err
}

// waitState waits until a session has reached a state, or gone past it.
func waitState(ctx context.Context, t testing.TB, s *quicpeer.Session, want session.State) session.Snapshot {
	t.Helper()
	snap := s.Snapshot()
	for snap.State < want {
		var err error
		snap, err = s.WaitChange(ctx, snap)
		require.NoError(t, err, "waiting for state %v", want)
	}
	return snap
}

// waitDone waits until a session is over, both ways.
func waitDone(ctx context.Context, t testing.TB, sessions ...*quicpeer.Session) {
	t.Helper()
	for _, s := range sessions {
		select {
		case <-s.Done():
		case <-ctx.Done():
			require.Fail(t, "session is not over", "state %v: %v", s.State(), s.Err())
		}
	}
}

// sessionError returns the *session.Error in err.
func sessionError(t testing.TB, err error) *quicpeer.Error {
	t.Helper()
	var e *quicpeer.Error
	require.ErrorAs(t, err, &e)
	return e
}

// gate is a socket whose outgoing packets can be held back, so that a test
// decides what crosses. Nothing is lost: they go out, in order, once it opens.
type gate struct {
	net.PacketConn

	mu   sync.Mutex
	shut bool
	held []heldPacket
}

type heldPacket struct {
	data []byte
	to   net.Addr
}

// startGated is startPeer on a gate, on 127.0.0.1.
func startGated(t testing.TB, c *quicpeer.Config) (*quicpeer.Endpoint, *gate) {
	t.Helper()
	if c == nil {
		c = chatConfig()
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	g := &gate{PacketConn: pc}
	e, err := quicpeer.ListenPacket(g, c)
	require.NoError(t, err)
	closePeer(t, e)
	t.Cleanup(g.open) // runs before the endpoint is closed
	return e, g
}

func (g *gate) WriteTo(p []byte, to net.Addr) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		g.held = append(g.held, heldPacket{append([]byte(nil), p...), to})
		return len(p), nil
	}
	return g.PacketConn.WriteTo(p, to)
}

// close holds back what comes from now on.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

// open lets everything out.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
	for _, p := range g.held {
		_, _ = g.PacketConn.WriteTo(p.data, p.to)
	}
	g.held = nil
}

// dialChat asks for chat.
func dialChat() *quicpeer.DialOptions { return &quicpeer.DialOptions{Protocol: chat} }

// sessionStreams counts the sessions of an endpoint whose stream is not over
// yet, also those that nobody has accepted.
func sessionStreams(e *quicpeer.Endpoint) int {
	n := 0
	for _, l := range e.Links() {
		n += l.Sessions
	}
	return n
}

// wantErrorIs is require.ErrorIs, which panics over some of quic-go's errors
// when it has to print them.
func wantErrorIs(t testing.TB, err, target error, why ...any) {
	t.Helper()
	require.True(t, errors.Is(err, target), "got %v, want %v: %s", err, target, fmt.Sprint(why...))
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
