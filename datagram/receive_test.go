package datagram

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReceive(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f, g := m.open(0, FlowConfig{}), m.open(1, FlowConfig{})
	m.handle(message(0, 0, "a"), "message")
	m.handle(bundle(1, of(1, "b"), of(0, "c"), of(0, ""), of(1, "d")), "bundle")
	wantPops(t, f, "in order", "a", "c", "")
	wantPops(t, g, "in order", "b", "d")
	_, ok := f.TryPop()
	require.False(t, ok)
	require.Equal(t, uint64(3), f.Counts().Received)
	require.Equal(t, uint64(2), f.Counts().ReceivedBytes)
	c := m.Mux.Counts()
	require.Equal(t, MuxCounts{Received: 2, ReceivedBytes: 17, Accepted: 2, Taken: 2, End: 2, Flows: 2}, c)
}

func TestReceiveRepeats(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	m.handle(message(5, 0, "a"), "first")
	m.handle(message(5, 0, "a"), "repeat")
	m.handle(message(4, 0, "b"), "out of order")
	m.handle(message(5+windowSize, 0, "c"), "far ahead")
	m.handle(message(5, 0, "a"), "older than the window")
	m.handle(message(6, 0, "d"), "the oldest that can be told")
	m.handle(message(6, 0, "d"), "repeat")
	wantPops(t, f, "each once", "a", "b", "c", "d")
	wantDrops(t, m.Mux.Counts().DatagramDrops, "repeats", map[Reason]uint64{ReasonDuplicate: 2, ReasonOldNumber: 1})
	require.Equal(t, uint64(4), m.Mux.Counts().Taken)
}

// A malformed bundle delivers nothing, not even its sound part.
func TestMalformedBundle(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f, g := m.open(0, FlowConfig{}), m.open(2, FlowConfig{})
	e := m.Handle(m.now, append(bundle(0, of(0, "fine")), 2, 9, 'x'))
	require.Equal(t, EventViolation, e.Kind)
	require.Equal(t, uint64(2), e.Session, "the session of the broken item")
	require.EqualError(t, e.Err, "datagram: malformed datagram of session 2: length beyond the end of the bundle")
	m.handle(append(bundle(1, of(0, "fine")), 4, 9, 'x'), "of no live session: dropped")
	wantPops(t, f, "dropped as a whole")
	wantPops(t, g, "dropped as a whole")
	wantDrops(t, m.Mux.Counts().DatagramDrops, "both", map[Reason]uint64{ReasonMalformed: 2})
	require.Equal(t, uint64(2), m.Mux.Counts().Taken, "their numbers are seen")
}

func TestEvents(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	token := [8]byte([]byte("01234567"))
	require.Equal(t, Event{Kind: EventHeartbeat, Token: token}, m.Handle(m.now, AppendHeartbeat(nil, 0, false, token)))
	require.Equal(t, Event{}, m.Handle(m.now, AppendHeartbeat(nil, 0, false, token)), "a repeat is no event")
	require.Equal(t, Event{Kind: EventHeartbeatEcho, Token: token}, m.Handle(m.now, AppendHeartbeat(nil, 1, true, token)))
	require.Equal(t, Event{Kind: EventCredit, Credit: Credit{9, 4}}, m.Handle(m.now, AppendCredit(nil, 2, Credit{9, 4})))
}

func TestReceiveQueue(t *testing.T) {
	for policy, want := range map[ReceivePolicy]struct {
		pops   []string
		reason Reason
	}{
		ReceiveDropOldest: {[]string{"c", "d", "e"}, ReasonOldest},
		ReceiveDropNewest: {[]string{"a", "b", "c"}, ReasonNewest},
	} {
		m := newTestMux(t, MuxConfig{Client: true})
		f := m.open(0, FlowConfig{ReceiveMessages: 3, ReceiveFull: policy})
		m.handle(bundle(0, of(0, "a"), of(0, "b"), of(0, "c"), of(0, "d"), of(0, "e")), "five")
		c := f.Counts()
		require.Equal(t, uint64(5), c.Received, "received, whether dropped or not")
		require.Equal(t, uint64(2), c.Dropped)
		require.Equal(t, 3, c.Unread)
		require.Equal(t, 3, c.UnreadBytes)
		wantDrops(t, c.ReceiveDrops, "by reason", map[Reason]uint64{want.reason: 2})
		wantPops(t, f, "what the policy kept", want.pops...)
		wantSums(t, f, 3)
	}
}

func TestReceiveQueueBytes(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{ReceiveBytes: 10})
	m.handle(bundle(0, of(0, "1234"), of(0, "5678"), of(0, ""), of(0, "123")), "11 bytes")
	wantPops(t, f, "10 bytes", "5678", "", "123")
	m.handle(bundle(1, of(0, "1234"), of(0, "longer than ten")), "one message always fits an empty queue")
	wantPops(t, f, "the newest", "longer than ten")
	wantSums(t, f, 4)
}

func popLater(ctx context.Context, f *Flow) <-chan string {
	result := make(chan string, 1)
	go func() {
		p, err := f.Pop(ctx)
		if err != nil {
			p = []byte(err.Error())
		}
		result <- string(p)
	}()
	synctest.Wait()
	return result
}

func wantPop(t *testing.T, result <-chan string, want, why string) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-result:
		require.Equal(t, want, got, why)
	default:
		require.Fail(t, "still blocked", why)
	}
}

func TestPopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMux(t, MuxConfig{Client: true})
		m.now = time.Now()
		f := m.open(0, FlowConfig{})
		ctx, cancel := context.WithCancelCause(context.Background())
		first := popLater(context.Background(), f)
		second := popLater(ctx, f)
		third := popLater(context.Background(), f)
		fourth := popLater(context.Background(), f)
		cancel(errors.New("had enough"))
		wantPop(t, second, "had enough", "the cause of its ctx")
		m.handle(bundle(0, of(0, "a"), of(0, "b")), "two at once")
		wantPop(t, first, "a", "first come, first served")
		wantPop(t, third, "b", "first come, first served")
		f.CloseReceive(errClosed)
		wantPop(t, fourth, errClosed.Error(), "CloseReceive wakes")
		wantClosed(t, f.Emptied(), true, "nothing is left")
		_, err := f.Pop(context.Background())
		require.Equal(t, errClosed, err)
		wantSums(t, f, 2)
	})
}

func TestPopBeatsCancelledContext(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	m.handle(message(0, 0, "a"), "one")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p, err := f.Pop(ctx)
	require.NoError(t, err)
	require.Equal(t, "a", string(p))
	_, err = f.Pop(ctx)
	require.Equal(t, context.Canceled, err)
}

// A message that was handed over at the moment the ctx ended must not be lost.
func TestPopSettledBeatsCancelledContext(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan string)
	go func() {
		p, err := f.Pop(ctx)
		assert.NoError(t, err)
		result <- string(p)
	}()
	for waiting := false; !waiting; runtime.Gosched() {
		m.recv.mu.Lock()
		waiting = !f.recv.waiting.empty()
		m.recv.mu.Unlock()
	}
	m.recv.mu.Lock()
	cancel() // it cannot have the lock before it is settled
	f.deliver([]byte("a"))
	m.recv.unlock()
	require.Equal(t, "a", <-result)
}

// The same, many times, wherever the race may be.
func TestPopNoLostMessage(t *testing.T) {
	const poppers, messages = 4, 2000
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	popped := make(chan int, poppers)
	for range poppers {
		go func() {
			n := 0
			for i := 0; ; i++ {
				ctx, cancel := context.WithCancel(context.Background())
				if i%3 == 0 {
					go cancel()
				}
				_, err := f.Pop(ctx)
				cancel()
				if err == errClosed {
					popped <- n
					return
				}
				if err == nil {
					n++
				}
			}
		}()
	}
	for i := range messages {
		m.handle(message(uint64(i), 0, "x"), "x")
	}
	f.CloseReceive(errClosed)
	total := 0
	for range poppers {
		total += <-popped
	}
	c := f.Counts()
	require.Equal(t, uint64(messages), c.Received)
	require.Equal(t, uint64(total), c.Received-c.Dropped)
}

func TestCloseReceive(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{ReceiveMessages: 2})
	m.handle(bundle(0, of(0, "a"), of(0, "b"), of(0, "c")), "in time")
	m.handle(fragment(1, 0, 0, 4, 0, "12"), "in time, but not complete")
	emptied := f.Emptied()
	f.CloseReceive(errClosed)
	f.CloseReceive(errors.New("second"))
	before := f.Counts()
	m.handle(bundle(2, of(0, "d"), of(0, "e")), "late")
	m.handle(fragment(3, 0, 0, 4, 2, "34"), "late: the message was not complete in time")
	m.handle(fragment(4, 0, 0, 4, 2, "34"), "counted already")
	m.handle(fragment(5, 0, 1, 1, 0, "x"), "late")
	m.handle(fragment(6, 0, 2, 4, 0, "x"), "late")
	m.handle(fragment(7, 0, 2, 4, 1, "x"), "counted already")
	c := f.Counts()
	require.Equal(t, uint64(5), c.Late, "each message once")
	require.Equal(t, before.Received, c.Received, "frozen")
	require.Equal(t, before.Dropped, c.Dropped, "frozen")
	wantClosed(t, emptied, false, "two are unread")
	wantPops(t, f, "what was received stays readable", "b", "c")
	wantClosed(t, emptied, true, "read")
	_, err := f.Pop(context.Background())
	require.Equal(t, errClosed, err, "only the first call counts")
	wantDrops(t, f.Counts().ReceiveDrops, "by reason",
		map[Reason]uint64{ReasonOldest: 1, ReasonIncomplete: 1, ReasonLate: 5, ReasonStaleFragment: 2})
	wantSums(t, f, 2)
	m.Tick(m.now.Add(time.Hour))
}

func TestDiscard(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{})
	m.handle(bundle(0, of(0, "a"), of(0, "b")), "two")
	f.CloseReceive(errClosed)
	emptied := f.Emptied()
	f.Discard()
	wantClosed(t, emptied, true, "discarded")
	wantClosed(t, f.Emptied(), true, "discarded")
	wantPops(t, f, "nothing is left")
	c := f.Counts()
	require.Equal(t, uint64(2), c.Received)
	require.Zero(t, c.Dropped, "what the session discards was not dropped by the queue")
	wantDrops(t, c.ReceiveDrops, "by reason", map[Reason]uint64{ReasonDiscarded: 2})
	wantSums(t, f, 0)
}

func TestRemoveReceiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMux(t, MuxConfig{Client: true})
		m.now = time.Now()
		f, g := m.open(0, FlowConfig{}), m.open(1, FlowConfig{})
		m.handle(message(0, 0, "a"), "in time")
		blocked := popLater(context.Background(), g)
		m.Remove(0)
		m.Remove(1)
		m.Remove(1)
		m.handle(bundle(1, of(0, "b"), of(0, "c"), of(1, "d")), "late")
		m.handle(fragment(2, 1, 0, 4, 0, "12"), "late")
		wantPop(t, blocked, ErrRemoved.Error(), "ended")
		wantPops(t, f, "stays readable", "a")
		wantDrops(t, m.Mux.Counts().MessageDrops, "their streams have ended", map[Reason]uint64{ReasonLate: 4})
		require.Zero(t, f.Counts().Late, "removed flows get nothing")
		require.Zero(t, m.Mux.Counts().Flows)
		// A malformed datagram of a removed session is nobody's violation.
		m.handle([]byte{byte(KindFragment), 3, 0}, "dropped")
	})
}

func TestDemultiplexing(t *testing.T) {
	for _, client := range []bool{true, false} {
		own, peer := uint64(1), uint64(0)
		if client {
			own, peer = 0, 1
		}
		m := newTestMux(t, MuxConfig{Client: client})
		var number uint64
		want := func(id uint64, why string, want MuxCounts) {
			t.Helper()
			before := m.Mux.Counts()
			m.handle(message(number, id, "x"), why)
			number++
			after := m.Mux.Counts()
			for r := range after.MessageDrops {
				after.MessageDrops[r] -= before.MessageDrops[r]
			}
			require.Equal(t, want.MessageDrops, after.MessageDrops, why)
			require.Equal(t, want.EarlyHeld, after.EarlyHeld-before.EarlyHeld, why)
		}
		late := MuxCounts{MessageDrops: Drops{ReasonLate: 1}}
		unknown := MuxCounts{MessageDrops: Drops{ReasonUnknownSession: 1}}
		early := MuxCounts{EarlyHeld: 1}
		delivered := MuxCounts{}

		want(own, "ours, never opened", unknown)
		want(peer, "the peer's, not announced", early)
		m.Announce(peer)
		want(peer, "announced, not opened", early)
		want(peer+4, "the peer's, above what was announced", early)
		m.open(own+4, FlowConfig{})
		want(own+4, "open", delivered)
		want(own+6, "ours, above what we opened", unknown)
		m.Remove(own + 4)
		want(own+4, "ours, removed", late)
		m.open(peer, FlowConfig{})
		want(peer, "open", delivered)
		m.Remove(peer)
		m.Announce(peer)
		want(peer, "removed, and never comes back", late)
		m.Announce(peer + 2)
		m.Remove(peer + 2)
		want(peer+2, "rejected", late)
		m.Remove(peer + 4)
		require.Equal(t, uint64(1), m.Mux.Counts().MessageDrops[ReasonEarlyDiscarded])
		want(peer+4, "reset before it was announced", late)
		m.Announce(own + 8)
		want(own+8, "only the peer's are announced", unknown)
	}
}

func TestEarly(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	m.handle(message(0, 1, "a"), "before its session")
	m.handle(message(1, 3, "other"), "before its session")
	m.handle(bundle(2, of(1, "b"), of(1, "c"), of(3, "other")), "before its session")
	m.handle(fragment(3, 1, 0, 4, 0, "12"), "before its session")
	m.handle(fragment(4, 1, 0, 4, 2, "34"), "before its session")
	m.handle(message(5, 1, "d"), "before its session")
	require.Equal(t, 8, m.Mux.Counts().EarlyHeld)
	m.pass(earlyTime - 1)
	f := m.open(1, FlowConfig{})
	m.handle(message(6, 1, "e"), "in time")
	require.Equal(t, uint64(6), f.Counts().Received)
	wantPops(t, f, "in the order they came in", "a", "b", "c", "1234", "d", "e")
	require.Equal(t, 2, m.Mux.Counts().EarlyHeld)
	m.pass(1)
	g := m.open(3, FlowConfig{})
	wantPops(t, g, "a second has passed")
	wantDrops(t, m.Mux.Counts().MessageDrops, "by reason", map[Reason]uint64{ReasonEarlyExpired: 2})
	require.Zero(t, m.Mux.Counts().EarlyHeld)
}

func TestEarlyRespectsPolicy(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	for i := range uint64(5) {
		m.handle(message(i, 1, fmt.Sprint(i)), "before its session")
	}
	f := m.open(1, FlowConfig{ReceiveMessages: 2})
	require.Equal(t, uint64(5), f.Counts().Received)
	require.Equal(t, uint64(3), f.Counts().Dropped)
	wantPops(t, f, "the newest", "3", "4")
}

func TestEarlyBounds(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	var number uint64
	early := func(payload string) {
		m.handle(message(number, 1+number%2*2, payload), "early")
		number++
	}
	for range earlyDatagrams + 10 {
		early("")
	}
	require.Equal(t, earlyDatagrams, m.Mux.Counts().EarlyHeld, "64 datagrams")
	wantDrops(t, m.Mux.Counts().MessageDrops, "by reason", map[Reason]uint64{ReasonEarlyFull: 10})
	m.pass(earlyTime)
	early("")
	require.Equal(t, 1, m.Mux.Counts().EarlyHeld, "what is too old makes room")
	m.pass(earlyTime)
	m.Tick(m.now)
	require.Zero(t, m.Mux.Counts().EarlyHeld, "Tick expires")
	for range 63 {
		early(strings.Repeat("x", 1100))
	}
	require.Equal(t, earlyBytes/1100, m.Mux.Counts().EarlyHeld, "64 KiB for all sessions together")
	m.Remove(1)
	m.Remove(3)
	require.Zero(t, m.Mux.Counts().EarlyHeld)
	early(strings.Repeat("x", 1100))
	wantDrops(t, m.Mux.Counts().MessageDrops, "by reason", map[Reason]uint64{
		ReasonEarlyFull: 10 + 63 - earlyBytes/1100, ReasonEarlyExpired: earlyDatagrams + 1, ReasonEarlyDiscarded: earlyBytes / 1100, ReasonLate: 1,
	})
}

// A session that is refused again and again must not leave anything behind.
func TestSessionsLeaveNothingBehind(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	for id := uint64(1); id < 2000; id += 2 {
		m.Announce(id)
		m.handle(message(id, id, "early"), "early")
		if id%4 == 1 {
			f := m.open(id, FlowConfig{})
			m.push(f, "x", SendOptions{})
			m.handle(fragment(id+1, id, 0, 4, 0, "12"), "incomplete")
		}
		m.Remove(id)
	}
	require.Empty(t, m.recv.flows)
	require.Empty(t, m.recv.assembling)
	require.Zero(t, m.recv.early.entries.len())
	require.Nil(t, m.send.ring)
	m.wantNothing("all removed")
}

// Short runs of a bundle are copied, so that a small message does not keep a large datagram in memory.
func TestWhatAliasesTheDatagram(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f, g := m.open(0, FlowConfig{}), m.open(2, FlowConfig{})
	d := bundle(0, of(0, "small"), of(2, strings.Repeat("x", 100)))
	m.Handle(m.now, d)
	for i, b := range d {
		if b == 'x' || b == 's' {
			d[i] = '-'
		}
	}
	wantPops(t, f, "was copied", "small")
	wantPops(t, g, "is a part of the datagram", strings.Repeat("-", 100))
}

func TestIdleFlowIsSmall(t *testing.T) {
	const flows = 1000
	m := newTestMux(t, MuxConfig{Client: true})
	made := make([]*Flow, flows)
	bytes := allocated(func() {
		for i := range made {
			made[i] = m.open(uint64(2*i), FlowConfig{})
		}
	})
	require.Less(t, bytes/flows, uint64(800), "bytes for an idle flow")

	// A burst leaves nothing behind once Tick has run.
	f := made[0]
	for range 1000 {
		m.push(f, "x", SendOptions{})
	}
	for i := range 1000 {
		m.handle(message(uint64(i), 0, "x"), "x")
	}
	for f.Counts().Queued > 0 {
		m.sent("x")
	}
	f.Discard()
	m.Tick(m.now)
	require.Empty(t, f.send.queue.lanes)
	require.Empty(t, f.recv.queue.slots)
	require.Empty(t, m.send.grown)
	require.Empty(t, m.recv.grown)
}
