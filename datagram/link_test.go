package datagram

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// epoch is when the tests begin that do not care what time it is.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// testMux is a Mux with a test and a time of its own.
type testMux struct {
	*Mux
	t   *testing.T
	now time.Time
}

func newTestMux(t *testing.T, c MuxConfig) *testMux {
	return &testMux{Mux: NewMux(c), t: t, now: epoch}
}

func (m *testMux) pass(d time.Duration) { m.now = m.now.Add(d) }

func (m *testMux) open(id uint64, c FlowConfig) *Flow { return m.Open(m.now, id, c) }

// push queues a message, which must not need to wait.
func (m *testMux) push(f *Flow, payload string, o SendOptions) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // room beats a ctx that is over
	require.NoError(m.t, f.Push(ctx, m.now, []byte(payload), o))
}

// next returns the next datagram, which must be there.
func (m *testMux) next(why string) []byte {
	m.t.Helper()
	d, ok := m.Next(m.now, nil)
	require.True(m.t, ok, "want a datagram: %s", why)
	require.LessOrEqual(m.t, len(d), m.MaxDatagram(), why)
	return d
}

// sent returns the next datagram, handed over.
func (m *testMux) sent(why string) []byte {
	m.t.Helper()
	d := m.next(why)
	m.Sent()
	return d
}

func (m *testMux) wantNothing(why string) {
	m.t.Helper()
	d, ok := m.Next(m.now, nil)
	require.False(m.t, ok, "want no datagram: %s, got %x", why, d)
}

// want hands over the next datagram and compares it with what describe says of it.
func (m *testMux) want(description, why string) {
	m.t.Helper()
	require.Equal(m.t, description, describe(m.sent(why)), why)
}

// handle passes a datagram that must not cause an event.
func (m *testMux) handle(d []byte, why string) {
	m.t.Helper()
	e := m.Handle(m.now, bytes.Clone(d))
	e.Owed, e.Pressed = false, false // notices, not events
	require.Equal(m.t, Event{}, e, why)
}

// wantPops takes everything out of the receive queue.
func wantPops(t *testing.T, f *Flow, why string, want ...string) {
	t.Helper()
	got := []string{}
	for p, ok := f.TryPop(); ok; p, ok = f.TryPop() {
		got = append(got, string(p))
	}
	if want == nil {
		want = []string{}
	}
	require.Equal(t, want, got, why)
}

// wantDrops compares what was dropped, by reason.
func wantDrops(t *testing.T, got Drops, why string, want map[Reason]uint64) {
	t.Helper()
	is := map[Reason]uint64{}
	for _, r := range Reasons() {
		if got[r] > 0 {
			is[r] = got[r]
		}
	}
	if want == nil {
		want = map[Reason]uint64{}
	}
	require.Equal(t, want, is, why)
}

// wantSums checks what must be true of the counts of a flow at any moment. popped is how many messages the application
// took.
func wantSums(t *testing.T, f *Flow, popped int) {
	t.Helper()
	c := f.Counts()
	require.Equal(t, c.Pushed, c.Sent+c.SendDrops.Total()+uint64(c.Queued), "pushed = sent + dropped + queued: %+v", c)
	require.Equal(t, c.Received, uint64(popped)+c.Dropped+c.ReceiveDrops[ReasonDiscarded]+uint64(c.Unread),
		"received = popped + dropped + discarded + unread: %+v", c)
	require.GreaterOrEqual(t, c.QueuedBytes, 0)
	require.LessOrEqual(t, c.Cut, c.Sent)
}

// wantClosed checks whether a channel is closed.
func wantClosed(t *testing.T, c <-chan struct{}, want bool, why string) {
	t.Helper()
	select {
	case <-c:
		require.True(t, want, "closed too early: %s", why)
	default:
		require.False(t, want, "not closed: %s", why)
	}
}

// describe writes a datagram as "number kind fields".
func describe(d []byte) string {
	h, body, err := ParseHeader(d)
	if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("%d %s", h.Number, h.Kind)
	switch h.Kind {
	case KindMessage:
		m, _ := ParseMessage(body)
		s += fmt.Sprintf(" %d:%s", m.Session, m.Payload)
	case KindBundle:
		for len(body) > 0 {
			var m Message
			if m, body, err = NextBundleItem(body); err != nil {
				return err.Error()
			}
			s += fmt.Sprintf(" %d:%s", m.Session, m.Payload)
		}
	case KindFragment:
		f, _ := ParseFragment(body)
		s += fmt.Sprintf(" %d#%d %d+%d/%d", f.Session, f.ID, f.Offset, len(f.Payload), f.Total)
	case KindHeartbeat, KindHeartbeatEcho:
		token, _ := ParseHeartbeat(body)
		s += fmt.Sprintf(" %s", token)
	case KindCredit:
		c, _ := ParseCredit(body)
		s += fmt.Sprintf(" %d/%d", c.Taken, c.End)
	}
	return s
}

// message, bundle and fragment make datagrams.
func message(number, session uint64, payload string) []byte {
	return AppendMessage(nil, number, Message{session, []byte(payload)})
}

func bundle(number uint64, items ...Message) []byte {
	b := AppendHeader(nil, Header{KindBundle, number})
	for _, m := range items {
		b = AppendBundleItem(b, m)
	}
	return b
}

func of(session uint64, payload string) Message { return Message{session, []byte(payload)} }

func fragment(number, session, id uint64, total, offset int, payload string) []byte {
	return AppendFragment(nil, number, Fragment{session, id, uint64(total), uint64(offset), []byte(payload)})
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
