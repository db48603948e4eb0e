package integration_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// Every state is seen on the way, on both sides: the network is held where a
// state would otherwise pass too quickly.
func TestLifeCycleObserved(t *testing.T) {
	ctx := within(t, 10*time.Second)
	a, aGate := startGated(t, nil)
	b, bGate := startGated(t, nil)

	type result struct {
		s   *quicpeer.Session
		err error
	}
	dialed := make(chan result, 1)
	go func() {
		s, err := a.Dial(ctx, b.Addr().String(), dialChat())
		dialed <- result{s, err}
	}()
	in, err := b.Accept(ctx)
	require.NoError(t, err)
	for _, e := range []*quicpeer.Endpoint{a, b} {
		require.Equal(t, 1, sessionStreams(e), "it is on its way")
		require.Empty(t, e.Sessions(), "but nobody has it before it is accepted")
	}
	accepted, err := in.Accept(nil)
	require.NoError(t, err)
	require.Equal(t, session.StateOpen, accepted.Snapshot().State)
	r := <-dialed
	require.NoError(t, r.err)
	opened := r.s
	require.Equal(t, session.StateOpen, opened.Snapshot().State)
	require.Len(t, a.Sessions(), 1)
	require.Same(t, opened, a.Sessions()[0])
	require.Len(t, b.Sessions(), 1)
	require.Same(t, accepted, b.Sessions()[0])

	bGate.close() // CLOSE arrives, its answer does not
	closed := make(chan error, 1)
	go func() { closed <- opened.CloseWithError(ctx, 0x100, "enough") }()
	snap := waitState(ctx, t, opened, session.StateClosing)
	require.Equal(t, session.StateClosing, snap.State)
	wantErrorIs(t, snap.Err, &session.Error{Cause: session.CauseClosed, Code: 0x100})
	snap = waitState(ctx, t, accepted, session.StateDraining)
	require.Equal(t, session.StateDraining, snap.State)
	wantErrorIs(t, snap.Err, &session.Error{Cause: session.CauseClosed, Code: 0x100, Remote: true})

	aGate.close() // now the answer arrives, DONE does not
	bGate.open()
	require.NoError(t, <-closed)
	require.Equal(t, session.StateClosed, waitState(ctx, t, opened, session.StateClosed).State)
	require.Equal(t, session.StateDraining, accepted.Snapshot().State)
	require.False(t, accepted.Stats().Complete)

	aGate.open()
	snap = waitState(ctx, t, accepted, session.StateClosed)
	require.Equal(t, session.StateClosed, snap.State)
	require.True(t, accepted.Stats().Complete)
	require.True(t, opened.Stats().Complete)
	waitDone(ctx, t, opened, accepted)
	_, err = opened.WaitChange(ctx, opened.Snapshot())
	wantErrorIs(t, err, net.ErrClosed, "nothing will change any more")
}

func TestReliableCloseBothWays(t *testing.T) {
	ctx := within(t, 20*time.Second)
	a, b := startPeer(t, "127.0.0.1:0", nil), startPeer(t, "127.0.0.1:0", nil)
	const code, reason = session.Code(0x1234), "I am done, thank you"
	for _, closer := range []string{"dialer", "acceptor"} {
		t.Run("closed by the "+closer, func(t *testing.T) {
			left, right := dialOpen(ctx, t, a, b)
			if closer == "acceptor" {
				left, right = right, left
			}
			const messages = 50
			for range messages {
				require.NoError(t, left.Send(ctx, []byte("before the end")))
				require.NoError(t, right.Send(ctx, []byte("before the end")))
			}
			// What is still queued here when the peer closes is never sent.
			require.Eventually(t, func() bool { return right.Stats().Local.Sent == messages }, 10*time.Second, time.Millisecond)
			blocked := make(chan error, 1)
			go func() {
				_, err := right.ReceiveSignal(ctx)
				blocked <- err
			}()
			require.NoError(t, left.CloseWithError(ctx, code, reason))

			// What Close has promised holds at once: the other side knows.
			learned := sessionError(t, right.Err())
			require.Equal(t, session.Error{Cause: session.CauseClosed, Code: code, Reason: reason, Remote: true, Confirmed: true}, *learned)
			own := sessionError(t, left.Err())
			require.Equal(t, session.Error{Cause: session.CauseClosed, Code: code, Reason: reason, Confirmed: true}, *own)

			// Every call on it says so, once what had arrived is read.
			require.Same(t, learned, sessionError(t, <-blocked))
			require.Same(t, learned, sessionError(t, right.Send(ctx, []byte("too late"))))
			require.Same(t, learned, sessionError(t, right.Signal(ctx, []byte("too late"))))
			for range messages {
				_, err := right.Receive(ctx)
				require.NoError(t, err)
			}
			_, err := right.Receive(ctx)
			require.Same(t, learned, sessionError(t, err))
			require.Same(t, learned, sessionError(t, right.Close(ctx)), "Close after the peer's close")

			waitDone(ctx, t, left, right)
			for _, s := range []*quicpeer.Session{left, right} {
				st := s.Stats()
				require.True(t, st.Complete)
				require.EqualValues(t, 0, st.Lost)
				require.EqualValues(t, 0, st.LostIncoming)
				require.EqualValues(t, messages, st.Local.Sent)
				require.EqualValues(t, messages, st.Remote.Received)
			}
			// Messages that arrived at the closer stay readable too.
			for range messages {
				_, err := left.Receive(ctx)
				require.NoError(t, err)
			}
			_, err = left.Receive(ctx)
			wantErrorIs(t, err, net.ErrClosed)
		})
	}
}

// Both sides close before either has heard from the other.
func TestReliableCloseCrossed(t *testing.T) {
	ctx := within(t, 10*time.Second)
	a, aGate := startGated(t, nil)
	b, bGate := startGated(t, nil)
	left, right := dialOpen(ctx, t, a, b)

	aGate.close()
	bGate.close()
	results := make(chan error, 2)
	go func() { results <- left.CloseWithError(ctx, 0x101, "left is done") }()
	go func() { results <- right.CloseWithError(ctx, 0x102, "right is done") }()
	waitState(ctx, t, left, session.StateClosing)
	waitState(ctx, t, right, session.StateClosing)
	aGate.open()
	bGate.open()
	require.NoError(t, <-results)
	require.NoError(t, <-results)

	waitDone(ctx, t, left, right)
	require.Equal(t, session.Error{Cause: session.CauseClosed, Code: 0x101, Reason: "left is done", Confirmed: true}, *sessionError(t, left.Err()), "the first cause is one's own")
	require.Equal(t, session.Error{Cause: session.CauseClosed, Code: 0x102, Reason: "right is done", Confirmed: true}, *sessionError(t, right.Err()))
	require.True(t, left.Stats().Complete)
	require.True(t, right.Stats().Complete)
}

func TestDialCancelled(t *testing.T) {
	cause := errors.New("the user has gone")
	a, b := startPeer(t, "127.0.0.1:0", nil), startPeer(t, "127.0.0.1:0", nil)

	t.Run("while the peer has not accepted", func(t *testing.T) {
		ctx := within(t, 10*time.Second)
		dialCtx, cancel := context.WithCancelCause(ctx)
		dialed := make(chan error, 1)
		go func() {
			_, err := a.Dial(dialCtx, b.Addr().String(), dialChat())
			dialed <- err
		}()
		in, err := b.Accept(ctx)
		require.NoError(t, err)
		cancel(cause)
		err = <-dialed
		var dialError *quicpeer.DialError
		require.ErrorAs(t, err, &dialError)
		require.Equal(t, b.Addr().String(), dialError.Address)
		wantErrorIs(t, err, cause)
		// The open is taken back in the background: then it cannot be accepted.
		until(ctx, t, "the peer knows", func() bool { return sessionStreams(b) == 0 })
		_, err = in.Accept(nil)
		wantErrorIs(t, err, session.ErrWithdrawn)
		require.Empty(t, a.Sessions())
	})
	t.Run("while it waits in the peer's backlog", func(t *testing.T) {
		ctx := within(t, 10*time.Second)
		dialCtx, cancel := context.WithCancelCause(ctx)
		dialed := make(chan error, 1)
		go func() {
			_, err := a.Dial(dialCtx, b.Addr().String(), dialChat())
			dialed <- err
		}()
		until(ctx, t, "the open has arrived", func() bool { return sessionStreams(b) == 1 })
		cancel(cause)
		wantErrorIs(t, <-dialed, cause)
		until(ctx, t, "the backlog is empty", func() bool { return sessionStreams(b) == 0 })
		require.EqualValues(t, 1, b.Stats().WithdrawnSessions)
	})
	t.Run("while nobody answers", func(t *testing.T) {
		ctx := within(t, 10*time.Second)
		silent, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer silent.Close()
		dialCtx, cancel := context.WithCancelCause(ctx)
		dialed := make(chan error, 1)
		go func() {
			_, err := a.Dial(dialCtx, silent.LocalAddr().String(), dialChat())
			dialed <- err
		}()
		require.NoError(t, silent.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, _, err = silent.ReadFrom(make([]byte, 1500))
		require.NoError(t, err, "the handshake has begun")
		cancel(cause)
		wantErrorIs(t, <-dialed, cause)
	})
	t.Run("before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(within(t, 10*time.Second))
		cancel(cause)
		_, err := a.Dial(ctx, b.Addr().String(), dialChat())
		wantErrorIs(t, err, cause)
	})
}

func TestShutdownReportsWhatEachPeerConfirmed(t *testing.T) {
	t.Parallel()
	ctx := within(t, 20*time.Second)
	hub := startPeer(t, "127.0.0.1:0", nil)

	var theirs []*quicpeer.Session
	confirms := make(map[*quicpeer.Session]bool)
	for range 3 {
		mine, its := dialOpen(ctx, t, hub, startPeer(t, "127.0.0.1:0", nil))
		confirms[mine] = true
		theirs = append(theirs, its)
	}
	dead := startChild(t)
	bound := dead.call(ctx, t, request{Op: "listen", Address: "127.0.0.1:0"})
	unconfirmed, err := hub.Dial(ctx, bound.Addr, dialChat())
	require.NoError(t, err)
	exchange(ctx, t, unconfirmed, "is it there?")
	dead.kill()

	shutdown, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	start := time.Now()
	report, err := hub.Shutdown(shutdown, quicpeer.ShutdownOptions{Code: 0x200, Reason: "maintenance"})
	require.NoError(t, err)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Len(t, report.Sessions, len(confirms)+1)
	for _, o := range report.Sessions {
		require.NotNil(t, o.RemoteAddr)
		require.False(t, o.RemoteID.IsZero())
		if confirms[o.Session] {
			require.NoError(t, o.Err)
			continue
		}
		require.Same(t, unconfirmed, o.Session)
		require.Equal(t, bound.Addr, o.RemoteAddr.String())
		require.Equal(t, bound.ID, o.RemoteID.String())
		require.Equal(t, session.CauseTimeout, sessionError(t, o.Err).Cause)
	}
	require.ErrorContains(t, report.Err(), bound.Addr)
	for _, s := range theirs {
		wantErrorIs(t, s.Err(), &session.Error{Cause: session.CauseClosed, Code: 0x200, Remote: true})
		require.Equal(t, "maintenance", sessionError(t, s.Err()).Reason)
	}

	_, err = hub.Dial(ctx, bound.Addr, dialChat())
	wantErrorIs(t, err, quicpeer.ErrEndpointClosed)
	_, err = hub.Accept(ctx)
	wantErrorIs(t, err, quicpeer.ErrEndpointClosed)
	_, err = hub.Shutdown(ctx, quicpeer.ShutdownOptions{})
	wantErrorIs(t, err, quicpeer.ErrEndpointClosed)
}
