package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
)

var background = context.Background()

// wantEnded: every call on s returns the cause, which is e.
func wantEnded(t *testing.T, s *Session, e Error, why string) {
	t.Helper()
	require.Equal(t, &e, s.Err(), why)
	for name, err := range callAll(s) {
		require.Same(t, s.Err(), err, "%s: %s", why, name)
	}
}

// callAll calls everything that fails once the session has ended and nothing
// is left to read.
func callAll(s *Session) map[string]error {
	errs := map[string]error{
		"Send":     s.Send(background, []byte("x")),
		"SendWith": s.SendWith(background, nil, SendOptions{Full: datagram.SendDropOldest}),
		"Signal":   s.Signal(background, []byte("x")),
	}
	_, errs["Receive"] = s.Receive(background)
	_, errs["ReceiveSignal"] = s.ReceiveSignal(background)
	_, errs["Ping"] = s.Ping(background)
	errs["Snapshot"] = s.Snapshot().Err
	if s.State() == StateClosed {
		_, errs["WaitChange"] = s.WaitChange(background, s.Snapshot())
	}
	return errs
}

func TestCloseIsConfirmed(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.NoError(t, p.a.CloseWithError(background, 0x100, "bye"))
		wantEnded(t, p.b, Error{Cause: CauseClosed, Code: 0x100, Reason: "bye", Remote: true, Confirmed: true},
			"when Close returns, the peer's session knows")
		<-p.a.Done()
		wantEnded(t, p.a, Error{Cause: CauseClosed, Code: 0x100, Reason: "bye", Confirmed: true}, "this side too")
		require.ErrorIs(t, p.a.Err(), net.ErrClosed)
		require.NotErrorIs(t, p.b.Err(), net.ErrClosed)
		<-p.b.Done()
		require.True(t, p.a.Stats().Complete)
		require.True(t, p.b.Stats().Complete)
		require.Same(t, p.a, (<-p.client.finished).Session())
		require.Same(t, p.b, (<-p.server.finished).Session())
	})
}

func TestCloseChecksItsArguments(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		var code *InvalidCodeError
		require.ErrorAs(t, p.a.CloseWithError(background, CodeViolation, ""), &code)
		require.ErrorAs(t, p.a.CloseWithError(background, MaxCode+1, ""), &code)
		require.ErrorAs(t, p.a.Abort(0xff), &code)
		require.ErrorContains(t, code, "0xff")
		var reason *ReasonTooLongError
		require.ErrorAs(t, p.a.CloseWithError(background, 0, strings.Repeat("x", MaxReason+1)), &reason)
		require.Equal(t, StateOpen, p.a.State(), "nothing was done")
		require.NoError(t, p.a.CloseWithError(background, MaxCode, strings.Repeat("x", MaxReason)))
	})
}

func TestCloseAgain(t *testing.T) {
	ends := map[string]struct {
		end  func(*pair)
		want *Error // what Close returns on side a from then on
	}{
		"closed":          {func(p *pair) { require.NoError(p.t, p.a.Close(background)) }, nil},
		"closed by peer":  {func(p *pair) { require.NoError(p.t, p.b.CloseWithError(background, 0x200, "")) }, &Error{Cause: CauseClosed, Code: 0x200, Remote: true}},
		"aborted":         {func(p *pair) { require.NoError(p.t, p.a.Abort(0x300)) }, &Error{Cause: CauseAborted, Code: 0x300}},
		"aborted by peer": {func(p *pair) { require.NoError(p.t, p.b.Abort(0x300)); synctest.Wait() }, &Error{Cause: CauseAborted, Code: 0x300, Remote: true}},
		"link lost":       {func(p *pair) { p.client.fail(Error{Cause: CausePeerRestarted}) }, &Error{Cause: CausePeerRestarted}},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			testPair(t, nil, func(t *testing.T, p *pair) {
				end.end(p)
				for range 3 {
					for _, close := range []func() error{
						func() error { return p.a.Close(background) },
						func() error { return p.a.CloseWithError(background, 0x999, "again") },
						func() error { return p.a.Conn().Close() },
					} {
						err := close()
						if end.want == nil {
							require.NoError(t, err)
						} else if name != "closed by peer" || err != nil {
							require.ErrorIs(t, err, end.want)
						}
					}
					require.NoError(t, p.a.Abort(0), "nothing is left to abort")
				}
			})
		})
	}
}

func TestSeveralClosers(t *testing.T) {
	testPair(t, func(client, server *testLink) { client.delay, server.delay = time.Second, time.Second }, func(t *testing.T, p *pair) {
		p.aStream.slow(time.Second)
		p.bStream.slow(time.Second)
		start := time.Now()
		errs := make(chan error, 8)
		for i := range cap(errs) {
			go func() { errs <- p.a.CloseWithError(background, Code(0x100+i), "") }()
		}
		for range cap(errs) {
			require.NoError(t, <-errs, "all wait for the same result")
		}
		require.Equal(t, 2*time.Second, time.Since(start), "one round trip")
		require.Equal(t, p.a.Err().(*Error).Code, p.b.Err().(*Error).Code, "one of them has decided the code")
	})
}

func TestLaterCloserGivesUp(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.aStream.slow(3 * time.Second)
		first := make(chan error, 1)
		go func() { first <- p.a.Close(background) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		err := p.a.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, CauseTimeout, err.(*Error).Cause)
		require.Equal(t, StateClosing, p.a.State(), "the first close goes on")
		require.NoError(t, <-first)
	})
}

func TestCloseWithoutAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		ctx  func() (context.Context, context.CancelFunc)
		want time.Duration
		err  error
	}{
		"no deadline": {func() (context.Context, context.CancelFunc) { return context.WithCancel(background) }, 5 * time.Second, context.DeadlineExceeded},
		"deadline":    {func() (context.Context, context.CancelFunc) { return context.WithTimeout(background, time.Second) }, time.Second, context.DeadlineExceeded},
		"longer":      {func() (context.Context, context.CancelFunc) { return context.WithTimeout(background, time.Minute) }, time.Minute, context.DeadlineExceeded},
		"cancelled": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(background)
			time.AfterFunc(2*time.Second, cancel)
			return ctx, cancel
		}, 2 * time.Second, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			testLinks(t, func(t *testing.T, client, _ *testLink) {
				r, _, peer := client.dialRaw(Open{})
				peer.write(Accept{})
				require.NoError(t, r.WaitOpen(background))
				ctx, cancel := c.ctx()
				defer cancel()
				start := time.Now()
				err := r.Session().CloseWithError(ctx, 0x123, "bye")
				require.Equal(t, c.want, time.Since(start))
				require.ErrorIs(t, err, &Error{Cause: CauseTimeout, Code: 0x123})
				require.ErrorIs(t, err, c.err)
				require.Equal(t, &Error{Cause: CauseClosed, Code: 0x123, Reason: "bye"}, r.Session().Err(), "not confirmed")
				synctest.Wait()
				peer.wantEnd(t, &ResetError{Code: 0x123}, "an abort with CLOSE's code")
				require.ErrorIs(t, r.Session().Close(background), err, "asked again, the same")
			})
		})
	}
}

// What is queued goes out before CLOSE.
func TestCloseHandsTheQueueOver(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.client.stick(true)
		for i := range 10 {
			require.NoError(t, p.a.Send(background, fmt.Appendf(nil, "%d", i)))
		}
		time.AfterFunc(time.Second, func() { p.client.stick(false) })
		require.NoError(t, p.a.Close(background))
		for i := range 10 {
			m, err := p.b.Receive(background)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(m))
		}
		<-p.b.Done()
		require.EqualValues(t, 10, p.b.Stats().Remote.Sent)
		require.Zero(t, p.b.Stats().LostIncoming)
	})
}

// At most half of the time goes into handing over; the rest is for CLOSE.
func TestCloseDropsWhatItCannotHandOver(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.client.stick(true)
		require.NoError(t, p.a.Send(background, []byte("in QUIC's hands")))
		synctest.Wait()
		for range 9 {
			require.NoError(t, p.a.Send(background, []byte("queued")))
		}
		time.AfterFunc(3*time.Second, func() { p.client.stick(false) })
		start := time.Now()
		require.NoError(t, p.a.Close(background))
		require.Equal(t, 3*time.Second, time.Since(start).Truncate(time.Second))
		<-p.a.Done()
		<-p.b.Done()
		st := p.a.Stats()
		require.True(t, st.Complete)
		require.EqualValues(t, 1, st.Local.Sent, "the rest was dropped after half the time")
		require.EqualValues(t, 9, st.Local.SendDrops.Total())
		require.Zero(t, st.Lost, "what was never sent is not lost")
	})
}

func TestCloseBehindAStuckQueueIsBounded(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.client.stick(true)
		require.NoError(t, p.a.Send(background, []byte("stuck")))
		start := time.Now()
		require.ErrorIs(t, p.a.Close(background), &Error{Cause: CauseTimeout})
		require.Equal(t, closeTimeout, time.Since(start))
		<-p.a.Done()
	})
}

func TestWhatHadArrivedStaysReadable(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		go func() { _ = p.a.Signal(background, []byte("signal")) }()
		require.NoError(t, p.a.Send(background, []byte("message")))
		synctest.Wait()
		require.NoError(t, p.a.CloseWithError(background, 0x100, ""))
		<-p.b.Done()
		require.Error(t, p.b.Err())
		m, err := p.b.Receive(background)
		require.NoError(t, err)
		require.Equal(t, "message", string(m))
		m, err = p.b.ReceiveSignal(background)
		require.NoError(t, err)
		require.Equal(t, "signal", string(m))
		wantEnded(t, p.b, *p.b.Err().(*Error), "then the cause")
	})
}

// blockedCalls starts every call that can wait, on a session whose queue is
// stuck, and returns what they will return.
func blockedCalls(t *testing.T, s *Session) map[string]chan error {
	t.Helper()
	errs := map[string]chan error{}
	start := func(name string, f func() error) {
		c := make(chan error, 1)
		errs[name] = c
		go func() { c <- f() }()
	}
	require.NoError(t, s.Send(background, nil))
	synctest.Wait() // it is in QUIC's hands, and stays there
	for s.SendWith(background, nil, SendOptions{Full: datagram.SendFail}) == nil {
	}
	start("Send", func() error { return s.Send(background, []byte("full")) })
	start("Receive", func() error { _, err := s.Receive(background); return err })
	start("ReceiveSignal", func() error { _, err := s.ReceiveSignal(background); return err })
	for i := range DefaultMaxSignals + 2 {
		start(fmt.Sprint("Signal ", i), func() error { return s.Signal(background, nil) })
		synctest.Wait()
	}
	synctest.Wait()
	for name, c := range errs {
		select {
		case err := <-c:
			t.Fatalf("%s returned at once: %v", name, err)
		default:
		}
	}
	return errs
}

// Rule 16: all calls return the same cause.
func TestRule16BlockedCallsReturnTheCause(t *testing.T) {
	for name, end := range map[string]func(p *pair){
		"closed by peer":  func(p *pair) { _ = p.b.CloseWithError(background, 0x200, "enough") },
		"aborted":         func(p *pair) { require.NoError(p.t, p.a.Abort(0x200)) },
		"aborted by peer": func(p *pair) { require.NoError(p.t, p.b.Abort(0x200)) },
		"link lost":       func(p *pair) { p.client.fail(Error{Cause: CauseLinkLost}) },
		"violation":       func(p *pair) { p.bStream.write(Open{}) },
		"datagram":        func(p *pair) { p.ra.Violation("a fragment that lies") },
		"FIN":             func(p *pair) { p.bStream.CloseWrite() },
		"closed":          func(p *pair) { go func() { _ = p.a.Close(background) }() },
	} {
		t.Run(name, func(t *testing.T) {
			testPair(t, nil, func(t *testing.T, p *pair) {
				p.client.stick(true)
				errs := blockedCalls(t, p.a)
				end(p)
				synctest.Wait()
				p.client.stick(false)
				<-p.a.Done()
				for call, c := range errs {
					err := <-c
					if name == "closed" {
						// Those that return before the peer has confirmed
						// cannot know that it will.
						var e *Error
						require.ErrorAs(t, err, &e, call)
						require.ErrorIs(t, e, p.a.Err(), call)
						continue
					}
					if strings.HasPrefix(call, "Signal") {
						var signal *SignalError
						require.ErrorAs(t, err, &signal, call)
						err = signal.Cause
					}
					require.Same(t, p.a.Err(), err, call)
				}
				for call, err := range callAll(p.a) {
					require.Same(t, p.a.Err(), err, call)
				}
			})
		})
	}
}

func TestAbort(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.NoError(t, p.a.Send(background, []byte("lost or not")))
		require.NoError(t, p.b.Send(background, []byte("unread")))
		synctest.Wait()
		require.NoError(t, p.a.Abort(0x321))
		wantChan(t, p.a.Done(), true, "at once")
		wantChan(t, p.b.Done(), true, "the peer learns it")
		wantEnded(t, p.a, Error{Cause: CauseAborted, Code: 0x321}, "what was unread is discarded")
		require.ErrorIs(t, p.a.Err(), net.ErrClosed)
		require.Equal(t, &Error{Cause: CauseAborted, Code: 0x321, Remote: true, Confirmed: true}, p.b.Err())
		require.False(t, p.a.Stats().Complete)
		require.EqualValues(t, 1, p.a.Stats().Local.ReceiveDrops.Total())
		require.Len(t, p.client.finished, 1)
		require.Len(t, p.server.finished, 1)
	})
}

func TestAbortByHalves(t *testing.T) {
	for name, tear := range map[string]func(*testStream){
		"RESET_STREAM": func(s *testStream) { s.resetWrite(0x321) },
		"STOP_SENDING": func(s *testStream) { s.stopReading(0x321) },
	} {
		t.Run(name, func(t *testing.T) {
			testPair(t, nil, func(t *testing.T, p *pair) {
				tear(p.bStream)
				wantChan(t, p.a.Done(), true, "either half ends the session")
				require.Equal(t, &Error{Cause: CauseAborted, Code: 0x321, Remote: true, Confirmed: true}, p.a.Err())
				wantChan(t, p.b.Done(), true, "and is answered by the other")
				require.NotNil(t, p.bStream.in.reset, "both directions are over")
				require.NotNil(t, p.bStream.out.reset)
			})
		})
	}
}

func TestAbortCutsACloseShort(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.aStream.slow(time.Second)
		result := make(chan error, 1)
		go func() { result <- p.a.CloseWithError(background, 0x100, "") }()
		synctest.Wait()
		require.NoError(t, p.a.Abort(0x200))
		require.ErrorIs(t, <-result, &Error{Cause: CauseAborted, Code: 0x200}, "Close learns that nothing is promised")
		require.ErrorIs(t, p.a.Err(), &Error{Cause: CauseClosed, Code: 0x100}, "the first cause stays")
	})
}

// Abort after the peer's close must not cost the peer its confirmation.
func TestAbortAfterPeersCloseLetsItEnd(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.aStream.slow(100 * time.Millisecond)
		p.bStream.slow(100 * time.Millisecond)
		require.NoError(t, p.b.Send(background, []byte("unread")))
		result := make(chan error, 1)
		go func() { result <- p.b.Close(background) }()
		for p.a.Err() == nil {
			_, err := p.a.WaitChange(background, p.a.Snapshot())
			require.NoError(t, err)
		}
		require.NoError(t, p.a.Abort(0x100))
		_, err := p.a.Receive(background)
		require.Same(t, p.a.Err(), err, "what was unread is gone")
		require.NoError(t, <-result)
		<-p.a.Done()
		<-p.b.Done()
		require.True(t, p.a.Stats().Complete)
		require.True(t, p.b.Stats().Complete)
	})
}

func TestCrossedClosesAtOnce(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.aStream.slow(50 * time.Millisecond)
		p.bStream.slow(50 * time.Millisecond)
		require.NoError(t, p.a.Send(background, []byte("1")))
		require.NoError(t, p.b.Send(background, []byte("2")))
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, p.a.CloseWithError(background, 0x100, "a")) })
		wg.Go(func() { require.NoError(t, p.b.CloseWithError(background, 0x200, "b")) })
		wg.Wait()
		<-p.a.Done()
		<-p.b.Done()
		require.Equal(t, &Error{Cause: CauseClosed, Code: 0x100, Reason: "a", Confirmed: true}, p.a.Err())
		require.Equal(t, &Error{Cause: CauseClosed, Code: 0x200, Reason: "b", Confirmed: true}, p.b.Err())
		for _, s := range []*Session{p.a, p.b} {
			require.True(t, s.Stats().Complete)
			require.Zero(t, s.Stats().Lost)
		}
	})
}

// Stragglers: CLOSE overtakes the last messages.
func TestStragglersAreAwaited(t *testing.T) {
	testPair(t, func(client, server *testLink) {
		client.delay = 60 * time.Millisecond
		server.rtt = 200 * time.Millisecond // a grace of 100 ms
	}, func(t *testing.T, p *pair) {
		for range 20 {
			require.NoError(t, p.a.Send(background, []byte("late but in time")))
		}
		start := time.Now()
		require.NoError(t, p.a.Close(background))
		require.Equal(t, 60*time.Millisecond, time.Since(start).Truncate(time.Millisecond), "no longer than they take")
		<-p.a.Done()
		require.Zero(t, p.a.Stats().Lost)
		require.EqualValues(t, 20, p.a.Stats().Remote.Received)
	})
}

func TestStragglersComeTooLate(t *testing.T) {
	testPair(t, func(client, server *testLink) {
		client.delay = 300 * time.Millisecond
		server.rtt = 200 * time.Millisecond
	}, func(t *testing.T, p *pair) {
		require.NoError(t, p.a.Send(background, []byte("too late")))
		start := time.Now()
		require.NoError(t, p.a.Close(background))
		require.Equal(t, 100*time.Millisecond, time.Since(start), "the grace")
		<-p.a.Done()
		<-p.b.Done()
		require.EqualValues(t, 1, p.a.Stats().Lost)
		require.EqualValues(t, 1, p.b.Stats().LostIncoming)
		_, err := p.b.Receive(background)
		require.Same(t, p.b.Err(), err, "not delivered")
		p.client.pass(time.Second)
		require.EqualValues(t, 1, p.server.mux.Counts().MessageDrops.Total(), "counted")
	})
}

// A message that comes between the freezing of the counts and the end of the
// session is counted late.
func TestLateIsCounted(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		r, _, peer := server.arriveRaw()
		peer.write(Open{})
		s, err := (<-server.offered).Accept(nil)
		require.NoError(t, err)
		peer.want(t, Accept{}, "accepted")
		flow := client.mux.Open(time.Now(), s.ID(), s.opts.Queues)
		require.NoError(t, flow.Push(background, time.Now(), []byte("in time"), SendOptions{}))
		synctest.Wait()
		peer.write(Close{Sent: 1, End: 1})
		peer.want(t, CloseAck{Received: 1}, "frozen")
		require.NoError(t, flow.Push(background, time.Now(), []byte("after CLOSE"), SendOptions{}))
		synctest.Wait()
		require.EqualValues(t, 1, s.Stats().Local.Late)
		require.EqualValues(t, 1, s.Stats().Local.Received)
		peer.write(Done{})
		peer.CloseWrite()
		peer.wantEnd(t, io.EOF, "over")
		<-r.Session().Done()
	})
}

func TestCloseNeverWaitsForTheReader(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		for range 100 {
			require.NoError(t, p.a.Send(background, []byte("unread")))
		}
		start := time.Now()
		require.NoError(t, p.a.Close(background))
		<-p.a.Done()
		<-p.b.Done()
		require.Less(t, time.Since(start), time.Millisecond)
	})
}

// A wall clock that jumps must not lose the timer.
func TestTimerThatFiresEarlyIsSetAgain(t *testing.T) {
	testLinks(t, func(t *testing.T, client, _ *testLink) {
		r, _, peer := client.dialRaw(Open{})
		peer.write(Accept{})
		require.NoError(t, r.WaitOpen(background))
		s := r.Session()
		go func() {
			client.pass(time.Second)
			s.mu.Lock()
			s.timer.Stop()
			s.mu.Unlock()
			s.timerFired()
		}()
		err := s.Close(background)
		require.ErrorIs(t, err, &Error{Cause: CauseTimeout})
		require.True(t, errors.Is(err, context.DeadlineExceeded))
	})
}
