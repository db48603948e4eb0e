package datagram

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimitHoldsMessagesAndNothingElse(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(1, FlowConfig{})
	m.SetLimit(2)
	require.False(t, m.Held(), "nothing waits")
	for _, payload := range []string{"a", "b", "c"} {
		m.push(f, payload, SendOptions{})
		if payload != "c" {
			m.sent("within the limit")
		}
	}
	m.wantNothing("number 2 has no credit")
	require.True(t, m.Held())
	m.QueueHeartbeat(false, [8]byte{1})
	m.want("2 heartbeat \x01"+string(make([]byte, 7)), "heartbeats go all the same")
	m.wantNothing("a heartbeat is no credit")

	drain(m.Wake())
	m.SetLimit(3)
	require.True(t, m.Held(), "the heartbeat took number 2")
	require.Empty(t, m.Wake(), "still held")
	m.SetLimit(4)
	require.False(t, m.Held())
	require.Len(t, m.Wake(), 1, "the pump is told")
	m.want("3 message 1:c", "credit has come")

	m.push(f, "d", SendOptions{})
	m.wantNothing("held again")
	m.SetLimit(0)
	m.want("4 message 1:d", "there is no window any more")
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

func TestCreditIsDue(t *testing.T) {
	m := newTestMux(t, MuxConfig{CreditEvery: 3})
	m.open(0, FlowConfig{})
	number := uint64(0)
	come := func(d func(n uint64) []byte) Event {
		e := m.Handle(m.now, d(number))
		number++
		return e
	}
	message := func(n uint64) []byte { return AppendMessage(nil, n, Message{Session: 0}) }
	heartbeat := func(n uint64) []byte { return AppendHeartbeat(nil, n, false, [8]byte{}) }
	credit := func(n uint64) []byte { return AppendCredit(nil, n, Credit{}) }

	require.False(t, come(heartbeat).Owed, "heartbeats call for no credit")
	require.False(t, come(credit).Owed, "nor do credits")
	require.False(t, m.CreditOwed())
	require.True(t, come(message).Owed, "the first that no credit covers")
	require.True(t, m.CreditOwed())
	require.False(t, come(message).Owed)
	m.wantNothing("two of three")
	come(message)
	m.want("0 credit 5/5", "three messages")
	require.False(t, m.CreditOwed())
	m.wantNothing("one credit")

	require.True(t, come(message).Owed)
	m.QueueHeartbeat(true, [8]byte{2})
	m.want("1 heartbeat echo \x02"+string(make([]byte, 7)), "the echo")
	m.want("2 credit 6/6", "comes with credit")
	require.False(t, m.CreditOwed())
}

func TestNoCreditWithoutAWindow(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	m.open(0, FlowConfig{})
	for n := range uint64(100) {
		require.False(t, m.Handle(m.now, AppendMessage(nil, n, Message{Session: 0})).Owed)
	}
	m.QueueHeartbeat(true, [8]byte{})
	m.want("0 heartbeat echo "+string(make([]byte, 8)), "alone")
	m.wantNothing("this side states no window")
}

// A repeat does not call for credit: it is not taken.
func TestRepeatsCallForNoCredit(t *testing.T) {
	m := newTestMux(t, MuxConfig{CreditEvery: 2})
	m.open(0, FlowConfig{})
	d := AppendMessage(nil, 0, Message{Session: 0})
	for range 10 {
		m.Handle(m.now, append([]byte(nil), d...))
	}
	m.wantNothing("one datagram, ten times")
	require.True(t, m.CreditOwed())
}

func TestPressedWhenAQueueIsHalfFull(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	f := m.open(0, FlowConfig{ReceiveMessages: 4})
	var got []bool
	for n := range uint64(4) {
		got = append(got, m.Handle(m.now, AppendMessage(nil, n, Message{Session: 0})).Pressed)
	}
	require.Equal(t, []bool{false, false, true, true}, got)
	wantPops(t, f, "all", "", "", "", "")
	require.False(t, m.Handle(m.now, AppendMessage(nil, 4, Message{Session: 0})).Pressed)
}

// An application that takes nothing is not given way to for ever, but is again
// once it takes a message; by whichever call.
func TestPressedNoMoreByWhoDoesNotRead(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	f := m.open(0, FlowConfig{ReceiveMessages: 4})
	n := uint64(0)
	pressed := func() (times int) {
		for range 2 * maxPressed {
			if m.Handle(m.now, message(n, 0, "x")).Pressed {
				times++
			}
			n++
		}
		return times
	}
	require.Equal(t, maxPressed, pressed())
	require.Zero(t, pressed(), "dropping makes room, but nobody reads")
	ctx := context.Background()
	for name, take := range map[string]func() error{
		"TryPop":   func() error { f.TryPop(); return nil },
		"Pop":      func() error { _, err := f.Pop(ctx); return err },
		"PopBatch": func() error { _, err := f.PopBatch(ctx, make([][]byte, 1)); return err },
		"PopInto":  func() error { _, err := f.PopInto(ctx, make([]byte, 1)); return err },
	} {
		require.NoError(t, take())
		require.Equal(t, maxPressed, pressed(), name)
	}
}

func TestCreditFollowsALoneMessage(t *testing.T) {
	for _, oneCall := range []bool{false, true} {
		m := newTestMux(t, MuxConfig{CreditEvery: 8})
		f := m.open(0, FlowConfig{})
		number := uint64(0)
		come := func() {
			m.handle(AppendMessage(nil, number, Message{Session: 0}), "a message")
			number++
		}
		// alone sends a message and returns what follows it.
		alone := func() (description string) {
			m.push(f, "a", SendOptions{})
			m.next("the message")
			if oneCall {
				d, ok := m.SentNext(m.now, nil)
				if !ok {
					return ""
				}
				return describe(d)
			}
			m.Sent()
			d, ok := m.Next(m.now, nil)
			if !ok {
				return ""
			}
			return describe(d)
		}
		for range 5 {
			come()
		}
		require.Empty(t, alone(), "five of eight are not most of it")
		m.wantNothing("nor is anything due")
		come()
		m.wantNothing("no message has gone: a credit would cost a packet")
		require.Equal(t, "2 credit 6/6", alone())
		m.Sent()
		m.wantNothing("covered")
		require.False(t, m.CreditOwed())
	}
}
