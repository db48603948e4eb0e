package integration_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// peer is an endpoint on a simulated network.
type peer struct {
	*quicpeer.Endpoint
	t        *testing.T
	addr     net.Addr
	conn     *simnet.SimConn
	identity *certs.Identity
}

// simProto is the protocol that peers serve.
const simProto = "sim"

// peer starts an endpoint. Unless c says otherwise it trusts everyone and
// serves simProto.
func (n *network) peer(t *testing.T, address string, c quicpeer.Config) *peer {
	t.Helper()
	if c.Trust == nil {
		c.Trust = certs.Anyone()
	}
	if c.Protocols == nil {
		c.Protocols = []string{simProto}
	}
	if c.Identity == nil {
		c.Identity = newIdentity(t)
	}
	conn := n.socket(t, address)
	e, err := quicpeer.ListenPacket(conn, &c)
	require.NoError(t, err)
	p := &peer{Endpoint: e, t: t, addr: conn.LocalAddr(), conn: conn, identity: c.Identity}
	t.Cleanup(p.stop)
	return p
}

func newIdentity(t testing.TB) *certs.Identity {
	t.Helper()
	id, err := certs.Generate()
	require.NoError(t, err)
	return id
}

// stop ends the endpoint without waiting for peers that are not there.
func (p *peer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.Close(ctx)
	_ = p.conn.Close()
}

// crash ends the endpoint as if its process had been killed: nothing that it
// sends gets out any more.
func (n *network) crash(p *peer) {
	n.remove(p.addr)
	_ = p.conn.Close()
	p.stop()
}

// dial opens a session of simProto.
func (p *peer) dial(to *peer, o quicpeer.DialOptions) (*quicpeer.Session, error) {
	return p.dialContext(p.t.Context(), to.addr, o)
}

func (p *peer) dialContext(ctx context.Context, to net.Addr, o quicpeer.DialOptions) (*quicpeer.Session, error) {
	if o.Protocol == "" {
		o.Protocol = simProto
	}
	return p.Dial(ctx, to.String(), &o)
}

// open opens a session, and accepts it at the other side.
func (p *peer) open(to *peer) (dialed, accepted *quicpeer.Session) {
	p.t.Helper()
	return p.openWith(to, quicpeer.DialOptions{})
}

func (p *peer) openWith(to *peer, o quicpeer.DialOptions) (dialed, accepted *quicpeer.Session) {
	p.t.Helper()
	done := make(chan *quicpeer.Session, 1)
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		defer close(done)
		in, err := to.Accept(ctx)
		if err != nil {
			return
		}
		if s, err := in.Accept(nil); err == nil {
			done <- s
		}
	}()
	dialed, err := p.dialContext(ctx, to.addr, o)
	require.NoError(p.t, err)
	accepted = <-done
	require.NotNil(p.t, accepted, "the other side got no session")
	return dialed, accepted
}

// wantLinks waits until the network is quiet, and counts the links.
func (p *peer) wantLinks(why string, n int) []quicpeer.LinkInfo {
	p.t.Helper()
	synctest.Wait()
	links := p.Links()
	require.Len(p.t, links, n, why)
	return links
}

// wantEnd checks how a session ended, for this side, and returns the error.
func wantEnd(t *testing.T, why string, s *quicpeer.Session, want session.Error) *session.Error {
	t.Helper()
	return wantError(t, why, s.Err(), want)
}

// wantError compares cause, code, reason (if want has one) and side.
func wantError(t *testing.T, why string, err error, want session.Error) *session.Error {
	t.Helper()
	var e *session.Error
	require.ErrorAs(t, err, &e, why)
	require.Equal(t, want.Cause, e.Cause, "%s: %v", why, e)
	require.Equal(t, want.Code, e.Code, "%s: %v", why, e)
	require.Equal(t, want.Remote, e.Remote, "%s: %v", why, e)
	if want.Reason != "" {
		require.Equal(t, want.Reason, e.Reason, why)
	}
	return e
}

// wantOver waits for the end of a session, for at most d.
func wantOver(t *testing.T, why string, s *quicpeer.Session, d time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case <-s.Done():
	case <-time.After(d + 1): // fires once everything else waits
		require.FailNow(t, "the session is not over: "+why, "state %v after %v", s.State(), d)
	}
	return time.Since(began)
}

// drain reads all messages of a session that has ended, or is about to.
func drain(t *testing.T, s *quicpeer.Session) (messages [][]byte, end error) {
	t.Helper()
	for {
		m, err := s.Receive(t.Context())
		if err != nil {
			return messages, err
		}
		messages = append(messages, m)
	}
}
