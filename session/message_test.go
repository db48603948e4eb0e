package session

import (
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
)

func TestMessages(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		buf := []byte("one")
		require.NoError(t, p.a.Send(background, buf))
		copy(buf, "???") // the caller's again
		require.NoError(t, p.a.Send(background, nil))
		require.NoError(t, p.a.Send(background, make([]byte, DefaultMaxMessage)))
		for _, want := range []int{3, 0, DefaultMaxMessage} {
			m, err := p.b.Receive(background)
			require.NoError(t, err)
			require.Len(t, m, want)
			if want == 3 {
				require.Equal(t, "one", string(m))
			}
		}
	})
}

// Rule 14: messages above the peer's limit.
func TestRule14MessageTooLarge(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.Equal(t, DefaultMaxMessage, p.a.MaxMessageSize())
		err := p.a.Send(background, make([]byte, DefaultMaxMessage+1))
		require.EqualError(t, err, "session: message of 65537 bytes is above the peer's limit of 65536")
		p.client.set(func() { p.client.limits.MaxMessage = 1 << 20 })
		require.Equal(t, 1<<20, p.a.MaxMessageSize())
		require.Zero(t, p.a.Stats().Local.Pushed)
	})
}

func TestDatagramSize(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.NoError(t, p.a.Send(background, make([]byte, p.a.DatagramSize())))
		synctest.Wait()
		require.Equal(t, 1, p.client.sent, "it fits, whatever the number")
		require.NoError(t, p.a.Send(background, make([]byte, p.a.DatagramSize()+20)))
		synctest.Wait()
		require.Equal(t, 3, p.client.sent, "this one went in pieces")
	})
}

func TestSendWaitsForCtx(t *testing.T) {
	testPair(t, func(client, _ *testLink) { client.options.Queues.SendMessages = 1 }, func(t *testing.T, p *pair) {
		p.client.stick(true)
		require.NoError(t, p.a.Send(background, []byte("in QUIC's hands")))
		synctest.Wait()
		require.NoError(t, p.a.Send(background, []byte("queued")))
		ctx, cancel := context.WithTimeoutCause(background, time.Second, io.ErrNoProgress)
		defer cancel()
		require.Equal(t, io.ErrNoProgress, p.a.Send(ctx, []byte("full")))
		require.Equal(t, datagram.ErrQueueFull, p.a.SendWith(ctx, nil, SendOptions{Full: datagram.SendFail}))
		require.NoError(t, p.a.SendWith(ctx, []byte("newer"), SendOptions{Full: datagram.SendDropOldest}))
		p.client.stick(false)
		synctest.Wait()
		require.NoError(t, p.a.Send(ctx, nil), "room that is there beats ctx")
	})
}

func TestReceiveWaitsForCtx(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		ctx, cancel := context.WithTimeoutCause(background, time.Second, io.ErrNoProgress)
		defer cancel()
		_, err := p.b.Receive(ctx)
		require.Equal(t, io.ErrNoProgress, err)
		require.NoError(t, p.a.Send(background, []byte("there")))
		synctest.Wait()
		m, err := p.b.Receive(ctx)
		require.NoError(t, err, "a message that is there beats ctx")
		require.Equal(t, "there", string(m))
	})
}

// A context that was cancelled with another session's error is a context's
// error all the same.
func TestCtxWithASessionsErrorAsCause(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		ctx, cancel := context.WithCancelCause(background)
		cause := &Error{Cause: CauseClosed}
		cancel(cause)
		_, err := p.b.Receive(ctx)
		require.Same(t, cause, err)
	})
}

func TestPing(t *testing.T) {
	testPair(t, func(client, _ *testLink) { client.rtt = 30 * time.Millisecond }, func(t *testing.T, p *pair) {
		rtt, err := p.a.Ping(background)
		require.NoError(t, err)
		require.Equal(t, 30*time.Millisecond, rtt)
		ctx, cancel := context.WithTimeout(background, time.Millisecond)
		defer cancel()
		_, err = p.a.Ping(ctx)
		require.Equal(t, context.DeadlineExceeded, err)
	})
	for name, end := range map[string]func(p *pair){
		"link lost": func(p *pair) { p.client.fail(Error{Cause: CauseLinkLost}) },
		"aborted":   func(p *pair) { _ = p.b.Abort(0x100) },
	} {
		testPair(t, func(client, _ *testLink) { client.rtt = time.Hour }, func(t *testing.T, p *pair) {
			result := make(chan error, 1)
			go func() {
				_, err := p.a.Ping(background)
				result <- err
			}()
			synctest.Wait()
			end(p)
			err := <-result
			synctest.Wait()
			require.ErrorIs(t, err, p.a.Err(), name)
		})
	}
}

// Both sides send for a while over a link that loses, delays and refuses
// nothing twice; every message is accounted for in the end.
func TestStatsAreExactWithLoss(t *testing.T) {
	for seed := range uint64(5) {
		testPair(t, func(client, server *testLink) {
			for i, l := range []*testLink{client, server} {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				l.lose = func(int) bool { return rng.IntN(5) == 0 }
				l.delay = 15 * time.Millisecond
				l.rtt = 40 * time.Millisecond
				l.options.Queues.ReceiveMessages = 50
			}
		}, func(t *testing.T, p *pair) {
			p.aStream.slow(15 * time.Millisecond)
			p.bStream.slow(15 * time.Millisecond)
			rng := rand.New(rand.NewPCG(seed, 2))
			for range 200 {
				require.NoError(t, p.a.Send(background, make([]byte, rng.IntN(3000))))
				require.NoError(t, p.b.Send(background, make([]byte, rng.IntN(300))))
				if rng.IntN(4) == 0 {
					p.client.pass(time.Millisecond)
				}
			}
			if seed%2 == 0 {
				go func() { _ = p.b.Close(background) }()
			}
			_ = p.a.Close(background)
			<-p.a.Done()
			<-p.b.Done()
			a, b := p.a.Stats(), p.b.Stats()
			require.True(t, a.Complete)
			require.True(t, b.Complete)
			for _, s := range [][2]Stats{{a, b}, {b, a}} {
				mine, theirs := s[0], s[1]
				require.Equal(t, theirs.Local.Sent, mine.Remote.Sent)
				require.Equal(t, theirs.Local.End, mine.Remote.End)
				require.Equal(t, theirs.Local.Received, mine.Remote.Received)
				require.Equal(t, theirs.Local.Dropped, mine.Remote.Dropped)
				require.Equal(t, mine.Local.Sent-theirs.Local.Received, mine.Lost)
				require.Equal(t, mine.Lost, theirs.LostIncoming)
				require.NotZero(t, mine.Lost, "a fifth of the datagrams")
				require.Equal(t, mine.Local.Pushed, mine.Local.Sent+mine.Local.SendDrops.Total())
			}
			unread := 0
			for {
				if _, err := p.b.Receive(background); err != nil {
					break
				}
				unread++
			}
			require.EqualValues(t, b.Local.Received-b.Local.Dropped, unread, "what was received is there to be read")
			require.Equal(t, p.b.Stats().Remote, b.Remote, "final")
		})
	}
}

func TestReport(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		for range 7 {
			require.NoError(t, p.a.Send(background, nil))
		}
		synctest.Wait()
		p.rb.Report()
		synctest.Wait()
		st := p.a.Stats()
		require.EqualValues(t, 7, st.Remote.Received)
		require.Equal(t, time.Now(), st.RemoteTime)
		require.False(t, st.Complete)
		require.Zero(t, st.Lost)

		p.client.pass(time.Second)
		p.rb.Report()
		synctest.Wait()
		require.Equal(t, st.RemoteTime, p.a.Stats().RemoteTime, "no news, no REPORT")
		require.NoError(t, p.a.Close(background))
		p.rb.Report()
		<-p.b.Done()
		require.True(t, p.b.Stats().Complete)
	})
}

// A REPORT may be faster than QUIC's word that the message was handed over.
func TestReportBeforeSent(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.client.stick(true)
		require.NoError(t, p.a.Send(background, nil))
		synctest.Wait()
		require.Zero(t, p.a.Stats().Local.Sent)
		p.bStream.write(Report{Received: 1})
		synctest.Wait()
		require.NoError(t, p.a.Err())
		require.EqualValues(t, 1, p.a.Stats().Remote.Received)
		p.bStream.write(Report{Received: 2})
		synctest.Wait()
		require.ErrorIs(t, p.a.Err(), &Error{Cause: CauseViolation, Code: CodeViolation})
	})
}

// The peer's stream credit.
func TestCreditIsReleasedOnce(t *testing.T) {
	cases := map[string]struct {
		unread bool
		end    func(p *pair)
		before int // credits after the end
		read   func(p *pair)
	}{
		"nothing unread":      {false, func(p *pair) { _ = p.a.Close(background) }, 1, nil},
		"drained":             {true, func(p *pair) { _ = p.a.Close(background) }, 0, drain},
		"discarded by Close":  {true, func(p *pair) { _ = p.a.Close(background) }, 0, func(p *pair) { _ = p.b.Close(background) }},
		"discarded by Abort":  {true, func(p *pair) { _ = p.a.Close(background) }, 0, func(p *pair) { _ = p.b.Abort(0) }},
		"discarded by Conn":   {true, func(p *pair) { _ = p.a.Close(background) }, 0, func(p *pair) { _ = p.b.Conn().Close() }},
		"reset, drained":      {true, func(p *pair) { _ = p.a.Abort(0) }, 0, drain},
		"link lost, drained":  {true, func(p *pair) { p.server.fail(Error{Cause: CauseLinkLost}) }, 0, drain},
		"closed here":         {true, func(p *pair) { _ = p.b.Close(background) }, 1, drain},
		"aborted here":        {true, func(p *pair) { _ = p.b.Abort(0) }, 1, nil},
		"drained before":      {false, func(p *pair) { _ = p.a.Close(background) }, 1, drain},
		"violation, discards": {true, func(p *pair) { p.aStream.write(Open{}) }, 0, func(p *pair) { _ = p.b.Abort(0) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			testPair(t, nil, func(t *testing.T, p *pair) {
				if c.unread {
					require.NoError(t, p.a.Send(background, []byte("1")))
					require.NoError(t, p.a.Send(background, []byte("2")))
					synctest.Wait()
				}
				require.Zero(t, p.bStream.credits())
				c.end(p)
				<-p.b.Done()
				synctest.Wait()
				require.Equal(t, c.before, p.bStream.credits())
				if c.read != nil {
					c.read(p)
					c.read(p)
				}
				require.Equal(t, 1, p.bStream.credits(), "once")
				require.Zero(t, p.aStream.credits(), "a stream of our own gives the peer nothing")
			})
		})
	}
}

func drain(p *pair) {
	for {
		if _, err := p.b.Receive(background); err != nil {
			return
		}
	}
}

// Every sixteenth session sends a frame of a reserved type behind its first.
func TestReservedFrames(t *testing.T) {
	testLinks(t, func(t *testing.T, client, server *testLink) {
		for range 2 * reservedEvery {
			r, _, theirs := client.dialRaw(Open{})
			id := r.Session().ID()
			want := Open{}.Append(nil)
			if id%reservedEvery == 0 {
				want = Unknown{Type: ReservedType(id / reservedEvery)}.Append(want)
			}
			got := make([]byte, 100)
			synctest.Wait()
			n, err := theirs.Read(got)
			require.NoError(t, err)
			require.Equal(t, want, got[:n], "in one piece")
		}
		// And peers skip them anywhere behind the first.
		r, _, peer := client.dialRaw(Open{})
		peer.write(Accept{}, Unknown{Type: ReservedType(9), Value: make([]byte, 1000)}, Signal{Payload: []byte("x")})
		require.NoError(t, r.WaitOpen(background))
		got, err := r.Session().ReceiveSignal(background)
		require.NoError(t, err)
		require.Equal(t, "x", string(got))
	})
}

// A datagram that breaks the protocol costs its session.
func TestRule05ViolationInADatagram(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.client.handle(datagram.AppendFragment(nil, 1000, datagram.Fragment{Session: p.a.ID(), Total: DefaultMaxMessage + 1, Payload: []byte("x")}))
		wantChan(t, p.a.Done(), true, "torn")
		require.ErrorIs(t, p.a.Err(), &Error{Cause: CauseViolation, Code: CodeViolation})
		require.ErrorIs(t, p.b.Err(), &Error{Cause: CauseAborted, Code: CodeViolation, Remote: true})
	})
}

// A session's place is kept while signals of it wait to be taken, and while
// something holds it.
func TestCreditIsKept(t *testing.T) {
	t.Run("for signals", func(t *testing.T) {
		testPair(t, nil, func(t *testing.T, p *pair) {
			for range 2 {
				go func() { _ = p.a.Signal(t.Context(), []byte("read me")) }()
			}
			synctest.Wait()
			require.NoError(t, p.a.Close(t.Context()))
			<-p.b.Done()
			synctest.Wait()
			for range 2 {
				require.Zero(t, p.bStream.credits(), "unread signals wait")
				_, err := p.b.ReceiveSignal(t.Context())
				require.NoError(t, err)
			}
			require.Equal(t, 1, p.bStream.credits())
		})
	})
	t.Run("for a handler", func(t *testing.T) {
		testLinks(t, func(t *testing.T, client, server *testLink) {
			r, _, theirs := client.dial(Open{Protocol: "p"})
			in := <-server.offered
			release, ok := Hold(in)
			require.True(t, ok)
			r.GiveUp(t.Context())
			synctest.Wait()
			require.Zero(t, theirs.credits(), "its handler still runs")
			release()
			require.Equal(t, 1, theirs.credits())
			_, ok = Hold(in)
			require.False(t, ok, "its place is given to another")
		})
	})
}
