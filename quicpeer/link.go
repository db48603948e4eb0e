package quicpeer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/session"
)

// link is one QUIC connection to one peer, and everything on it. Its
// goroutines, besides those of its sessions, are: one that accepts sessions,
// one that accepts and reads link streams, one that takes datagrams off QUIC's
// queue (receive), one that hands them to it (pump), and one that tends it
// (tend). All end with the connection.
//
// Safe for concurrent use.
type link struct {
	ep        *Endpoint
	conn      *quic.Conn
	mux       *datagram.Mux
	out       linkWriter
	peer      certs.Peer // its ID is zero if anonymous
	anonymous bool
	dialed    *target                            // what this side dialed; nil if the peer did
	trust     certs.Trust                        // what the peer was verified with, if not the endpoint's trust
	exporter  [32]byte                           // orders links between the same two peers
	pings     pinger                             // PING and PONG
	life      heartbeats                         // is the peer's process there?
	feed      feed                               // whether messages make way for control
	credit    *time.Timer                        // runs while credit is owed; the receiving goroutine's
	stalled   stall                              // the pump's
	timer     *time.Timer                        // the pump's
	driving   driving                            // belongs to whoever drives mux
	handed    atomic.Uint64                      // datagrams handed to QUIC
	received  atomic.Uint64                      // datagrams taken from QUIC
	credited  atomic.Uint64                      // what the peer's credit covers of them
	limits    atomic.Pointer[session.PeerLimits] // nil until the peer's SETTINGS come
	since     time.Time                          // when it came up
	mayOpen   context.Context                    // ends once no session may begin: either side has sent GOAWAY
	noOpens   context.CancelFunc
	done      chan struct{} // closed when every goroutine of the link has ended
	gone      sync.WaitGroup

	mu         sync.Mutex
	sessions   map[uint64]*session.Runner // until their streams are over
	opening    int                        // sessions that are about to be opened
	openers    sync.WaitGroup             // the same; none is added once awaySent is set
	idle       *time.Timer                // runs while there is neither
	nextRemote uint64                     // the id that the peer's next session will have
	settings   session.Settings           // the peer's, zero until they come
	window     window                     // how far our datagrams may be ahead of the peer
	away       *session.GoAway            // the peer's GOAWAY
	awaySent   bool
	rejecting  bool           // the peer has rejected a session as going away
	unproven   time.Time      // when a session last ended here with something that the peer may not have read
	closing    bool           // no new session may begin: the link is being closed
	loss       *session.Error // why, if this side knew before QUIC did
	remote     netip.AddrPort // the peer's address when last looked at
}

// target is what a Dial asked for.
type target struct {
	address string         // as given
	addr    netip.AddrPort // where the handshake succeeded
}

var _ session.Link = (*link)(nil)

// exporterLabel and exporterLength are fixed by the specification
// (session/PROTOCOL.md, rule 9).
const (
	exporterLabel  = "EXPORTER-quicpeer-link"
	exporterLength = 32
)

// maxPacket is the largest packet that quic-go sends (its MaxPacketBufferSize,
// 1,452 bytes), rounded up.
const maxPacket = 1500

// minDatagram is the least that a peer's stack must take in one datagram for a
// link to make sense: a fragment's header, and something behind it.
const minDatagram = 128

// newLink takes over a connection whose handshake is complete.
func newLink(e *Endpoint, conn *quic.Conn, dialed *target, trust certs.Trust) (*link, error) {
	state := conn.ConnectionState()
	if !state.SupportsDatagrams.Remote {
		return nil, ErrNoDatagrams
	}
	peer, known := certs.PeerFromState(state.TLS)
	peer.Incoming = dialed == nil
	if dialed != nil {
		peer.Name = dialed.address
	}
	secret, err := state.TLS.ExportKeyingMaterial(exporterLabel, nil, exporterLength)
	if err != nil {
		return nil, fmt.Errorf("quicpeer: TLS exporter: %w", err)
	}
	l := &link{
		ep: e, conn: conn, peer: peer, anonymous: !known, dialed: dialed, trust: trust,
		since: time.Now(), done: make(chan struct{}),
		sessions: make(map[uint64]*session.Runner),
		remote:   addrPort(conn.RemoteAddr()),
	}
	l.driving = driving{buf: make([]byte, 0, maxPacket), checked: l.since}
	l.mayOpen, l.noOpens = context.WithCancel(conn.Context())
	copy(l.exporter[:], secret)
	if dialed != nil {
		l.nextRemote = 1 // the peer is QUIC's server: its ids are odd
	}
	limit, err := l.datagramLimit()
	if err != nil {
		return nil, err
	}
	if limit < minDatagram {
		return nil, fmt.Errorf("%w: it takes frames of %d bytes, at least %d are needed", ErrNoDatagrams, limit, minDatagram)
	}
	l.mux = datagram.NewMux(datagram.MuxConfig{Client: dialed != nil, MaxDatagram: limit, MaxMessage: session.DefaultMaxMessage, CreditEvery: creditEvery})
	str, err := conn.OpenUniStream()
	if err != nil {
		return nil, fmt.Errorf("quicpeer: open the link stream: %w", err)
	}
	l.out.stream = str
	return l, nil
}

// start sets the goroutines off.
func (l *link) start() {
	l.mu.Lock()
	l.resetIdle()
	l.mu.Unlock()
	for _, f := range []func(){l.acceptSessions, l.acceptLinkStreams, l.receive, l.pump, l.tend} {
		l.gone.Go(f)
	}
	go func() {
		<-l.conn.Context().Done()
		l.lost()
		l.gone.Wait()
		l.ep.forget(l)
		close(l.done)
	}()
}

// lost ends every session with the reason why the link has ended.
func (l *link) lost() {
	l.mu.Lock()
	l.closing = true
	if l.idle != nil {
		l.idle.Stop()
	}
	if l.loss == nil {
		e := lossOf(context.Cause(l.conn.Context()))
		l.loss = &e
	}
	loss := *l.loss
	runners := l.runners()
	l.mu.Unlock()
	l.mux.Close()
	l.ep.log.Info("link ended", "remote", l.RemoteAddr(), "id", l.peer.ID, "cause", loss.Error(), "sessions", len(runners))
	for _, r := range runners {
		r.LinkLost(loss)
	}
	l.pings.fail(&loss) // after its session knows, a Ping returns the session's cause
}

// close ends the link with CONNECTION_CLOSE. Sessions that still live learn
// loss, which the peer's learn from code and reason.
func (l *link) close(loss session.Error) {
	l.mu.Lock()
	l.closing = true
	if l.loss == nil {
		l.loss = &loss
		if loss.Cause == session.CauseViolation {
			l.ep.counters.violations.Add(1)
		}
	}
	l.mu.Unlock()
	_ = l.conn.CloseWithError(quic.ApplicationErrorCode(loss.Code), loss.Reason)
}

// closed is a loss for a link that this side closes.
func closed(code session.Code, reason string) session.Error {
	return session.Error{Cause: session.CauseLinkClosed, Code: code, Reason: reason}
}

// runners returns the sessions now. The caller holds mu.
func (l *link) runners() []*session.Runner {
	all := make([]*session.Runner, 0, len(l.sessions))
	for _, r := range l.sessions {
		all = append(all, r)
	}
	return all
}

// inUse reports whether there is a session, or one is about to be opened. The
// caller holds mu.
func (l *link) inUse() bool { return len(l.sessions) > 0 || l.opening > 0 }

// usable reports whether new sessions may begin on the link.
func (l *link) usable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usableLocked()
}

func (l *link) usableLocked() bool {
	return !l.closing && l.away == nil && !l.awaySent && !l.rejecting && l.conn.Context().Err() == nil
}

// openSession opens a session and waits for the answer.
func (l *link) openSession(ctx context.Context, open session.Open, noWait bool) (*session.Session, uint64, error) {
	l.mu.Lock()
	if !l.usableLocked() {
		l.mu.Unlock()
		return nil, 0, l.ending(context.Cause(l.conn.Context()))
	}
	l.opening++ // keeps the link from closing as idle
	l.openers.Add(1)
	l.resetIdle()
	l.mu.Unlock()

	r, id, err := l.openRunner(ctx, open, noWait)
	l.mu.Lock()
	l.opening--
	l.openers.Done()
	l.resetIdle()
	l.endIfLast()
	l.mu.Unlock()
	if err != nil {
		return nil, id, err
	}
	if err := r.WaitOpen(ctx); err != nil {
		return nil, id, err
	}
	return r.Session(), id, nil
}

// errLinkEnding: the link was found to be ending before anything was sent.
var errLinkEnding = errors.New("quicpeer: link is ending")

// ending is the error for a session that was not begun, because the link is
// ending, or has ended for the reason in cause. A peer that refuses our identity
// will do so again; otherwise it is errLinkEnding.
func (l *link) ending(cause error) error {
	if cause == nil {
		return errLinkEnding
	}
	l.mu.Lock()
	l.closing = true // QUIC's streams end before its context does: no dial after this one is to find it usable
	l.mu.Unlock()
	err := unusedError(cause, l.ep.ID())
	if errors.Is(err, ErrRefused) {
		return err
	}
	return fmt.Errorf("%w: %w", errLinkEnding, err)
}

func (l *link) openRunner(ctx context.Context, open session.Open, noWait bool) (*session.Runner, uint64, error) {
	str, err := l.conn.OpenStream()
	if _, ok := errors.AsType[*quic.StreamLimitReachedError](err); ok {
		if noWait {
			return nil, 0, fmt.Errorf("%w: the peer allows no more sessions on its link now", ErrLimit)
		}
		str, err = l.waitForStream(ctx)
	}
	switch {
	case err == nil && l.usable():
	case err == nil: // after a GOAWAY no session may begin
		(&controlStream{str, l}).Reset(session.CodeCancelled)
		return nil, 0, l.ending(context.Cause(l.conn.Context()))
	case ctx.Err() != nil:
		return nil, 0, context.Cause(ctx)
	case errors.Is(err, context.Canceled): // mayOpen has ended, by a GOAWAY or with the link
		return nil, 0, l.ending(context.Cause(l.conn.Context()))
	default:
		return nil, 0, l.ending(err)
	}
	id := sessionID(str.StreamID())
	return l.run(id, session.Dialed(l, &controlStream{str, l}, id, open, &l.ep.config.Session)), id, nil
}

// waitForStream waits until the peer allows another stream, and no longer than
// sessions may begin on the link.
func (l *link) waitForStream(ctx context.Context) (*quic.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(l.mayOpen, cancel)
	defer stop()
	return l.conn.OpenStreamSync(ctx)
}

// acceptSessions takes the sessions that the peer opens.
func (l *link) acceptSessions() {
	for {
		str, err := l.conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		id := sessionID(str.StreamID())
		l.mu.Lock()
		l.nextRemote = id + 2
		l.mu.Unlock()
		l.run(id, session.Arrived(l, &controlStream{str, l}, id, &l.ep.config.Session))
	}
}

// run enters a session that has just begun, and has it read.
func (l *link) run(id uint64, r *session.Runner) *session.Runner {
	l.mu.Lock()
	if l.closing {
		loss := closed(session.CodeGoingAway, "the link is being closed")
		if l.loss != nil {
			loss = *l.loss
		}
		l.mu.Unlock()
		r.LinkLost(loss)
		return r
	}
	l.sessions[id] = r
	l.resetIdle()
	l.gone.Add(1)
	l.Read(r)
	l.mu.Unlock()
	if r.Finished() {
		l.Finished(r) // it was over before it was entered, and must not stay
	}
	return r
}

// Read has a session read. Its place in gone goes from one goroutine to the
// next, until there is nothing more to read.
func (l *link) Read(r *session.Runner) { go l.read(r) }

func (l *link) read(r *session.Runner) {
	if !r.Read() {
		l.gone.Done()
	}
}

// Mux returns the link's datagrams.
func (l *link) Mux() *datagram.Mux { return l.mux }

// LocalAddr returns the address of the endpoint's port.
func (l *link) LocalAddr() net.Addr { return l.ep.Addr() }

// RemoteAddr returns the peer's address now.
func (l *link) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(addrPort(l.conn.RemoteAddr())) }

// RemoteID returns the peer's verified identity.
func (l *link) RemoteID() (certs.PeerID, bool) { return l.peer.ID, !l.anonymous }

// RTT returns QUIC's smoothed round trip time.
func (l *link) RTT() time.Duration { return l.conn.ConnectionStats().SmoothedRTT }

// pto is QUIC's probe timeout.
func (l *link) pto() time.Duration { return probeTimeout(l.conn.ConnectionStats()) }

// probeTimeout is RFC 9002's (section 6.2.1), with the largest acknowledgement
// delay that peers use by default.
func probeTimeout(s quic.ConnectionStats) time.Duration {
	return s.SmoothedRTT + max(4*s.MeanDeviation, time.Millisecond) + 25*time.Millisecond
}

// Ping measures a round trip on the link stream.
func (l *link) Ping(ctx context.Context) (time.Duration, error) {
	var token [8]byte
	_, _ = rand.Read(token[:]) // never fails, crypto/rand
	return l.pings.ping(ctx, token, func() {
		l.out.write(session.Ping{Token: token})
		l.feed.hold(time.Now())
	})
}

// PeerLimits returns what the peer takes: the defaults until its SETTINGS
// have come.
func (l *link) PeerLimits() session.PeerLimits {
	if p := l.limits.Load(); p != nil {
		return *p
	}
	return peerLimits(session.Settings{})
}

func peerLimits(s session.Settings) session.PeerLimits {
	// Above 2^30 nothing here could make use of it, and int may have 32 bits.
	clip := func(v uint64) int { return int(min(v, 1<<30)) }
	return session.PeerLimits{
		MaxMessage: clip(s.MaxMessageOrDefault()),
		MaxSignal:  clip(s.MaxSignalOrDefault()),
		MaxSignals: clip(s.MaxSignalsOrDefault()),
	}
}

// Offer passes an incoming session on.
func (l *link) Offer(in *session.Incoming) {
	l.mu.Lock()
	ending := l.awaySent || l.closing
	l.mu.Unlock()
	if ending {
		_ = in.Reject(session.CodeGoingAway, "the endpoint is shutting down", 0)
		return
	}
	l.ep.offer(in)
}

// Withdraw takes an incoming session back.
func (l *link) Withdraw(in *session.Incoming) { l.ep.withdraw(in) }

// Finished forgets a session whose stream is over.
func (l *link) Finished(r *session.Runner) {
	unproven := r.Unproven() // not under mu: a session may ask its link under its own lock
	id := r.Session().ID()
	l.mu.Lock()
	_, first := l.sessions[id]
	delete(l.sessions, id)
	if unproven {
		l.unproven = time.Now()
	}
	ended := l.loss != nil // then that was told, and is every session's cause
	l.resetIdle()
	l.endIfLast()
	l.mu.Unlock()
	if e, ok := r.Session().Err().(*session.Error); ok && e.Cause == session.CauseViolation && first && !ended {
		l.ep.counters.violations.Add(1)
		l.ep.log.Warn("protocol violation on a session", "remote", l.RemoteAddr(), "id", l.peer.ID, "session", id, "reason", e.Reason)
	}
}

// endIfLast ends a link whose peer is going away, once its last session is
// over here: the last receiver closes (session/PROTOCOL.md, "Shutdown").
// CONNECTION_CLOSE makes the peer's stack discard what its application has not
// read. Of what this side has sent, the peer's FIN proves that everything has
// been read but a DONE or a reset; those get some time. The caller holds mu.
func (l *link) endIfLast() {
	if l.away == nil || l.closing || l.inUse() {
		return
	}
	wait := time.Until(l.unproven.Add(3 * l.pto()))
	if wait <= 0 {
		go l.close(closed(session.CodeNormal, "done"))
		return
	}
	time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.endIfLast()
	})
}

// resetIdle starts the idle timer when the link has no session, and stops it
// when it has. The caller holds mu.
func (l *link) resetIdle() {
	switch {
	case l.closing || l.inUse():
		if l.idle != nil {
			l.idle.Stop()
		}
	case l.idle == nil:
		l.idle = time.AfterFunc(linkIdleTimeout, l.closeIdle)
	default:
		l.idle.Reset(linkIdleTimeout)
	}
}

// closeIdle closes the link if it still has no session.
func (l *link) closeIdle() {
	l.mu.Lock()
	if l.closing || l.inUse() {
		l.mu.Unlock()
		return
	}
	l.closing = true
	l.mu.Unlock()
	l.close(closed(session.CodeLinkIdle, "no session"))
}

// addrPort is a's address, with IPv4-mapped IPv6 unmapped; zero if it has
// none.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	if u, ok := a.(*net.UDPAddr); ok {
		ap = u.AddrPort()
	} else if a != nil {
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
