package integration_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

func TestRule06BacklogFullIsRejectedBusy(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{Limits: quicpeer.Limits{Backlog: 3}})
		var waiting []*rawSession
		for range 3 {
			waiting = append(waiting, p.open(session.Open{Protocol: simProto}))
			n.arrive()
		}
		began := time.Now()
		s := p.open(session.Open{Protocol: simProto})
		f, err := s.next()
		require.NoError(t, err)
		require.IsType(t, session.Reject{}, f)
		require.Equal(t, session.CodeBusy, f.(session.Reject).Code)
		require.Less(t, time.Since(began), 25*time.Millisecond, "at once")
		s.wantFIN("and the end")
		require.EqualValues(t, 1, b.Stats().BusySessions)
		for _, s := range waiting {
			b.accept()
			s.want("those that wait are not harmed", session.Accept{})
		}
		p.open(session.Open{Protocol: simProto})
		b.accept() // there is room again
	})
}

// QUIC's own queue of accepted connections holds 32. Nobody calls Accept here,
// and yet no connection that seemed open dies.
func TestRule06TransportQueueIsDrained(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.1:1000")
		n.between(b.addr, h.addr, faults{delay: 10 * time.Millisecond})
		var peers []*rawPeer
		for range 60 {
			peers = append(peers, h.dial(b))
		}
		n.pass(10 * time.Second)
		for _, p := range peers {
			p.wantLive("dialed, and the handshake completed")
		}
		b.wantLinks("all of them", 60)
	})
}

// More newcomers than the endpoint begins handshakes for in a second must prove
// their address first, with a Retry, and then get in all the same.
func TestRule06OverloadIsAnsweredByRetry(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		var verified, unverified atomic.Int32
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{
			Limits: quicpeer.Limits{HandshakesPerSecond: 5},
			AdmitConnection: func(i quicpeer.ConnectionInfo) error {
				if i.AddrVerified {
					verified.Add(1)
				} else {
					unverified.Add(1)
				}
				return nil
			},
		})
		h := n.raw(t, "10.0.0.1:1000")
		n.between(b.addr, h.addr, faults{delay: 10 * time.Millisecond})
		var dials sync.WaitGroup
		for range 20 {
			dials.Go(func() {
				conn, err := h.connect(b)
				require.NoError(t, err)
				t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
			})
		}
		dials.Wait()
		n.arrive()
		b.wantLinks("all got in", 20)
		require.GreaterOrEqual(t, unverified.Load(), int32(5), "the burst")
		require.GreaterOrEqual(t, verified.Load(), int32(10), "the others had to prove their address")
	})
}

// Beyond the limits, and where AdmitConnection says no, an attempt is refused
// in its handshake.
func TestRule06LimitsRefuseInTheHandshake(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		no := errors.New("not you")
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{
			Limits: quicpeer.Limits{LinksPerAddress: 3, Links: 4},
			AdmitConnection: func(i quicpeer.ConnectionInfo) error {
				if i.RemoteAddr.String() == "10.0.0.66:1000" {
					return no
				}
				return nil
			},
		})
		_, err := n.raw(t, "10.0.0.66:1000").connect(b)
		require.Error(t, err, "not admitted")
		h := n.raw(t, "10.0.0.1:1000")
		for range 3 {
			h.dial(b)
		}
		_, err = h.connect(b)
		require.Error(t, err, "the fourth of one address")
		n.raw(t, "10.0.0.3:1000").dial(b)
		_, err = n.raw(t, "10.0.0.4:1000").connect(b)
		require.Error(t, err, "the fifth in all")
		b.wantLinks("within the limits", 4)
		require.GreaterOrEqual(t, b.Stats().RefusedConnections, uint64(3), "each attempt may have several packets")
	})
}

// The accept policy holds for every session, on links that this side dialed
// too.
func TestRule07PolicyWhoeverDialed(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		var asked atomic.Int32
		client := n.peer(t, "10.0.0.1:1000", quicpeer.Config{
			Protocols: []string{"mine", "guarded"},
			AdmitSession: func(in *quicpeer.Incoming) bool {
				asked.Add(1)
				if in.Protocol() == "guarded" {
					_ = in.Reject(0x777, "not for you", 0)
					return false
				}
				return true
			},
		})
		server := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		handled := make(chan string, 1)
		client.Handle("handled", func(in *quicpeer.Incoming) {
			handled <- in.Protocol()
			_, _ = in.Accept(nil)
		})
		client.open(server)
		back := func(protocol string) error {
			_, err := server.dial(client, quicpeer.DialOptions{Protocol: protocol, PeerID: client.ID()})
			return err
		}
		wantError(t, "served by nobody", back("unserved"), session.Error{Cause: session.CauseRejected, Code: session.CodeRefused, Remote: true})
		wantError(t, "turned away", back("guarded"), session.Error{Cause: session.CauseRejected, Code: 0x777, Remote: true})
		require.NoError(t, back("handled"))
		require.Equal(t, "handled", <-handled)
		go client.accept()
		require.NoError(t, back("mine"))
		require.EqualValues(t, 3, asked.Load(), "every session that somebody serves")
		synctest.Wait() // a refusal is counted when the callback that made it has returned
		require.EqualValues(t, 2, client.Stats().RefusedSessions)
		client.wantLinks("all on the one that the client dialed", 1)
		server.wantLinks("all on the one that the client dialed", 1)
		client.Handle("handled", nil)
		wantError(t, "no handler any more", back("handled"), session.Error{Cause: session.CauseRejected, Code: session.CodeRefused, Remote: true})
	})
}

// serve accepts whatever comes.
func (p *peer) serve() {
	p.Handle(simProto, func(in *quicpeer.Incoming) { _, _ = in.Accept(nil) })
}

func TestRule08ReuseNeedsThisDialsTrust(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		b.serve()
		stranger := newIdentity(t).ID()
		_, err := a.dial(b, quicpeer.DialOptions{})
		require.NoError(t, err)
		a.wantLinks("the first", 1)

		_, err = a.dial(b, quicpeer.DialOptions{})
		require.NoError(t, err)
		a.wantLinks("same address, same trust, dialed by this side", 1)
		_, err = a.dial(b, quicpeer.DialOptions{PeerID: b.ID()})
		require.NoError(t, err)
		a.wantLinks("this very peer", 1)

		var untrusted *certs.UntrustedError
		_, err = a.dial(b, quicpeer.DialOptions{PeerID: stranger})
		require.ErrorAs(t, err, &untrusted, "the address does not decide")
		_, err = a.dial(b, quicpeer.DialOptions{Trust: certs.IDs(stranger)})
		require.ErrorAs(t, err, &untrusted, "this dial's trust decides")
		_, err = a.dial(b, quicpeer.DialOptions{PeerID: b.ID(), Trust: certs.IDs(stranger)})
		require.ErrorAs(t, err, &untrusted, "both must hold")
		_, err = a.dial(b, quicpeer.DialOptions{Trust: certs.IDs(b.ID())})
		require.NoError(t, err)
		a.wantLinks("trust that holds for the verified certificate", 1)
	})
}

func TestRule08WithoutAnIDOnlyLinksThatThisSideDialed(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		a.serve()
		b.serve()
		_, err := a.dial(b, quicpeer.DialOptions{})
		require.NoError(t, err)
		_, err = b.dial(a, quicpeer.DialOptions{PeerID: a.ID()})
		require.NoError(t, err)
		b.wantLinks("with an id, whoever dialed", 1)
		_, err = b.dial(a, quicpeer.DialOptions{})
		require.NoError(t, err)
		b.wantLinks("an address alone does not name the peer", 2)
	})
}

// Whoever trusts anyone must still get the one that is dialed.
func TestRule08WithoutAnIDOnlyTheNameThatWasDialed(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		c := n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		b.serve()
		c.serve()
		for i, to := range []*peer{b, c, b, c} {
			s, err := a.dial(to, quicpeer.DialOptions{})
			require.NoError(t, err)
			id, _ := s.RemoteID()
			require.Equal(t, to.ID(), id)
			a.wantLinks("one each", min(i+1, 2))
		}
	})
}

// The address of a live link leads to another peer now: who is expected
// decides, not the address.
func TestRule08AddressOfAnotherPeer(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		c := n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		b.serve()
		c.serve()
		_, err := a.dial(b, quicpeer.DialOptions{})
		require.NoError(t, err)
		n.reroute(b.addr, c.addr)
		s, err := a.dial(b, quicpeer.DialOptions{PeerID: c.ID()})
		require.NoError(t, err)
		id, _ := s.RemoteID()
		require.Equal(t, c.ID(), id)
		a.wantLinks("one each", 2)
	})
}

func TestRule08AnonymousLinksAreNeverReused(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{AllowAnonymous: true})
		h := n.raw(t, "10.0.0.1:1000")
		config := h.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), b.addr.String())
		config.Certificates, config.GetClientCertificate = nil, nil
		conn, err := h.transport.Dial(t.Context(), b.addr, config, rawConfig())
		require.NoError(t, err)
		p := h.start(conn, session.Settings{})
		_, r := p.openAccepted(b)
		_, known := r.RemoteID()
		require.False(t, known)
		require.True(t, b.wantLinks("anonymous", 1)[0].Anonymous)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = b.dialContext(ctx, h.addr, quicpeer.DialOptions{})
		require.Error(t, err, "nobody listens there, and the link that exists does not count")
		over, cancelled := context.WithTimeout(t.Context(), time.Second)
		defer cancelled()
		_, err = p.conn.AcceptStream(over)
		require.ErrorIs(t, err, context.DeadlineExceeded, "nothing was opened on it")
	})
}

func TestRule08TrustChangesAreChecked(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		c := n.peer(t, "10.0.0.3:1000", quicpeer.Config{})
		d := n.peer(t, "10.0.0.4:1000", quicpeer.Config{})
		sa, ra := a.open(b)
		_, rc := c.open(b)
		pinned, _ := b.openWith(d, quicpeer.DialOptions{PeerID: d.ID()})
		b.SetTrust(certs.IDs(c.ID()))
		wantOver(t, "not trusted any more", ra, 0)
		wantEnd(t, "refused", ra, session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused})
		wantOver(t, "told", sa, time.Second)
		wantEnd(t, "told", sa, session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused, Remote: true})
		require.NoError(t, rc.Err(), "still trusted")
		require.NoError(t, pinned.Err(), "dialed with an id of its own")
		_, err := a.dial(b, quicpeer.DialOptions{})
		require.ErrorIs(t, err, quicpeer.ErrRefused)
	})
}

// Both dial each other at the same time.
func TestRule09Glare(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		if string(idBytes(b)) < string(idBytes(a)) {
			a, b = b, a // a's link is the preferred one: its id is smaller
		}
		n.between(a.addr, b.addr, faults{delay: 50 * time.Millisecond})
		var sa, sb, ra, rb *quicpeer.Session
		var dials sync.WaitGroup
		dials.Go(func() { sa, _ = a.dial(b, quicpeer.DialOptions{PeerID: b.ID()}) })
		dials.Go(func() { sb, _ = b.dial(a, quicpeer.DialOptions{PeerID: a.ID()}) })
		dials.Go(func() { ra = b.accept() })
		dials.Go(func() { rb = a.accept() })
		dials.Wait()
		require.NotNil(t, sa)
		require.NotNil(t, sb)
		a.wantLinks("both live", 2)
		b.wantLinks("both live", 2)

		// Messages are in flight on both all the time while the rest happens.
		const messages = 100
		var sending sync.WaitGroup
		for _, s := range []*quicpeer.Session{sa, sb, ra, rb} {
			sending.Go(func() {
				for range messages {
					require.NoError(t, s.Send(t.Context(), []byte("in flight")))
					n.pass(10 * time.Millisecond)
				}
			})
		}
		for range 3 {
			a.openWith(b, quicpeer.DialOptions{PeerID: b.ID()})
			b.openWith(a, quicpeer.DialOptions{PeerID: a.ID()})
		}
		for _, l := range a.wantLinks("both live", 2) {
			require.Equal(t, map[bool]int{true: 7, false: 1}[l.Dialed], l.Sessions, "new sessions of both sides are on a's link")
		}
		sending.Wait()
		require.NoError(t, sb.Close(t.Context()))
		require.NoError(t, sa.Close(t.Context()))
		for _, s := range []*quicpeer.Session{sa, sb, ra, rb} {
			got, _ := drain(t, s)
			require.Len(t, got, messages, "nothing in flight is cut")
		}
		n.pass(21 * time.Second)
		require.True(t, a.wantLinks("the other one went idle", 1)[0].Dialed)
		require.False(t, b.wantLinks("the other one went idle", 1)[0].Dialed)
		require.Len(t, a.Sessions(), 6)
	})
}

func idBytes(p *peer) []byte {
	id := p.ID()
	return id[:]
}

// Of two links that the same side dialed, both prefer the one with the smaller
// exported value. Which one that is, only they know; that they agree is what
// counts.
func TestRule09SameDialer(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
				// Trust of its own shares no handshake: two links come up at once.
				var dials sync.WaitGroup
				for range 2 {
					dials.Go(func() {
						_, err := a.dial(b, quicpeer.DialOptions{Trust: certs.IDs(b.ID())})
						require.NoError(t, err)
					})
				}
				first, second := b.incoming(), b.incoming()
				_, _ = first.Accept(nil)
				_, _ = second.Accept(nil)
				dials.Wait()
				a.wantLinks("two", 2)
				for range 3 {
					a.openWith(b, quicpeer.DialOptions{PeerID: b.ID()})
					b.openWith(a, quicpeer.DialOptions{PeerID: a.ID()})
				}
				synctest.Wait()
				sessions := map[int]int{}
				for _, l := range a.Links() {
					sessions[l.Sessions]++
				}
				require.Equal(t, map[int]int{1: 1, 7: 1}, sessions, "all new ones are on one link")
			})
		})
	}
}

// The value that decides is the specification's, as a peer on another stack
// exports it.
func TestRule09ExportedValue(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.1:1000")
		value := func(p *rawPeer) []byte {
			state := p.conn.ConnectionState().TLS
			v, err := state.ExportKeyingMaterial("EXPORTER-quicpeer-link", nil, 32)
			require.NoError(t, err)
			return v
		}
		first := h.dial(b)
		preferred := first
		// At least until it is not the oldest by chance.
		for links := 2; links <= 6 || preferred == first && links <= 30; links++ {
			if p := h.dial(b); bytes.Compare(value(p), value(preferred)) < 0 {
				preferred = p
			}
			b.wantLinks("all live", links)
			dialed := make(chan error, 1)
			go func() {
				_, err := b.dialContext(t.Context(), h.addr, quicpeer.DialOptions{PeerID: h.identity.ID()})
				dialed <- err
			}()
			s, _ := preferred.accept()
			s.write(session.Accept{})
			require.NoError(t, <-dialed)
		}
	})
}

// An OPEN on the link that is not preferred is as valid as any.
func TestRule09OpenOnAnyLink(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.1:1000")
		p, q := h.dial(b), h.dial(b)
		for range 3 {
			p.openAccepted(b)
			q.openAccepted(b)
		}
	})
}
