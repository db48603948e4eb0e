package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

func TestRule14LargeMessages(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
		sa, sb := a.open(b)
		require.Equal(t, 64<<10, sa.MaxMessageSize())
		for _, size := range []int{0, 1, sa.DatagramSize(), sa.DatagramSize() + 1, 10000, 64 << 10} {
			message := bytes.Repeat([]byte{byte(size)}, size)
			require.NoError(t, sa.Send(t.Context(), message))
			got, err := sb.Receive(t.Context())
			require.NoError(t, err)
			require.True(t, bytes.Equal(message, got), "%d bytes", size)
		}
		err := sa.Send(t.Context(), make([]byte, 64<<10+1))
		var tooLarge *session.MessageTooLargeError
		require.ErrorAs(t, err, &tooLarge)
		require.Equal(t, 64<<10+1, tooLarge.Size)
		require.Equal(t, 64<<10, tooLarge.Max)
		require.NoError(t, sa.Close(t.Context()))
		wantOver(t, "closed", sb, time.Second)
		wantSameCounts(t, sa, sb)
		require.EqualValues(t, 6, sb.Stats().Local.Received)
	})
}

// The peer's SETTINGS raise the limit, and never lower it.
func TestRule14PeersLimit(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		p := n.raw(t, "10.0.0.1:1000").dialWith(b, session.Settings{MaxMessage: 100_000})
		_, r := p.openAccepted(b)
		synctest.Wait()
		require.Equal(t, 100_000, r.MaxMessageSize())
		require.NoError(t, r.Send(t.Context(), make([]byte, 100_000)))
		p = n.raw(t, "10.0.0.3:1000").dialWith(b, session.Settings{MaxMessage: 1000})
		_, r = p.openAccepted(b)
		synctest.Wait()
		require.Equal(t, 64<<10, r.MaxMessageSize())
	})
}

func TestRule14ReassemblyBounds(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s, r := p.openAccepted(b)
		fragment := func(id, total, offset uint64, payload string) {
			p.datagram(func(number uint64) []byte {
				return datagram.AppendFragment(nil, number, datagram.Fragment{Session: s.id, ID: id, Total: total, Offset: offset, Payload: []byte(payload)})
			})
			n.pass(time.Millisecond)
		}
		drops := func(reason datagram.Reason) uint64 { return r.Stats().Local.ReceiveDrops[reason] }

		for id := range uint64(9) {
			fragment(id, 6, 0, "one")
		}
		n.arrive()
		require.EqualValues(t, 1, drops(datagram.ReasonReassemblyFull), "eight at once: the oldest has given way")
		fragment(1, 6, 3, "two")
		m, err := r.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "onetwo", string(m))
		fragment(2, 6, 1, "XX")
		n.arrive()
		require.EqualValues(t, 1, drops(datagram.ReasonContradiction), "overlapping bytes that differ drop the message")

		n.pass(1100 * time.Millisecond)
		fragment(3, 6, 3, "two")
		n.arrive()
		require.EqualValues(t, 6, drops(datagram.ReasonReassemblyTimeout), "a second has passed")
		for id := range uint64(5) {
			fragment(100+id, 64<<10, 0, "x") // 4 of them are 256 KiB
		}
		n.arrive()
		require.EqualValues(t, 2, drops(datagram.ReasonReassemblyFull), "256 KiB at once")
		require.NoError(t, r.Err())

		fragment(200, 64<<10+1, 0, "x")
		s.wantReset("a message above the limit", session.CodeViolation)
		p.wantLive("costs the session alone")
	})
}

// The application of one side reads no signals. That holds up the sender, but
// not the close; afterwards each sender knows what became of its signal.
func TestRule15SignalsNeverHoldUpClose(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
		sa, sb := a.open(b)
		results := make([]error, 20)
		var signals sync.WaitGroup
		for i := range results {
			signals.Go(func() { results[i] = sa.Signal(t.Context(), make([]byte, 16<<10)) })
			n.pass(time.Second)
		}
		require.EqualValues(t, 16, sb.Stats().SignalsReceived, "16 are outstanding, the others wait")
		for range 2 {
			_, err := sb.ReceiveSignal(t.Context())
			require.NoError(t, err)
		}
		n.pass(time.Second)
		require.EqualValues(t, 18, sb.Stats().SignalsReceived, "two taken, room for two")
		began := time.Now()
		require.NoError(t, sa.CloseWithError(t.Context(), 0x123, "enough"))
		require.Equal(t, 20*time.Millisecond, time.Since(began), "one round trip")
		signals.Wait()
		outcomes := make(map[error]int)
		for _, err := range results {
			var e *session.SignalError
			if err == nil {
				outcomes[nil]++
				continue
			}
			require.ErrorAs(t, err, &e)
			outcomes[e.Outcome]++
			wantError(t, "and why", err, session.Error{Cause: session.CauseClosed, Code: 0x123})
		}
		require.Equal(t, map[error]int{nil: 2, session.ErrSignalNotTaken: 16, session.ErrSignalNotSent: 2}, outcomes)
		for range 16 {
			_, err := sb.ReceiveSignal(t.Context())
			require.NoError(t, err, "what arrived can still be read")
		}
		_, err := sb.ReceiveSignal(t.Context())
		wantError(t, "then the cause", err, session.Error{Cause: session.CauseClosed, Code: 0x123, Remote: true})
	})
}

func TestRule15UnknownOutcome(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
		sa, _ := a.open(b)
		n.cut(a.addr, b.addr)
		n.cut(b.addr, a.addr)
		result := make(chan error, 1)
		go func() { result <- sa.Signal(t.Context(), []byte("lost or not?")) }()
		require.ErrorIs(t, <-result, session.ErrSignalUnknown, "never a silent nil")
		wantEnd(t, "the link died", sa, session.Error{Cause: session.CauseLinkLost})
	})
}

// One more signal than allowed is a violation: the credit is not advice.
func TestRule15CreditIsEnforced(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s, r := p.openAccepted(b)
		for i := range 16 {
			s.write(session.Signal{Payload: fmt.Append(nil, i)})
		}
		n.arrive()
		require.NoError(t, r.Err())
		_, err := r.ReceiveSignal(t.Context())
		require.NoError(t, err)
		s.want("credit", session.SignalAck{Taken: 1})
		s.write(session.Signal{})
		n.arrive()
		require.NoError(t, r.Err())
		s.write(session.Signal{})
		s.wantReset("17 outstanding", session.CodeViolation)
	})
}

// Whatever blocks when a session ends, and whatever is called afterwards,
// returns the same typed cause.
func TestRule16EveryCallReturnsTheCause(t *testing.T) {
	ends := map[string]struct {
		end  func(n *network, a, b *peer, sa, sb *quicpeer.Session)
		want session.Error
	}{
		"the peer closes": {
			func(_ *network, _, _ *peer, _, sb *quicpeer.Session) {
				_ = sb.CloseWithError(context.Background(), 0x123, "bye")
			},
			session.Error{Cause: session.CauseClosed, Code: 0x123, Reason: "bye", Remote: true},
		},
		"this side closes": {
			func(_ *network, _, _ *peer, sa, _ *quicpeer.Session) {
				_ = sa.CloseWithError(context.Background(), 0x123, "bye")
			},
			session.Error{Cause: session.CauseClosed, Code: 0x123, Reason: "bye"},
		},
		"the peer aborts": {
			func(_ *network, _, _ *peer, _, sb *quicpeer.Session) { _ = sb.Abort(0x123) },
			session.Error{Cause: session.CauseAborted, Code: 0x123, Remote: true},
		},
		"this side aborts": {
			func(_ *network, _, _ *peer, sa, _ *quicpeer.Session) { _ = sa.Abort(0x123) },
			session.Error{Cause: session.CauseAborted, Code: 0x123},
		},
		"the link dies": {
			func(n *network, _, b *peer, _, _ *quicpeer.Session) { n.crash(b) },
			session.Error{Cause: session.CauseLinkLost},
		},
		"the peer restarts": {
			func(n *network, _, b *peer, _, _ *quicpeer.Session) { n.restart(b.t, b, b.addr.String()) },
			session.Error{Cause: session.CausePeerRestarted, Remote: true},
		},
		"the peer's endpoint shuts down": {
			func(_ *network, _, b *peer, _, _ *quicpeer.Session) {
				_, _ = b.Shutdown(context.Background(), quicpeer.ShutdownOptions{Code: 0x155, Reason: "off"})
			},
			session.Error{Cause: session.CauseClosed, Code: 0x155, Reason: "off", Remote: true},
		},
		"the peer does not trust us any more": {
			func(_ *network, _, b *peer, _, _ *quicpeer.Session) { b.SetTrust(nil) },
			session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused, Remote: true},
		},
	}
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
				sa, sb := a.open(b)
				everyCallReturns(t, n, sa, func() { c.end(n, a, b, sa, sb) }, c.want)
			})
		})
	}
}

func everyCallReturns(t *testing.T, n *network, s *quicpeer.Session, end func(), want session.Error) {
	ctx := t.Context()
	calls := map[string]func() error{
		"Receive":       func() error { _, err := s.Receive(ctx); return err },
		"ReceiveSignal": func() error { _, err := s.ReceiveSignal(ctx); return err },
		"Signal":        func() error { return s.Signal(ctx, []byte("nobody takes it")) },
		"Send": func() error {
			for {
				if err := s.Send(ctx, make([]byte, 60000)); err != nil {
					return err
				}
			}
		},
		"WaitChange": func() error {
			for last := s.Snapshot(); ; {
				next, err := s.WaitChange(ctx, last)
				if err != nil {
					return err
				}
				last = next
			}
		},
	}
	results := make(map[string]error)
	var mu sync.Mutex
	var blocked sync.WaitGroup
	for name, call := range calls {
		blocked.Go(func() {
			err := call()
			mu.Lock()
			defer mu.Unlock()
			results[name] = err
		})
	}
	n.pass(100 * time.Millisecond)
	end()
	blocked.Wait()
	wantOver(t, "over", s, time.Minute)
	wantEnd(t, "the cause", s, want)
	for name, err := range results {
		wantError(t, name+", which was blocked", err, want)
	}
	calls["Ping"] = func() error { _, err := s.Ping(ctx); return err }
	calls["Close"] = func() error { return s.Close(ctx) }
	for name, call := range calls {
		err := call()
		if name == "Close" && !want.Remote && want.Cause == session.CauseClosed {
			require.NoError(t, err, "a second Close has the result of the first")
			continue
		}
		e := wantError(t, name+", called afterwards", err, want)
		require.Same(t, s.Err(), error(e), name)
	}
}
