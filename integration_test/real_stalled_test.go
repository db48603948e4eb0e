package integration_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// Not parallel: it measures the process.

// One session of a link is read, another is not; both are flooded with far more
// than the queues take. Both ends stay small, and each message is in the counts
// once, where it went.
func TestStalledReaderIsBounded(t *testing.T) {
	t.Run("drop oldest", func(t *testing.T) { stalledReader(t, datagram.ReceiveDropOldest, datagram.ReasonOldest) })
	t.Run("drop newest", func(t *testing.T) { stalledReader(t, datagram.ReceiveDropNewest, datagram.ReasonNewest) })
}

func stalledReader(t *testing.T, policy datagram.ReceivePolicy, reason datagram.Reason) {
	const (
		messages = 30_000 // to each: nearly 30 times the bytes that a receive queue takes
		size     = 1000
		slack    = 6 << 20 // of heap, a tenth of what is sent: full queues, whole datagrams in them, and noise
	)
	ctx := within(t, 60*time.Second)
	config := func() *quicpeer.Config {
		c := chatConfig()
		c.Session.Queues.ReceiveFull = policy
		return c
	}
	server, client := startPeer(t, "127.0.0.1:0", config()), startPeer(t, "127.0.0.1:0", config())
	from, read := dialOpen(ctx, t, client, server)
	fromStalled, stalled := dialOpen(ctx, t, client, server)
	require.Len(t, client.Links(), 1)
	base := measure()

	taken := make(chan uint64, 1)
	go func() {
		n, buf := uint64(0), make([]byte, size)
		for {
			if _, err := read.ReceiveInto(context.Background(), buf); err != nil { // ends with the session
				taken <- n
				return
			}
			n++
		}
	}()
	var flooding sync.WaitGroup
	for _, s := range []*quicpeer.Session{from, fromStalled} {
		flooding.Go(func() {
			message := make([]byte, size)
			for i := range messages {
				binary.BigEndian.PutUint64(message, uint64(i))
				if err := s.Send(ctx, message); err != nil {
					t.Error(err)
					return
				}
				if i%1000 == 0 {
					wantBounded(t, s)
					wantBounded(t, stalled)
				}
			}
		})
	}
	flooding.Wait()
	require.False(t, t.Failed())
	now := measure()
	t.Logf("heap %+d KiB, after %d MiB were sent", (now.heap-base.heap)>>10, 2*messages*size>>20)
	require.Less(t, now.heap, base.heap+slack, holders())

	require.NoError(t, from.Close(ctx))
	require.NoError(t, fromStalled.Close(ctx))
	waitDone(ctx, t, from, fromStalled, read, stalled)
	wantSameCounts(t, from, read)
	wantSameCounts(t, fromStalled, stalled)

	for _, s := range []*quicpeer.Session{from, fromStalled} {
		c := s.Stats().Local
		require.EqualValues(t, messages, c.Pushed)
		require.EqualValues(t, messages, c.Sent, "a receiver that does not read costs the sender nothing")
	}
	c := read.Stats().Local
	require.Equal(t, c.Received, <-taken+c.Dropped+uint64(c.Unread), "received = taken + dropped + unread")
	require.Equal(t, c.Dropped, from.Stats().Remote.Dropped)

	c = stalled.Stats().Local
	require.Equal(t, c.Received, c.Dropped+uint64(c.Unread), "nothing was taken")
	require.Equal(t, c.ReceiveDrops[reason], c.Dropped)
	require.Equal(t, c.ReceiveDrops.Total(), c.Dropped, "and dropped for no other reason")
	require.Equal(t, c.Dropped, fromStalled.Stats().Remote.Dropped, "its sender knows")
	require.Equal(t, datagram.DefaultReceiveBytes/size, c.Unread, "the queue is full")
	numbers := drainNumbers(ctx, t, stalled)
	require.Len(t, numbers, c.Unread, "and can still be read")
	if policy == datagram.ReceiveDropOldest {
		require.Greater(t, slices.Min(numbers), uint64(messages/2), "what came last")
	} else {
		require.Less(t, slices.Max(numbers), uint64(messages/2), "what came first")
	}
	after := stalled.Stats().Local
	require.Zero(t, after.Unread)
	require.Equal(t, c.Dropped, after.Dropped)
}

// wantBounded checks that the queues of a session hold no more than they may,
// beside one datagram that is being handed to QUIC.
func wantBounded(t *testing.T, s *quicpeer.Session) {
	c := s.Stats().Local
	if c.QueuedBytes > datagram.DefaultSendBytes+1500 || c.Queued > datagram.DefaultSendMessages+1 ||
		c.UnreadBytes > datagram.DefaultReceiveBytes || c.Unread > datagram.DefaultReceiveMessages {
		t.Errorf("queues too long: %+v", c)
	}
}

// drainNumbers reads what a session that is over has left: the numbers that its
// messages begin with.
func drainNumbers(ctx context.Context, t *testing.T, s *quicpeer.Session) (numbers []uint64) {
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			require.NoError(t, ctx.Err())
			return numbers
		}
		numbers = append(numbers, binary.BigEndian.Uint64(m))
	}
}
