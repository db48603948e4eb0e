package integration_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// policy is a way to say who is trusted, and whom that means.
type policy struct {
	what  string
	trust certs.Trust          // the endpoint's
	dial  quicpeer.DialOptions // of each dial
	anon  bool
	file  string // where the endpoint remembers whom it has met, if that is to be checked
	// dialed and incoming tell which of the callers that have a key get in.
	dialed, incoming func(caller) bool
}

func policies(t *testing.T, friend certs.PeerID, ca callerCA) []policy {
	other := newIdentity(t).ID()
	pool := x509.NewCertPool()
	pool.AddCert(ca.root)
	file := filepath.Join(t.TempDir(), "known")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "%v:1000 %v\nelsewhere:1000 %v\n", theHost, friend, other), 0o600))
	known, err := certs.KnownPeers(file)
	require.NoError(t, err)
	unknown := filepath.Join(t.TempDir(), "first")
	first, err := certs.KnownPeers(unknown)
	require.NoError(t, err)
	callback := certs.TrustFunc(func(p certs.Peer) error {
		if p.ID != friend {
			return errors.New("not my friend")
		}
		return nil
	})

	nobody := func(caller) bool { return false }
	anyone := func(caller) bool { return true }
	theFriend := func(c caller) bool { return c.friend }
	server, client := func(c caller) bool { return c.server }, func(c caller) bool { return c.client }
	both := func(a, b func(caller) bool) func(caller) bool { return func(c caller) bool { return a(c) && b(c) } }
	one := func(a, b func(caller) bool) func(caller) bool { return func(c caller) bool { return a(c) || b(c) } }
	return []policy{
		{what: "nobody", dialed: nobody, incoming: nobody},
		{what: "no ids", trust: certs.IDs(), dialed: nobody, incoming: nobody},
		{what: "no pool", trust: certs.CA(nil), dialed: nobody, incoming: nobody},
		{what: "no callback", trust: certs.TrustFunc(nil), dialed: nobody, incoming: nobody},
		{what: "none of none", trust: certs.AnyOf(), dialed: nobody, incoming: nobody},
		{what: "all of none", trust: certs.AllOf(), dialed: nobody, incoming: nobody},
		{what: "the zero file", trust: new(certs.KnownPeersFile), dialed: nobody, incoming: nobody},
		{what: "ids", trust: certs.IDs(friend, other), dialed: theFriend, incoming: theFriend},
		{what: "known peers", trust: known, dialed: theFriend, incoming: theFriend},
		{what: "first use", trust: first, file: unknown, dialed: anyone, incoming: nobody},
		{what: "CA", trust: certs.CA(pool), dialed: server, incoming: client},
		{what: "callback", trust: callback, dialed: theFriend, incoming: theFriend},
		{what: "anyone", trust: certs.Anyone(), dialed: anyone, incoming: anyone},
		{what: "id and CA", trust: certs.AllOf(certs.IDs(friend), certs.CA(pool)), dialed: both(theFriend, server), incoming: both(theFriend, client)},
		{what: "id or CA", trust: certs.AnyOf(certs.IDs(friend), certs.CA(pool)), dialed: one(theFriend, server), incoming: one(theFriend, client)},
		{what: "ids, and anonymous ones", trust: certs.IDs(friend), anon: true, dialed: theFriend, incoming: theFriend},
		{what: "PeerID alone", dial: quicpeer.DialOptions{PeerID: friend}, dialed: theFriend, incoming: nobody},
		{what: "PeerID above anyone", trust: certs.Anyone(), dial: quicpeer.DialOptions{PeerID: friend}, dialed: theFriend, incoming: anyone},
		{what: "PeerID of another", trust: certs.Anyone(), dial: quicpeer.DialOptions{PeerID: other}, dialed: nobody, incoming: anyone},
		{what: "PeerID and CA", dial: quicpeer.DialOptions{PeerID: friend, Trust: certs.CA(pool)}, dialed: both(theFriend, server), incoming: nobody},
		{what: "a dial's own trust", trust: certs.Anyone(), dial: quicpeer.DialOptions{Trust: certs.IDs(friend)}, dialed: theFriend, incoming: anyone},
	}
}

// Every way to say who is trusted meets everybody who might come, as listener
// and as dialer. Who is wrong gets no session and no link, and the error says
// why; who is right gets both, over the same path.
func TestTrustMatrix(t *testing.T) {
	names := policies(t, certs.PeerID{1}, newCallerCA(t))
	for i := range names {
		t.Run(names[i].what, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				friend, ca := newSigner(t), newCallerCA(t)
				all := callers(t, friend, ca)
				p := policies(t, all[0].id(t), ca)[i]
				m := newMatrix(t, n, p)
				for _, c := range all {
					if c.cert != nil { // a listener cannot be without
						m.listener(c)
					}
					m.dialer(c)
				}
			})
		})
	}
}

// matrix is one policy's endpoint, and the host of those who come.
type matrix struct {
	policy
	t       *testing.T
	n       *network
	e       *peer
	h       *rawHost
	reached atomic.Int32 // sessions that the application has seen
}

func newMatrix(t *testing.T, n *network, p policy) *matrix {
	m := &matrix{policy: p, t: t, n: n}
	conn := n.socket(t, "10.0.0.1:1000")
	e, err := quicpeer.ListenPacket(conn, &quicpeer.Config{Trust: p.trust, AllowAnonymous: p.anon})
	require.NoError(t, err)
	m.e = &peer{Endpoint: e, t: t, addr: conn.LocalAddr(), conn: conn}
	t.Cleanup(m.e.stop)
	e.Handle(simProto, func(in *quicpeer.Incoming) {
		m.reached.Add(1)
		_, _ = in.Accept(nil)
	})
	m.h = n.raw(t, theHost.String()+":1000")
	n.between(m.e.addr, m.h.addr, faults{delay: 5 * time.Millisecond})
	return m
}

// listener has the endpoint dial the caller.
func (m *matrix) listener(c caller) {
	why := m.what + " dials: " + c.what
	listener, err := m.h.transport.Listen(c.listening(), rawConfig())
	require.NoError(m.t, err, why)
	var opened atomic.Int32
	var conn *quic.Conn
	served := make(chan struct{})
	go func() {
		defer close(served)
		accepted, err := listener.Accept(m.t.Context())
		if err != nil {
			return
		}
		conn = accepted
		str, err := conn.AcceptStream(m.t.Context())
		if err == nil {
			opened.Add(1)
			_, _ = str.Write(encode(session.Accept{}))
		}
	}()
	s, err := m.e.dialContext(m.t.Context(), m.h.addr, m.dial)
	m.n.arrive()
	if c.proof && m.dialed(c) {
		require.NoError(m.t, err, why)
		require.NoError(m.t, s.Err(), why)
		require.EqualValues(m.t, 1, opened.Load(), why)
		require.Equal(m.t, c.id(m.t), m.e.wantLinks(why, 1)[0].RemoteID, why)
		require.Equal(m.t, m.file != "", m.learned(), why)
		_ = conn.CloseWithError(0, "the next one, please")
		m.n.arrive()
		if m.file != "" {
			require.NoError(m.t, os.Remove(m.file))
		}
	} else {
		require.Nil(m.t, s, why)
		var dial *quicpeer.DialError
		require.ErrorAs(m.t, err, &dial, why)
		m.wantReason(why, err, c)
		require.Zero(m.t, opened.Load(), why)
		require.False(m.t, m.learned(), "%s: nothing is learned", why)
	}
	m.e.wantLinks(why+", over", 0)
	require.NoError(m.t, listener.Close())
	<-served
}

// wantReason checks what a dialer is told.
func (m *matrix) wantReason(why string, err error, c caller) {
	m.t.Helper()
	var untrusted *certs.UntrustedError
	var transport *quic.TransportError
	switch {
	case m.trust == nil && m.dial.PeerID.IsZero() && m.dial.Trust == nil:
		require.ErrorContains(m.t, err, "no trust is configured", why)
	case c.alpn != "":
		wantErrorIs(m.t, err, quicpeer.ErrWrongProtocol, why)
	case errors.As(err, &untrusted):
		require.Equal(m.t, c.id(m.t), untrusted.Peer, why)
		require.False(m.t, untrusted.Incoming, why)
	default: // what it shows would do, but it cannot prove it, or it is too long
		require.False(m.t, c.proof, "%s: %v", why, err)
		require.ErrorAs(m.t, err, &transport, why)
	}
}

// dialer has the caller dial the endpoint, and try to get a session.
func (m *matrix) dialer(c caller) {
	why := "dialing " + m.what + ": " + c.what
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	reached, untrusted := m.reached.Load(), m.e.Stats().UntrustedPeers
	conn, err := m.h.transport.Dial(ctx, m.e.addr, c.dialing(), rawConfig())
	if err == nil {
		_, err = bareOpen(ctx, conn, simProto)
	}
	m.n.arrive()
	switch {
	case c.alpn == "" && (c.proof && m.incoming(c) || c.cert == nil && m.anon):
		require.NoError(m.t, err, why)
		require.Equal(m.t, reached+1, m.reached.Load(), why)
		link := m.e.wantLinks(why, 1)[0]
		require.Equal(m.t, c.id(m.t), link.RemoteID, why)
		require.Equal(m.t, c.cert == nil, link.Anonymous, why)
		require.Equal(m.t, untrusted, m.e.Stats().UntrustedPeers, why)
	default:
		var transport *quic.TransportError
		require.ErrorAs(m.t, err, &transport, why)
		require.True(m.t, transport.Remote, "%s: the endpoint refuses: %v", why, transport)
		require.Equal(m.t, reached, m.reached.Load(), "%s: the application saw it", why)
		if c.proof {
			require.Equal(m.t, untrusted+1, m.e.Stats().UntrustedPeers, why)
		}
	}
	if conn != nil {
		_ = conn.CloseWithError(0, "the next one, please")
		m.n.arrive()
	}
	m.e.wantLinks(why+", over", 0)
	synctest.Wait()
}

// learned reports whether the caller is in the file of those met first.
func (m *matrix) learned() bool {
	if m.file == "" {
		return false
	}
	_, err := os.Stat(m.file)
	return err == nil
}
