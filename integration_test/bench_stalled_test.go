package integration_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
)

const (
	// stalledRounds is how many times each side runs, in turn; medians are
	// reported.
	stalledRounds = 5
	// stalledWarmUp comes before the counting: by then the queue of who does
	// not read is full.
	stalledWarmUp = 300 * time.Millisecond
	// stalledTime is how long is counted.
	stalledTime = time.Second
)

// BenchmarkStalledReader floods two sessions of one link, over a loopback, and
// reports how many messages one of them receives: beside a neighbour that is
// read, and beside one that nobody reads; and the ratio.
//
//	go test -run '^$' -bench StalledReader -benchtime 1x ./integration_test
func BenchmarkStalledReader(b *testing.B) {
	for _, size := range []int{64, 0} {
		name := fmt.Sprintf("size=%d", size)
		if size == 0 {
			name = "size=full"
		}
		b.Run(name, func(b *testing.B) {
			var beside [2][]float64 // a neighbour that is read, one that is not
			for round := range b.N * stalledRounds {
				for i := range beside {
					which := (i + round) % 2 // neither is always first
					beside[which] = append(beside[which], besideNeighbour(b, size, which == 1))
				}
			}
			read, stalled := median(beside[0]), median(beside[1])
			b.ReportMetric(0, "ns/op") // means nothing here
			b.ReportMetric(read, "msg/s-beside-read")
			b.ReportMetric(stalled, "msg/s-beside-stalled")
			b.ReportMetric(stalled/read, "stalled/read")
			b.Logf("msg/s: beside a neighbour that is read %.0f, beside one that is not %.0f", beside[0], beside[1])
		})
	}
}

// besideNeighbour returns the messages a second that one of two flooded
// sessions receives.
func besideNeighbour(b *testing.B, size int, stalled bool) float64 {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	server, client := startPeer(b, "127.0.0.1:0", nil), startPeer(b, "127.0.0.1:0", nil)
	from, to := dialOpen(ctx, b, client, server)
	fromNeighbour, neighbour := dialOpen(ctx, b, client, server)
	require.Len(b, client.Links(), 1)

	var running sync.WaitGroup
	var received, others atomic.Int64
	flood := func(s *quicpeer.Session) {
		running.Go(func() {
			_ = floodSession(ctx, s, size)
		})
	}
	read := func(s *quicpeer.Session, n *atomic.Int64) {
		running.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := s.ReceiveInto(ctx, buf); err != nil {
					return
				}
				n.Add(1)
			}
		})
	}
	read(to, &received)
	if !stalled {
		read(neighbour, &others)
	}
	flood(from)
	flood(fromNeighbour)

	wait(ctx, stalledWarmUp)
	before, begun := received.Load(), time.Now()
	wait(ctx, stalledTime)
	rate := float64(received.Load()-before) / time.Since(begun).Seconds()
	cancel()
	running.Wait()

	c := neighbour.Stats().Local
	require.NotZero(b, c.Received, "the neighbour is flooded, too")
	require.Equal(b, stalled, others.Load() == 0)
	if stalled {
		require.Equal(b, c.Received, c.Dropped+uint64(c.Unread))
		require.NotZero(b, c.Dropped, "and its queue is full")
	}
	closing, end := context.WithTimeout(b.Context(), time.Second)
	defer end()
	_ = client.Close(closing)
	_ = server.Close(closing)
	return rate
}

// floodSession sends until ctx ends, messages of a size, or, if that is 0, as
// large as fit into a datagram at the time.
func floodSession(ctx context.Context, s *quicpeer.Session, size int) error {
	full := make([]byte, 1500)
	for n := 0; ; n++ {
		if size == 0 && n%1000 == 0 {
			full = full[:min(cap(full), s.DatagramSize())]
		} else if size > 0 {
			full = full[:size]
		}
		if err := s.Send(ctx, full); err != nil {
			return err
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err() // room in the queue beats it
		}
	}
}
