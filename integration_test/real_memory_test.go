package integration_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// The tests of this file measure the process, so none of them is parallel.

// footprint is what the process holds.
type footprint struct {
	heap       int64 // bytes
	stack      int64 // bytes
	goroutines int
}

// measure returns the footprint after the garbage has been collected. Two
// rounds: what a sync.Pool holds survives one.
func measure() footprint {
	for range 2 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{heap: int64(m.HeapAlloc), stack: int64(m.StackInuse), goroutines: runtime.NumGoroutine()}
}

// growRuntime makes the runtime's own records of goroutines, which it never
// gives back, as many as the test will need.
func growRuntime(goroutines int) {
	var wg sync.WaitGroup
	release := make(chan struct{})
	for range goroutines {
		wg.Go(func() { <-release })
	}
	close(release)
	wg.Wait()
}

// backAtBase waits until the process holds no more than at the beginning, and
// what a test allows on top.
func backAtBase(ctx context.Context, t testing.TB, base, slack footprint) {
	t.Helper()
	now := measure()
	for now.heap > base.heap+slack.heap || now.goroutines > base.goroutines+slack.goroutines {
		if ctx.Err() != nil {
			require.Fail(t, "not back at base", "heap %+d KiB, goroutines %+d\n\n%s",
				(now.heap-base.heap)>>10, now.goroutines-base.goroutines, holders())
		}
		pause()
		now = measure()
	}
	t.Logf("back at base: heap %+d KiB, goroutines %+d", (now.heap-base.heap)>>10, now.goroutines-base.goroutines)
}

// holders describes what holds the most memory, and who is there.
func holders() string {
	var text strings.Builder
	n, _ := runtime.MemProfile(nil, false)
	records := make([]runtime.MemProfileRecord, n+50)
	n, _ = runtime.MemProfile(records, false)
	records = records[:n]
	slices.SortFunc(records, func(a, b runtime.MemProfileRecord) int { return cmp.Compare(b.InUseBytes(), a.InUseBytes()) })
	for _, r := range records[:min(n, 10)] {
		fmt.Fprintf(&text, "%d KiB in %d objects:", r.InUseBytes()>>10, r.InUseObjects())
		frames := runtime.CallersFrames(r.Stack())
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			fmt.Fprintf(&text, " %s:%d", f.Function, f.Line)
		}
		text.WriteByte('\n')
	}
	all := stacks()
	return text.String() + all[:min(len(all), 8<<10)]
}

// each runs f for 0 to n-1, at most so many at a time, and returns the first
// error.
func each(n, atOnce int, f func(i int) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(i); err != nil {
				once.Do(func() { first = fmt.Errorf("%d: %w", i, err) })
			}
		})
	}
	wg.Wait()
	return first
}

// use opens a session, exchanges a message and a signal on it, and closes it.
func use(ctx context.Context, from *quicpeer.Endpoint, address string, code session.Code) error {
	s, err := from.Dial(ctx, address, dialChat())
	if err != nil {
		return err
	}
	if err := tryExchange(ctx, s, "hello"); err != nil {
		return err
	}
	return s.CloseWithError(ctx, code, "done with you")
}

func TestMemoryBackAtBaseAfterThousandSessions(t *testing.T) {
	ctx := within(t, 20*time.Second)
	server := startPeer(t, "127.0.0.1:0", nil)
	echo(server)
	id, err := certs.Generate()
	require.NoError(t, err)
	config := chatConfig()
	config.Identity = id
	client := startPeer(t, keptAddress(t), config)
	address := server.Addr().String()
	run := func(n int) {
		require.NoError(t, each(n, 50, func(int) error { return use(ctx, client, address, 0x100) }))
		until(ctx, t, "all streams are over", func() bool { return sessionStreams(server) == 0 && sessionStreams(client) == 0 })
	}

	run(100) // what grows once has grown
	base := measure()
	run(1000)
	// 200 bytes a session would be a leak; the rest is noise.
	backAtBase(ctx, t, base, footprint{heap: 200 << 10, goroutines: 2})
	require.Empty(t, server.Sessions())
	require.Empty(t, client.Sessions())

	// The same peer is accepted anew: on the link there is, and, when the
	// client has ended and comes again on the same port, on a new one.
	run(1)
	bound := client.Addr().String()
	require.NoError(t, client.Close(ctx))
	again := startPeer(t, bound, config)
	s, err := again.Dial(ctx, address, dialChat())
	require.NoError(t, err)
	exchange(ctx, t, s, "it is me again")
	until(ctx, t, "the old link is gone", func() bool { return len(server.Links()) == 1 })
	require.Equal(t, id.ID(), server.Links()[0].RemoteID)
}

func TestThousandSessionsOverOneLink(t *testing.T) {
	const sessions = 1000
	ctx := within(t, 20*time.Second)
	server := startPeer(t, "127.0.0.1:0", nil)
	echo(server)
	client := startPeer(t, "127.0.0.1:0", nil)
	address := server.Addr().String()
	growRuntime(4 * sessions)
	round := func() {
		before := measure()
		open := make([]*quicpeer.Session, sessions)
		require.NoError(t, each(sessions, 50, func(i int) (err error) {
			open[i], err = client.Dial(ctx, address, dialChat())
			return err
		}))
		require.Len(t, server.Sessions(), sessions)
		require.Len(t, client.Links(), 1)
		require.Len(t, server.Links(), 1)
		full := measure()
		t.Logf("an open session costs %d bytes of heap and %.1f goroutines, both ends and the server's user together",
			(full.heap-before.heap)/sessions, float64(full.goroutines-before.goroutines)/sessions)

		// Each is a conversation of its own.
		require.NoError(t, each(sessions, 50, func(i int) error { return tryExchange(ctx, open[i], fmt.Sprint("message of ", i)) }))
		require.NoError(t, each(sessions, 50, func(i int) error {
			return open[i].CloseWithError(ctx, session.FirstApplicationCode+session.Code(i), "")
		}))
		for i, s := range open {
			waitDone(ctx, t, s)
			require.Equal(t, session.FirstApplicationCode+session.Code(i), sessionError(t, s.Err()).Code)
			require.True(t, s.Stats().Complete, "session %d", i)
		}
		until(ctx, t, "all streams are over", func() bool { return sessionStreams(server) == 0 && sessionStreams(client) == 0 })
	}
	round() // tables on the link grow once, and stay
	base := measure()
	round()
	backAtBase(ctx, t, base, footprint{heap: 200 << 10, goroutines: 2})
}

func TestTwoHundredLinksOnOneEndpoint(t *testing.T) {
	const links = 200
	ctx := within(t, 60*time.Second)
	growRuntime(30 * links)
	twoHundredLinks(ctx, t, 5) // what the first handshakes of a process build, and keep, is not a link's
	base := measure()
	twoHundredLinks(ctx, t, links)
	backAtBase(within(t, 60*time.Second), t, base, footprint{heap: 500 << 10, goroutines: 2})
}

// twoHundredLinks makes that many links, or another number, between one
// endpoint and so many others, and closes them all.
func twoHundredLinks(ctx context.Context, t *testing.T, links int) {
	before := measure()
	config := chatConfig()
	config.Limits.LinksPerAddress = links
	hub, err := quicpeer.Listen(keptAddress(t), config)
	require.NoError(t, err)
	echo(hub)
	peers := make([]*quicpeer.Endpoint, links)
	sessions := make([]*quicpeer.Session, links)
	// Two at once, not more: QUIC remembers a closed connection for three probe
	// timeouts (RFC 9000 section 10.2), and the socket's buffers with it, and
	// these timeouts are long where handshakes have waited for each other.
	err = each(links, 2, func(i int) (err error) {
		if peers[i], err = quicpeer.Listen("127.0.0.1:0", chatConfig()); err != nil {
			return err
		}
		echo(peers[i])
		if i%2 == 0 { // half of them dial the hub, the hub dials the others
			sessions[i], err = peers[i].Dial(ctx, hub.Addr().String(), dialChat())
		} else {
			sessions[i], err = hub.Dial(ctx, peers[i].Addr().String(), dialChat())
		}
		return err
	})
	require.NoError(t, err)
	require.Len(t, hub.Links(), links)
	require.NoError(t, each(links, 10, func(i int) error { return tryExchange(ctx, sessions[i], fmt.Sprint("on link ", i)) }))
	full := measure()
	t.Logf("%d links: one, with a session, costs %d KiB of heap and %.1f goroutines, both ends and an endpoint together", links,
		(full.heap-before.heap)/int64(links)>>10, float64(full.goroutines-before.goroutines)/float64(links))

	require.NoError(t, hub.Close(ctx), "every peer has confirmed")
	for i, s := range sessions {
		waitDone(ctx, t, s)
		require.Equal(t, session.CauseClosed, sessionError(t, s.Err()).Cause, "session %d", i)
	}
	require.NoError(t, each(links, 50, func(i int) error { return peers[i].Close(ctx) }))
	pc, err := net.ListenPacket("udp", hub.Addr().String())
	require.NoError(t, err, "the port is free again")
	require.NoError(t, pc.Close())
}
