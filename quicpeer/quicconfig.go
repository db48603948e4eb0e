package quicpeer

import (
	"github.com/quic-go/quic-go"
)

// What this implementation has chosen.
const (
	// streamWindow bounds what a peer may send on one stream before we have
	// read it: more than the signals that may be outstanding, each of the
	// largest size, so that credit for signals, not flow control, is what a
	// sender waits for.
	streamWindow = 512 << 10
	// connectionWindow bounds it for all streams of a link: a peer that
	// floods every control stream at once makes us hold no more.
	connectionWindow = 4 << 20
	// uniStreams is how many unidirectional streams a peer may have open: one
	// link stream, and a few of types that later versions may add.
	uniStreams = 8
)

// quicConfig is how this endpoint runs its connections, both those it dials
// and those it accepts.
func (e *Endpoint) quicConfig() *quic.Config {
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1, quic.Version2},
		HandshakeIdleTimeout:           handshakeTimeout,
		MaxIdleTimeout:                 quicIdleTimeout,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     connectionWindow,
		MaxIncomingStreams:             int64(e.config.Limits.SessionsPerLink),
		MaxIncomingUniStreams:          uniStreams,
		RequireStreamCreditRelease:     true,
		EnableDatagrams:                true,
		Tracer:                         e.tracer(),
	}
}
