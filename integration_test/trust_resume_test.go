package integration_test

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// tickets is a client's cache that counts what servers give it. All servers
// have one name there, so every ticket is tried everywhere.
type tickets struct {
	tls.ClientSessionCache
	given atomic.Int32
}

func newTickets() *tickets { return &tickets{ClientSessionCache: tls.NewLRUClientSessionCache(8)} }

func (c *tickets) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.given.Add(1)
	}
	c.ClientSessionCache.Put(key, s)
}

// resuming is what a client with an identity dials with that wants to resume,
// and does not mind whom it meets.
func (c *tickets) resuming(id *certs.Identity) *tls.Config {
	config := id.ClientTLS(quicpeer.ALPN, certs.Anyone(), "any:1")
	config.ServerName, config.ClientSessionCache, config.SessionTicketsDisabled = "any", c, false
	return config
}

// ticketServer is a listener that gives tickets, and takes 0-RTT with them.
// Like all with the same keys it takes the tickets of others.
func ticketServer(t *testing.T, h *rawHost, id *certs.Identity) *quic.Listener {
	config := id.ServerTLS(quicpeer.ALPN, certs.Anyone(), false)
	config.SessionTicketsDisabled = false
	config.SetSessionTicketKeys([][32]byte{{1}})
	early := rawConfig()
	early.Allow0RTT = true
	l, err := h.transport.Listen(config, early)
	require.NoError(t, err)
	return l
}

// dialEarly dials with whatever ticket there is, sends an OPEN in 0-RTT if it
// can, and returns how the handshake went.
func dialEarly(t *testing.T, h *rawHost, to net.Addr, config *tls.Config) (quic.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := h.transport.DialEarly(ctx, to, config, rawConfig())
	if err != nil {
		return quic.ConnectionState{}, err
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	_, err = bareOpen(ctx, conn, simProto)
	if err == quic.Err0RTTRejected {
		if conn, err = conn.NextConnection(ctx); err == nil {
			_, err = bareOpen(ctx, conn, simProto)
		}
	}
	return conn.ConnectionState(), err
}

// A listener gives no tickets, and takes none, wherever they come from: also
// not those of a server with its own identity, and with an OPEN in 0-RTT.
func TestTicketsOpenNoDoor(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		friend, stranger, own := newIdentity(t), newIdentity(t), newIdentity(t)
		e := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Identity: own, Trust: certs.IDs(friend.ID())})
		second := n.peer(t, "10.0.0.2:2000", quicpeer.Config{Identity: own})
		var reached atomic.Int32
		for _, p := range []*peer{e, second} {
			p.Handle(simProto, func(in *quicpeer.Incoming) {
				reached.Add(1)
				_, _ = in.Accept(nil)
			})
		}
		h := n.raw(t, "10.0.0.1:1000")
		n.between(e.addr, h.addr, faults{delay: 5 * time.Millisecond})

		// What our listeners give, before and after trust has changed.
		ours := newTickets()
		for _, p := range []*peer{e, second, e} {
			state, err := dialEarly(t, h, p.addr, ours.resuming(friend))
			require.NoError(t, err)
			require.False(t, state.TLS.DidResume || state.Used0RTT)
			n.arrive()
		}
		require.Zero(t, ours.given.Load(), "no tickets")
		require.EqualValues(t, 3, reached.Load())

		// The ticket of another server, which that server does resume: the
		// client asks for it as it should, and says everything in 0-RTT.
		for _, twin := range []*certs.Identity{own, newIdentity(t)} {
			for _, who := range []*certs.Identity{friend, stranger} {
				theirs := newTickets()
				server := n.raw(t, "10.0.0.3:1000")
				listener := ticketServer(t, server, twin)
				go func() {
					for {
						conn, err := listener.Accept(t.Context())
						if err != nil {
							return
						}
						str, err := conn.AcceptStream(t.Context())
						if err == nil {
							_, _ = str.Write(encode(session.Accept{}))
						}
					}
				}()
				for i := range 2 {
					state, err := dialEarly(t, h, server.addr, theirs.resuming(who))
					require.NoError(t, err)
					require.Equal(t, i == 1, state.TLS.DidResume, "the ticket works where it comes from")
					require.Equal(t, i == 1, state.Used0RTT, "and 0-RTT does")
				}
				require.NotZero(t, theirs.given.Load())

				before := reached.Load()
				state, err := dialEarly(t, h, e.addr, theirs.resuming(who))
				n.arrive()
				require.False(t, state.TLS.DidResume || state.Used0RTT, "not here")
				if who == friend {
					require.NoError(t, err, "the key does it")
					require.Equal(t, before+1, reached.Load(), "once")
				} else {
					var refused *quic.TransportError
					require.ErrorAs(t, err, &refused, "a ticket does not make up for trust")
					require.True(t, refused.Remote)
					require.Equal(t, before, reached.Load())
				}
				_ = listener.Close()
				n.remove(server.addr)
			}
		}

		// Revoked: what it had when it was trusted does not help.
		e.SetTrust(certs.IDs(stranger.ID()))
		before := reached.Load()
		_, err := dialEarly(t, h, e.addr, ours.resuming(friend))
		var refused *quic.TransportError
		require.ErrorAs(t, err, &refused)
		require.True(t, refused.Remote)
		n.arrive()
		require.Equal(t, before, reached.Load())
		e.wantLinks("nobody", 0)
	})
}

// A dialer takes no tickets: whom it meets has to prove its key each time, also
// if it has the ticket keys of the one before.
func TestDialerResumesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		e := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		h := n.raw(t, "10.0.0.2:1000")
		n.between(e.addr, h.addr, faults{delay: 5 * time.Millisecond})
		first, second := newIdentity(t), newIdentity(t)
		for _, id := range []*certs.Identity{first, first, second} {
			listener := ticketServer(t, h, id)
			dialed := make(chan error, 1)
			go func() {
				_, err := e.dialContext(t.Context(), h.addr, quicpeer.DialOptions{PeerID: first.ID()})
				dialed <- err
			}()
			if id == second {
				var untrusted *certs.UntrustedError
				require.ErrorAs(t, <-dialed, &untrusted, "judged by its own certificate")
				require.Equal(t, second.ID(), untrusted.Peer)
				e.wantLinks("none", 0)
				continue
			}
			conn, err := listener.Accept(t.Context())
			require.NoError(t, err)
			p := h.start(conn, session.Settings{})
			s, _ := p.accept()
			s.write(session.Accept{})
			require.NoError(t, <-dialed)
			state := conn.ConnectionState()
			require.False(t, state.TLS.DidResume || state.Used0RTT)
			_ = conn.CloseWithError(0, "")
			n.arrive()
			e.wantLinks("over", 0)
			require.NoError(t, listener.Close())
		}
	})
}
