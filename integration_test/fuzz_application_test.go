package integration_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// application is what runs on the endpoint that a hostile peer is after: it
// accepts sessions, reads them, and does what a program says. Whatever comes of
// the calls that wait is noted, and judged at the end.
type application struct {
	t    *testing.T
	peer *peer

	calls sync.WaitGroup // calls that wait for the hostile peer

	mu       sync.Mutex
	problems []string // what must not be: reported by the test's goroutine
	sessions []*appSession
}

// appSession is one session with the hostile peer, and what came out of it.
type appSession struct {
	*quicpeer.Session
	dialed   bool
	messages [][]byte
	signals  [][]byte
}

// What the application does, with a session by its number.
const (
	appAccept byte = iota
	appReject      // code
	appSend        // session, length
	appSignal      // session, length
	appClose       // session, code
	appAbort       // session, code
	appPing        // session
	appActs
)

func (a *application) act(p *program) {
	switch what, of := p.next()%appActs, int(p.next()); what {
	case appAccept:
		if in := a.incoming(); in != nil {
			if s, err := in.Accept(nil); err == nil {
				a.enter(s, false)
			} else {
				a.judge("Accept", err, session.ErrWithdrawn)
			}
		}
	case appReject:
		if in := a.incoming(); in != nil {
			a.judge("Reject", in.Reject(p.code(), "no", time.Second), session.ErrWithdrawn)
		}
	case appSend:
		n := int(p.next()) << 4
		a.call(of, "Send", func(ctx context.Context, s *appSession) error { return s.Send(ctx, make([]byte, n)) })
	case appSignal:
		n := int(p.next()) << 4
		a.call(of, "Signal", func(ctx context.Context, s *appSession) error { return s.Signal(ctx, make([]byte, n)) })
	case appClose:
		code := session.FirstApplicationCode + p.code()%8
		a.call(of, "Close", func(ctx context.Context, s *appSession) error { return s.CloseWithError(ctx, code, "enough") })
	case appAbort:
		code := session.FirstApplicationCode + p.code()%8
		a.call(of, "Abort", func(_ context.Context, s *appSession) error { return s.Abort(code) })
	case appPing:
		a.call(of, "Ping", func(ctx context.Context, s *appSession) error { _, err := s.Ping(ctx); return err })
	}
}

// incoming returns a session that waits to be accepted, nil if none does.
func (a *application) incoming() *quicpeer.Incoming {
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Millisecond)
	defer cancel()
	in, err := a.peer.Accept(ctx)
	if err != nil {
		return nil
	}
	require.Equal(a.t, simProto, in.Protocol())
	return in
}

func (a *application) enter(s *quicpeer.Session, dialed bool) {
	as := &appSession{Session: s, dialed: dialed}
	a.mu.Lock()
	a.sessions = append(a.sessions, as)
	a.mu.Unlock()
	a.calls.Go(func() {
		for {
			m, err := s.Receive(context.Background())
			if err != nil {
				a.judge("Receive", err)
				return
			}
			a.mu.Lock()
			as.messages = append(as.messages, m)
			a.mu.Unlock()
		}
	})
	a.calls.Go(func() {
		for {
			m, err := s.ReceiveSignal(context.Background())
			if err != nil {
				a.judge("ReceiveSignal", err)
				return
			}
			a.mu.Lock()
			as.signals = append(as.signals, m)
			a.mu.Unlock()
		}
	})
}

// call calls a method of a session on a goroutine of its own.
func (a *application) call(of int, what string, f func(context.Context, *appSession) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sessions) == 0 {
		return
	}
	s := a.sessions[of%len(a.sessions)]
	a.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		a.judge(what, f(ctx, s), context.DeadlineExceeded)
	})
}

// dial opens a session with the hostile peer, on the link there is or a new one.
func (a *application) dial(h *hostile) {
	a.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		s, err := a.peer.Dial(ctx, h.host.addr.String(), &quicpeer.DialOptions{Protocol: simProto, PeerID: h.host.identity.ID()})
		if err == nil {
			a.enter(s, true)
			return
		}
		var de *quicpeer.DialError
		if !errors.As(err, &de) {
			a.problem("Dial: %T, want a DialError: %v", err, err)
		}
	})
}

// judge notes an error that has no type that the documentation names: every
// call may return the session's own, some others besides.
func (a *application) judge(what string, err error, others ...error) {
	var se *session.Error
	var size *session.MessageTooLargeError
	if err == nil || errors.As(err, &size) {
		return
	}
	for _, other := range append(others, datagram.ErrQueueFull, session.ErrAnswered) {
		if errors.Is(err, other) {
			return
		}
	}
	if !errors.As(err, &se) || se.Cause < session.CauseClosed || se.Cause > session.CauseSuperseded {
		a.problem("%s: %T: %v", what, err, err)
	}
}

func (a *application) problem(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

// wantOver checks, once the hostile peer is gone and every call has returned, that
// all sessions are over, and that what came of them is what it sent.
func (a *application) wantOver(h *hostile) {
	require.Empty(a.t, a.problems)
	left := make(map[sentMessage]int)
	for m, n := range h.messages {
		left[m] = n
	}
	for _, s := range a.sessions {
		wantOver(a.t, "its link is gone", s.Session, 0)
		a.wantCause(s)
		opens, signals := h.opens(s.ID())
		if !s.dialed {
			require.NotEmpty(a.t, opens, "a session without an OPEN")
		}
		requirePrefix(a.t, s.signals, signals)
		for _, m := range s.messages {
			require.LessOrEqual(a.t, len(m), session.DefaultMaxMessage)
			sent := sentMessage{s.ID(), string(m)}
			left[sent]--
			if !h.pieces[s.ID()] {
				require.GreaterOrEqual(a.t, left[sent], 0, "session %d got %d bytes that were not sent, or twice", s.ID(), len(m))
			}
		}
		c := s.Stats()
		require.GreaterOrEqual(a.t, c.Local.Received, uint64(len(s.messages)))
		require.LessOrEqual(a.t, c.Lost, c.Local.Sent)
		if c.Complete {
			require.Equal(a.t, c.Local.Sent, c.Lost+c.Remote.Received)
			require.Equal(a.t, c.Remote.Sent, c.LostIncoming+c.Local.Received)
		}
	}
}

func (a *application) wantCause(s *appSession) {
	var e *session.Error
	require.ErrorAs(a.t, s.Err(), &e)
	require.Equal(a.t, session.StateClosed, s.State())
	switch e.Cause {
	case session.CauseClosed, session.CauseAborted, session.CauseLinkClosed, session.CauseLinkLost, session.CauseTimeout:
	case session.CauseViolation:
		require.Equal(a.t, session.CodeViolation, e.Code)
		require.False(a.t, e.Remote)
		require.NotEmpty(a.t, e.Reason, "what was broken")
	default:
		require.Fail(a.t, "no such end can be", "%v", e)
	}
}

// requirePrefix checks that the signals begin one of the sequences that were
// sent.
func requirePrefix(t *testing.T, got [][]byte, sent [][][]byte) {
	t.Helper()
	if len(got) == 0 {
		return
	}
	for _, s := range sent {
		if len(got) <= len(s) && equalAll(got, s[:len(got)]) {
			return
		}
	}
	require.Fail(t, "signals that were not sent", "%q of %q", got, sent)
}
