package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// Only a link of the same identity, from another process, is asked whether its
// process is still there. These peers do not answer.
func TestRule11WhoIsAsked(t *testing.T) {
	process := func(b byte) session.Settings {
		return session.Settings{InstanceID: [16]byte{b}, HasInstanceID: true}
	}
	for name, c := range map[string]struct {
		first, second session.Settings
		stranger      bool // the second has another identity
		anonymous     bool // both
		ends          bool
	}{
		"another process":      {first: process(1), second: process(2), ends: true},
		"the same process":     {first: process(1), second: process(1)},
		"the first says none":  {second: process(2)},
		"the second says none": {first: process(1)},
		"another identity":     {first: process(1), second: process(2), stranger: true},
		"no identity":          {first: process(1), second: process(2), anonymous: true},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *network) {
				b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{AllowAnonymous: c.anonymous})
				h := n.raw(t, "10.0.0.1:1000")
				dial := func(s session.Settings) *rawPeer {
					config := h.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), b.addr.String())
					if c.anonymous {
						config.Certificates, config.GetClientCertificate = nil, nil
					}
					conn, err := h.transport.Dial(t.Context(), b.addr, config, rawConfig())
					require.NoError(t, err)
					return h.start(conn, s)
				}
				first := dial(c.first)
				_, own := first.openAccepted(b)
				n.pass(time.Second)
				if c.stranger {
					h = n.raw(t, "10.0.0.3:1000")
				}
				second := dial(c.second)
				second.openAccepted(b)
				n.pass(5 * time.Second)
				second.wantLive("it is the one that appeared")
				if !c.ends {
					first.wantLive("it has nothing to prove")
					require.NoError(t, own.Err())
					return
				}
				code, _ := first.wantClosed("silent")
				require.Equal(t, session.CodeSuperseded, code)
				wantEnd(t, "silent", own, session.Error{Cause: session.CauseSuperseded, Code: session.CodeSuperseded})
			})
		})
	}
}
