package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// flood sends messages as fast as the window lets them, while the other side
// reads, and then closes. It returns how many arrived.
func flood(t *testing.T, from, to *quicpeer.Session, messages, size int) (arrived int) {
	t.Helper()
	end := make(chan int)
	go func() {
		n := 0
		for {
			if _, err := to.Receive(t.Context()); err != nil {
				end <- n
				return
			}
			n++
		}
	}()
	payload := make([]byte, size)
	for range messages {
		require.NoError(t, from.Send(t.Context(), payload))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, from.Close(ctx))
	return <-end
}

// As fast as it goes, into a receiver whose stack queues 128 datagrams and
// drops the rest unseen: nothing is lost.
func TestFloodLosesNothing(t *testing.T) {
	for name, size := range map[string]int{"small": 64, "large": 1100, "fragmented": 5000} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				roomy := quicpeer.Config{Session: session.Options{Queues: datagram.FlowConfig{ReceiveMessages: 1 << 20, ReceiveBytes: 1 << 30}}}
				a := n.peer(t, "10.0.0.1:1000", roomy)
				b := n.peer(t, "10.0.0.2:1000", roomy)
				n.between(a.addr, b.addr, faults{delay: 100 * time.Microsecond})
				sa, sb := a.open(b)
				const messages = 5000
				require.Equal(t, messages, flood(t, sa, sb, messages, size))
				wantOver(t, "closed", sa, time.Minute)
				require.Zero(t, sa.Stats().Lost)
			})
		})
	}
}

// Credit is lost for a while: the sender asks, goes on regardless in the end,
// and does not stay behind once credit comes again.
func TestLostCreditHoldsNobodyUpForLong(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 5 * time.Millisecond})
		sa, sb := a.open(b)
		n.pass(time.Second)
		n.cut(b.addr, a.addr)
		go func() {
			n.pass(2 * time.Second)
			n.mend(b.addr, a.addr)
		}()
		begin := time.Now()
		const messages = 3000
		arrived := flood(t, sa, sb, messages, 1000)
		wantOver(t, "closed", sa, time.Minute)
		require.True(t, sa.Stats().Complete)
		require.EqualValues(t, messages-arrived, sa.Stats().Lost)
		require.Less(t, time.Since(begin), 10*time.Second)
		t.Log("took", time.Since(begin), "arrived", arrived)
	})
}

// A peer whose stack gives no credit states no window, and is sent to without
// one.
func TestPeerWithoutAWindow(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		raw := n.raw(t, "10.0.0.2:1000").dial(a)
		s, sa := raw.openAccepted(a)
		for range 1000 {
			require.NoError(t, sa.Send(t.Context(), make([]byte, 1000)))
			n.pass(time.Millisecond)
		}
		done := make(chan error)
		go func() { done <- sa.Close(t.Context()) }()
		f, err := s.next()
		require.NoError(t, err)
		require.EqualValues(t, 1000, f.(session.Close).Sent, "all of them were handed over, without any credit")
		s.write(session.CloseAck{Received: 1000})
		require.NoError(t, <-done)
	})
}
