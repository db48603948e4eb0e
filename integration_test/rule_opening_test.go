package integration_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// The tests named after rules show the rules of session/PROTOCOL.md, one by
// one, on whole endpoints: what the peer sees, and what the application sees.

// rawPair is an endpoint and a raw peer that has dialed it.
func rawPair(t *testing.T, n *network, c quicpeer.Config) (*peer, *rawPeer) {
	t.Helper()
	b := n.peer(t, "10.0.0.2:1000", c)
	h := n.raw(t, "10.0.0.1:1000")
	n.between(b.addr, h.addr, faults{delay: 10 * time.Millisecond})
	p := h.dial(b)
	n.arrive()
	b.wantLinks("the raw peer's", 1)
	return b, p
}

// mux returns the counts of an endpoint's only link.
func (p *peer) mux() datagram.MuxCounts {
	p.t.Helper()
	return p.wantLinks("the only one", 1)[0].Datagrams
}

// arrive lets what is on its way arrive, on paths of 10 ms.
func (n *network) arrive() { n.pass(15 * time.Millisecond) }

func TestRule01EarlyMessagesAreKept(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		p.message(0, "one")
		p.message(0, "two")
		n.arrive()
		require.Equal(t, 2, b.mux().EarlyHeld, "before their OPEN")
		s := p.open(session.Open{Protocol: simProto})
		n.arrive()
		p.message(s.id, "three")
		n.arrive()
		require.Equal(t, 3, b.mux().EarlyHeld, "before it is accepted")
		accepted := b.accept()
		for _, want := range []string{"one", "two", "three"} {
			m, err := accepted.Receive(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, string(m), "in order")
		}
	})
}

func TestRule01EarlyBounds(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		for range 70 {
			p.message(0, "early")
			n.pass(time.Millisecond)
		}
		n.arrive()
		c := b.mux()
		require.Equal(t, 64, c.EarlyHeld)
		require.EqualValues(t, 6, c.MessageDrops[datagram.ReasonEarlyFull])
		n.pass(time.Second)
		p.message(2, "of another session")
		n.arrive()
		c = b.mux()
		require.Equal(t, 1, c.EarlyHeld, "a second later")
		require.EqualValues(t, 64, c.MessageDrops[datagram.ReasonEarlyExpired])
		n.pass(time.Second)
		for range 60 {
			p.message(0, strings.Repeat("x", 1190))
			n.pass(time.Millisecond)
		}
		n.arrive()
		c = b.mux()
		require.Equal(t, 65536/1190, c.EarlyHeld, "64 KiB")
		require.EqualValues(t, 6+60-c.EarlyHeld, c.MessageDrops[datagram.ReasonEarlyFull])
	})
}

func TestRule01RejectDiscardsEarly(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s := p.open(session.Open{Protocol: simProto})
		p.message(s.id, "early")
		n.arrive()
		require.Equal(t, 1, b.mux().EarlyHeld)
		require.NoError(t, b.incoming().Reject(session.CodeRefused, "no", 0))
		require.Zero(t, b.mux().EarlyHeld)
		require.EqualValues(t, 1, b.mux().MessageDrops[datagram.ReasonEarlyDiscarded])
	})
}

// An id is late only once its stream has ended, and never early again.
func TestRule01LateOnlyAfterTheEnd(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		first, second := p.open(), p.open(session.Open{Protocol: simProto})
		n.arrive()
		require.EqualValues(t, 0, first.id)
		p.message(first.id, "its stream has not even begun at b")
		n.arrive()
		require.Equal(t, 1, b.mux().EarlyHeld, "a higher stream is there, which says nothing about this one")
		require.NoError(t, b.incoming().Reject(session.CodeRefused, "no", 0))
		second.want("rejected", session.Reject{Code: session.CodeRefused, Reason: "no"})
		require.NoError(t, second.Close())
		n.arrive()
		p.message(second.id, "late")
		n.arrive()
		require.Equal(t, 1, b.mux().EarlyHeld)
		require.EqualValues(t, 1, b.mux().MessageDrops[datagram.ReasonLate])
		p.message(first.id, "nor is it late, now that a higher one is over")
		n.arrive()
		require.Equal(t, 2, b.mux().EarlyHeld)
		first.write(session.Open{Protocol: simProto})
		m, err := b.accept().Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "its stream has not even begun at b", string(m))
	})
}

func TestRule01OwnParityNeverOpened(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		p.message(1, "b is the server, but has opened nothing")
		n.arrive()
		require.Zero(t, b.mux().EarlyHeld)
		require.EqualValues(t, 1, b.mux().MessageDrops[datagram.ReasonUnknownSession])
	})
}

func TestRule01MalformedDatagrams(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s1, r1 := p.openAccepted(b)
		s2, r2 := p.openAccepted(b)
		// A fragment beyond the end of its message.
		malformed := func(id uint64) func(uint64) []byte {
			return func(number uint64) []byte {
				return datagram.AppendFragment(nil, number, datagram.Fragment{Session: id, Total: 1, Payload: []byte("too long")})
			}
		}
		p.datagram(malformed(77))
		p.datagram(func(number uint64) []byte {
			return datagram.AppendHeader(nil, datagram.Header{Kind: datagram.KindBundle, Number: number})
		})
		p.datagram(func(number uint64) []byte {
			return datagram.AppendHeader(nil, datagram.Header{Kind: 0x3f, Number: number})
		})
		n.arrive()
		require.EqualValues(t, 2, b.mux().DatagramDrops[datagram.ReasonMalformed], "of no live session: counted")
		require.EqualValues(t, 1, b.mux().DatagramDrops[datagram.ReasonUnknownKind], "never a violation")
		require.NoError(t, r1.Err())
		require.NoError(t, r2.Err())
		p.datagram(malformed(s1.id))
		s1.wantReset("a violation of this session", session.CodeViolation)
		wantEnd(t, "a violation", r1, session.Error{Cause: session.CauseViolation, Code: session.CodeViolation})
		p.message(s2.id, "unharmed")
		m, err := r2.Receive(t.Context())
		require.NoError(t, err, "no other session")
		require.Equal(t, "unharmed", string(m))
	})
}

// QUIC removes repeated packets, not a sender's repeated numbers.
func TestRule01RepeatedNumbers(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s, r := p.openAccepted(b)
		p.number = 9000
		p.message(s.id, "one")
		p.number = 9000
		p.message(s.id, "one again")
		p.number = 9001 - 8192
		p.message(s.id, "the oldest in the window")
		p.number = 9000 - 8192
		p.message(s.id, "too old to tell")
		n.arrive()
		s.write(session.Close{Sent: 4, End: 9001})
		messages, _ := drain(t, r)
		require.Equal(t, [][]byte{[]byte("one"), []byte("the oldest in the window")}, messages)
		drops := b.mux().DatagramDrops
		require.EqualValues(t, 1, drops[datagram.ReasonDuplicate])
		require.EqualValues(t, 1, drops[datagram.ReasonOldNumber])
	})
}

func TestRule02NoOpenInTime(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		_, p := rawPair(t, n, quicpeer.Config{})
		s := p.open()
		open := encode(session.Open{Protocol: simProto})
		began := time.Now()
		for _, b := range open[:len(open)-1] {
			_, err := s.Write([]byte{b})
			require.NoError(t, err)
			n.pass(time.Second)
		}
		s.wantReset("the OPEN is not complete", session.CodeViolation)
		require.InDelta(t, 10, time.Since(began).Seconds(), 0.1)
		p.wantLive("it costs the session alone")
	})
}

// A Dial that is given up before the peer has answered takes its OPEN back,
// and the peer acknowledges that; what waited for Accept is gone, and counted.
func TestRule03CloseDuringOpening(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := a.dialContext(ctx, b.addr, quicpeer.DialOptions{})
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		n.arrive()
		require.EqualValues(t, 1, b.Stats().WithdrawnSessions)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		_, err = b.Accept(ctx)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, "the backlog is empty")
		require.Zero(t, a.wantLinks("lives", 1)[0].Sessions)
		require.Zero(t, b.wantLinks("lives", 1)[0].Sessions)
	})
}

func TestRule03CloseWhileIncomingIsAcked(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s := p.open(session.Open{Protocol: simProto})
		in := b.incoming() // the application has it, but does not answer
		waiting := p.open(session.Open{Protocol: simProto})
		n.arrive()
		for _, s := range []*rawSession{s, waiting} {
			s.write(session.Close{Code: session.CodeCancelled, Reason: "changed my mind"})
			s.want("closed before it was accepted", session.CloseAck{})
			s.write(session.Done{})
			require.NoError(t, s.Close())
			s.wantFIN("nothing more")
		}
		_, err := in.Accept(nil)
		require.ErrorIs(t, err, session.ErrWithdrawn)
		wantError(t, "and why", err, session.Error{Cause: session.CauseClosed, Code: session.CodeCancelled, Reason: "changed my mind", Remote: true})
		require.EqualValues(t, 1, b.Stats().WithdrawnSessions, "of those that waited for Accept")
		require.Empty(t, b.Sessions())
	})
}

// CLOSE crosses ACCEPT, and wins; REJECT answers CLOSE, and that is the end.
func TestRule03CloseCrossesTheAnswer(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.2:1000")
		h.listen(nil)
		n.between(a.addr, h.addr, faults{delay: 10 * time.Millisecond})
		giveUp := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := a.dialContext(ctx, h.addr, quicpeer.DialOptions{})
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		go giveUp()
		p := h.accept()
		s, _ := p.accept()
		s.want("taken back", session.Close{Code: session.CodeCancelled, Reason: "the dialer gave up"})
		s.write(session.Accept{}, session.CloseAck{})
		s.want("the ACCEPT is no violation", session.Done{})
		s.wantFIN("over")
		require.NoError(t, s.Close())

		go giveUp()
		s, _ = p.accept()
		s.want("taken back", session.Close{Code: session.CodeCancelled, Reason: "the dialer gave up"})
		s.write(session.Reject{Code: 0x123})
		require.NoError(t, s.Close())
		s.wantFIN("no violation, and no DONE")
		p.wantLive("all in order")
	})
}

func TestRule03CloseAfterThePeersClose(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s, r := p.openAccepted(b)
		s.write(session.Close{Code: 0x123, Reason: "first"})
		n.arrive()
		err := r.CloseWithError(t.Context(), 0x456, "second")
		wantError(t, "the peer's cause", err, session.Error{Cause: session.CauseClosed, Code: 0x123, Reason: "first", Remote: true})
		s.want("no CLOSE of its own", session.CloseAck{})
	})
}

func TestRule04BareFIN(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s, r := p.openAccepted(b)
		require.NoError(t, s.Close())
		s.want("as for a CLOSE", session.CloseAck{})
		s.wantFIN("and the end")
		wantOver(t, "closed", r, time.Second)
		wantEnd(t, "CLOSE(0) without a reason", r, session.Error{Cause: session.CauseClosed, Remote: true})
		require.Empty(t, r.Err().(*session.Error).Reason)
		require.False(t, r.Stats().Complete, "nobody stated counts")

		s = p.open()
		require.NoError(t, s.Close())
		s.wantReset("before OPEN", session.CodeViolation)

		s, r = p.openAccepted(b)
		_, err := s.Write(encode(session.Close{Code: 0x123})[:3])
		require.NoError(t, err)
		require.NoError(t, s.Close())
		s.wantReset("inside a frame", session.CodeViolation)
		wantEnd(t, "inside a frame", r, session.Error{Cause: session.CauseViolation, Code: session.CodeViolation})
		p.wantLive("each costs its session alone")
	})
}

func TestRule04BareFINForAnAnswer(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.2:1000")
		h.listen(nil)
		go func() {
			s, _ := h.accept().accept()
			_ = s.Close()
		}()
		_, err := a.dialContext(t.Context(), h.addr, quicpeer.DialOptions{})
		wantError(t, "REJECT(internal)", err, session.Error{Cause: session.CauseRejected, Code: session.CodeInternal, Remote: true})
		require.False(t, errors.Is(err, quicpeer.ErrOutcomeUnknown))
	})
}

func TestRule05ControlStreamCostsTheSession(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		other, r := p.openAccepted(b)
		far := n.raw(t, "10.0.0.3:1000").dial(b)
		_, rFar := far.openAccepted(b)
		bad := map[string][]byte{
			"a second OPEN":                   encode(session.Open{Protocol: simProto}),
			"a frame of the link stream":      encode(session.GoAway{}),
			"more signals taken than sent":    encode(session.SignalAck{Taken: 1}),
			"more messages received":          encode(session.Report{Received: 1}),
			"CLOSE with more signals":         encode(session.Close{SignalsReceived: 1}),
			"CLOSE_ACK without CLOSE":         encode(session.CloseAck{}),
			"DONE without CLOSE":              encode(session.Done{}),
			"a frame over its limit":          {byte(session.TypeClose), 0x80, 0x01, 0x00, 0x00},
			"a frame that does not parse":     {byte(session.TypeClose), 0x01, 0x00},
			"an unknown frame over its limit": {0x3e, 0x80, 0x01, 0x00, 0x01},
			"SIGNAL after CLOSE":              encode(session.Close{Sent: 1, End: 100}, session.Signal{}),
			"a second CLOSE":                  encode(session.Close{Sent: 1, End: 100}, session.Close{}),
		}
		for why, frames := range bad {
			s, broken := p.openAccepted(b)
			_, err := s.Write(frames)
			require.NoError(t, err)
			s.wantReset(why, session.CodeViolation)
			wantOver(t, why, broken, 0)
		}
		s := p.open()
		_, err := s.Write([]byte{0x3e, 0x00})
		require.NoError(t, err)
		s.wantReset("an unknown frame comes first", session.CodeViolation)
		// What is no violation: unknown frames later, trailing bytes.
		s, fine := p.openAccepted(b)
		_, err = s.Write(append(encode(session.Unknown{Type: session.ReservedType(3), Value: []byte("grease")}), byte(session.TypeReport), 0x04, 0, 0, 0, 99))
		require.NoError(t, err)
		n.arrive()
		for _, live := range []*quicpeer.Session{r, rFar, fine} {
			require.NoError(t, live.Err(), "no other session")
		}
		other.write(session.Close{})
		other.want("unharmed", session.CloseAck{})
	})
}

func TestRule05CountsAboveWhatWasSent(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s, r := p.openAccepted(b)
		require.NoError(t, r.Send(t.Context(), []byte("one")))
		go func() { _ = r.Close(t.Context()) }()
		f, err := s.next()
		require.NoError(t, err)
		require.EqualValues(t, 1, f.(session.Close).Sent)
		s.write(session.CloseAck{Received: 2})
		s.wantReset("two of one message", session.CodeViolation)
		s, r = p.openAccepted(b)
		p.message(s.id, "one")
		m, err := r.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "one", string(m))
		s.write(session.Close{Sent: 0})
		s.wantReset("none sent, one has arrived", session.CodeViolation)
		p.wantLive("a session each")
	})
}

func TestRule05LinkStreamCostsTheLink(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		far := n.raw(t, "10.0.0.3:1000").dial(b)
		_, rFar := far.openAccepted(b)
		bad := map[string]func(p *rawPeer){
			"SETTINGS twice":        func(p *rawPeer) { p.writeLink(session.Settings{}) },
			"a session's frame":     func(p *rawPeer) { p.writeLink(session.Close{}) },
			"a malformed frame":     func(p *rawPeer) { _, _ = p.link.Write([]byte{byte(session.TypePing), 1, 0}) },
			"its end":               func(p *rawPeer) { _ = p.link.Close() },
			"its reset":             func(p *rawPeer) { p.link.CancelWrite(0x123) },
			"a second link stream":  func(p *rawPeer) { str, _ := p.conn.OpenUniStream(); _, _ = str.Write([]byte{0}) },
			"a frame over its size": func(p *rawPeer) { _, _ = p.link.Write([]byte{byte(session.TypePing), 0x80, 1, 0, 0}) },
		}
		h := n.raw(t, "10.0.0.4:1000")
		for why, act := range bad {
			p := h.dial(b)
			_, r := p.openAccepted(b)
			synctest.Wait() // b has read the stream's type: a reset before that would be of no link stream
			act(p)
			code, _ := p.wantClosed(why)
			require.Equal(t, session.CodeViolation, code, why)
			wantOver(t, why, r, 0)
			wantEnd(t, why, r, session.Error{Cause: session.CauseViolation, Code: session.CodeViolation})
		}
		// What is no violation: stream types and frames of later versions.
		p := h.dial(b)
		str, err := p.conn.OpenUniStream()
		require.NoError(t, err)
		_, err = str.Write([]byte{0x21, 1, 2, 3})
		require.NoError(t, err)
		p.writeLink(session.Unknown{Type: session.ReservedType(1), Value: []byte("grease")}, session.Ping{Token: [8]byte{7}})
		require.Equal(t, session.Pong{Token: [8]byte{7}}, p.wantLinkFrame("alive", session.TypePong))
		synctest.Wait()
		require.Error(t, str.Context().Err(), "a stream of an unknown type is stopped")
		require.NoError(t, rFar.Err(), "never another peer's link")
	})
}

// A stream that does not say what it is costs nobody but itself, and makes room
// for others.
func TestRule05StreamsOfNoType(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		p.openAccepted(b)
		for range 3 { // the peer may have 8 at a time
			var all []*quic.SendStream
			for {
				str, err := p.conn.OpenUniStream()
				if err != nil {
					break
				}
				_, err = str.Write([]byte{0x40}) // one byte of two
				require.NoError(t, err)
				all = append(all, str)
			}
			require.Len(t, all, 7, "all but the link stream")
			n.pass(9900 * time.Millisecond)
			for _, str := range all {
				require.NoError(t, str.Context().Err(), "it has 10 s to say")
			}
			n.pass(time.Second)
			for _, str := range all {
				var stop *quic.StreamError
				require.ErrorAs(t, context.Cause(str.Context()), &stop)
				require.Equal(t, session.CodeUnsupported, session.Code(stop.ErrorCode))
			}
			n.arrive()
		}
		p.wantLive("no violation")
		p.writeLink(session.Ping{Token: [8]byte{7}})
		p.wantLinkFrame("one that has said it has all the time", session.TypePong)
	})
}
