package quicpeer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// Session is one conversation with one peer; see [session.Session].
type Session = session.Session

// Incoming is a session that a peer wants to open; see [session.Incoming].
type Incoming = session.Incoming

// Error is why a session ended; see [session.Error].
type Error = session.Error

// Code says why something ended; see [session.Code].
type Code = session.Code

// handshakeTimeout is how long a handshake may stay silent. QUIC allows it
// twice as long in all.
const handshakeTimeout = 5 * time.Second

// Endpoint is one UDP port that both accepts and dials sessions. It owns one
// socket and one QUIC transport; every link to every peer goes through them.
//
// Safe for concurrent use. It must be closed with [Endpoint.Close] or
// [Endpoint.Shutdown].
type Endpoint struct {
	config     Config
	log        *slog.Logger
	identity   *certs.Identity
	instance   [16]byte // random for each start (session/PROTOCOL.md, SETTINGS)
	socket     net.PacketConn
	owned      bool       // socket is ours to close
	udp        *udpSocket // as QUIC uses it; nil if it is of another kind
	faults     *socketFaults
	qlogs      *seldom // how often it is logged that there are none
	families   families
	transport  *quic.Transport
	listener   *quic.Listener
	admission  *admission
	trust      atomic.Pointer[trustBox]
	counters   counters
	backlog    backlog
	background sync.WaitGroup // the accept loop, and connections on their way to a link
	ended      chan struct{}  // closed when nothing is left
	result     error          // of the shutdown; set before ended is closed

	mu       sync.Mutex
	links    map[*link]struct{}
	dials    map[dialKey]*connecting
	handlers map[string]func(*Incoming)
	closing  bool
}

// trustBox makes an interface fit an atomic pointer.
type trustBox struct{ certs.Trust }

// counters are totals of one endpoint.
type counters struct {
	refusedConnections, untrustedPeers, violations, refusedSessions, busySessions, withdrawnSessions, failedQLogs atomic.Uint64
}

// Listen binds the endpoint to a UDP address, "host:port". An empty host means
// all addresses of both families, on one socket; port 0 lets the system
// choose, and [Endpoint.Addr] tells. c may be nil.
func Listen(address string, c *Config) (*Endpoint, error) {
	pc, err := listenUDP(address)
	if err != nil {
		return nil, err
	}
	e, err := listen(pc, true, c)
	if err != nil {
		_ = pc.Close()
		return nil, err
	}
	return e, nil
}

// ListenPacket runs the endpoint on a socket that the caller has made, and
// closes after the endpoint: a UDP socket with options of its own, or a
// simulated network. Nobody else may read from it. A [net.UDPConn] is used as
// Listen uses its own, with receive offload where the system has it; any other
// type, also one that embeds a UDPConn, only through its methods. Errors of its
// calls that wrap a [syscall.Errno] are taken to pass, as [NotSentStats] says, but
// for those of a socket that is gone (EBADF, ENOTSOCK); any other error ends the
// endpoint's links.
func ListenPacket(pc net.PacketConn, c *Config) (*Endpoint, error) {
	if pc == nil {
		return nil, errors.New("quicpeer: ListenPacket needs a socket, got nil")
	}
	return listen(pc, false, c)
}

func listen(pc net.PacketConn, owned bool, c *Config) (*Endpoint, error) {
	config, err := c.checked()
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		config: config, log: limitLog(config.Logger), identity: config.Identity,
		socket: pc, owned: owned, families: familiesOf(pc.LocalAddr()),
		faults:    newSocketFaults(config.Logger),
		qlogs:     newSeldom(1, faultLogEvery),
		admission: newAdmission(config.Limits),
		ended:     make(chan struct{}),
		links:     make(map[*link]struct{}),
		dials:     make(map[dialKey]*connecting),
		handlers:  make(map[string]func(*Incoming)),
	}
	var conn net.PacketConn
	if c, ok := pc.(*net.UDPConn); !ok {
		conn = wrapSocket(pc, e.faults)
	} else {
		e.udp = newUDPSocket(c, e.faults)
		conn = e.udp
		if e.udp.why != nil {
			e.log.Debug("packets are received one by one", "error", e.udp.why)
		}
	}
	e.backlog.init(config.Limits.Backlog)
	e.trust.Store(&trustBox{config.Trust})
	_, _ = rand.Read(e.instance[:]) // never fails, crypto/rand

	bound := pc.LocalAddr().String()
	reset, token := quic.StatelessResetKey(e.identity.ResetKey(bound)), quic.TokenGeneratorKey(e.identity.TokenKey(bound))
	e.transport = &quic.Transport{
		Conn:                conn,
		ConnectionIDLength:  connectionIDLength,
		StatelessResetKey:   &reset,
		TokenGeneratorKey:   &token,
		MaxTokenAge:         noTokens,
		VerifySourceAddress: func(a net.Addr) bool { return e.admission.mustProve(time.Now(), source(a)) },
		ConnContext:         e.admitConnection,
	}
	tlsConfig := e.identity.ServerTLS(ALPN, currentTrust{e}, config.AllowAnonymous)
	tlsConfig.KeyLogWriter = config.KeyLogWriter
	e.listener, err = e.transport.Listen(tlsConfig, e.quicConfig())
	if err != nil {
		e.closeTransport()
		return nil, fmt.Errorf("quicpeer: %w", err)
	}
	e.background.Go(e.acceptLinks)
	return e, nil
}

// connectionIDLength is the length of the connection ids we hand out. More than
// enough against collisions and guesses; and with 17 bytes the largest datagram
// that quic-go takes fills a packet to the byte: type 1, id 17, number 2, frame
// type 1, tag 16 are the 37 that it leaves for them. Only full packets go out in
// batches (UDP GSO).
const connectionIDLength = 17

// noTokens makes every token of a NEW_TOKEN frame too old. quic-go sends one to
// each client and cannot be told not to; it binds them to an IP address alone, so
// that a peer could use another's behind the same NAT (session/PROTOCOL.md, rule
// 17). Tokens of a Retry, which it binds to one handshake, have an age of their own.
const noTokens = -1

// Addr returns the address of the endpoint's one UDP port.
func (e *Endpoint) Addr() net.Addr { return e.socket.LocalAddr() }

// ID returns the endpoint's own peer id.
func (e *Endpoint) ID() certs.PeerID { return e.identity.ID() }

// currentTrust is the endpoint's trust, whatever it is at the time.
type currentTrust struct{ e *Endpoint }

func (c currentTrust) Verify(p certs.Peer) error {
	err := certs.Verify(c.e.trust.Load().Trust, p)
	if err != nil {
		c.e.counters.untrustedPeers.Add(1)
		c.e.log.Info("peer refused", "id", p.ID, "error", err)
	}
	return err
}

var errNoTrust = errors.New("quicpeer: no trust is configured: set Config.Trust, or dial with DialOptions.PeerID")

// SetTrust replaces the endpoint's trust, for rotation and revocation. Links
// are checked again at once: those whose peer the new trust does not accept
// are closed with CodeRefused, and their sessions with them. Links that were
// dialed with a trust or a peer id of their own keep to that.
func (e *Endpoint) SetTrust(t certs.Trust) {
	e.trust.Store(&trustBox{t})
	e.mu.Lock()
	links := e.allLinks()
	e.mu.Unlock()
	for _, l := range links {
		e.recheck(l)
	}
}

// recheck closes a link that the endpoint's trust does not cover, or no
// longer. A link that comes up while trust changes is checked again too, before
// anything of it reaches the application.
func (e *Endpoint) recheck(l *link) {
	if l.anonymous || l.trust != nil {
		return
	}
	if err := certs.Verify(e.trust.Load().Trust, l.peer); err != nil {
		e.log.Warn("link closed: its peer is not trusted any more", "remote", l.RemoteAddr(), "id", l.peer.ID, "error", err)
		l.close(session.Error{Cause: session.CauseLinkClosed, Code: session.CodeRefused, Reason: "not trusted any more", Err: err})
	}
}

// allLinks returns the links now. The caller holds mu.
func (e *Endpoint) allLinks() []*link {
	all := make([]*link, 0, len(e.links))
	for l := range e.links {
		all = append(all, l)
	}
	return all
}

// acceptLinks always drains QUIC's queue: overload is answered before the
// handshake or on a session, never by a connection that dies after it seemed
// open.
func (e *Endpoint) acceptLinks() {
	for {
		conn, err := e.listener.Accept(context.Background())
		if err != nil {
			if !e.isClosing() {
				e.log.Error("the socket has failed", "error", err)
				e.backlog.fail(fmt.Errorf("quicpeer: the socket has failed: %w", err))
			}
			return
		}
		e.background.Go(func() {
			if _, err := e.addLink(conn, nil, nil); err != nil {
				e.log.Info("connection refused", "remote", conn.RemoteAddr(), "error", err)
			}
		})
	}
}

// addLink makes a link of a connection whose handshake is complete, or closes
// the connection.
func (e *Endpoint) addLink(conn *quic.Conn, dialed *target, trust certs.Trust) (*link, error) {
	l, err := newLink(e, conn, dialed, trust)
	if err != nil {
		code, reason := session.CodeInternal, "the link could not be set up"
		if errors.Is(err, ErrNoDatagrams) {
			code, reason = session.CodeUnsupported, "QUIC datagrams (RFC 9221) are required"
		}
		refuse(conn, dialed != nil, code, reason)
		return nil, unusedError(err, e.ID())
	}
	if dialed != nil && !l.anonymous {
		// Now the peer has proved that it holds its key.
		verify := trust
		if verify == nil {
			verify = e.trust.Load().Trust
		}
		if err := certs.Learn(verify, l.peer); err != nil {
			refuse(conn, true, session.CodeRefused, "not trusted")
			return nil, err
		}
	}
	// Before anybody can find the link: nothing may come before SETTINGS.
	l.out.begin(session.Settings{InstanceID: e.instance, HasInstanceID: true, Window: ownWindow})
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		_ = conn.CloseWithError(quic.ApplicationErrorCode(session.CodeGoingAway), "the endpoint is shutting down")
		return nil, ErrEndpointClosed
	}
	e.links[l] = struct{}{}
	e.mu.Unlock()
	e.log.Info("link up", "remote", l.RemoteAddr(), "id", l.peer.ID, "anonymous", l.anonymous, "dialed", dialed != nil)
	e.recheck(l) // before the peer's sessions are read
	l.start()
	return l, nil
}

// confirmationWait is how long a dialer waits for signs that its handshake is
// confirmed before it says why it leaves at once.
const confirmationWait = 250 * time.Millisecond

// refuse ends a connection that becomes no link. One that was dialed it ends once
// the peer's link stream shows that the handshake is confirmed: a server opens it
// when its side is complete (RFC 9001 section 4.1.2). A CONNECTION_CLOSE before
// that goes into a packet behind one of the handshake's, and servers that have
// discarded the keys of the one were seen to drop the other with it.
func refuse(conn *quic.Conn, dialed bool, code session.Code, reason string) {
	if dialed {
		ctx, cancel := context.WithTimeout(conn.Context(), confirmationWait)
		_, _ = conn.AcceptUniStream(ctx) // or it does not come
		cancel()
	}
	_ = conn.CloseWithError(quic.ApplicationErrorCode(code), reason)
}

// forget drops a link that has ended.
func (e *Endpoint) forget(l *link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.links, l)
}

// closeTransport ends all use of the socket. One that is ours is closed, one that
// is the caller's given back.
func (e *Endpoint) closeTransport() {
	e.faults.stop()
	_ = e.transport.Close()
	switch {
	case e.owned:
		_ = e.socket.Close()
	case e.udp != nil:
		e.udp.restore()
	}
}

func (e *Endpoint) isClosing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closing
}
