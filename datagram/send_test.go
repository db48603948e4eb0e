package datagram

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errClosed = errors.New("closed by the test")

func TestSendOrder(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	m.wantNothing("nothing was pushed")
	f := m.open(1, FlowConfig{})
	m.push(f, "a", SendOptions{})
	m.want("0 message 1:a", "a message alone is not bundled")
	m.push(f, "b", SendOptions{})
	m.push(f, "", SendOptions{})
	m.push(f, "c", SendOptions{})
	m.want("1 bundle 1:b 1: 1:c", "messages that wait go together")
	m.push(f, "", SendOptions{})
	m.want("2 message 1:", "empty messages are legal")
	m.wantNothing("all sent")
	c := f.Counts()
	require.Equal(t, Counts{Pushed: 5, Sent: 5, SentBytes: 3, End: 3}, c)
}

func TestSendPriority(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	for i, priority := range []int{0, 5, -1, 5, 0, 7} {
		m.push(f, fmt.Sprint(i), SendOptions{Priority: priority})
	}
	m.want("0 bundle 1:5 1:1 1:3 1:0 1:4 1:2", "higher first, in order within one priority")
}

func TestSendExpiry(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	m.push(f, "a", SendOptions{Expiry: time.Second})
	m.push(f, "b", SendOptions{})
	m.push(f, "c", SendOptions{Expiry: 2 * time.Second})
	m.push(f, "d", SendOptions{Expiry: -1})
	m.pass(time.Second)
	m.want("0 bundle 1:b 1:c 1:d", "expired at its very time")
	m.push(f, "e", SendOptions{Expiry: time.Second})
	m.pass(2 * time.Second)
	m.wantNothing("expired, and nothing else is there")
	wantDrops(t, f.Counts().SendDrops, "never sent", map[Reason]uint64{ReasonExpired: 2})
	wantSums(t, f, 0)

	m.push(f, "f", SendOptions{Expiry: time.Second})
	m.push(f, "g", SendOptions{Expiry: 3 * time.Second})
	m.pass(time.Second)
	m.Tick(m.now)
	require.Equal(t, 1, f.Counts().Queued, "Tick drops what has expired")
	f.CloseSend(errClosed)
	wantClosed(t, f.Drained(), false, "g is left")
	m.pass(time.Hour)
	m.Tick(m.now)
	wantClosed(t, f.Drained(), true, "the last one expired")

	g := m.open(3, FlowConfig{})
	m.push(g, "h", SendOptions{Expiry: time.Second})
	g.CloseSend(errClosed)
	m.pass(time.Second)
	m.wantNothing("expired")
	wantClosed(t, g.Drained(), true, "without a Tick")
}

// Whoever wants no expiry may say so with the longest one.
func TestSendExpiryTooFarToCount(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	m.push(f, "a", SendOptions{Expiry: time.Second})
	m.push(f, "b", SendOptions{Expiry: math.MaxInt64})
	m.pass(-2 * time.Second) // calls that read the clock before another may come after it
	m.push(f, "c", SendOptions{Expiry: 2*time.Second - 1})
	m.pass(time.Hour)
	m.want("0 message 1:b", "neither early nor for ever")
	wantDrops(t, f.Counts().SendDrops, "in time", map[Reason]uint64{ReasonExpired: 2})
}

func TestSendExpiredMakeRoom(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{SendMessages: 2})
	m.push(f, "a", SendOptions{Expiry: time.Second})
	m.push(f, "b", SendOptions{})
	m.pass(time.Second)
	m.push(f, "c", SendOptions{Full: SendFail})
	m.want("0 bundle 1:b 1:c", "a has expired")
}

func TestSendFail(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{SendMessages: 3, SendBytes: 10, SendFull: SendFail})
	m.push(f, "123456", SendOptions{})
	require.ErrorIs(t, f.Push(context.Background(), m.now, []byte("12345"), SendOptions{}), ErrQueueFull, "11 bytes of 10")
	m.push(f, "1234", SendOptions{})
	m.push(f, "", SendOptions{})
	require.ErrorIs(t, f.Push(context.Background(), m.now, nil, SendOptions{}), ErrQueueFull, "4 messages of 3")
	require.Equal(t, uint64(3), f.Counts().Pushed, "what was refused was not pushed")
	m.sent("all three")
	m.push(f, "this is longer than ten bytes", SendOptions{})
	m.want("1 message 1:this is longer than ten bytes", "one message always fits an empty queue")
	wantSums(t, f, 0)
}

func TestSendDropOldest(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{SendMessages: 3, SendBytes: 100, SendFull: SendDropOldest})
	for _, p := range []string{"a", "b", "c", "d"} {
		m.push(f, p, SendOptions{})
	}
	m.want("0 bundle 1:b 1:c 1:d", "a made room")
	m.push(f, "high", SendOptions{Priority: 1})
	m.push(f, "low", SendOptions{Priority: -1})
	m.push(f, "e", SendOptions{})
	m.push(f, "f", SendOptions{})
	m.want("1 bundle 1:high 1:e 1:f", "the lowest priority goes first")
	for range 3 {
		m.push(f, "high", SendOptions{Priority: 1})
	}
	m.push(f, "low", SendOptions{})
	m.want("2 bundle 1:high 1:high 1:high", "nothing of a lower priority than the new one")
	for range 3 {
		m.push(f, strings.Repeat("x", 30), SendOptions{})
	}
	m.push(f, strings.Repeat("y", 100), SendOptions{})
	m.want("3 message 1:"+strings.Repeat("y", 100), "several make room for the bytes of one")
	wantDrops(t, f.Counts().SendDrops, "by reason", map[Reason]uint64{ReasonOldest: 5, ReasonNewest: 1})
	wantSums(t, f, 0)
}

func TestPushCopies(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	p := []byte("before")
	require.NoError(t, f.Push(context.Background(), m.now, p, SendOptions{}))
	copy(p, "behind")
	m.want("0 message 1:before", "the payload was copied")
}

// pushLater pushes in a goroutine and returns its result.
func pushLater(ctx context.Context, f *Flow, payload string) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f.Push(ctx, time.Now(), []byte(payload), SendOptions{}) }()
	synctest.Wait()
	return result
}

func wantResult(t *testing.T, result <-chan error, want error, why string) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		require.Equal(t, want, err, why)
	default:
		require.Fail(t, "still blocked", why)
	}
}

func wantBlocked(t *testing.T, result <-chan error, why string) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		require.Fail(t, "not blocked", "%s: %v", why, err)
	default:
	}
}

func TestPushWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMux(t, MuxConfig{MaxDatagram: 5}) // one message, no bundles
		m.now = time.Now()
		f := m.open(1, FlowConfig{SendMessages: 1})
		m.push(f, "a", SendOptions{})
		cause := errors.New("had enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		b := pushLater(context.Background(), f, "b")
		c := pushLater(ctx, f, "c")
		d := pushLater(context.Background(), f, "d")
		e := pushLater(context.Background(), f, "e")
		wantBlocked(t, b, "the queue is full")
		cancel(cause)
		wantResult(t, c, cause, "the cause of its ctx")
		m.next("a")
		wantResult(t, b, nil, "what is in the pump's hands takes no room")
		wantBlocked(t, d, "first come, first served")
		m.Sent()
		require.ErrorIs(t, f.Push(context.Background(), m.now, nil, SendOptions{Full: SendFail}), ErrQueueFull, "nobody jumps the queue")
		m.want("1 message 1:b", "in the order they came")
		wantResult(t, d, nil, "there is room again")
		f.CloseSend(errClosed)
		wantResult(t, e, errClosed, "CloseSend wakes")
		require.Equal(t, errClosed, f.Push(context.Background(), m.now, nil, SendOptions{}))
		m.want("2 message 1:d", "what is queued still goes out")
		wantClosed(t, f.Drained(), true, "all sent")
		require.Equal(t, uint64(3), f.Counts().Pushed, "a, b, d")
		wantSums(t, f, 0)
	})
}

// A Push call whose message is queued returns with the end of its flow, also if the pump does not come back.
func TestPushThatWasLetInReturnsWithItsFlow(t *testing.T) {
	for name, end := range map[string]func(*testMux, *Flow){
		"CloseSend": func(m *testMux, f *Flow) { f.CloseSend(errClosed) },
		"Remove":    func(m *testMux, f *Flow) { m.Remove(f.ID()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newTestMux(t, MuxConfig{MaxDatagram: 5}) // one message, no bundles
			m.now = time.Now()
			f := m.open(1, FlowConfig{SendMessages: 100})
			for range 100 {
				m.push(f, "a", SendOptions{})
			}
			b := pushLater(context.Background(), f, "b")
			m.next("a")
			wantBlocked(t, b, "queued, but the queue is long")
			end(m, f)
			wantResult(t, b, nil, name+" ends the wait of what is queued already")
			require.Equal(t, uint64(101), f.Counts().Pushed)
			m.Sent()
		})
	}
}

// A waiter that gives up must let in those behind it that fit.
func TestPushWaiterBehindLargeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMux(t, MuxConfig{})
		m.now = time.Now()
		f := m.open(1, FlowConfig{SendBytes: 10})
		m.push(f, "12345", SendOptions{})
		ctx, cancel := context.WithCancel(context.Background())
		large := pushLater(ctx, f, "too large")
		small := pushLater(context.Background(), f, "fits")
		wantBlocked(t, large, "no room")
		wantBlocked(t, small, "behind the large one")
		cancel()
		wantResult(t, large, context.Canceled, "gave up")
		wantResult(t, small, nil, "is first now")
		m.want("0 bundle 1:12345 1:fits", "both")
	})
}

// A waiter that was let in at the moment its ctx ended has pushed.
func TestPushSettledBeatsCancelledContext(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{SendMessages: 1})
	m.push(f, "a", SendOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- f.Push(ctx, m.now, []byte("b"), SendOptions{}) }()
	for waiting := false; !waiting; runtime.Gosched() {
		m.Mux.send.mu.Lock()
		waiting = !f.send.waiting.empty()
		m.Mux.send.mu.Unlock()
	}
	m.Mux.send.mu.Lock()
	cancel() // it cannot have the lock before it is settled
	f.dropQueued()
	f.admit()
	m.Mux.send.unlock()
	require.NoError(t, <-result)
	m.want("0 message 1:b", "was let in")
}

func TestPushWaitEndsByExpiryAndDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMux(t, MuxConfig{})
		m.now = time.Now()
		f := m.open(1, FlowConfig{SendMessages: 1})
		m.push(f, "a", SendOptions{Expiry: time.Second})
		b := pushLater(context.Background(), f, "b")
		m.pass(time.Second)
		m.Tick(m.now)
		wantResult(t, b, nil, "a has expired")
		c := pushLater(context.Background(), f, "c")
		require.Equal(t, 1, f.DropQueued())
		wantResult(t, c, nil, "b was dropped")
		d := pushLater(context.Background(), f, "d")
		m.push(f, "e", SendOptions{Full: SendDropOldest})
		wantBlocked(t, d, "e took the room of c")
		m.SetMaxDatagram(2)
		m.wantNothing("nothing fits")
		wantResult(t, d, nil, "e was dropped")
		wantDrops(t, f.Counts().SendDrops, "by reason",
			map[Reason]uint64{ReasonExpired: 1, ReasonClosed: 1, ReasonOldest: 1, ReasonTooLarge: 2})
		wantSums(t, f, 0)
	})
}

// Every way in which room is made must wake a waiter, whatever the interleaving.
func TestPushNoLostWakeUp(t *testing.T) {
	const pushers, each = 8, 300
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{SendMessages: 2})
	results := make(chan error, pushers)
	for range pushers {
		go func() {
			for i := range each {
				ctx, cancel := context.WithCancel(context.Background())
				if i%7 == 0 {
					cancel()
				}
				err := f.Push(ctx, epoch, []byte("x"), SendOptions{})
				cancel()
				if err != nil && !errors.Is(err, context.Canceled) {
					results <- err
					return
				}
			}
			results <- nil
		}()
	}
	for done := 0; done < pushers; {
		select {
		case err := <-results:
			require.NoError(t, err)
			done++
		case <-m.Wake():
			for {
				if _, ok := m.Next(epoch, nil); !ok {
					break
				}
				m.Sent()
			}
		}
	}
	for {
		if _, ok := m.Next(epoch, nil); !ok {
			break
		}
		m.Sent()
	}
	c := f.Counts()
	require.Equal(t, c.Pushed, c.Sent)
	require.Zero(t, c.Queued)
}

func TestTwoPhases(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f, g := m.open(1, FlowConfig{}), m.open(3, FlowConfig{})
	m.push(f, "a", SendOptions{})
	m.push(g, "b", SendOptions{})
	m.push(f, "c", SendOptions{})
	drained := f.Drained()
	require.Equal(t, "0 bundle 1:a 1:c 3:b", describe(m.next("all")))
	require.Zero(t, f.Counts().Sent, "not sent before Sent")
	require.Equal(t, 2, f.Counts().Queued)
	require.Equal(t, 2, f.Counts().QueuedBytes)
	f.CloseSend(errClosed)
	wantClosed(t, drained, false, "in the pump's hands")
	m.push(g, "d", SendOptions{})
	m.Refused(0)
	wantClosed(t, drained, false, "back in the queue")
	wantSums(t, f, 0)
	m.want("0 bundle 1:a 1:c 3:b 3:d", "the same messages, in the same order, with the same number")
	wantClosed(t, drained, true, "sent")
	require.Equal(t, Counts{Pushed: 2, Sent: 2, SentBytes: 2, End: 1}, f.Counts())
	require.Equal(t, uint64(1), g.Counts().End)
}

func TestRefusedShrinks(t *testing.T) {
	m := newTestMux(t, MuxConfig{MaxDatagram: 100})
	f := m.open(1, FlowConfig{})
	m.push(f, strings.Repeat("x", 97), SendOptions{})
	require.Len(t, m.next("fills the datagram"), 100)
	m.Refused(50)
	require.Equal(t, 50, m.MaxDatagram())
	require.Equal(t, "0 fragment 1#0 0+43/97", describe(m.next("the size fell")))
	m.Refused(40)
	require.Equal(t, "0 fragment 1#0 0+33/97", describe(m.next("the size fell again")))
	require.Zero(t, f.Counts().Sent)
	m.Sent()
	require.Equal(t, uint64(1), f.Counts().Sent, "its first fragment was handed over")
	m.next("second fragment")
	m.Refused(60)
	m.want("1 fragment 1#0 33+53/97", "split anew from where it was")
	m.want("2 fragment 1#0 86+11/97", "the rest")
	m.wantNothing("complete")
	require.True(t, m.SetMaxDatagram(100))
	require.False(t, m.SetMaxDatagram(100))
	require.False(t, m.SetMaxDatagram(0))
	m.push(f, strings.Repeat("x", 98), SendOptions{})
	m.next("first fragment of the next message")
	m.Refused(101)
	m.want("3 message 1:"+strings.Repeat("x", 98), "fits after all")
	m.push(f, strings.Repeat("x", 99), SendOptions{})
	m.want("4 fragment 1#1 0+94/99", "a message id is given out when its first fragment is handed over")
	require.Equal(t, Counts{Pushed: 3, Sent: 3, SentBytes: 97 + 98 + 99, End: 5, QueuedBytes: 5}, f.Counts())
}

func TestFragmentsFillDatagrams(t *testing.T) {
	for _, limit := range []int{20, 63, 64, 65, 200, 1100, 1404} {
		for _, size := range []int{1, 60, 61, 62, 63, 64, 65, 1100, 16383, 16384, 65536} {
			m := newTestMux(t, MuxConfig{MaxDatagram: limit})
			f := m.open(1, FlowConfig{})
			m.push(f, strings.Repeat("x", size), SendOptions{})
			for f.Counts().QueuedBytes > 0 {
				d := m.sent("the rest")
				if f.Counts().QueuedBytes > 0 {
					require.Len(t, d, limit, "every fragment but the last fills its datagram")
				}
			}
			require.Equal(t, uint64(1), f.Counts().Sent)
		}
	}
}

func TestHigherPriorityBetweenFragments(t *testing.T) {
	m := newTestMux(t, MuxConfig{MaxDatagram: 50})
	f := m.open(1, FlowConfig{})
	m.push(f, strings.Repeat("x", 100), SendOptions{})
	m.want("0 fragment 1#0 0+43/100", "large")
	m.push(f, "same", SendOptions{})
	require.Equal(t, "1 fragment 1#0 43+43/100", describe(m.next("a message of the same priority waits")))
	m.Refused(0)
	m.push(f, strings.Repeat("y", 60), SendOptions{Priority: 1})
	m.push(f, "high", SendOptions{Priority: 2})
	m.want("1 message 1:high", "a small message of a higher priority does not wait for the large one")
	m.want("2 fragment 1#0 43+43/100", "a large one does")
	m.want("3 fragment 1#0 86+14/100", "last piece")
	m.want("4 fragment 1#1 0+44/60", "then the large one of a higher priority")
	m.want("5 fragment 1#1 44+16/60", "")
	m.want("6 message 1:same", "")
	m.wantNothing("all sent")
}

func TestExpiryStopsAtFirstFragment(t *testing.T) {
	m := newTestMux(t, MuxConfig{MaxDatagram: 50})
	f := m.open(1, FlowConfig{})
	m.push(f, strings.Repeat("x", 60), SendOptions{Expiry: time.Second})
	m.next("first fragment")
	m.pass(time.Second)
	m.Refused(0)
	m.wantNothing("expired before anything of it was handed over")
	m.push(f, strings.Repeat("x", 60), SendOptions{Expiry: time.Second})
	m.want("0 fragment 1#0 0+44/60", "first fragment")
	m.pass(time.Second)
	m.want("1 fragment 1#0 44+16/60", "what was begun is finished")
	wantDrops(t, f.Counts().SendDrops, "only the first", map[Reason]uint64{ReasonExpired: 1})
}

func TestTooLarge(t *testing.T) {
	m := newTestMux(t, MuxConfig{MaxDatagram: 50})
	f := m.open(1, FlowConfig{})
	m.push(f, strings.Repeat("x", 60), SendOptions{})
	m.sent("first fragment")
	m.push(f, strings.Repeat("x", 60), SendOptions{})
	m.push(f, "x", SendOptions{})
	m.QueueHeartbeat(false, [8]byte{})
	f.CloseSend(errClosed)
	m.SetMaxDatagram(6)
	m.want("1 message 1:x", "all that fits")
	m.wantNothing("not even a byte fits")
	wantClosed(t, f.Drained(), true, "nothing is left")
	wantDrops(t, f.Counts().SendDrops, "counted", map[Reason]uint64{ReasonTooLarge: 1})
	require.Equal(t, uint64(1), f.Counts().Cut, "the rest of the first one")
	require.Equal(t, uint64(1), m.Mux.Counts().ControlDrops, "the heartbeat")
	wantSums(t, f, 0)
}

func TestDropQueued(t *testing.T) {
	m := newTestMux(t, MuxConfig{MaxDatagram: 50})
	f := m.open(1, FlowConfig{})
	m.push(f, "a", SendOptions{})
	m.next("a is in hand")
	m.push(f, "b", SendOptions{})
	require.Equal(t, 1, f.DropQueued(), "b")
	m.Refused(0)
	m.want("0 message 1:a", "the flow is open: only what was queued is gone")

	m.push(f, "c", SendOptions{})
	m.next("c is in hand")
	m.push(f, "d", SendOptions{})
	f.CloseSend(errClosed)
	require.Equal(t, 1, f.DropQueued(), "d")
	wantClosed(t, f.Drained(), false, "c is in hand")
	m.Refused(0)
	wantClosed(t, f.Drained(), true, "c was discarded, too")
	m.wantNothing("nothing is left")
	wantDrops(t, f.Counts().SendDrops, "b, c, d", map[Reason]uint64{ReasonClosed: 3})
	wantSums(t, f, 0)
}

func TestDropQueuedFragments(t *testing.T) {
	large := strings.Repeat("x", 60)
	for name, test := range map[string]struct {
		do        func(m *testMux, f *Flow)
		sent, cut uint64
	}{
		"between fragments":                {func(m *testMux, f *Flow) { m.sent("first"); f.DropQueued() }, 1, 1},
		"first in hand, then sent":         {func(m *testMux, f *Flow) { m.next("first"); f.DropQueued(); m.Sent() }, 1, 1},
		"first in hand, then refused":      {func(m *testMux, f *Flow) { m.next("first"); f.DropQueued(); m.Refused(0) }, 0, 0},
		"last in hand, then sent":          {func(m *testMux, f *Flow) { m.sent("first"); m.next("last"); f.DropQueued(); m.Sent() }, 1, 0},
		"last in hand, then refused":       {func(m *testMux, f *Flow) { m.sent("first"); m.next("last"); f.DropQueued(); m.Refused(0) }, 1, 1},
		"first in hand, removed, sent":     {func(m *testMux, f *Flow) { m.next("first"); m.Remove(1); m.Sent() }, 1, 1},
		"first in hand, removed, refused":  {func(m *testMux, f *Flow) { m.next("first"); m.Remove(1); m.Refused(0) }, 0, 0},
		"removed between fragments":        {func(m *testMux, f *Flow) { m.sent("first"); m.Remove(1) }, 1, 1},
		"last in hand, removed, then sent": {func(m *testMux, f *Flow) { m.sent("first"); m.next("last"); m.Remove(1); m.Sent() }, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTestMux(t, MuxConfig{MaxDatagram: 50})
			f := m.open(1, FlowConfig{})
			m.push(f, large, SendOptions{})
			f.CloseSend(errClosed)
			test.do(m, f)
			m.wantNothing("given up")
			wantClosed(t, f.Drained(), true, "nothing is left")
			c := f.Counts()
			require.Equal(t, test.sent, c.Sent)
			require.Equal(t, test.cut, c.Cut)
			require.Equal(t, 1-test.sent, c.SendDrops[ReasonClosed])
			require.Zero(t, c.QueuedBytes)
			wantSums(t, f, 0)
		})
	}
}

func TestDrainedBeforeAsked(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	f.CloseSend(errClosed)
	f.CloseSend(errors.New("second"))
	wantClosed(t, f.Drained(), true, "nothing was queued")
	require.Equal(t, errClosed, f.Push(context.Background(), m.now, nil, SendOptions{}), "only the first call counts")
}

func TestWake(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	wantWake := func(want bool, why string) {
		t.Helper()
		select {
		case <-m.Wake():
			require.True(t, want, why)
		default:
			require.False(t, want, why)
		}
	}
	f := m.open(1, FlowConfig{})
	wantWake(false, "nothing is ready")
	m.push(f, "a", SendOptions{})
	m.push(f, "b", SendOptions{})
	wantWake(true, "messages")
	wantWake(false, "once for both")
	m.sent("a and b")
	m.wantNothing("empty")
	m.push(f, "c", SendOptions{})
	wantWake(true, "again")
	m.sent("c")
	m.push(f, "d", SendOptions{})
	wantWake(false, "who sent c comes back for more")
	require.False(t, m.Drive(), "and is the only one")
	m.Rest()
	wantWake(true, "it does not come back")
	require.True(t, m.Drive())
	m.sent("d")
	m.wantNothing("empty")
	require.True(t, m.QueueHeartbeat(false, [8]byte{}), "the caller has to send it")
	wantWake(false, "and nobody else")
	m.Kick()
	wantWake(true, "unless told to")
	require.True(t, m.Drive())
	require.False(t, m.QueueHeartbeat(true, [8]byte{}), "somebody drives")
	require.False(t, m.QueueCredit())
	for m.Counts().Sent < 6 {
		m.sent("heartbeat, echo, credit")
	}
	m.wantNothing("all sent")
	m.Close()
	wantWake(true, "the pump should end")
}

func TestControl(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	m.handle(message(4, 1, "x"), "one received, the highest number is 4")
	m.push(f, "a", SendOptions{})
	m.QueueCredit()
	m.QueueHeartbeat(true, [8]byte([]byte("overwrit")))
	m.QueueHeartbeat(true, [8]byte([]byte("the echo")))
	m.QueueHeartbeat(false, [8]byte([]byte("are you?")))
	require.Equal(t, "0 heartbeat are you?", describe(m.next("heartbeat first")))
	m.Refused(0)
	require.Equal(t, "0 heartbeat are you?", describe(m.next("the same heartbeat")))
	m.QueueHeartbeat(false, [8]byte([]byte("newer 01")))
	m.Refused(0)
	m.want("0 heartbeat newer 01", "a newer one has taken the slot")
	require.Equal(t, "1 heartbeat echo the echo", describe(m.next("then the echo")))
	m.Refused(0)
	m.want("1 message 1:a", "an echo gives way to a message after each turn")
	m.want("2 heartbeat echo the echo", "the echo again")
	m.handle(message(9, 1, "x"), "another one")
	require.Equal(t, "3 credit 2/10", describe(m.next("credit of this moment")))
	m.Refused(0)
	m.want("3 credit 2/10", "again")
	m.wantNothing("all sent")
	require.Equal(t, uint64(4), m.Mux.Counts().Sent)
}

// A peer that floods us with heartbeats gets echoes, but does not starve our messages.
func TestEchoFloodDoesNotStarve(t *testing.T) {
	m := newTestMux(t, MuxConfig{MaxDatagram: 20})
	f := m.open(1, FlowConfig{})
	for range 10 {
		m.push(f, "0123456789abcdef", SendOptions{})
	}
	kinds := map[Kind]int{}
	for range 20 {
		m.QueueHeartbeat(true, [8]byte{})
		m.QueueCredit()
		h, _, err := ParseHeader(m.sent("flood"))
		require.NoError(t, err)
		kinds[h.Kind]++
	}
	require.Equal(t, 10, kinds[KindMessage])
}

func TestCloseMux(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	m.push(f, "a", SendOptions{})
	m.push(f, "b", SendOptions{})
	m.next("both")
	m.push(f, "c", SendOptions{})
	m.handle(message(0, 1, "early"), "kept")
	m.Close()
	m.Refused(0)
	m.wantNothing("the link is gone")
	m.handle(message(1, 0, "x"), "the link is gone")
	f.CloseSend(errClosed)
	require.Equal(t, 3, f.DropQueued())
	wantClosed(t, f.Drained(), true, "given up")
	wantDrops(t, m.Mux.Counts().DatagramDrops, "after Close", map[Reason]uint64{ReasonLinkClosed: 1})
	wantDrops(t, m.Mux.Counts().MessageDrops, "by Close", map[Reason]uint64{ReasonEarlyDiscarded: 1})
	g := m.open(2, FlowConfig{})
	m.Remove(2)
	require.Equal(t, ErrRemoved, g.Push(context.Background(), m.now, nil, SendOptions{}), "sessions may still come and go")
	m.Tick(m.now)
}

func TestMisuse(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	require.Panics(t, m.Sent, "without Next")
	require.Panics(t, func() { m.Refused(0) }, "without Next")
	require.Panics(t, func() { m.open(1, FlowConfig{}) }, "opened twice")
	m.push(f, "a", SendOptions{})
	m.next("a")
	require.Panics(t, func() { m.Next(m.now, nil) }, "two datagrams in hand")
}

func TestRemoveSending(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f, g, h := m.open(1, FlowConfig{}), m.open(3, FlowConfig{}), m.open(5, FlowConfig{})
	require.Equal(t, uint64(3), g.ID())
	for _, f := range []*Flow{f, g, h} {
		m.push(f, "x", SendOptions{})
	}
	m.Remove(3)
	m.want("0 bundle 1:x 5:x", "a removed flow leaves the circle")
	require.Equal(t, ErrRemoved, g.Push(context.Background(), m.now, nil, SendOptions{}))
	wantClosed(t, g.Drained(), true, "nothing is left")
	wantClosed(t, g.Emptied(), true, "nothing is left")
	wantDrops(t, g.Counts().SendDrops, "what it had queued", map[Reason]uint64{ReasonClosed: 1})
	require.Equal(t, 2, m.Mux.Counts().Flows)

	m.push(f, "y", SendOptions{})
	m.next("y is in hand")
	m.Remove(1)
	wantClosed(t, f.Drained(), false, "y is in hand")
	m.Sent()
	wantClosed(t, f.Drained(), true, "y was sent after all")
	require.Equal(t, uint64(2), f.Counts().Sent)
	m.push(h, "z", SendOptions{})
	m.next("z is in hand")
	m.Remove(5)
	m.Refused(0)
	m.wantNothing("z does not come back")
	wantClosed(t, h.Drained(), true, "z was dropped")
	wantSums(t, h, 0)
}
