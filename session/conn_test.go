package session

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// connPairs makes two connections to each other: of UDP, and of a session.
// Whatever TestConn asks of both is true of both.
var connPairs = map[string]func(t *testing.T) (a, b net.Conn){
	"udp": func(t *testing.T) (net.Conn, net.Conn) {
		first, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		b, err := net.DialUDP("udp", nil, first.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		require.NoError(t, first.Close())
		a, err := net.DialUDP("udp", first.LocalAddr().(*net.UDPAddr), b.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
		return a, b
	},
	"session": func(t *testing.T) (net.Conn, net.Conn) {
		a, b, stop := newTestSessions()
		t.Cleanup(stop)
		return a.Conn(), b.Conn()
	},
}

// newTestSessions returns the two sides of a session, without a bubble.
func newTestSessions() (a, b *Session, stop func()) {
	client, server := newTestLinks()
	r, _, _ := client.dial(Open{})
	b, err := (<-server.offered).Accept(nil)
	if err == nil {
		err = r.WaitOpen(background)
	}
	if err != nil {
		panic(err)
	}
	return r.Session(), b, func() {
		client.fail(Error{Cause: CauseLinkLost})
		server.fail(Error{Cause: CauseLinkLost})
	}
}

func TestConn(t *testing.T) {
	suite := map[string]func(t *testing.T, a, b net.Conn){
		"messages":            connMessages,
		"past deadline":       connPastDeadline,
		"future deadline":     connFutureDeadline,
		"deadline moved":      connDeadlineMoved,
		"racy deadlines":      connRacyDeadlines,
		"close wakes":         connCloseWakes,
		"closed":              connClosed,
		"ping pong":           connPingPong,
		"concurrent methods":  connConcurrentMethods,
		"addresses of errors": connErrorAddresses,
	}
	for kind, pair := range connPairs {
		for name, test := range suite {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				a, b := pair(t)
				test(t, a, b)
			})
		}
	}
}

const soon = 5 * time.Millisecond

func connMessages(t *testing.T, a, b net.Conn) {
	require.NoError(t, b.SetReadDeadline(time.Now().Add(10*time.Second)))
	for _, m := range []string{"one", "", "three", "four"} {
		n, err := a.Write([]byte(m))
		require.NoError(t, err)
		require.Equal(t, len(m), n)
	}
	buf := make([]byte, 100)
	n, err := b.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n, "an empty buffer takes nothing")
	for i, m := range []string{"one", "", "thr"} {
		n, err := b.Read(buf[:100-97*(i/2)])
		require.NoError(t, err)
		require.Equal(t, m, string(buf[:n]), "one message each; what does not fit is dropped")
	}
	n, err = b.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "four", string(buf[:n]))
}

// wantTimeout checks the error of a deadline.
func wantTimeout(t *testing.T, err error, op string) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	wantOp(t, err, op)
}

func wantClosed(t *testing.T, err error, op string) {
	t.Helper()
	require.ErrorIs(t, err, net.ErrClosed)
	wantOp(t, err, op)
	require.False(t, err.(net.Error).Timeout())
}

func wantOp(t *testing.T, err error, op string) {
	t.Helper()
	operation, ok := err.(*net.OpError)
	require.True(t, ok, "%T", err)
	require.Equal(t, op, operation.Op)
}

func connPastDeadline(t *testing.T, a, b net.Conn) {
	_, err := a.Write([]byte("there"))
	require.NoError(t, err)
	require.NoError(t, b.SetDeadline(time.Now().Add(-time.Second)))
	buf := make([]byte, 10)
	for range 3 {
		_, err = b.Read(buf)
		wantTimeout(t, err, "read")
		_, err = b.Write([]byte("x"))
		wantTimeout(t, err, "write")
	}
	require.NoError(t, b.SetDeadline(time.Unix(1, 0)))
	_, err = b.Read(buf)
	wantTimeout(t, err, "read")
	require.NoError(t, b.SetDeadline(time.Time{}))
	n, err := b.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "there", string(buf[:n]), "the deadline took nothing away")
	_, err = b.Write([]byte("x"))
	require.NoError(t, err)
}

func connFutureDeadline(t *testing.T, a, b net.Conn) {
	for range 3 {
		start := time.Now()
		require.NoError(t, b.SetReadDeadline(start.Add(soon)))
		_, err := b.Read(make([]byte, 1))
		wantTimeout(t, err, "read")
		require.GreaterOrEqual(t, time.Since(start), soon)
	}
	require.NoError(t, a.SetWriteDeadline(time.Now().Add(soon)))
	for {
		if _, err := a.Write(nil); err != nil {
			wantTimeout(t, err, "write")
			return
		}
	}
}

func connDeadlineMoved(t *testing.T, a, b net.Conn) {
	read := func() chan error {
		result := make(chan error, 1)
		go func() {
			_, err := b.Read(make([]byte, 10))
			result <- err
		}()
		return result
	}
	require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Hour)))
	result := read()
	require.NoError(t, b.SetReadDeadline(time.Now().Add(-1)))
	wantTimeout(t, <-result, "read")

	require.NoError(t, b.SetReadDeadline(time.Time{}))
	result = read()
	require.NoError(t, b.SetDeadline(time.Now().Add(soon)))
	wantTimeout(t, <-result, "read")

	start := time.Now()
	require.NoError(t, b.SetReadDeadline(start.Add(soon)))
	result = read()
	require.NoError(t, b.SetReadDeadline(start.Add(3*soon)))
	wantTimeout(t, <-result, "read")
	require.GreaterOrEqual(t, time.Since(start), soon, "it may have been over before it was moved")

	require.NoError(t, b.SetReadDeadline(time.Now().Add(soon)))
	require.NoError(t, b.SetReadDeadline(time.Time{}))
	result = read()
	_, err := a.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, <-result)
}

func connRacyDeadlines(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			buf := make([]byte, 100)
			for range 50 {
				c := []net.Conn{a, b}[i%2]
				_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := c.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
				if _, err := c.Write(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func connCloseWakes(t *testing.T, a, b net.Conn) {
	require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Hour)))
	results := make(chan error, 4)
	for range cap(results) {
		go func() {
			_, err := b.Read(make([]byte, 10))
			results <- err
		}()
	}
	require.NoError(t, b.Close())
	for range cap(results) {
		wantClosed(t, <-results, "read")
	}
}

func connClosed(t *testing.T, a, b net.Conn) {
	_, err := a.Write([]byte("unread"))
	require.NoError(t, err)
	require.NoError(t, b.Close())
	_, err = b.Read(make([]byte, 10))
	wantClosed(t, err, "read")
	_, err = b.Write(nil)
	wantClosed(t, err, "write")
	wantClosed(t, b.Close(), "close")
	for _, set := range []func(time.Time) error{b.SetDeadline, b.SetReadDeadline, b.SetWriteDeadline} {
		wantClosed(t, set(time.Now().Add(-time.Second)), "set")
	}
	_, err = b.Read(make([]byte, 10))
	wantClosed(t, err, "read")
	require.NotNil(t, b.LocalAddr())
	require.NotNil(t, b.RemoteAddr())
}

func connPingPong(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	play := func(c net.Conn) {
		buf := make([]byte, 100)
		for {
			n, err := c.Read(buf)
			if err != nil {
				t.Error(err)
				return
			}
			var turn int
			_, _ = fmt.Sscan(string(buf[:n]), &turn)
			if _, err := c.Write(fmt.Append(nil, turn+1)); err != nil {
				t.Error(err)
			}
			if turn >= 100 {
				return
			}
		}
	}
	_, err := a.Write([]byte("0"))
	require.NoError(t, err)
	wg.Go(func() { play(a) })
	wg.Go(func() { play(b) })
	wg.Wait()
}

func connConcurrentMethods(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	for range 30 {
		for _, f := range []func(){
			func() { _, _ = a.Read(make([]byte, 100)) },
			func() { _, _ = a.Write([]byte("x")) },
			func() { _, _ = b.Write([]byte("x")) },
			func() { _ = a.SetDeadline(time.Now().Add(soon)) },
			func() { _ = a.SetReadDeadline(time.Now().Add(soon)) },
			func() { _ = a.SetWriteDeadline(time.Now().Add(soon)) },
			func() { _, _ = a.LocalAddr(), a.RemoteAddr() },
		} {
			wg.Go(f)
		}
	}
	wg.Go(func() { _ = a.Close() })
	wg.Wait()
}

func connErrorAddresses(t *testing.T, a, _ net.Conn) {
	require.NoError(t, a.SetReadDeadline(time.Now().Add(-1)))
	_, err := a.Read(make([]byte, 1))
	var operation *net.OpError
	require.ErrorAs(t, err, &operation)
	require.Equal(t, a.LocalAddr(), operation.Source)
	require.Equal(t, a.RemoteAddr(), operation.Addr)
	require.Equal(t, "udp", operation.Addr.Network())
}

// The end of a session, which UDP does not have.

func TestConnEOF(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		a, b := p.a.Conn(), p.b.Conn()
		_, err := a.Write([]byte("last words"))
		require.NoError(t, err)
		require.NoError(t, a.Close())
		buf := make([]byte, 100)
		n, err := b.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "last words", string(buf[:n]), "what had arrived is read first")
		for range 2 {
			_, err = b.Read(buf)
			require.Equal(t, io.EOF, err, "bare, as every reader expects it")
		}
		_, err = b.Write([]byte("x"))
		wantOp(t, err, "write")
		require.ErrorIs(t, err, &Error{Cause: CauseClosed, Remote: true})
		require.NotErrorIs(t, err, net.ErrClosed)
		require.NoError(t, b.Close(), "it ended well")
		_, err = b.Read(buf)
		wantClosed(t, err, "read")
	})
}

func TestConnOtherEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(p *pair)
		want Error
	}{
		"closed with a code":   {func(p *pair) { _ = p.a.CloseWithError(background, 0x100, "no") }, Error{Cause: CauseClosed, Code: 0x100, Remote: true}},
		"aborted":              {func(p *pair) { _ = p.a.Abort(0) }, Error{Cause: CauseAborted, Remote: true}},
		"link lost":            {func(p *pair) { p.server.fail(Error{Cause: CauseLinkLost}) }, Error{Cause: CauseLinkLost}},
		"closed by this side":  {func(p *pair) { _ = p.b.Close(background) }, Error{Cause: CauseClosed}},
		"aborted by this side": {func(p *pair) { _ = p.b.Abort(0x200) }, Error{Cause: CauseAborted, Code: 0x200}},
	} {
		t.Run(name, func(t *testing.T) {
			testPair(t, nil, func(t *testing.T, p *pair) {
				conn := p.b.Conn()
				c.end(p)
				<-p.b.Done()
				_, err := conn.Read(make([]byte, 1))
				wantOp(t, err, "read")
				require.ErrorIs(t, err, &c.want)
				require.Equal(t, !c.want.Remote && c.want.Cause != CauseLinkLost, errors.Is(err, net.ErrClosed))
				_, err = conn.Write(nil)
				wantOp(t, err, "write")
				require.ErrorIs(t, err, &c.want)
				require.ErrorContains(t, err, "write quicpeer 192.0.2.1:2->192.0.2.1:1: session: ")
				if err = conn.Close(); name != "closed by this side" {
					wantOp(t, err, "close")
					require.ErrorIs(t, err, &c.want)
				} else {
					require.NoError(t, err)
				}
			})
		})
	}
}

func TestConnWrite(t *testing.T) {
	testPair(t, func(client, _ *testLink) { client.options.Queues.SendMessages = 1 }, func(t *testing.T, p *pair) {
		a := p.a.Conn()
		n, err := a.Write(make([]byte, DefaultMaxMessage+1))
		require.Zero(t, n)
		wantOp(t, err, "write")
		var size *MessageTooLargeError
		require.ErrorAs(t, err, &size)
		require.Equal(t, DefaultMaxMessage, size.Max)

		p.client.stick(true)
		_, err = a.Write([]byte("in QUIC's hands"))
		require.NoError(t, err)
		synctest.Wait()
		_, err = a.Write([]byte("queued"))
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, a.SetWriteDeadline(start.Add(time.Second)))
		_, err = a.Write([]byte("full"))
		wantTimeout(t, err, "write")
		require.Equal(t, time.Second, time.Since(start))

		require.NoError(t, a.SetWriteDeadline(time.Time{}))
		result := make(chan error, 1)
		write := func() {
			_, err := a.Write([]byte("full"))
			result <- err
		}
		go write()
		synctest.Wait()
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(-1)))
		wantTimeout(t, <-result, "write")

		require.NoError(t, a.SetWriteDeadline(time.Time{}))
		go write()
		synctest.Wait()
		go func() { _ = a.Close() }()
		wantClosed(t, <-result, "write")
		synctest.Wait()
		p.client.stick(false)
		<-p.a.Done()
	})
}

func TestConnCloseIsBounded(t *testing.T) {
	testLinks(t, func(t *testing.T, client, _ *testLink) {
		client.options.CloseTimeout = time.Second
		r, _, peer := client.dialRaw(Open{})
		peer.write(Accept{})
		require.NoError(t, r.WaitOpen(background))
		start := time.Now()
		err := r.Session().Conn().Close()
		require.Equal(t, time.Second, time.Since(start))
		wantOp(t, err, "close")
		require.ErrorIs(t, err, &Error{Cause: CauseTimeout})
	})
}

func TestConnViewsAreIndependent(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		one, other := p.a.Conn(), p.a.Conn()
		require.NoError(t, one.SetDeadline(time.Now().Add(-1)))
		_, err := other.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, one.Close())
		_, err = other.Read(make([]byte, 1))
		wantClosed(t, err, "read") // the session's cause
		require.NoError(t, other.SetDeadline(time.Now()))
		_, err = other.Read(make([]byte, 1))
		wantTimeout(t, err, "read")
		require.NoError(t, other.Close())
	})
}

// Deadlines leave no timers or goroutines behind: the bubble would not end.
func TestConnDeadlineOfAnAbandonedConn(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.NoError(t, p.a.Conn().SetDeadline(time.Now().Add(time.Hour)))
	})
}
