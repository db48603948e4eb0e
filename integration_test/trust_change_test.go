package integration_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// Trust is withdrawn between the moment at which it was asked and the one at
// which the link comes up, with the peer's OPEN in the first packet behind its
// handshake. The application never sees it: it is tried ten times, as which of
// the link's goroutines comes first is up to chance.
func TestRevokedWhileTheHandshakeRuns(t *testing.T) {
	for range 10 {
		t.Run("incoming", func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				var e atomic.Pointer[peer]
				var reached atomic.Int32
				late := certs.TrustFunc(func(certs.Peer) error {
					e.Load().SetTrust(certs.IDs())
					return nil
				})
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Trust: late})
				e.Store(b)
				b.Handle(simProto, func(in *quicpeer.Incoming) {
					reached.Add(1)
					_, _ = in.Accept(nil)
				})
				h := n.raw(t, "10.0.0.1:1000")
				n.between(b.addr, h.addr, faults{delay: 5 * time.Millisecond})
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				conn, err := h.connect(b)
				require.NoError(t, err)
				answer, err := bareOpen(ctx, conn, simProto)
				require.Error(t, err, "got %v", answer)
				n.arrive()
				require.Zero(t, reached.Load(), "the application saw it")
				b.wantLinks("not trusted any more", 0)
			})
		})
	}
	t.Run("dialed", func(t *testing.T) {
		simulate(t, func(t *testing.T, n *network) {
			var e atomic.Pointer[peer]
			a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{Trust: certs.TrustFunc(func(certs.Peer) error {
				e.Load().SetTrust(certs.IDs())
				return nil
			})})
			e.Store(a)
			b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{})
			b.serve()
			_, err := a.dial(b, quicpeer.DialOptions{})
			var untrusted *certs.UntrustedError
			require.ErrorAs(t, err, &untrusted)
			n.arrive()
			a.wantLinks("not trusted any more", 0)
			b.wantLinks("told", 0)
		})
	})
}

// What waits for an answer of the application is taken back with the trust.
func TestRevokedBeforeItIsAccepted(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		b, p := rawPair(t, n, quicpeer.Config{})
		p.open(session.Open{Protocol: simProto})
		n.arrive()
		in := b.incoming()
		p.open(session.Open{Protocol: simProto})
		n.arrive()
		b.SetTrust(certs.IDs())
		n.arrive()
		_, err := in.Accept(nil)
		require.ErrorIs(t, err, session.ErrWithdrawn)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = b.Accept(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "nobody waits any more")
		require.EqualValues(t, 1, b.Stats().WithdrawnSessions)
		b.wantLinks("revoked", 0)
	})
}
