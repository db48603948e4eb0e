package session

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
)

func TestAccept(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		r, _, _ := client.dial(Open{Protocol: "chat", Metadata: []byte("hello")})
		in := <-server.offered
		require.Equal(t, "chat", in.Protocol())
		require.Equal(t, "hello", string(in.Metadata()))
		require.Equal(t, server.RemoteAddr(), in.RemoteAddr())
		require.Equal(t, server.LocalAddr(), in.LocalAddr())
		id, ok := in.RemoteID()
		require.True(t, ok)
		require.EqualValues(t, 1, id[0])
		require.Equal(t, StateOpening, r.Session().State(), "the peer is not open before it knows")
		require.False(t, r.Live())

		b, err := in.Accept([]byte("welcome"))
		require.NoError(t, err)
		require.NoError(t, r.WaitOpen(background))
		a := r.Session()
		require.True(t, r.Live())
		for _, s := range []*Session{a, b} {
			require.Equal(t, StateOpen, s.State())
			require.Equal(t, "chat", s.Protocol())
			require.Equal(t, "hello", string(s.Metadata()))
			require.Equal(t, "welcome", string(s.AcceptMetadata()))
			require.EqualValues(t, 0, s.ID())
		}
		require.True(t, a.Opener())
		require.False(t, b.Opener())
		id, ok = b.RemoteID()
		require.True(t, ok)
		require.EqualValues(t, 1, id[0])
	})
}

func TestReject(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		r, mine, theirs := client.dial(Open{})
		require.NoError(t, (<-server.offered).Reject(0x404, "not here", 1500*time.Millisecond))
		want := &Error{Cause: CauseRejected, Code: 0x404, Reason: "not here", RetryAfter: 1500 * time.Millisecond, Remote: true, Confirmed: true}
		require.Equal(t, want, r.WaitOpen(background))
		synctest.Wait()
		require.Len(t, client.finished, 1)
		rejected := <-server.finished
		require.False(t, rejected.Live())
		require.ErrorIs(t, rejected.Session().Err(), &Error{Cause: CauseRejected, Code: 0x404})
		require.Equal(t, 1, theirs.credits(), "the peer may open another one at once")
		require.Zero(t, mine.credits())
	})
}

func TestAnswersAreChecked(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		client.dial(Open{})
		in := <-server.offered
		_, err := in.Accept(make([]byte, MaxOpenContent+1))
		var frame *FrameError
		require.ErrorAs(t, err, &frame)
		var code *InvalidCodeError
		require.ErrorAs(t, in.Reject(MaxCode+1, "", 0), &code)
		var reason *ReasonTooLongError
		require.ErrorAs(t, in.Reject(0, strings.Repeat("x", MaxReason+1), 0), &reason)
		_, err = in.Accept(make([]byte, MaxOpenContent))
		require.NoError(t, err, "none of these was an answer")
		_, err = in.Accept(nil)
		require.Equal(t, ErrAnswered, err)
		require.Equal(t, ErrAnswered, in.Reject(0, "", 0))
	})
}

func TestWithdrawn(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(r *Runner, client, server *testLink)
		want Error
	}{
		"the dialer gives up": {func(r *Runner, _, _ *testLink) {
			ctx, cancel := context.WithCancel(background)
			cancel()
			require.Equal(t, context.Canceled, r.WaitOpen(ctx))
		}, Error{Cause: CauseClosed, Code: CodeCancelled, Reason: "the dialer gave up", Remote: true, Confirmed: true}},
		"reset":     {func(r *Runner, _, _ *testLink) { _ = r.Session().Abort(0x100) }, Error{Cause: CauseAborted, Code: 0x100, Remote: true, Confirmed: true}},
		"link lost": {func(_ *Runner, _, server *testLink) { server.fail(Error{Cause: CauseLinkLost}) }, Error{Cause: CauseLinkLost}},
	} {
		t.Run(name, func(t *testing.T) {
			testLinks(t, func(t *testing.T, client, server *testLink) {
				r, _, theirs := client.dial(Open{})
				in := <-server.offered
				c.end(r, client, server)
				synctest.Wait()
				require.Same(t, in, <-server.withdrawn, "the backlog gives its place back")
				for range 2 {
					_, err := in.Accept(nil)
					if errors.Is(err, ErrAnswered) {
						return // the first answer was one
					}
					require.ErrorIs(t, err, ErrWithdrawn)
					var e *Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, c.want, *e)
					require.ErrorContains(t, err, e.Error())
				}
				require.Equal(t, 1, theirs.credits())
			})
		})
	}
}

// The link must not hear of the end of an offer before the offer.
func TestWithdrawnInOrder(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		server.offered = make(chan *Incoming) // Offer takes its time
		r, _, peer := server.arriveRaw()
		peer.write(Open{})
		synctest.Wait()
		r.LinkLost(Error{Cause: CauseLinkLost})
		synctest.Wait()
		require.Empty(t, server.withdrawn)
		require.Empty(t, server.finished)
		in := <-server.offered
		synctest.Wait()
		require.Same(t, in, <-server.withdrawn)
		require.Len(t, server.finished, 1)
	})
}

// A frame may arrive at the very moment of the answer.
func TestFramesWhileAccepting(t *testing.T) {
	for range 20 {
		testLinks(t, func(t *testing.T, client, server *testLink) {
			_, _, peer := server.arriveRaw()
			peer.write(Open{})
			in := <-server.offered
			go peer.write(Report{})
			if s, err := in.Accept(nil); err == nil {
				_ = s.Stats()
			}
		})
	}
}

func TestWaitOpen(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		r, _, peer := client.dialRaw(Open{Protocol: "p"})
		ctx, cancel := context.WithTimeoutCause(background, time.Second, io.ErrNoProgress)
		defer cancel()
		start := time.Now()
		require.Equal(t, io.ErrNoProgress, r.WaitOpen(ctx), "the cause of ctx")
		require.Equal(t, time.Second, time.Since(start), "it does not wait for the outcome")
		peer.want(t, Open{Protocol: "p"}, "")
		peer.want(t, Close{Code: CodeCancelled, Reason: "the dialer gave up"}, "the OPEN is taken back")
		peer.wantEnd(t, &ResetError{Code: CodeCancelled}, "bounded")
		require.Equal(t, closeTimeout, time.Since(start)-time.Second)
		wantChan(t, r.Session().Done(), true, "")
	})
	testLinks(t, func(t *testing.T, client, server *testLink) {
		r, _, peer := client.dialRaw(Open{})
		peer.write(Accept{}, Close{Code: 0x100})
		synctest.Wait()
		ctx, cancel := context.WithCancel(background)
		cancel()
		require.NoError(t, r.WaitOpen(ctx), "an answer that is there beats ctx, and also a close after it")
		require.ErrorIs(t, r.Session().Err(), &Error{Cause: CauseClosed, Code: 0x100, Remote: true})
	})
}

// Rule 1: messages that come before their session was accepted.
func TestRule01EarlyMessages(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		r, _, _ := client.dial(Open{})
		require.NoError(t, r.Session().Send(background, []byte("early")))
		synctest.Wait()
		s, err := (<-server.offered).Accept(nil)
		require.NoError(t, err)
		m, err := s.Receive(background)
		require.NoError(t, err)
		require.Equal(t, "early", string(m))

		r, _, _ = client.dial(Open{})
		require.NoError(t, r.Session().Send(background, []byte("in vain")))
		synctest.Wait()
		require.NoError(t, (<-server.offered).Reject(CodeRefused, "", 0))
		synctest.Wait()
		require.EqualValues(t, 1, server.mux.Counts().MessageDrops[datagram.ReasonEarlyDiscarded])
	})
}

func TestRule02NoOpenInTime(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		r, mine, peer := server.arriveRaw()
		peer.write(Open{})
		<-server.offered
		slow, _, _ := server.arriveRaw()
		server.pass(openTimeout - 1)
		wantChan(t, slow.Session().Done(), false, "it has ten seconds")
		server.pass(time.Nanosecond)
		wantChan(t, slow.Session().Done(), true, "reset")
		require.Same(t, slow.Session(), (<-server.finished).Session())
		require.Zero(t, mine.credits(), "the other one still waits for its answer")
		require.Equal(t, StateIncoming, r.Session().State())
	})
}

func TestRule04FINFromTheAcceptor(t *testing.T) {
	testLinks(t, func(t *testing.T, client, _ *testLink) {
		r, _, peer := client.dialRaw(Open{})
		peer.CloseWrite()
		require.ErrorIs(t, r.WaitOpen(background), &Error{Cause: CauseRejected, Code: CodeInternal, Remote: true})
	})
}

func TestRule05ViolationsOnTheStream(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"unknown frame first": {0x17, 0x00},
		"frame too long":      {0x10, 0x80, 0x01, 0x00, 0x00},
		"malformed":           {0x10, 0x01, 0x40},
		"not an OPEN":         SignalAck{}.Append(nil),
		"OPEN twice":          Open{}.Append(Open{}.Append(nil)),
	} {
		testLinks(t, func(t *testing.T, _, server *testLink) {
			r, _, peer := server.arriveRaw()
			_, _ = peer.Write(bytes)
			peer.wantEnd(t, &ResetError{Code: CodeViolation}, name)
			require.Equal(t, CauseViolation, r.Session().Err().(*Error).Cause)
			require.NotEmpty(t, r.Session().Err().(*Error).Reason)
		})
	}
	testLinks(t, func(t *testing.T, _, server *testLink) {
		_, _, peer := server.arriveRaw()
		_, _ = peer.Write([]byte{0x10, 0x05, 0x00})
		peer.CloseWrite()
		peer.wantEnd(t, &ResetError{Code: CodeViolation}, "FIN inside a frame")
	})
}

func TestGiveUp(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		// Without OPEN.
		r, _, peer := server.arriveRaw()
		r.GiveUp(background)
		peer.wantEnd(t, &ResetError{Code: CodeGoingAway}, "no OPEN yet")

		// Offered.
		opener, _, _ := client.dial(Open{})
		in := <-server.offered
		server.runners[opener.Session().ID()].GiveUp(background)
		require.ErrorIs(t, opener.WaitOpen(background), &Error{Cause: CauseRejected, Code: CodeInternal, Remote: true},
			"an application has seen it: it must not be opened elsewhere")
		_, err := in.Accept(nil)
		require.Equal(t, ErrAnswered, err, "it was answered for the application")

		// Opening.
		opener, _, _ = client.dial(Open{})
		in = <-server.offered
		opener.GiveUp(background)
		require.ErrorIs(t, opener.Session().Err(), &Error{Cause: CauseClosed, Code: CodeCancelled})
		require.Same(t, in, <-server.withdrawn)

		// Accepted in the same moment.
		opener, _, _ = client.dial(Open{})
		s, err := (<-server.offered).Accept(nil)
		require.NoError(t, err)
		server.runners[s.ID()].GiveUp(background)
		require.ErrorIs(t, opener.Session().Err(), &Error{Cause: CauseClosed, Code: CodeGoingAway, Remote: true})
		opener.GiveUp(background)
	})
}

// An endpoint that shuts down while the peer closes leaves the application
// what had arrived.
func TestRunnerCloseWithKeepsWhatIsUnread(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.NoError(t, p.b.Send(background, []byte("last words")))
		require.NoError(t, p.b.CloseWithError(background, 0x200, "first"))
		want := &Error{Cause: CauseClosed, Code: 0x200, Remote: true}
		require.ErrorIs(t, p.ra.CloseWith(background, CodeNormal, "shutdown"), want)
		message, err := p.a.Receive(background)
		require.NoError(t, err)
		require.Equal(t, "last words", string(message))
		_, err = p.a.Receive(background)
		require.ErrorIs(t, err, want)
	})
}

func TestRunnerCloseWith(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.False(t, p.ra.Unproven())
		require.NoError(t, p.ra.CloseWith(background, CodeGoingAway, "shutdown"))
		require.ErrorIs(t, p.b.Err(), &Error{Cause: CauseClosed, Code: CodeGoingAway, Remote: true})
		synctest.Wait()
		require.True(t, p.ra.Unproven(), "DONE was the last word")
		require.False(t, p.rb.Unproven(), "the peer's FIN came after it")
	})
}
