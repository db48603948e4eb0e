package integration_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// On a path that loses, delays, reorders and repeats packets, a message arrives
// whole or not at all, and never twice; signals arrive all, once, and in order;
// and both sides agree on what was lost.
func TestLossReorderingDuplication(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, seed, lossReorderingDuplication)
		})
	}
}

func lossReorderingDuplication(t *testing.T, n *network) {
	queues := quicpeer.Config{Session: session.Options{Queues: datagram.FlowConfig{ReceiveMessages: 1000, ReceiveBytes: 1 << 24}}}
	a := n.peer(t, "10.0.0.1:1000", queues)
	b := n.peer(t, "10.0.0.2:1000", queues)
	n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond})
	sa, sb := a.open(b)
	n.between(a.addr, b.addr, faults{loss: 0.1, duplicate: 0.2, delay: 20 * time.Millisecond, jitter: 40 * time.Millisecond})

	const messages, signals = 300, 30
	var done sync.WaitGroup
	send := func(s *quicpeer.Session) {
		for i := range messages {
			require.NoError(t, s.Send(t.Context(), numbered(i)))
			n.pass(5 * time.Millisecond)
		}
	}
	signal := func(from, to *quicpeer.Session) {
		done.Go(func() {
			for i := range signals {
				require.NoError(t, from.Signal(t.Context(), numbered(i)))
			}
		})
		done.Go(func() {
			for i := range signals {
				p, err := to.ReceiveSignal(t.Context())
				require.NoError(t, err)
				require.Equal(t, numbered(i), p, "signals keep their order")
			}
		})
	}
	done.Go(func() { send(sa) })
	done.Go(func() { send(sb) })
	signal(sa, sb)
	signal(sb, sa)
	done.Wait()
	require.NoError(t, sa.Close(t.Context()))
	wantOver(t, "closed", sa, time.Minute)
	wantOver(t, "closed", sb, time.Minute)
	wantSameCounts(t, sa, sb)
	for _, s := range []*quicpeer.Session{sa, sb} {
		got, _ := drain(t, s)
		seen := make(map[int]bool)
		for _, m := range got {
			i := int(binary.BigEndian.Uint32(m))
			require.Equal(t, numbered(i), m, "whole and unharmed")
			require.False(t, seen[i], "message %d came twice", i)
			seen[i] = true
		}
		require.EqualValues(t, s.Stats().Local.Received, len(got))
		require.Positive(t, s.Stats().Lost+s.Stats().LostIncoming, "of %d messages on a bad path", messages)
	}
}

// numbered is message i: of another length each time, every third one too
// large for a datagram.
func numbered(i int) []byte {
	size := 4 + i%200
	if i%3 == 0 {
		size += 3000
	}
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, uint32(i))
	for j := 4; j < size; j++ {
		b[j] = byte(i + j)
	}
	return b
}

// The dialing side's NAT gives it another address in the middle of a session:
// the session lives on, and its other side is told.
func TestNATRebinding(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond})
		n.rebind(a.addr, "192.0.2.1:1111")
		sa, sb := a.open(b)
		n.pass(2 * time.Second)
		last := sb.Snapshot()
		require.Equal(t, "192.0.2.1:1111", last.RemoteAddr.String())

		n.rebind(a.addr, "192.0.2.1:2222")
		began := time.Now()
		change, err := sb.WaitChange(t.Context(), last)
		require.NoError(t, err)
		require.Equal(t, session.StateOpen, change.State)
		require.Equal(t, "192.0.2.1:2222", change.RemoteAddr.String(), "the new address is an event")
		require.Equal(t, "192.0.2.1:2222", sb.RemoteAddr().String())
		require.Less(t, time.Since(began), 11*time.Second, "two heartbeats: one to be seen, one to look")
		require.Equal(t, b.addr.String(), sa.RemoteAddr().String())

		require.NoError(t, sb.Send(t.Context(), []byte("still there?")))
		m, err := sa.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "still there?", string(m))
		require.NoError(t, sa.Send(t.Context(), []byte("yes")))
		m, err = sb.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "yes", string(m))
		require.NoError(t, sb.CloseWithError(t.Context(), 0x123, "bye"))
		wantOver(t, "closed", sa, time.Second)
		wantEnd(t, "closed in order", sa, session.Error{Cause: session.CauseClosed, Code: 0x123, Remote: true})
	})
}

// One direction is dead. The side that hears nothing gives up after 15 s
// without an answer, and tells the other one, which can still be reached.
func TestOneWayBlackhole(t *testing.T) {
	for _, dialer := range []bool{true, false} {
		t.Run(fmt.Sprint("dialer deaf: ", dialer), func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond})
				deaf, other := a.open(b)
				if dialer {
					n.cut(b.addr, a.addr)
				} else {
					deaf, other = other, deaf
					n.cut(a.addr, b.addr)
				}
				d := wantOver(t, "nothing is heard", deaf, time.Minute)
				require.GreaterOrEqual(t, d, 15*time.Second)
				require.LessOrEqual(t, d, 25*time.Second, "15 s from the first heartbeat that went unanswered")
				wantEnd(t, "this side noticed", deaf, session.Error{Cause: session.CauseLinkLost})
				require.Less(t, wantOver(t, "told", other, time.Minute), time.Second)
				wantEnd(t, "the other one was told", other, session.Error{Cause: session.CauseLinkClosed, Remote: true})
			})
		})
	}
}

// A peer that dies without a word is noticed after 15 s of unanswered
// heartbeats, before QUIC's own timeout.
func TestDeadPeer(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond})
		sa, _ := a.open(b)
		n.pass(12 * time.Second) // heartbeats at 5 s and 10 s were answered
		n.crash(b)
		d := wantOver(t, "the peer is dead", sa, time.Minute)
		e := wantEnd(t, "the heartbeat after the crash, and 15 s", sa, session.Error{Cause: session.CauseLinkLost})
		require.NoError(t, e.Err, "noticed here, not by QUIC")
		require.Greater(t, d, 17*time.Second)
		require.Less(t, d, 18*time.Second)
		a.wantLinks("nothing is left of it", 0)
	})
}

// Dials of one address share a handshake. It goes on while one of them waits, and
// ends with the last.
func TestHandshakeEndsWithItsLastDial(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		nobody := netUDP("10.0.0.2:1000")
		dial := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, err := a.dialContext(ctx, nobody, quicpeer.DialOptions{})
			return err
		}
		second := make(chan error, 1)
		go func() { second <- dial(2 * time.Second) }()
		require.ErrorIs(t, dial(500*time.Millisecond), context.DeadlineExceeded)
		sent := n.packetsLost()
		require.ErrorIs(t, <-second, context.DeadlineExceeded)
		n.arrive()
		last := n.packetsLost()
		require.Greater(t, last, sent, "the other one still waits")
		n.pass(20 * time.Second)
		require.Equal(t, last, n.packetsLost(), "nobody waits")
	})
}

// A link lives while the peer answers, for as long as there is a session.
func TestHeartbeatsKeepALink(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond})
		sa, sb := a.open(b)
		n.pass(time.Hour)
		require.NoError(t, sa.Err())
		require.NoError(t, sb.Err())
		require.NoError(t, sa.Close(t.Context()))
	})
}

// A link without a session closes after 20 s. A later Dial makes a new one.
func TestIdleLinkCloses(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond})
		sa, sb := a.open(b)
		require.NoError(t, sa.Close(t.Context()))
		wantOver(t, "closed", sb, time.Second)
		n.pass(19 * time.Second)
		first := a.wantLinks("not idle for 20 s yet", 1)
		b.wantLinks("not idle for 20 s yet", 1)

		sa, sb = a.open(b)
		require.Equal(t, first[0].Since, a.wantLinks("used again", 1)[0].Since)
		require.NoError(t, sb.Close(t.Context()))
		wantOver(t, "closed", sa, time.Second)
		n.pass(20*time.Second + 100*time.Millisecond)
		a.wantLinks("idle for 20 s", 0)
		b.wantLinks("idle for 20 s", 0)

		sa, _ = a.open(b)
		require.True(t, a.wantLinks("a new link", 1)[0].Since.After(first[0].Since))
		require.NoError(t, sa.Close(t.Context()))
	})
}

// An endpoint shuts down with a drain time: what is open goes on and ends by
// itself, nothing new begins, and the rest is closed when the time is over.
func TestGoAwayWithSessionsInFlight(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond})
		s1, _ := a.open(b)
		s2, r2 := a.open(b)
		type result struct {
			report quicpeer.ShutdownReport
			err    error
		}
		ended := make(chan result, 1)
		began := time.Now()
		go func() {
			report, err := b.Shutdown(t.Context(), quicpeer.ShutdownOptions{Code: 0x155, Reason: "maintenance", Drain: 5 * time.Second})
			ended <- result{report, err}
		}()
		n.pass(time.Second)
		require.True(t, a.wantLinks("the link lives", 1)[0].GoingAway)

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := a.dialContext(ctx, b.addr, quicpeer.DialOptions{})
		cancel()
		require.Error(t, err, "nothing new begins")
		_, err = b.dial(a, quicpeer.DialOptions{})
		require.ErrorIs(t, err, quicpeer.ErrEndpointClosed, "nothing new begins")

		require.NoError(t, s2.Send(t.Context(), []byte("still open")))
		m, err := r2.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "still open", string(m))
		require.NoError(t, s1.CloseWithError(t.Context(), 0x111, "by itself"), "sessions end as ever")
		require.NoError(t, s2.Err())
		wantOver(t, "the drain time is over", s2, 10*time.Second)
		require.Equal(t, 5*time.Second, time.Since(began).Truncate(time.Second))
		wantEnd(t, "the shutdown's code and reason", s2, session.Error{Cause: session.CauseClosed, Code: 0x155, Reason: "maintenance", Remote: true})
		r := <-ended
		require.NoError(t, r.err)
		require.NoError(t, r.report.Err())
		wantSameCounts(t, s2, r2)
		a.wantLinks("closed", 0)
	})
}

// An endpoint shuts down while its peers open sessions: each Dial succeeds,
// and that session is then closed in order, or fails, and nobody saw it.
func TestShutdownWhilePeersOpen(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, seed, shutdownWhilePeersOpen)
		})
	}
}

func shutdownWhilePeersOpen(t *testing.T, n *network) {
	const peers, dialers = 4, 5
	b := n.peer(t, "10.0.0.100:1000", quicpeer.Config{})
	var accepted []*quicpeer.Session
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := b.Accept(t.Context())
			if err != nil {
				require.ErrorIs(t, err, quicpeer.ErrEndpointClosed)
				return
			}
			if s, err := in.Accept(nil); err == nil {
				accepted = append(accepted, s)
			}
		}
	})
	var dialing sync.WaitGroup
	var opened, failed atomic.Int32
	for i := range peers {
		a := n.peer(t, fmt.Sprintf("10.0.0.%d:1000", i+1), quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 20 * time.Millisecond, jitter: 20 * time.Millisecond})
		for range dialers {
			dialing.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					s, err := a.dialContext(ctx, b.addr, quicpeer.DialOptions{})
					cancel()
					if err != nil {
						var e *quicpeer.DialError
						require.ErrorAs(t, err, &e)
						require.NotErrorIs(t, err, context.DeadlineExceeded, "an answer, never silence")
						require.NotErrorIs(t, err, quicpeer.ErrOutcomeUnknown, "an orderly shutdown leaves nobody in doubt")
						failed.Add(1)
						return
					}
					opened.Add(1)
					_ = s.Send(t.Context(), []byte("hello"))
					wantOver(t, "b shuts down", s, time.Minute)
					wantEnd(t, "in order", s, session.Error{Cause: session.CauseClosed, Code: 0x155, Reason: "enough", Remote: true})
					require.True(t, s.Stats().Complete)
				}
			})
			n.pass(7 * time.Millisecond)
		}
	}
	report, err := b.Shutdown(t.Context(), quicpeer.ShutdownOptions{Code: 0x155, Reason: "enough"})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	dialing.Wait()
	serving.Wait()
	synctest.Wait()
	require.EqualValues(t, peers*dialers, failed.Load())
	require.EqualValues(t, opened.Load(), len(accepted), "sessions that b accepted")
	for _, s := range accepted {
		require.True(t, s.Stats().Complete)
	}
}

// The acceptor accepts, says all it has to say and closes, in one breath: the
// dialer gets the session, and what was said.
func TestAcceptedAndClosedAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.2:1000")
		h.listen(nil)
		go func() {
			p := h.accept()
			s, _ := p.accept()
			p.message(s.id, "all I have to say")
			n.pass(time.Millisecond)
			s.write(session.Accept{}, session.Close{Code: 0x123, Sent: 1, End: 1})
		}()
		s, err := a.dialContext(t.Context(), h.addr, quicpeer.DialOptions{})
		require.NoError(t, err)
		messages, err := drain(t, s)
		require.Len(t, messages, 1)
		wantError(t, "the peer closed", err, session.Error{Cause: session.CauseClosed, Code: 0x123, Remote: true})
	})
}

// A dialer whose peer takes no datagrams says so once its handshake is
// confirmed: some stacks never see a close that comes before. The peer's link
// stream shows it; one that never comes is not waited for long.
func TestUnsupportedPeerIsToldOnceConfirmed(t *testing.T) {
	for name, opensLinkStream := range map[string]bool{"shown": true, "never shown": false} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				h := n.raw(t, "10.0.0.2:1000")
				n.between(a.addr, h.addr, faults{delay: 10 * time.Millisecond})
				listener, err := h.transport.Listen(h.identity.ServerTLS(quicpeer.ALPN, certs.Anyone(), false), &quic.Config{})
				require.NoError(t, err)
				dialed := make(chan error, 1)
				go func() {
					_, err := a.dialContext(t.Context(), h.addr, quicpeer.DialOptions{})
					dialed <- err
				}()
				conn, err := listener.Accept(t.Context())
				require.NoError(t, err)
				complete := time.Now()
				n.pass(100 * time.Millisecond)
				require.NoError(t, conn.Context().Err(), "not before it is confirmed")
				until := 250 * time.Millisecond
				if opensLinkStream {
					until = 100 * time.Millisecond
					str, err := conn.OpenUniStream()
					require.NoError(t, err)
					_, err = str.Write([]byte{0})
					require.NoError(t, err)
				}
				<-conn.Context().Done()
				require.InDelta(t, until, time.Since(complete), float64(40*time.Millisecond), "and then soon")
				var closed *quic.ApplicationError
				require.ErrorAs(t, context.Cause(conn.Context()), &closed)
				require.EqualValues(t, session.CodeUnsupported, closed.ErrorCode)
				wantErrorIs(t, <-dialed, quicpeer.ErrNoDatagrams)
			})
		})
	}
}
