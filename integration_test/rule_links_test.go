package integration_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
	"github.com/oneportnet/quicpeer/session"
)

func TestRule10IdleLinkIsClosedExplicitly(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		s := p.open(session.Open{Protocol: simProto})
		n.pass(30 * time.Second)
		p.wantLive("a session that waits is a session")
		require.NoError(t, b.incoming().Reject(session.CodeRefused, "", 0))
		s.want("rejected", session.Reject{Code: session.CodeRefused})
		require.NoError(t, s.Close())
		began := time.Now()
		code, _ := p.wantClosed("idle")
		require.Equal(t, session.CodeLinkIdle, code)
		require.InDelta(t, 20, time.Since(began).Seconds(), 0.05)
	})
}

// rawAcceptor is a raw peer that an endpoint dials: it does something with the
// first OPEN, and accepts the second, if there is one.
func rawAcceptor(t *testing.T, n *network, first func(n *network, p *rawPeer, s *rawSession)) (s *quicpeer.Session, opens *atomic.Int32, err error) {
	t.Helper()
	a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
	h := n.raw(t, "10.0.0.2:1000")
	h.listen(nil)
	n.between(a.addr, h.addr, faults{delay: 10 * time.Millisecond})
	opens = new(atomic.Int32)
	go func() {
		for {
			conn, err := h.listener.Accept(context.Background())
			if err != nil {
				return
			}
			p := h.start(conn, session.Settings{})
			go func() {
				for {
					str, err := conn.AcceptStream(context.Background())
					if err != nil {
						return
					}
					s := p.session(str)
					if _, err := s.next(); err != nil {
						continue
					}
					if opens.Add(1) == 1 {
						first(n, p, s)
					} else {
						_, _ = s.Write(encode(session.Accept{}))
					}
				}
			}()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err = a.dialContext(ctx, h.addr, quicpeer.DialOptions{})
	return s, opens, err
}

func TestRule10RetriedUnseen(t *testing.T) {
	for name, first := range map[string]func(n *network, p *rawPeer, s *rawSession){
		"GOAWAY": func(n *network, p *rawPeer, s *rawSession) {
			p.writeLink(session.GoAway{FirstRefused: s.id})
			n.arrive()
			_ = p.conn.CloseWithError(0, "done")
		},
		"REJECT going away": func(n *network, p *rawPeer, s *rawSession) {
			s.write(session.Reject{Code: session.CodeGoingAway})
			_ = s.Close()
			p.writeLink(session.GoAway{FirstRefused: s.id + 2})
		},
		"link idle": func(n *network, p *rawPeer, s *rawSession) {
			_ = p.conn.CloseWithError(quic.ApplicationErrorCode(session.CodeLinkIdle), "no session")
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				s, opens, err := rawAcceptor(t, n, first)
				require.NoError(t, err)
				require.EqualValues(t, 2, opens.Load())
				require.Equal(t, session.StateOpen, s.State())
			})
		})
	}
}

func TestRule10OutcomeUnknown(t *testing.T) {
	for name, first := range map[string]func(n *network, p *rawPeer, s *rawSession){
		"closed": func(n *network, p *rawPeer, s *rawSession) { _ = p.conn.CloseWithError(0, "bye") },
		"GOAWAY above": func(n *network, p *rawPeer, s *rawSession) {
			p.writeLink(session.GoAway{FirstRefused: s.id + 2})
			n.arrive()
			_ = p.conn.CloseWithError(0, "bye")
		},
		"internal": func(n *network, p *rawPeer, s *rawSession) {
			_ = p.conn.CloseWithError(quic.ApplicationErrorCode(session.CodeInternal), "oops")
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				_, opens, err := rawAcceptor(t, n, first)
				require.ErrorIs(t, err, quicpeer.ErrOutcomeUnknown)
				require.EqualValues(t, 1, opens.Load(), "never tried again")
			})
		})
	}
}

// A rejection or an abort is an answer: nothing is unknown, nothing is tried
// again.
func TestRule10AnswersAreFinal(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		_, opens, err := rawAcceptor(t, n, func(_ *network, _ *rawPeer, s *rawSession) { s.reset(0x123) })
		require.NotErrorIs(t, err, quicpeer.ErrOutcomeUnknown)
		wantError(t, "aborted", err, session.Error{Cause: session.CauseAborted, Code: 0x123, Remote: true})
		require.EqualValues(t, 1, opens.Load())
	})
}

// The idle close of one side crosses the other side's OPEN: its Dial does not
// notice.
func TestRule10IdleCloseCrossesOpen(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 50 * time.Millisecond})
		sa, sb := a.open(b)
		began := time.Now()
		require.NoError(t, sa.Close(t.Context()))
		wantOver(t, "closed", sb, time.Second)
		// a's side of the link has been idle from 100 ms on, b's from 150 ms on.
		n.pass(20*time.Second + 120*time.Millisecond - time.Since(began))
		b.wantLinks("not idle yet, for b", 1)
		a.wantLinks("closed, for a", 0)
		s, r := b.openWith(a, quicpeer.DialOptions{PeerID: a.ID()})
		require.True(t, b.wantLinks("a new one", 1)[0].Dialed)
		require.NoError(t, s.Send(t.Context(), []byte("hello")))
		m, err := r.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "hello", string(m))
	})
}

// restart starts another process with the identity of one that has crashed.
func (n *network) restart(t *testing.T, p *peer, address string) *peer {
	t.Helper()
	n.crash(p)
	return n.peer(t, address, quicpeer.Config{Identity: p.identity})
}

func TestRule11RestartEndsSessionsAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.between(a.addr, b.addr, faults{delay: 10 * time.Millisecond})
		sa, _ := a.open(b)
		n.pass(time.Second)
		b = n.restart(t, b, "10.0.0.2:1000")
		require.Less(t, wantOver(t, "restarted", sa, time.Minute), 5*time.Second, "the next heartbeat is answered by a reset")
		wantEnd(t, "a typed cause", sa, session.Error{Cause: session.CausePeerRestarted, Remote: true})
		a.open(b) // as if nothing had been
	})
}

// Two processes share a key, and both live: an instance id that is new proves
// nothing.
func TestRule11SharedKeyBothLive(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		twin := n.peer(t, "10.0.0.3:1000", quicpeer.Config{Identity: b.identity})
		sb, _ := b.open(a)
		st, _ := twin.open(a)
		n.pass(time.Minute)
		require.NoError(t, sb.Err())
		require.NoError(t, st.Err())
		a.wantLinks("both", 2)
	})
}

// On a long path the answer takes longer than a second, and gets the time.
func TestRule11FarAwayIsNotSilent(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		twin := n.peer(t, "10.0.0.3:1000", quicpeer.Config{Identity: b.identity})
		n.between(a.addr, b.addr, faults{delay: 800 * time.Millisecond})
		sb, _ := b.open(a)
		st, _ := twin.open(a)
		n.pass(time.Minute)
		require.NoError(t, sb.Err())
		require.NoError(t, st.Err())
		a.wantLinks("both", 2)
	})
}

// The process that had the key before does not answer: its links end at once,
// not after three heartbeats.
func TestRule11SilentPredecessorIsSuperseded(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		_, old := b.open(a)
		n.pass(time.Second)
		b = n.restart(t, b, "10.0.0.3:1000") // somewhere else: no stateless reset
		_, fresh := b.open(a)
		d := wantOver(t, "superseded", old, time.Minute)
		require.GreaterOrEqual(t, d, 900*time.Millisecond, "it has a second to answer")
		require.Less(t, d, 1500*time.Millisecond)
		wantEnd(t, "superseded", old, session.Error{Cause: session.CauseSuperseded, Code: session.CodeSuperseded})
		require.NoError(t, fresh.Err())
		a.wantLinks("the new one's", 1)
	})
}

// The key of stateless resets comes from the identity and the bound address.
// Another live process with the same identity must not be able to reset.
func TestRule12TwinIsNoResetOracle(t *testing.T) {
	for what, address := range map[string]string{"on another host": "10.0.0.3:1000", "on the same host": "10.0.0.2:2000"} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				twin := n.peer(t, address, quicpeer.Config{Identity: b.identity})
				sa, _ := a.open(b)
				n.reroute(b.addr, twin.addr) // what is for b, the twin gets, and answers
				n.cut(b.addr, a.addr)
				wantOver(t, "dead", sa, time.Minute)
				wantEnd(t, "heartbeats end it, not a reset", sa, session.Error{Cause: session.CauseLinkLost})
			})
		})
	}
}

// The same packets, answered by a process that is bound to the same address:
// there the reset counts. It shows that the test above proves something.
func TestRule12SameAddressResets(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		sa, _ := a.open(b)
		n.restart(t, b, "10.0.0.2:1000")
		wantOver(t, "reset", sa, 6*time.Second)
		wantEnd(t, "reset", sa, session.Error{Cause: session.CausePeerRestarted, Remote: true})
		// Somebody else's identity at the same address has another key.
		b = n.peer(t, "10.0.0.4:1000", quicpeer.Config{})
		sa, _ = a.open(b)
		n.crash(b)
		n.peer(t, "10.0.0.4:1000", quicpeer.Config{})
		wantOver(t, "dead", sa, time.Minute)
		wantEnd(t, "heartbeats", sa, session.Error{Cause: session.CauseLinkLost})
	})
}

// The dialer's address changes: QUIC follows, and so do all its sessions.
func TestRule13DialersAddressChanges(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.rebind(a.addr, "192.0.2.1:1111")
		_, r1 := a.open(b)
		_, r2 := a.open(b)
		for _, address := range []string{"192.0.2.1:2222", "198.51.100.7:3333"} {
			last := r2.Snapshot()
			n.rebind(a.addr, address)
			change, err := r2.WaitChange(t.Context(), last)
			require.NoError(t, err)
			require.Equal(t, address, change.RemoteAddr.String())
			require.Equal(t, address, r1.RemoteAddr().String())
			require.Positive(t, change.DatagramSize)
			require.NoError(t, r1.Err())
		}
		n.pass(time.Minute)
		require.NoError(t, r1.Err())
		require.NoError(t, r2.Err())
		b.wantLinks("the same", 1)
	})
}

// What fits is found on the path, and again on a new one. The simulated network
// has no discovery of sizes, so this test has real sockets.
func TestRule13SizeIsFoundAnew(t *testing.T) {
	ctx := within(t, 30*time.Second)
	a := startPeer(t, "127.0.0.1:0", &quicpeer.Config{Trust: certs.Anyone()})
	b := startPeer(t, "127.0.0.1:0", &quicpeer.Config{Trust: certs.Anyone(), Protocols: []string{simProto}})
	relay, err := faultnet.Start(ctx, b.Addr().String(), nil)
	require.NoError(t, err)
	defer relay.Close()
	accepted := make(chan *quicpeer.Session, 1)
	go func() {
		if in, err := b.Accept(ctx); err == nil {
			s, _ := in.Accept(nil)
			accepted <- s
		}
	}()
	s, err := a.Dial(ctx, relay.Addr().String(), &quicpeer.DialOptions{Protocol: simProto})
	require.NoError(t, err)
	r := <-accepted
	// Messages as large as fits, both ways, which may get lost: discovery needs packets.
	talk := func() {
		for _, from := range []*quicpeer.Session{s, r} {
			require.NoError(t, from.Send(ctx, make([]byte, from.DatagramSize())))
		}
		_, err := s.Ping(ctx)
		require.NoError(t, err)
	}
	const less = 1300 // than loopback takes, and more than QUIC begins with
	require.Less(t, r.DatagramSize(), less)
	until(ctx, t, "the size is found", func() bool { talk(); return r.DatagramSize() > less })
	before := r.RemoteAddr().String()
	require.NoError(t, relay.RebindClient(0))
	until(ctx, t, "the peer has moved", func() bool { talk(); return r.RemoteAddr().String() != before })
	until(ctx, t, "the size is found again", func() bool { talk(); return r.DatagramSize() > less })
}

// The listener's address changes: QUIC's dialer cannot follow. Heartbeats end
// the link, with a typed cause.
func TestRule13ListenersAddressChanges(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		n.rebind(b.addr, "192.0.2.2:1111")
		done := make(chan *quicpeer.Session, 1)
		go func() { done <- b.accept() }()
		public := netUDP("192.0.2.2:1111")
		sa, err := a.dialContext(t.Context(), public, quicpeer.DialOptions{})
		require.NoError(t, err)
		sb := <-done
		n.rebind(b.addr, "192.0.2.2:2222")
		wantOver(t, "nothing reaches it any more", sb, 25*time.Second)
		wantEnd(t, "a typed cause", sb, session.Error{Cause: session.CauseLinkLost})
		wantOver(t, "told, since in this direction the path still works", sa, time.Second)
		wantEnd(t, "a typed cause", sa, session.Error{Cause: session.CauseLinkClosed, Remote: true})

		go func() { done <- b.accept() }()
		sa, err = a.dialContext(t.Context(), netUDP("192.0.2.2:2222"), quicpeer.DialOptions{})
		require.NoError(t, err)
		sb = <-done
		n.rebind(b.addr, "192.0.2.2:3333")
		n.cut(b.addr, a.addr)
		wantOver(t, "unreachable", sa, 25*time.Second)
		wantEnd(t, "a typed cause", sa, session.Error{Cause: session.CauseLinkLost})
		wantOver(t, "over there too", sb, 25*time.Second)
	})
}

func TestRule17TrustIsCheckedInEveryHandshake(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		var asked, incoming atomic.Int32
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Trust: certs.TrustFunc(func(p certs.Peer) error {
			asked.Add(1)
			if p.Incoming && p.ID == a.ID() {
				incoming.Add(1)
			}
			return nil
		})})
		for i := range int32(3) {
			before := incoming.Load()
			sa, sb := a.open(b)
			require.Greater(t, incoming.Load(), before, "handshake %d", i)
			require.NoError(t, sa.Close(t.Context()))
			wantOver(t, "closed", sb, time.Second)
			n.pass(21 * time.Second)
			a.wantLinks("idle", 0)
		}
	})
}

// To have a link is no reason to be trusted for another one.
func TestRule17ALinkIsNoCredential(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		var no atomic.Bool
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Trust: certs.TrustFunc(func(certs.Peer) error {
			if no.Load() {
				return errors.New("not any more")
			}
			return nil
		})})
		h := n.raw(t, "10.0.0.1:1000")
		p := h.dial(b)
		b.wantLinks("trusted", 1)
		no.Store(true)
		_, _ = h.connect(b) // b judges when this side's handshake is complete
		b.wantLinks("judged again", 1)
		p.wantLive("nobody has called SetTrust")
	})
}

// What a dialer shows on the path: no server name when the peer's id is
// pinned, and no ticket of an earlier session.
func TestRule17NoResumptionAndNoSNI(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.2:1000")
		config := h.identity.ServerTLS(quicpeer.ALPN, certs.Anyone(), false)
		config.SessionTicketsDisabled = false // this listener offers tickets
		var hellos atomic.Int32
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			hellos.Add(1)
			require.Empty(t, hello.ServerName)
			require.NotContains(t, hello.Extensions, uint16(41), "pre_shared_key (RFC 8446)")
			require.Equal(t, []string{quicpeer.ALPN}, hello.SupportedProtos)
			return nil, nil
		}
		h.listen(config)
		for range 3 {
			go func() {
				p := h.accept()
				s, _ := p.accept()
				s.write(session.Accept{})
				require.False(t, p.conn.ConnectionState().TLS.DidResume)
			}()
			s, err := a.dialContext(t.Context(), h.addr, quicpeer.DialOptions{PeerID: h.identity.ID()})
			require.NoError(t, err)
			require.NoError(t, s.Abort(0))
			n.pass(21 * time.Second)
			a.wantLinks("idle", 0)
		}
		require.EqualValues(t, 3, hellos.Load())
	})
}

// A host name that is dialed shows to nobody on the path if the id is pinned.
// Names are resolved by the system, so this one test has a real socket.
func TestRule17NoSNIForANameEither(t *testing.T) {
	identity := newIdentity(t)
	names := make(chan string, 10)
	config := identity.ServerTLS(quicpeer.ALPN, certs.Anyone(), false)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return nil, errors.New("seen enough")
	}
	listener, err := quic.ListenAddr("127.0.0.1:0", config, rawConfig())
	require.NoError(t, err)
	defer listener.Close()
	e, err := quicpeer.Listen("127.0.0.1:0", nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close(t.Context())) }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	_, err = e.Dial(t.Context(), "localhost:"+port, &quicpeer.DialOptions{PeerID: identity.ID()})
	require.Error(t, err)
	require.Len(t, names, 1, "this machine resolves localhost: %v", err)
	require.Empty(t, <-names)
}

// What a listener offers: no tickets.
func TestRule17NoTickets(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.1:1000")
		config := h.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), "")
		cache := &countingCache{ClientSessionCache: tls.NewLRUClientSessionCache(10)}
		config.ClientSessionCache = cache
		config.SessionTicketsDisabled = false
		config.ServerName = "b"
		for range 2 {
			conn, err := h.transport.Dial(t.Context(), b.addr, config, rawConfig())
			require.NoError(t, err)
			n.pass(time.Second)
			require.False(t, conn.ConnectionState().TLS.DidResume)
			_ = conn.CloseWithError(0, "")
		}
		require.Zero(t, cache.puts.Load())
	})
}

type countingCache struct {
	tls.ClientSessionCache
	puts atomic.Int32
}

func (c *countingCache) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		c.puts.Add(1)
	}
	c.ClientSessionCache.Put(key, state)
}
