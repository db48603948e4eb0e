package integration_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// Whoever forges an address takes up half of its places at most, until its
// handshakes time out. Who really has the address proves it, and gets in.
func TestAttackForgedAddressLeavesRoom(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Limits: quicpeer.Limits{LinksPerAddress: 4}})
		forger := n.raw(t, "10.0.0.1:666")
		n.cut(b.addr, forger.addr) // what is answered goes to somebody else
		for range 20 {
			go func() {
				conn, err := forger.connect(b)
				if err == nil {
					_ = conn.CloseWithError(0, "")
				}
			}()
		}
		n.pass(100 * time.Millisecond)
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		sa, _ := a.open(b)
		require.NoError(t, sa.Close(t.Context()))
		require.Zero(t, b.Stats().RefusedConnections, "nobody was")

		// Links that are there leave no room for those who prove nothing.
		n.pass(30 * time.Second)
		first, second := n.raw(t, "10.0.0.1:1001").dial(b), n.raw(t, "10.0.0.1:1002").dial(b)
		third := n.raw(t, "10.0.0.1:1003").dial(b)
		for _, p := range []*rawPeer{first, second, third} {
			p.wantLive("there was room, and the address was proved")
		}
	})
}

// An opener that resets at once, in the same flight or right after, makes the
// application work, but no more of that at once than the limit on sessions says:
// not even when handlers take their time.
func TestAttackRapidResetIsBoundedByHandlers(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		const limit, tries = 16, 1000
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Limits: quicpeer.Limits{SessionsPerLink: limit}})
		var mu sync.Mutex
		var running, most, all int
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			running += by
			most, all = max(most, running), all+max(by, 0)
		}
		b.Handle("slow", func(in *quicpeer.Incoming) {
			count(1)
			defer count(-1)
			n.pass(10 * time.Millisecond)
			_, _ = in.Accept(nil)
		})
		p := n.raw(t, "10.0.0.1:1000").dial(b)
		far := n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		sFar, rFar := far.open(b)
		for i := range tries {
			s := p.open(session.Open{Protocol: "slow"})
			if i%2 == 0 {
				synctest.Wait() // the handler has it
			}
			s.reset(session.CodeCancelled)
		}
		n.pass(time.Second)
		mu.Lock()
		require.Greater(t, all, tries/4, "the application did see them")
		require.LessOrEqual(t, most, limit)
		require.Zero(t, running)
		mu.Unlock()
		for _, l := range b.wantLinks("both", 2) {
			require.LessOrEqual(t, l.Sessions, 1, "none is left but the other peer's")
		}
		p.wantLive("to reset is no violation")
		require.NoError(t, sFar.Close(t.Context()), "others close with confirmation")
		wantOver(t, "closed", rFar, time.Second)
	})
}

// Sessions that are taken back, by CLOSE or by reset, give their place among
// those that wait to be accepted back at once.
func TestAttackBacklogPlacesComeBack(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		const backlog, tries = 3, 500
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Limits: quicpeer.Limits{Backlog: backlog}})
		p := n.raw(t, "10.0.0.1:1000").dial(b)
		for range tries {
			s := p.open(session.Open{Protocol: simProto}, session.Close{Code: 0x100})
			s.want("taken back", session.CloseAck{})
			s.write(session.Done{})
			_ = s.Close()
			p.open(session.Open{Protocol: simProto}).reset(session.CodeCancelled)
		}
		synctest.Wait()
		require.GreaterOrEqual(t, b.Stats().WithdrawnSessions, uint64(tries), "an OPEN that was reset may never be seen")
		require.Zero(t, b.Stats().BusySessions)
		far := n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		s, _ := far.open(b)
		require.NoError(t, s.Close(t.Context()))

		// Those that stay fill it, and nobody is left without an answer.
		for range backlog {
			p.open(session.Open{Protocol: simProto})
		}
		n.arrive()
		_, err := far.dial(b, quicpeer.DialOptions{})
		wantError(t, "full", err, session.Error{Cause: session.CauseRejected, Code: session.CodeBusy, Remote: true})
		// The attacker vanishes, and with it what it left.
		n.cut(p.conn.LocalAddr(), b.addr)
		n.pass(time.Minute)
		s, _ = far.open(b)
		require.NoError(t, s.Close(t.Context()))
	})
}

// unreadWindow is the credit of a stream that nobody reads (PROTOCOL.md,
// "Transport parameters").
const unreadWindow = 4096

// dialUnread makes a connection that gives no more flow control credit than it
// must, and, as long as nobody reads from it, gives none again. Its link stream
// is begun.
func (h *rawHost) dialUnread(to *peer) (*quic.Conn, *quic.SendStream) {
	h.t.Helper()
	c := rawConfig()
	c.InitialStreamReceiveWindow, c.MaxStreamReceiveWindow = unreadWindow, unreadWindow
	c.InitialConnectionReceiveWindow, c.MaxConnectionReceiveWindow = 2*unreadWindow, 2*unreadWindow
	conn, err := h.transport.Dial(h.t.Context(), to.addr, h.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), to.addr.String()), c)
	require.NoError(h.t, err)
	link, err := conn.OpenUniStream()
	require.NoError(h.t, err)
	_, err = link.Write(session.Settings{}.Append(quicvarint.Append(nil, 0)))
	require.NoError(h.t, err)
	return conn, link
}

// A peer that never reads stops its own sessions, and neither calls of the
// application beyond their time nor anything of other peers.
func TestAttackPeerThatNeverReads(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.1:1000")
		conn, _ := h.dialUnread(b)
		var held []*quicpeer.Session
		for range 5 {
			str, err := conn.OpenStream()
			require.NoError(t, err)
			_, err = str.Write(encode(session.Open{Protocol: simProto}))
			require.NoError(t, err)
			held = append(held, b.accept())
		}
		far := n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		sFar, rFar := far.open(b)
		for _, s := range held {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := s.Ping(ctx)
			for err == nil { // the link stream's credit goes, too
				_, err = s.Ping(ctx)
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			for range 3 { // 16 KiB each, and the window has 4
				require.ErrorIs(t, s.Signal(ctx, make([]byte, 16<<10)), context.DeadlineExceeded)
			}
			cancel()
			for range 10_000 {
				require.NoError(t, s.SendWith(t.Context(), make([]byte, 1000), session.SendOptions{Full: datagram.SendDropOldest}))
			}
		}
		require.NoError(t, rFar.Send(t.Context(), []byte("hello")), "others are not held up")
		m, err := sFar.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(m))
		began := time.Now()
		for _, s := range held {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			require.Error(t, s.Close(ctx))
			cancel()
		}
		require.Equal(t, 5*time.Second, time.Since(began), "each close took the time it was given")
		require.NoError(t, sFar.Close(t.Context()))
		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_ = b.Close(ctx)
		require.LessOrEqual(t, time.Since(began), 3*time.Second, "the endpoint itself ends in its time")
	})
}

// PINGs have one place for their answer: whoever never reads PONGs gets no more
// than its window holds, and then the one for its last PING.
func TestAttackPingsAreAnsweredFromOnePlace(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		const pings = 20_000
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.1:1000")
		conn, link := h.dialUnread(b)
		token := func(i int) (t [8]byte) { return [8]byte{byte(i), byte(i >> 8), byte(i >> 16)} }
		for i := range pings {
			_, err := link.Write(encode(session.Ping{Token: token(i)}))
			require.NoError(t, err)
		}
		synctest.Wait()

		str, err := conn.AcceptUniStream(t.Context())
		require.NoError(t, err)
		_, err = quicvarint.Read(quicvarint.NewReader(str))
		require.NoError(t, err)
		fr := session.NewFrameReader(str, session.Limits{})
		pongs := 0
		for last := false; !last; {
			_ = str.SetReadDeadline(time.Now().Add(30 * time.Second))
			f, err := fr.NextFrame()
			require.NoError(t, err)
			if p, ok := f.(session.Pong); ok {
				pongs++
				last = p.Token == token(pings-1)
			}
		}
		require.Less(t, pongs, 3*unreadWindow/10, "10 bytes each, and some more while they are read")
	})
}

// A peer that lowers its GOAWAY again and again is logged once, and its session
// goes on.
func TestAttackGoAwaysAreLoggedOnce(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		var log logLines
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Logger: log.logger()})
		p := n.raw(t, "10.0.0.1:1000").dial(b)
		s, r := p.openAccepted(b)
		for i := range 5000 {
			p.writeLink(session.GoAway{Reason: "soon", FirstRefused: uint64(10_000 - i)})
		}
		require.Equal(t, 1, log.count("going away"))
		require.NoError(t, r.Err())
		p.message(s.id, "still here")
		m, err := r.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "still here", string(m))
	})
}

// A peer whose address changes all the time keeps its session, and does not
// flood the log.
func TestAttackMovingPeer(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		var log logLines
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Logger: log.logger()})
		h := n.raw(t, "10.0.0.1:1000")
		n.between(b.addr, h.addr, faults{delay: 5 * time.Millisecond})
		p := h.dial(b)
		s, r := p.openAccepted(b)
		for i := range 1000 {
			n.rebind(h.addr, fmt.Sprint("192.0.2.1:", 1000+i))
			p.message(s.id, "where am I now?")
			n.pass(20 * time.Millisecond)
		}
		lines := log.count("peer moved")
		require.GreaterOrEqual(t, lines, burst)
		require.LessOrEqual(t, lines, burst+20)
		n.pass(10 * time.Second)
		require.NoError(t, r.Err())
		s.write(session.Close{Code: 0x100})
		_, err := drain(t, r)
		wantError(t, "closed", err, session.Error{Cause: session.CauseClosed, Code: 0x100, Remote: true})
	})
}
