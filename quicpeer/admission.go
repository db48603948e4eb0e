package quicpeer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// admission counts links, and handshakes on their way to become links, and
// decides which newcomers may go on. Safe for concurrent use.
type admission struct {
	limits Limits

	mu    sync.Mutex
	links int
	from  map[netip.Prefix]int // incoming ones by source
	begun pace                 // handshakes that begin without a Retry
}

func newAdmission(l Limits) *admission {
	rate := max(l.HandshakesPerSecond, 1) // negative: never asked
	return &admission{
		limits: l, from: make(map[netip.Prefix]int),
		begun: pace{burst: rate, every: time.Second / time.Duration(rate)},
	}
}

// source is what counts as one address: an IPv4 address, or an IPv6 /64, which
// is what one site gets.
func source(a net.Addr) netip.Prefix {
	ip := addrPort(a).Addr().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // the zero Prefix for what is no IP address
	return p
}

var errTooManyLinks = errors.New("too many links")

// shortestPlace is how long a link takes up a place of its address, however soon
// it ends, or fails. So the limit on links of one address bounds handshakes, too:
// 64 in a second, some 60 ms of CPU, whether they are refused, abandoned, or made
// only to be left.
const shortestPlace = time.Second

// take counts one link from a source, or the zero Prefix for one dialed, until
// release is called.
func (a *admission) take(src netip.Prefix) (release func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limits.Links > 0 && a.links >= a.limits.Links {
		return nil, errTooManyLinks
	}
	if src.IsValid() {
		if a.limits.LinksPerAddress > 0 && a.from[src] >= a.limits.LinksPerAddress {
			return nil, errTooManyLinks
		}
		a.from[src]++
	}
	a.links++
	began := time.Now()
	return func() {
		a.mu.Lock()
		a.links--
		a.mu.Unlock()
		if src.IsValid() {
			time.AfterFunc(shortestPlace-time.Since(began), func() { a.free(src) })
		}
	}, nil
}

// free gives a place of an address back.
func (a *admission) free(src netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.from[src]--; a.from[src] == 0 {
		delete(a.from, src)
	}
}

// mustProve reports whether a newcomer must prove its address with a Retry
// first: those do that come above the pace. The second half of the places,
// of its address and in all, is only for those who have: whoever forges
// addresses cannot take the last one from a peer that is really there.
func (a *admission) mustProve(now time.Time, src netip.Prefix) bool {
	if a.limits.HandshakesPerSecond < 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if halfFull(a.links, a.limits.Links) || halfFull(a.from[src], a.limits.LinksPerAddress) {
		return true
	}
	return !a.begun.take(now)
}

func halfFull(n, limit int) bool { return limit > 0 && n >= (limit+1)/2 }

// admitConnection is QUIC's ConnContext: it runs for each connection attempt,
// before the handshake. An error refuses the attempt.
func (e *Endpoint) admitConnection(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if e.isClosing() {
		return nil, ErrEndpointClosed
	}
	if admit := e.config.AdmitConnection; admit != nil {
		if err := admit(ConnectionInfo{RemoteAddr: info.RemoteAddr, AddrVerified: info.AddrVerified}); err != nil {
			return nil, e.turnAway(info, err)
		}
	}
	release, err := e.admission.take(source(info.RemoteAddr))
	if err != nil {
		return nil, e.turnAway(info, err)
	}
	// The context ends with the connection, also when its handshake fails.
	context.AfterFunc(ctx, release)
	return ctx, nil
}

func (e *Endpoint) turnAway(info *quic.ClientInfo, err error) error {
	e.counters.refusedConnections.Add(1)
	e.log.Info("connection turned away", "remote", info.RemoteAddr, "verified", info.AddrVerified, "error", err)
	return err
}
