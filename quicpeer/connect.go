package quicpeer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// dialKey tells which dials may share one handshake: the same address, the
// same peer expected, the endpoint's trust.
type dialKey struct {
	address string
	id      certs.PeerID
}

// connecting is a handshake under way for one or more dials.
type connecting struct {
	cancel  context.CancelFunc
	waiting int // dials that wait for it; guarded by Endpoint.mu
	done    chan struct{}
	link    *link
	err     error
}

// linkTo returns a link for a dial: a live one that may be used, or a new one.
func (e *Endpoint) linkTo(ctx context.Context, address, host string, port uint16, o *DialOptions) (*link, error) {
	if l := e.reuse(address, o); l != nil {
		return l, nil
	}
	if o.Trust != nil {
		// Trust values cannot be compared, so such a dial shares nothing.
		return e.connect(ctx, address, host, port, o)
	}
	key := dialKey{address, o.PeerID}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return nil, ErrEndpointClosed
	}
	c := e.dials[key]
	if c == nil {
		cctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c = &connecting{cancel: cancel, done: make(chan struct{})}
		e.dials[key] = c
		e.background.Go(func() {
			c.link, c.err = e.connect(cctx, address, host, port, o)
			cancel()
			e.mu.Lock()
			if e.dials[key] == c {
				delete(e.dials, key)
			}
			e.mu.Unlock()
			close(c.done)
		})
	}
	c.waiting++
	e.mu.Unlock()
	select {
	case <-c.done:
		return c.link, c.err
	case <-ctx.Done():
	}
	e.mu.Lock()
	if c.waiting--; c.waiting == 0 {
		c.cancel()
		if e.dials[key] == c {
			delete(e.dials, key)
		}
	}
	e.mu.Unlock()
	return nil, context.Cause(ctx)
}

// reuse finds a live link for a dial. An address alone never decides: the
// certificate verified on the link must satisfy this dial's trust, and without
// an expected id only a link that this endpoint dialed itself, at the same
// address, on an unchanged path, will do. What relies on the endpoint's trust
// needs a link that ends when that is withdrawn. An anonymous link has no id, and
// its peer dialed it: it is never used.
func (e *Endpoint) reuse(address string, o *DialOptions) *link {
	trust := o.trust()
	own := trust != nil
	if !own {
		trust = e.trust.Load().Trust
	}
	if trust == nil {
		return nil
	}
	e.mu.Lock()
	var found []*link
	for l := range e.links {
		switch {
		case !own && l.trust != nil:
		case !o.PeerID.IsZero() && l.peer.ID == o.PeerID:
			found = append(found, l)
		case o.PeerID.IsZero() && l.dialed != nil && l.dialed.address == address && addrPort(l.conn.RemoteAddr()) == l.dialed.addr:
			found = append(found, l)
		}
	}
	e.mu.Unlock()
	slices.SortFunc(found, e.compare)
	for _, l := range found {
		peer := l.peer
		peer.Name, peer.Incoming = address, false
		if l.usable() && certs.Learn(trust, peer) == nil { // it proved its key when the link came up
			return l
		}
	}
	return nil
}

// compare orders links to one peer: the preferred one first. Both sides come
// to the same order (session/PROTOCOL.md, rule 9).
func (e *Endpoint) compare(a, b *link) int {
	ida, idb := a.dialer(), b.dialer()
	return cmp.Or(bytes.Compare(ida[:], idb[:]), bytes.Compare(a.exporter[:], b.exporter[:]))
}

// dialer returns the id of the side that dialed the link.
func (l *link) dialer() certs.PeerID {
	if l.dialed != nil {
		return l.ep.ID()
	}
	return l.peer.ID
}

// connect makes a new link.
func (e *Endpoint) connect(ctx context.Context, address, host string, port uint16, o *DialOptions) (*link, error) {
	if e.isClosing() {
		return nil, ErrEndpointClosed
	}
	verify := o.trust()
	own := verify // what the link keeps to; nil: the endpoint's trust, whatever it becomes
	if verify == nil {
		if verify = e.trust.Load().Trust; verify == nil {
			return nil, errNoTrust
		}
	}
	release, err := e.admission.take(netip.Prefix{})
	if err != nil {
		return nil, fmt.Errorf("%w: the endpoint has %d links", ErrLimit, e.config.Limits.Links)
	}
	addrs, err := e.resolve(ctx, host, port)
	if err != nil {
		release()
		return nil, e.ifClosing(err)
	}
	tlsConfig := e.identity.ClientTLS(ALPN, verify, address)
	tlsConfig.KeyLogWriter = e.config.KeyLogWriter
	conn, addr, err := race(ctx, addrs, func(ctx context.Context, to netip.AddrPort) (*quic.Conn, error) {
		ctx, end := e.faults.watchDial(ctx, to)
		defer end()
		return e.transport.Dial(ctx, net.UDPAddrFromAddrPort(to), tlsConfig, e.quicConfig())
	}, func(c *quic.Conn) {
		_ = c.CloseWithError(quic.ApplicationErrorCode(session.CodeCancelled), "another address was faster")
	})
	if err != nil {
		release()
		return nil, handshakeError(e.ifClosing(err), e.ID())
	}
	context.AfterFunc(conn.Context(), release)
	return e.addLink(conn, &target{address: address, addr: addr}, own)
}

// ifClosing explains an error that Shutdown has caused: it cancels dials, and
// then ends the transport.
func (e *Endpoint) ifClosing(err error) error {
	if e.isClosing() && (errors.Is(err, quic.ErrTransportClosed) || errors.Is(err, context.Canceled)) {
		return ErrEndpointClosed
	}
	return err
}

// resolve returns the addresses to try, in order, families alternating
// (RFC 8305 section 4).
func (e *Endpoint) resolve(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	var ips []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip}
	} else {
		ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
	}
	ips = slices.DeleteFunc(ips, func(ip netip.Addr) bool { return !e.families.has(ip) })
	if len(ips) == 0 {
		return nil, fmt.Errorf("no address of %s can be reached from %v: its IP version differs", host, e.Addr())
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range interleave(ips) {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), port))
	}
	return addrs, nil
}

// interleave makes the families alternate, beginning with the first address's.
func interleave(ips []netip.Addr) []netip.Addr {
	var same, other []netip.Addr
	for _, ip := range ips {
		if ip.Unmap().Is4() == ips[0].Unmap().Is4() {
			same = append(same, ip)
		} else {
			other = append(other, ip)
		}
	}
	out := make([]netip.Addr, 0, len(ips))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}

// attemptDelay is when the next address is tried while the last one has not
// answered (RFC 8305 section 5, "Connection Attempt Delay").
const attemptDelay = 250 * time.Millisecond

// race dials the addresses one after another, each a little after the last or
// as soon as that failed, and returns the first that succeeds. Others that
// succeed too are given to discard.
func race[C any](ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, netip.AddrPort) (C, error), discard func(C)) (C, netip.AddrPort, error) {
	type result struct {
		conn C
		addr netip.AddrPort
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, len(addrs))
	begun, ended := 0, 0
	begin := func() {
		addr := addrs[begun]
		begun++
		go func() {
			conn, err := dial(ctx, addr)
			results <- result{conn, addr, err}
		}()
	}
	begin()
	timer := time.NewTimer(attemptDelay)
	defer timer.Stop()
	var errs []error
	for {
		select {
		case <-timer.C:
		case r := <-results:
			ended++
			if r.err == nil {
				left := begun - ended
				go func() { // the others are told to stop when race returns
					for range left {
						if r := <-results; r.err == nil {
							discard(r.conn)
						}
					}
				}()
				return r.conn, r.addr, nil
			}
			errs = append(errs, fmt.Errorf("%v: %w", r.addr, r.err))
			if ended == len(addrs) {
				var none C
				if len(errs) == 1 {
					return none, r.addr, r.err
				}
				return none, r.addr, attemptsError(errs)
			}
		}
		if begun < len(addrs) {
			begin()
			timer.Reset(attemptDelay)
		}
	}
}

// checkSuperseded looks at the other links of l's peer when l has shown that
// another process speaks for that identity. That is no proof that the old one
// is gone, two may share a key: the old links are asked, and end only if they
// do not answer (session/PROTOCOL.md, rule 11).
func (e *Endpoint) checkSuperseded(l *link) {
	l.mu.Lock()
	instance := l.settings.InstanceID
	l.mu.Unlock()
	e.mu.Lock()
	var others []*link
	for o := range e.links {
		if o.peer.ID == l.peer.ID { // which is not anonymous
			others = append(others, o)
		}
	}
	e.mu.Unlock()
	for _, o := range others {
		o.mu.Lock()
		ask := o.settings.HasInstanceID && o.settings.InstanceID != instance // so not l itself
		o.mu.Unlock()
		if ask {
			o.ask()
		}
	}
}

// ask pings the peer, and ends the link as superseded if it does not answer.
func (l *link) ask() {
	go func() { // ends within the timeout, or with the link
		ctx, cancel := context.WithTimeout(l.conn.Context(), max(supersedeTimeout, 3*l.pto()))
		defer cancel()
		if _, err := l.Ping(ctx); err != nil && l.conn.Context().Err() == nil && !errors.Is(err, errTooManyPings) {
			l.close(session.Error{Cause: session.CauseSuperseded, Code: session.CodeSuperseded, Reason: "another process of this identity appeared, and this one does not answer"})
		}
	}()
}
