package integration_test

import (
	"cmp"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// What a session costs: its opening, beside the echo of a few bytes on a bare
// QUIC stream, which takes one round trip through two applications as well; and
// its memory while it is idle. Both ends are in this process.
//
//	go test ./integration_test -run '^$' -bench 'OpenSession|StreamEcho|IdleSession'

// benchSessions is how many sessions, or streams, are open at once.
const benchSessions = 1000

// benchPair returns two endpoints with a link between them, on which the
// listener's handler accepts every session.
func benchPair(ctx context.Context, b *testing.B) (client, server *quicpeer.Endpoint) {
	config := func() *quicpeer.Config {
		c := chatConfig()
		c.Limits.SessionsPerLink = benchSessions + 100
		return c
	}
	server = startPeer(b, "127.0.0.1:0", config())
	server.Handle(chat, func(in *quicpeer.Incoming) { _, _ = in.Accept(nil) })
	client = startPeer(b, "127.0.0.1:0", config())
	s, err := client.Dial(ctx, server.Addr().String(), dialChat())
	require.NoError(b, err)
	require.NoError(b, s.Close(ctx))
	return client, server
}

// BenchmarkIdleSession opens sessions and leaves them alone. It reports what
// one costs one side, which is what the process holds more with them than
// before, by two sides: fresh, and again after each has carried a message and a
// signal both ways. Only the first time around is measured, as the first thing
// of the process: the runtime never gives its records of goroutines back.
func BenchmarkIdleSession(b *testing.B) {
	first := true
	for b.Loop() {
		idleSessions(b, first)
		first = false
	}
}

func idleSessions(b *testing.B, report bool) {
	ctx := within(b, time.Minute)
	client, server := benchPair(ctx, b)
	address := server.Addr().String()
	open := make([]*quicpeer.Session, benchSessions)
	accepted := make([]*quicpeer.Session, 0, benchSessions)
	var mu sync.Mutex
	server.Handle(chat, func(in *quicpeer.Incoming) {
		s, err := in.Accept(nil)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		accepted = append(accepted, s)
	})
	before := settled()
	cost := func(when string) {
		if !report {
			return
		}
		now := settled()
		each := func(n int64) float64 { return float64(n) / benchSessions / 2 }
		b.ReportMetric(each(now.heap-before.heap), "B/"+when+"-heap")
		b.ReportMetric(each(now.stack-before.stack), "B/"+when+"-stack")
	}

	require.NoError(b, each(benchSessions, 64, func(i int) (err error) {
		open[i], err = client.Dial(ctx, address, dialChat())
		return err
	}))
	until(ctx, b, "all handlers have returned", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted) == benchSessions
	})
	cost("fresh")

	byID := func(x, y *quicpeer.Session) int { return cmp.Compare(x.ID(), y.ID()) }
	slices.SortFunc(open, byID)
	slices.SortFunc(accepted, byID)
	for i := range open {
		require.NoError(b, converse(ctx, open[i], accepted[i]))
		require.NoError(b, converse(ctx, accepted[i], open[i]))
	}
	cost("used")
	require.NoError(b, client.Close(ctx))
	require.NoError(b, server.Close(ctx))
}

// settled measures until the process lets go of nothing more: what has ended
// is remembered for a while, by QUIC and by the runtime.
func settled() footprint {
	now := measure()
	for range 20 {
		pause()
		before := now
		now = measure()
		if before.heap-now.heap < 4<<10 && before.stack-now.stack < 4<<10 {
			break
		}
	}
	return now
}

// converse sends a message and a signal to the other end of a session.
func converse(ctx context.Context, from, to *quicpeer.Session) error {
	if err := from.Send(ctx, []byte("hello")); err != nil {
		return err
	}
	if _, err := to.Receive(ctx); err != nil {
		return err
	}
	taken := make(chan error, 1)
	go func() {
		_, err := to.ReceiveSignal(ctx)
		taken <- err
	}()
	if err := from.Signal(ctx, []byte("hello")); err != nil {
		return err
	}
	return <-taken
}

func BenchmarkOpenSession(b *testing.B) {
	ctx := context.Background()
	open := func(b *testing.B) func() (func() error, error) {
		client, server := benchPair(ctx, b)
		address := server.Addr().String()
		return func() (func() error, error) {
			s, err := client.Dial(ctx, address, dialChat())
			return func() error { return s.Close(ctx) }, err
		}
	}
	benchOpening(b, open)
}

func BenchmarkStreamEcho(b *testing.B) {
	open := func(b *testing.B) func() (func() error, error) {
		conn := bareConn(b)
		return func() (func() error, error) {
			str, err := conn.OpenStreamSync(b.Context())
			if err != nil {
				return nil, err
			}
			message, answer := []byte("hello"), make([]byte, 5)
			if _, err := str.Write(message); err != nil {
				return nil, err
			}
			_, err = io.ReadFull(str, answer)
			return func() error {
				_ = str.Close()
				_, err := io.Copy(io.Discard, str)
				return err
			}, err
		}
	}
	benchOpening(b, open)
}

// benchOpening measures an open function, made anew for each benchmark, which
// returns how to close what it has opened.
func benchOpening(b *testing.B, prepare func(*testing.B) func() (closeIt func() error, err error)) {
	b.Run("sequential", func(b *testing.B) {
		open := prepare(b)
		var took []time.Duration
		b.ReportAllocs()
		for b.Loop() {
			began := time.Now()
			closeIt, err := open()
			took = append(took, time.Since(began))
			require.NoError(b, err)
			require.NoError(b, closeIt())
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs/open")
	})
	b.Run("parallel=64", func(b *testing.B) {
		open := prepare(b)
		b.ReportAllocs()
		b.ResetTimer()
		for left := b.N; left > 0; left -= benchSessions {
			n := min(left, benchSessions)
			closers := make([]func() error, n)
			err := each(n, 64, func(i int) (err error) {
				closers[i], err = open()
				return err
			})
			b.StopTimer()
			require.NoError(b, err)
			require.NoError(b, each(n, 64, func(i int) error { return closers[i]() }))
			b.StartTimer()
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "opens/s")
	})
	b.Run("parallel=64,closed", func(b *testing.B) {
		open := prepare(b)
		b.ReportAllocs()
		b.ResetTimer()
		err := each(b.N, 64, func(int) error {
			closeIt, err := open()
			if err != nil {
				return err
			}
			return closeIt()
		})
		require.NoError(b, err)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "opens/s")
	})
}

// bareConn returns a QUIC connection over a loopback, with the TLS of two
// endpoints, whose other end echoes every stream, and ends it when we do.
func bareConn(b *testing.B) *quic.Conn {
	identity, err := certs.Generate()
	require.NoError(b, err)
	config := &quic.Config{MaxIncomingStreams: benchSessions + 100, EnableDatagrams: true}
	transports := make([]*quic.Transport, 2)
	for i := range transports {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(b, err)
		transports[i] = &quic.Transport{Conn: pc}
		b.Cleanup(func() {
			_ = transports[i].Close()
			_ = pc.Close()
		})
	}
	listener, err := transports[0].Listen(identity.ServerTLS(quicpeer.ALPN, certs.Anyone(), false), config)
	require.NoError(b, err)
	go func() {
		conn, err := listener.Accept(context.Background())
		for err == nil {
			var str *quic.Stream
			if str, err = conn.AcceptStream(context.Background()); err == nil {
				go func() {
					_, _ = io.Copy(str, str)
					_ = str.Close()
				}()
			}
		}
	}()
	address := listener.Addr().String()
	conn, err := transports[1].Dial(b.Context(), listener.Addr(), identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), address), config)
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn
}
