package session

import (
	"time"

	"github.com/oneportnet/quicpeer/datagram"
)

// What the specification fixes (PROTOCOL.md, "Timers").
const (
	// openTimeout is how long a stream may stay without a complete OPEN.
	openTimeout = 10 * time.Second
	// closeTimeout is how long a close may take, and how long DONE and FIN
	// are awaited after it.
	closeTimeout = 5 * time.Second
	// minGrace and maxGrace bound how long a missing datagram is waited for:
	// half a round trip, but no less than reordering and scheduling take, and
	// no more than a person would notice.
	minGrace = 10 * time.Millisecond
	maxGrace = 250 * time.Millisecond
)

// What this implementation has chosen.
const (
	// reservedEvery: one session in so many sends a frame of a reserved type.
	reservedEvery = 16
	// resumeDelay is how long an incoming session may go unread while its
	// handler, which has the goroutine that read the OPEN, makes up its mind.
	resumeDelay = time.Millisecond
	// shortFrame is room for most frames.
	shortFrame = 64
)

// DefaultCloseTimeout bounds a close for which neither its context nor
// [Options] say how long it may take.
const DefaultCloseTimeout = closeTimeout

// noDeadline is a machine's deadline while it waits for nothing.
var noDeadline time.Time

// Options are what an application may set for its sessions. The zero value
// has the defaults.
type Options struct {
	// Queues bound both directions of a session, and say what happens when
	// they are full.
	Queues datagram.FlowConfig
	// CloseTimeout bounds a close whose context has no deadline. Zero or less
	// means 5 seconds.
	CloseTimeout time.Duration
}

func (o *Options) closeTimeout() time.Duration {
	if o.CloseTimeout <= 0 {
		return DefaultCloseTimeout
	}
	return o.CloseTimeout
}

// SendOptions are what can be said of one message.
type SendOptions = datagram.SendOptions
