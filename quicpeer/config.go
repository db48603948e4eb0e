package quicpeer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// What the specification fixes (session/PROTOCOL.md, "Timers").
const (
	quicIdleTimeout   = 30 * time.Second
	heartbeatInterval = 5 * time.Second
	deadAfter         = 15 * time.Second
	linkIdleTimeout   = 20 * time.Second
	lingerTimeout     = 2 * time.Second
	supersedeTimeout  = time.Second // at least; 3 PTO if that is longer
)

// ALPN is the protocol that endpoints negotiate in TLS (RFC 7301).
const ALPN = "quicpeer/1"

// Limits bound what peers can make an endpoint hold. A zero field means its
// default, a negative one no limit where the field says so.
type Limits struct {
	// Links is how many links the endpoint holds at once, those being set up
	// included. Default 4,096: with some 100 KB a link, 400 MB. Negative: no
	// limit.
	Links int
	// LinksPerAddress is how many of them may come from one IP address (one
	// /64 of IPv6). Dialed links do not count. Default 64: enough for a
	// household or a small office behind one address. Each counts for a second
	// at least, so this bounds the handshakes of an address in a second, too.
	// Those above it are refused, and the dial fails with CONNECTION_REFUSED.
	// All dials of an endpoint to one peer share a link, so only programs that
	// make many endpoints come near that, such as load tests. Negative: no limit.
	LinksPerAddress int
	// SessionsPerLink is how many sessions a peer may have open at once on
	// one link; QUIC's stream limit enforces it (RFC 9000 section 4.6).
	// Default 1,024: with some 7 KB for an idle session, 7 MB.
	SessionsPerLink int
	// Backlog is how many incoming sessions wait for Accept. One more is
	// rejected as busy. Default 128, as much as listening sockets commonly
	// have.
	Backlog int
	// HandshakesPerSecond is how many handshakes from unproven addresses are
	// begun in a second, with bursts of as many, before newcomers must prove
	// their address with a Retry (RFC 9000 section 8.1.2). Default 100: at
	// about 1 ms of CPU for each, a tenth of a core. So must all once half of
	// Links or LinksPerAddress are taken. Negative: never ask.
	HandshakesPerSecond int
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Links, 4096)
	def(&l.LinksPerAddress, 64)
	def(&l.SessionsPerLink, 1024)
	def(&l.Backlog, 128)
	def(&l.HandshakesPerSecond, 100)
	return l
}

// ConnectionInfo is what is known of a peer that begins a handshake.
type ConnectionInfo struct {
	// RemoteAddr is where its packet came from. Unless AddrVerified is set,
	// it may be forged.
	RemoteAddr   net.Addr
	AddrVerified bool
}

// Config is how an endpoint works. It is read once and never changed; a nil
// *Config is the zero Config.
type Config struct {
	// Identity is this endpoint's key. Nil: a fresh one, for the life of the
	// endpoint.
	Identity *certs.Identity
	// Trust decides which peers may connect and be dialed. Nil: nobody, but
	// peers dialed with their id, [DialOptions.PeerID]. [Endpoint.SetTrust]
	// replaces it.
	Trust certs.Trust
	// AllowAnonymous admits incoming peers that present no certificate. They
	// never reach Trust, and show without an id.
	AllowAnonymous bool

	// Protocols are the application protocols whose incoming sessions
	// [Endpoint.Accept] hands out. Sessions of any other protocol without a
	// handler ([Endpoint.Handle]) are rejected as refused.
	Protocols []string
	// AdmitConnection, if set, may turn away a connection attempt before its
	// handshake. It must return quickly, and may be called concurrently, and
	// again for another packet of an attempt that it has turned away.
	AdmitConnection func(ConnectionInfo) error
	// AdmitSession, if set, sees every incoming session before Accept or a
	// handler do. It may reject it and return false, or return true. It may
	// be called concurrently and must not wait.
	AdmitSession func(*Incoming) bool

	// Session holds the options of every session.
	Session session.Options
	// Limits bound what peers can make the endpoint hold.
	Limits Limits

	// HeapReserve is how many bytes of address space a busy endpoint sets
	// aside so that garbage collection runs less often: the heap of the
	// process may then grow by as much again before it runs. No memory is
	// taken for the reserve itself. 0: 32 MiB; negative: none. A process whose
	// heap is large anyway, or that sets GOGC, needs none. The first busy
	// endpoint of a process decides.
	HeapReserve int

	// Logger gets what an operator may want to know. Of one message it gets at
	// most a hundred lines at once and then one a second, which tells in
	// "suppressed" how many were left out before it: peers cannot flood it. It is
	// called from where packets are read and sent, so its handler must not wait.
	// Nil: silence.
	Logger *slog.Logger
	// QLogDir is where a qlog file is written for each connection. Empty: the
	// environment variable QLOGDIR; if that is empty too, none is written. A
	// connection whose file cannot be written runs without; [Stats] count those.
	// There are no keys and no messages in them, but addresses, reasons, and the
	// tokens with which a connection can be reset. So only their owner can read
	// them.
	QLogDir string
	// KeyLogWriter, if set, gets the secrets of every connection, in the NSS
	// key log format, so that tools such as Wireshark can read what was
	// captured. Whoever has them can read it, too: for debugging only. Writes
	// are serialized.
	KeyLogWriter io.Writer
}

// checked returns a copy with the defaults filled in.
func (c *Config) checked() (Config, error) {
	var n Config
	if c != nil {
		n = *c
	}
	n.Limits = n.Limits.withDefaults()
	if n.HeapReserve == 0 {
		n.HeapReserve = defaultHeapReserve
	}
	n.Protocols = slices.Clone(n.Protocols)
	for _, p := range n.Protocols {
		if err := (session.Open{Protocol: p}).Validate(); err != nil {
			return n, fmt.Errorf("quicpeer: protocol %q: %w", p, err)
		}
	}
	if n.Limits.SessionsPerLink < 0 || n.Limits.Backlog < 0 {
		return n, errors.New("quicpeer: SessionsPerLink and Backlog cannot be unlimited: give a positive number, or 0 for the default")
	}
	if n.Identity == nil {
		id, err := certs.Generate()
		if err != nil {
			return n, fmt.Errorf("quicpeer: %w", err)
		}
		n.Identity = id
	}
	if n.Logger == nil {
		n.Logger = slog.New(slog.DiscardHandler)
	}
	return n, nil
}
