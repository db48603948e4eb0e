package quicpeer

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

const chat = "chat"

// within returns a context for a step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a condition that announces nothing.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "waiting until %s", what)
	}
}

// listenChat starts an endpoint that trusts everyone and serves chat. Its end
// is bounded, since a test may have left its peers without one.
func listenChat(t *testing.T, c Config) *Endpoint {
	t.Helper()
	c.Trust, c.Protocols = certs.Anyone(), []string{chat}
	e, err := Listen("127.0.0.1:0", &c)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = e.Close(ctx)
	})
	return e
}

// acceptAll accepts every session.
func acceptAll(e *Endpoint) { e.Handle(chat, func(in *Incoming) { _, _ = in.Accept(nil) }) }

func dialChat(ctx context.Context, e *Endpoint, address net.Addr) (*Session, error) {
	return e.Dial(ctx, address.String(), &DialOptions{Protocol: chat})
}

// bareStack is a QUIC stack without a peer on it.
func bareStack(t *testing.T) (*quic.Transport, *certs.Identity) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	tr := &quic.Transport{Conn: pc}
	t.Cleanup(func() {
		_ = tr.Close()
		_ = pc.Close()
	})
	id, err := certs.Generate()
	require.NoError(t, err)
	return tr, id
}

// bareDial connects a bare stack to an endpoint.
func bareDial(t *testing.T, e *Endpoint) *quic.Conn {
	t.Helper()
	tr, id := bareStack(t)
	conn, err := tr.Dial(within(t, 10*time.Second), e.Addr(), id.ClientTLS(ALPN, certs.Anyone(), ""), &quic.Config{EnableDatagrams: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.CloseWithError(0, "test over") })
	return conn
}

// deafListen is a bare stack that accepts every session, and says nothing more.
func deafListen(t *testing.T, answer bool) net.Addr {
	t.Helper()
	tr, id := bareStack(t)
	ln, err := tr.Listen(id.ServerTLS(ALPN, certs.Anyone(), false), &quic.Config{EnableDatagrams: true, MaxIncomingStreams: 1000})
	require.NoError(t, err)
	go func() {
		conn, err := ln.Accept(context.Background())
		for err == nil {
			var str *quic.Stream
			if str, err = conn.AcceptStream(context.Background()); err == nil && answer {
				_, err = str.Write(session.Accept{}.Append(nil))
			}
		}
	}()
	return tr.Conn.LocalAddr()
}

// onlyLink returns the link of an endpoint that has one.
func onlyLink(e *Endpoint) *link {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.allLinks()[0]
}

// An option that is not valid does nothing; the greatest that is, is taken.
func TestShutdownChecksItsOptions(t *testing.T) {
	e := listenChat(t, Config{})
	for _, code := range []session.Code{session.CodeViolation, session.FirstApplicationCode - 1, session.MaxCode + 1} {
		_, err := e.Shutdown(t.Context(), ShutdownOptions{Code: code})
		var invalid *session.InvalidCodeError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, code, invalid.Code)
	}
	_, err := e.Shutdown(t.Context(), ShutdownOptions{Reason: strings.Repeat("x", session.MaxReason+1)})
	var tooLong *session.ReasonTooLongError
	require.ErrorAs(t, err, &tooLong)
	require.Equal(t, session.MaxReason+1, tooLong.Size)
	require.False(t, e.isClosing(), "nothing was done")

	for _, code := range []session.Code{session.CodeNormal, session.FirstApplicationCode, session.MaxCode} {
		_, err := listenChat(t, Config{}).Shutdown(t.Context(), ShutdownOptions{Code: code, Reason: strings.Repeat("x", session.MaxReason)})
		require.NoError(t, err, "code %d", code)
	}
}

func TestShutdownEndsDials(t *testing.T) {
	t.Run("in their handshake", func(t *testing.T) {
		e := listenChat(t, Config{})
		hole, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer hole.Close()
		dialed := make(chan error, 1)
		go func() {
			_, err := dialChat(context.Background(), e, hole.LocalAddr())
			dialed <- err
		}()
		_, _, err = hole.ReadFrom(make([]byte, 1500))
		require.NoError(t, err)
		require.NoError(t, e.Close(within(t, 5*time.Second)))
		require.ErrorIs(t, <-dialed, ErrEndpointClosed)
	})
	t.Run("in a handshake of their own", func(t *testing.T) {
		e := listenChat(t, Config{})
		hole, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer hole.Close()
		dialed := make(chan error, 1)
		go func() {
			_, err := e.Dial(context.Background(), hole.LocalAddr().String(), &DialOptions{Trust: certs.Anyone()})
			dialed <- err
		}()
		_, _, err = hole.ReadFrom(make([]byte, 1500))
		require.NoError(t, err)
		require.NoError(t, e.Close(within(t, 5*time.Second)))
		require.ErrorIs(t, <-dialed, ErrEndpointClosed)
	})
	t.Run("that wait for the answer", func(t *testing.T) {
		e, peer := listenChat(t, Config{}), listenChat(t, Config{})
		dialed := make(chan error, 1)
		go func() {
			_, err := dialChat(context.Background(), e, peer.Addr())
			dialed <- err
		}()
		_, err := peer.Accept(within(t, 5*time.Second))
		require.NoError(t, err)
		require.NoError(t, e.Close(within(t, 5*time.Second)))
		require.ErrorIs(t, <-dialed, ErrEndpointClosed)
	})
	t.Run("that wait until the peer allows another session", func(t *testing.T) {
		e, peer := listenChat(t, Config{}), listenChat(t, Config{Limits: Limits{SessionsPerLink: 1}})
		acceptAll(peer)
		first, err := dialChat(within(t, 5*time.Second), e, peer.Addr())
		require.NoError(t, err)
		dialed := make(chan error, 1)
		go func() {
			_, err := dialChat(within(t, 5*time.Second), e, peer.Addr())
			dialed <- err
		}()
		l := onlyLink(e)
		until(t, "the second dial waits", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.opening == 1
		})
		closed := make(chan error, 1)
		go func() {
			_, err := e.Shutdown(within(t, 10*time.Second), ShutdownOptions{Drain: 10 * time.Second})
			closed <- err
		}()
		require.ErrorIs(t, <-dialed, ErrEndpointClosed, "the first session goes on, and the second never begins")
		require.NoError(t, first.Close(within(t, 5*time.Second)))
		require.NoError(t, <-closed)
	})
}

// A peer that goes away opens nothing for those that wait, and a dial that
// waits would keep the link from ending.
func TestGoAwayEndsTheWaitForAStream(t *testing.T) {
	e, peer := listenChat(t, Config{}), listenChat(t, Config{Limits: Limits{SessionsPerLink: 1}})
	acceptAll(peer)
	first, err := dialChat(within(t, 5*time.Second), e, peer.Addr())
	require.NoError(t, err)
	l := onlyLink(e)
	dialed := make(chan error, 1)
	go func() {
		_, _, err := l.openSession(within(t, 5*time.Second), session.Open{Protocol: chat}, false)
		dialed <- err
	}()
	until(t, "the second dial waits", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.opening == 1
	})
	closed := make(chan error, 1)
	go func() {
		_, err := peer.Shutdown(within(t, 10*time.Second), ShutdownOptions{Drain: 10 * time.Second})
		closed <- err
	}()
	require.ErrorIs(t, <-dialed, errLinkEnding)
	require.NoError(t, first.Close(within(t, 5*time.Second)))
	require.NoError(t, <-closed)
}

func TestShutdownReportsWhatApplicationsHad(t *testing.T) {
	t.Run("not an OPEN that was taken back", func(t *testing.T) {
		e := listenChat(t, Config{})
		str, err := bareDial(t, e).OpenStream()
		require.NoError(t, err)
		_, err = str.Write(session.Close{Code: session.CodeCancelled}.Append(session.Open{Protocol: chat}.Append(nil)))
		require.NoError(t, err)
		until(t, "the peer has taken its OPEN back", func() bool { return e.Stats().WithdrawnSessions == 1 })
		r, err := e.Shutdown(within(t, 200*time.Millisecond), ShutdownOptions{})
		require.NoError(t, err)
		require.Empty(t, r.Sessions)
	})
	t.Run("not a dial that was given up", func(t *testing.T) {
		e := listenChat(t, Config{})
		_, err := dialChat(within(t, 200*time.Millisecond), e, deafListen(t, false))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, e.Close(within(t, 200*time.Millisecond)))
	})
	t.Run("what ended while others were drained", func(t *testing.T) {
		e, peer := listenChat(t, Config{}), listenChat(t, Config{})
		acceptAll(peer)
		var ends []ending
		for _, end := range []func(*Session) error{
			func(s *Session) error { return s.Close(within(t, 5*time.Second)) },
			func(s *Session) error { return s.Abort(0x100) },
		} {
			s, err := dialChat(within(t, 5*time.Second), e, peer.Addr())
			require.NoError(t, err)
			l := onlyLink(e)
			l.mu.Lock()
			r := l.sessions[s.ID()]
			l.mu.Unlock()
			ends = append(ends, ending{r, r.Live()})
			require.NoError(t, end(s))
			<-s.Done()
		}
		r := closeAll(within(t, 5*time.Second), ends, ShutdownOptions{})
		require.Len(t, r.Sessions, 2)
		var e1 *Error
		require.ErrorAs(t, r.Err(), &e1)
		require.Equal(t, session.CauseAborted, e1.Cause, "the other one is confirmed")
	})
}

// However many sessions a peer has that does not answer, others are closed in
// time.
func TestShutdownClosesAllAtOnce(t *testing.T) {
	e, peer, deaf := listenChat(t, Config{}), listenChat(t, Config{}), deafListen(t, true)
	acceptAll(peer)
	ctx := within(t, 10*time.Second)
	for range 300 {
		_, err := dialChat(ctx, e, deaf)
		require.NoError(t, err)
	}
	_, err := dialChat(ctx, e, peer.Addr())
	require.NoError(t, err)
	r, err := e.Shutdown(within(t, 2*time.Second), ShutdownOptions{})
	require.NoError(t, err)
	require.Len(t, r.Sessions, 301)
	for _, o := range r.Sessions {
		require.Equal(t, o.RemoteID == peer.ID(), o.Err == nil, "%v: %v", o.RemoteAddr, o.Err)
	}
}

func TestSecondCloseReturnsTheSame(t *testing.T) {
	e := listenChat(t, Config{})
	_, err := dialChat(within(t, 5*time.Second), e, deafListen(t, true))
	require.NoError(t, err)
	first := e.Close(within(t, 100*time.Millisecond))
	require.Error(t, first)
	require.Equal(t, first, e.Close(within(t, 5*time.Second)))
}

// A session that comes while the endpoint begins to shut down is not busy:
// there is no use in trying again.
func TestOfferDuringShutdown(t *testing.T) {
	judging, goOn := make(chan struct{}), make(chan struct{})
	e := listenChat(t, Config{AdmitSession: func(*Incoming) bool {
		close(judging)
		<-goOn
		return true
	}})
	str, err := bareDial(t, e).OpenStream()
	require.NoError(t, err)
	_, err = str.Write(session.Open{Protocol: chat}.Append(nil))
	require.NoError(t, err)
	<-judging
	e.mu.Lock()
	e.closing = true
	e.mu.Unlock()
	e.backlog.close()
	close(goOn)
	f, err := session.NewFrameReader(str, session.Limits{}).NextFrame()
	require.NoError(t, err)
	require.Equal(t, session.CodeGoingAway, f.(session.Reject).Code)
	require.Zero(t, e.Stats().BusySessions)
	e.mu.Lock()
	e.closing = false // for Close
	e.mu.Unlock()
}

// onLog is a log handler that waits for one message.
type onLog struct {
	message string
	do      func()
}

func (onLog) Enabled(context.Context, slog.Level) bool { return true }
func (h onLog) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h onLog) WithGroup(string) slog.Handler          { return h }
func (h onLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.message {
		h.do()
	}
	return nil
}

// Nothing comes before SETTINGS, not even the GOAWAY of a shutdown that finds
// the link as soon as it is there.
func TestGoAwayOfANewLink(t *testing.T) {
	var listening atomic.Pointer[Endpoint]
	e := listenChat(t, Config{Logger: slog.New(onLog{"link up", func() {
		e := listening.Load()
		e.mu.Lock()
		links := e.allLinks()
		e.mu.Unlock()
		for _, l := range links {
			l.goAway(session.CodeNormal, "", 0)
		}
	}})})
	listening.Store(e)
	str, err := bareDial(t, e).AcceptUniStream(within(t, 5*time.Second))
	require.NoError(t, err)
	typ, err := quicvarint.Read(quicvarint.NewReader(str))
	require.NoError(t, err)
	require.EqualValues(t, streamTypeLink, typ)
	fr := session.NewFrameReader(str, session.Limits{})
	f, err := fr.NextFrame()
	require.NoError(t, err)
	require.IsType(t, session.Settings{}, f)
	f, err = fr.NextFrame()
	require.NoError(t, err)
	require.IsType(t, session.GoAway{}, f)
}

func TestFailedSocketEndsAccept(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	e, err := ListenPacket(pc, nil)
	require.NoError(t, err)
	require.NoError(t, pc.Close())
	_, err = e.Accept(within(t, 5*time.Second))
	require.ErrorIs(t, err, net.ErrClosed)
	require.NoError(t, e.Close(within(t, 5*time.Second)))
	_, err = e.Accept(within(t, 5*time.Second))
	require.ErrorIs(t, err, ErrEndpointClosed)
}
