package integration_test

import (
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// tokens is a client's store of address validation tokens (RFC 9000 section
// 8.1.3) that gives away the same one again and again.
type tokens struct{ last *quic.ClientToken }

func (s *tokens) Put(_ string, t *quic.ClientToken) { s.last = t }
func (s *tokens) Pop(_ string) *quic.ClientToken    { return s.last }

// The tokens that QUIC sends for later connections open no door: an address has
// been proved only by who has answered a Retry from there. Of one peer's token
// another one, at the same address or not, at this endpoint or another, has
// nothing.
func TestAddressTokensOfOthers(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		verified := make(chan bool, 10)
		config := quicpeer.Config{
			Identity: newIdentity(t), Limits: quicpeer.Limits{HandshakesPerSecond: -1},
			AdmitConnection: func(i quicpeer.ConnectionInfo) error { verified <- i.AddrVerified; return nil },
		}
		e, second := n.peer(t, "10.0.0.2:1000", config), n.peer(t, "10.0.0.2:2000", config)
		store := &tokens{}
		dial := func(from *rawHost, to *peer) {
			c := rawConfig()
			c.TokenStore = store
			n.between(from.addr, to.addr, faults{delay: 5 * time.Millisecond})
			conn, err := from.transport.Dial(t.Context(), to.addr, from.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), ""), c)
			require.NoError(t, err, "it is let in all the same")
			n.arrive()
			_ = conn.CloseWithError(0, "")
			n.arrive()
		}
		victim := n.raw(t, "10.0.0.1:1000")
		dial(victim, e)
		require.False(t, <-verified, "the first has none")
		stolen := store.last
		require.NotNil(t, stolen, "QUIC has sent one")
		for _, from := range []*rawHost{victim, n.raw(t, "10.0.0.1:2000"), n.raw(t, "10.0.0.3:1000")} {
			for _, to := range []*peer{e, second} {
				store.last = stolen
				dial(from, to)
				require.False(t, <-verified, "from %v to %v", from.addr, to.addr)
			}
		}
	})
}
