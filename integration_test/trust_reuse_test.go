package integration_test

import (
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
