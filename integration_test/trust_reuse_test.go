package integration_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// A link that was dialed with a trust of its own outlives a change of the
// endpoint's. A session that relies on the endpoint's must not, so it begins on
// another link.
func TestRule08RevocationReachesWhatReliesOnIt(t *testing.T) {
	for what, own := range map[string]func(*peer) quicpeer.DialOptions{
		"with an id": func(b *peer) quicpeer.DialOptions { return quicpeer.DialOptions{PeerID: b.ID()} },
		"with trust": func(b *peer) quicpeer.DialOptions { return quicpeer.DialOptions{Trust: certs.IDs(b.ID())} },
	} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
				pinned, _ := a.openWith(b, own(b))
				relies, _ := a.openWith(b, quicpeer.DialOptions{})
				again, _ := a.openWith(b, quicpeer.DialOptions{})
				a.SetTrust(certs.IDs())
				for _, s := range []*quicpeer.Session{relies, again} {
					wantOver(t, "not trusted any more", s, time.Second)
					wantEnd(t, "refused", s, session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused})
				}
				require.NoError(t, pinned.Err(), "dialed with trust of its own")
				a.wantLinks("of the one that keeps to its own", 1)
			})
		})
	}
}

// A file of known peers remembers a peer also if the dial that should make it
// known needed no handshake, since there was a link.
func TestRule08KnownPeersLearnOnReuse(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		b.serve()
		_, err := a.dial(b, quicpeer.DialOptions{})
		require.NoError(t, err)
		known, err := certs.KnownPeers(filepath.Join(t.TempDir(), "known"))
		require.NoError(t, err)
		_, err = a.dial(b, quicpeer.DialOptions{Trust: known})
		require.NoError(t, err)
		a.wantLinks("the same", 1)
		id, ok, err := known.Lookup(b.addr.String())
		require.NoError(t, err)
		require.True(t, ok, "met under this name")
		require.Equal(t, b.ID(), id)
	})
}

// Whoever made the link, the trust of a dial judges a peer that is dialed.
func TestRule08DialUsesALinkOfThePeers(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		b.open(a)
		var asked []certs.Peer
		trust := certs.TrustFunc(func(p certs.Peer) error {
			asked = append(asked, p)
			return nil
		})
		a.openWith(b, quicpeer.DialOptions{PeerID: b.ID(), Trust: trust})
		require.False(t, a.wantLinks("the peer's", 1)[0].Dialed)
		require.NotEmpty(t, asked)
		for _, p := range asked {
			require.False(t, p.Incoming)
			require.Equal(t, b.addr.String(), p.Name)
			require.Equal(t, b.ID(), p.ID)
		}
	})
}

// A link to a peer that a CA has vouched for under one name is none under
// another, whoever it is; its id alone does not mind the name.
func TestRule08NameOfAnotherHost(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		ca, key := newCallerCA(t), newSigner(t)
		id, err := certs.FromTLSCertificate(tls.Certificate{Certificate: [][]byte{ca.leaf(t, key.Public(), nil).Raw, ca.mid.Raw}, PrivateKey: key})
		require.NoError(t, err)
		pool := x509.NewCertPool()
		pool.AddCert(ca.root)
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, theHost.String()+":1000", quicpeer.Config{Identity: id})
		b.serve()
		other := netUDP("10.0.0.67:1000")
		n.reroute(other, b.addr)
		both := quicpeer.DialOptions{PeerID: b.ID(), Trust: certs.CA(pool)}
		_, err = a.dial(b, both)
		require.NoError(t, err)
		_, err = a.dial(b, both)
		require.NoError(t, err)
		a.wantLinks("the same name", 1)
		_, err = a.dialContext(t.Context(), other, quicpeer.DialOptions{PeerID: b.ID()})
		require.NoError(t, err)
		a.wantLinks("the peer that is expected", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, o := range []quicpeer.DialOptions{both, {Trust: certs.CA(pool)}} {
			_, err = a.dialContext(ctx, other, o)
			var name x509.HostnameError
			require.ErrorAs(t, err, &name, "its certificate is not for this name")
		}
		a.wantLinks("still the first alone", 1)
	})
}

// A file of known peers that names another key now is asked before a link is
// used again, and ends it when the endpoint is told.
func TestRule08KnownPeerHasAnotherKey(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		path := filepath.Join(t.TempDir(), "known")
		known, err := certs.KnownPeers(path)
		require.NoError(t, err)
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{Trust: known})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
		s, _ := a.open(b)
		a.open(b)
		a.wantLinks("learned, and used again", 1)
		other := newIdentity(t).ID()
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%v %v\n", b.addr, other), 0o600))
		_, err = a.dial(b, quicpeer.DialOptions{})
		var changed *certs.KeyChangedError
		require.ErrorAs(t, err, &changed)
		require.Equal(t, other, changed.Known)
		require.Equal(t, b.ID(), changed.Got)
		require.NoError(t, s.Err(), "until the endpoint is told")
		a.SetTrust(known)
		wantOver(t, "judged again", s, time.Second)
		require.ErrorAs(t, s.Err(), &changed)
	})
}
