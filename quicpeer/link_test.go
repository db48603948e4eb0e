package quicpeer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"
)

func TestSessionIDsFollowStreamIDs(t *testing.T) {
	for stream, session := range map[quic.StreamID]uint64{0: 0, 1: 1, 4: 2, 5: 3, 8: 4, 9: 5, 252: 126, 4001: 2001} {
		require.Equal(t, session, sessionID(stream), "stream %d", stream)
	}
}

func TestHeartbeatsWaitForAnySignOfLife(t *testing.T) {
	now := time.Now()
	var h heartbeats
	h.begin(now)
	require.False(t, h.dead(now.Add(time.Hour)), "nothing was asked")
	h.sent(now.Add(5 * time.Second))
	h.sent(now.Add(10 * time.Second))
	require.False(t, h.dead(now.Add(19*time.Second)))
	require.True(t, h.dead(now.Add(20*time.Second)), "15 s after the first one unanswered")
	h.heard(now.Add(20 * time.Second))
	require.False(t, h.dead(now.Add(time.Hour)))
}

func TestPongAnswersItsPingAndAllBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pinger
		rtts := make(chan time.Duration, 3)
		for i := range 3 {
			go func() {
				rtt, err := p.ping(context.Background(), [8]byte{byte(i)}, func() {})
				require.NoError(t, err)
				rtts <- rtt
			}()
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		p.pong([8]byte{9})
		synctest.Wait()
		require.Empty(t, rtts, "a token that nobody asked with")
		p.pong([8]byte{1})
		synctest.Wait()
		require.Len(t, rtts, 2)
		p.pong([8]byte{2})
		synctest.Wait()
		require.Equal(t, []time.Duration{30 * time.Millisecond, 20 * time.Millisecond, 10 * time.Millisecond}, sorted(<-rtts, <-rtts, <-rtts))
	})
}

// sorted returns three durations, the longest first: the first two pings end
// at the same time, in any order.
func sorted(a, b, c time.Duration) []time.Duration {
	return []time.Duration{max(a, b), min(a, b), c}
}

func TestPingEndsWithItsContextAndWithTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pinger
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.ping(ctx, [8]byte{1}, func() {})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, p.waiting)

		gone := errors.New("gone")
		go func() {
			time.Sleep(time.Second)
			p.fail(gone)
		}()
		_, err = p.ping(t.Context(), [8]byte{2}, func() {})
		require.ErrorIs(t, err, gone)
		_, err = p.ping(t.Context(), [8]byte{3}, func() {})
		require.ErrorIs(t, err, gone)
	})
}

func TestPingsUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pinger
		for i := range maxPings {
			go func() { _, _ = p.ping(t.Context(), [8]byte{byte(i)}, func() {}) }()
		}
		synctest.Wait()
		_, err := p.ping(t.Context(), [8]byte{255}, func() {})
		require.ErrorIs(t, err, errTooManyPings)
		p.fail(errors.New("over"))
	})
}

func TestBacklogIsBoundedAndInOrder(t *testing.T) {
	var b backlog
	b.init(2)
	first, second := new(Incoming), new(Incoming)
	require.True(t, b.put(first))
	require.True(t, b.put(second))
	require.False(t, b.put(new(Incoming)), "full")
	require.True(t, b.remove(first))
	require.False(t, b.remove(first), "no longer there")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, err := b.take(ctx)
	require.NoError(t, err, "what is there beats a cancelled context")
	require.Same(t, second, in)
	_, err = b.take(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, b.put(first))
	require.Equal(t, []*Incoming{first}, b.close())
	_, err = b.take(t.Context())
	require.ErrorIs(t, err, ErrEndpointClosed)
}
