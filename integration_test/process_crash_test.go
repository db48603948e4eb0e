package integration_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// A close that the peer cannot confirm ends in time and is never a success.
func TestCloseWhilePeerIsKilled(t *testing.T) {
	t.Parallel()
	type closing struct {
		name  string
		close func(context.Context, *quicpeer.Session) error
	}
	const timeout = 500 * time.Millisecond
	for _, c := range []closing{
		{"within ctx's deadline", func(ctx context.Context, s *quicpeer.Session) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return s.CloseWithError(ctx, 0x100, "are you there?")
		}},
		{"within the session's own timeout", func(_ context.Context, s *quicpeer.Session) error {
			return s.CloseWithError(context.Background(), 0x100, "are you there?")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			config := chatConfig()
			config.Session.CloseTimeout = timeout
			e := startPeer(t, "127.0.0.1:0", config)
			victim := startChild(t)
			bound := victim.call(ctx, t, request{Op: "listen", Address: "127.0.0.1:0"})
			s, err := e.Dial(ctx, bound.Addr, dialChat())
			require.NoError(t, err)
			exchange(ctx, t, s, "you are there")

			victim.kill()
			start := time.Now()
			err = c.close(ctx, s)
			took := time.Since(start)
			require.Less(t, took, timeout+5*time.Second)
			require.Equal(t, session.CauseTimeout, sessionError(t, err).Cause)
			waitDone(ctx, t, s)
			require.False(t, sessionError(t, s.Err()).Confirmed)
			require.False(t, s.Stats().Complete)
			t.Logf("Close returned after %v: %v", took, err)
		})
	}
}

// The process is killed in the middle of a close: Close succeeds only if the
// other side's close was confirmed before, which here it cannot be.
func TestCloseUnderWayWhenPeerIsKilled(t *testing.T) {
	t.Parallel()
	ctx := within(t, 20*time.Second)
	e, g := startGated(t, nil)
	victim := startChild(t)
	bound := victim.call(ctx, t, request{Op: "listen", Address: "127.0.0.1:0"})
	s, err := e.Dial(ctx, bound.Addr, dialChat())
	require.NoError(t, err)
	exchange(ctx, t, s, "you are there")

	g.close() // CLOSE does not get out
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		closed <- s.Close(ctx)
	}()
	waitState(ctx, t, s, session.StateClosing)
	victim.kill()
	g.open()
	require.Equal(t, session.CauseTimeout, sessionError(t, <-closed).Cause)
}

// A peer that restarts on the same port with the same key does not know the
// link: it answers the next heartbeat with a stateless reset, and the session
// ends with a cause that says so. Without any traffic of the application.
func TestRestartNoticedWithinTwoHeartbeats(t *testing.T) {
	t.Parallel()
	const twoHeartbeats = 10 * time.Second
	ctx := within(t, 3*twoHeartbeats)
	keyFile := filepath.Join(t.TempDir(), "peer.key")
	e := startPeer(t, "127.0.0.1:0", nil)

	before := startChild(t)
	bound := before.call(ctx, t, request{Op: "listen", Address: keptAddress(t), KeyFile: keyFile})
	id, err := certs.ParsePeerID(bound.ID)
	require.NoError(t, err)
	dial := &quicpeer.DialOptions{Protocol: chat, PeerID: id}
	s, err := e.Dial(ctx, bound.Addr, dial)
	require.NoError(t, err)
	exchange(ctx, t, s, "before the restart")
	untilQuiet(ctx, t, e) // or packets on their way would find out sooner

	before.kill()
	after := startChild(t)
	again := after.call(ctx, t, request{Op: "listen", Address: bound.Addr, KeyFile: keyFile})
	require.Equal(t, bound, again)
	restarted := time.Now()

	_, err = s.Receive(ctx)
	took := time.Since(restarted)
	require.Equal(t, session.CausePeerRestarted, sessionError(t, err).Cause, "%v", err)
	require.Less(t, took, twoHeartbeats)
	t.Logf("noticed %v after the restart", took)

	// The way back is a new dial.
	s, err = e.Dial(ctx, bound.Addr, dial)
	require.NoError(t, err)
	exchange(ctx, t, s, "after the restart")
}

// untilQuiet waits until nothing has been sent or received on an endpoint's
// links for a while.
func untilQuiet(ctx context.Context, t testing.TB, e *quicpeer.Endpoint) {
	t.Helper()
	var packets uint64
	var since time.Time
	until(ctx, t, "the links are quiet", func() bool {
		var now uint64
		for _, l := range e.Links() {
			now += l.Transport.PacketsSent + l.Transport.PacketsReceived
		}
		if now != packets {
			packets, since = now, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
}

// The one who restarts is the one who had dialed, and dials again at once: it
// is accepted anew, and the session it had before is known to be over.
func TestRestartedDialerIsAcceptedAnew(t *testing.T) {
	t.Parallel()
	ctx := within(t, 30*time.Second)
	keyFile := filepath.Join(t.TempDir(), "peer.key")
	e := startPeer(t, "127.0.0.1:0", nil)
	dial := request{Op: "dial", Address: e.Addr().String(), Count: 1}

	before := startChild(t)
	bound := before.call(ctx, t, request{Op: "listen", Address: keptAddress(t), KeyFile: keyFile})
	accepted := make(chan *quicpeer.Session, 2)
	e.Handle(chat, func(in *quicpeer.Incoming) {
		if s, err := in.Accept(nil); err == nil {
			accepted <- s
			echoSession(s)
		}
	})
	before.call(ctx, t, dial)
	old := <-accepted // the child has used it

	before.kill()
	after := startChild(t)
	require.Equal(t, bound, after.call(ctx, t, request{Op: "listen", Address: bound.Addr, KeyFile: keyFile}))
	after.call(ctx, t, dial)
	back := time.Now()
	fresh := <-accepted
	require.Equal(t, old.RemoteAddr().String(), fresh.RemoteAddr().String())
	oldID, _ := old.RemoteID()
	freshID, _ := fresh.RemoteID()
	require.Equal(t, oldID, freshID)

	waitDone(ctx, t, old)
	took := time.Since(back)
	require.Less(t, took, 10*time.Second)
	require.Contains(t, []session.Cause{session.CausePeerRestarted, session.CauseSuperseded}, sessionError(t, old.Err()).Cause)
	require.NoError(t, fresh.Err())
	t.Logf("the old session ended %v after the new one began: %v", took, old.Err())
}
