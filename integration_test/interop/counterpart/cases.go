package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// cases has what this side does in each of them.
var cases = map[string]func(context.Context, *counterpart) error{
	"handshake":            linked(ping),
	"wrong-id":             refusedBy,
	"refused":              refusing,
	"open":                 linked(wantSessions("peer-closed")),
	"open-rejected":        linked(wantSessions()),
	"accept":               linked(hello(0x100, "fine")),
	"reject":               linked(rejected),
	"messages":             linked(wantSessions("peer-closed")),
	"messages-back":        linked(messages),
	"early":                linked(late),
	"signals":              linked(wantSessions("peer-closed")),
	"signals-back":         linked(signals),
	"close-by-peer":        linked(wantSessions("closed")),
	"close-here":           linked(closeHere),
	"crossed":              linked(wantSessions("closed")),
	"close-opening":        linked(withdrawn),
	"close-crosses-accept": linked(giveUp("hold-accept", false)),
	"close-crosses-reject": linked(giveUp("hold-reject", true)),
	"bare-fin":             linked(wantSessions("peer-closed")),
	"abort":                linked(wantSessions("aborted")),
	"aborted":              linked(wantSessions("aborted")),
	"shutdown":             linked(shutDown),
	"goaway":               linked(shutDown),
	"unknown":              linked(wantSessions("peer-closed")),
	"malformed-frame":      linked(wantSessions("aborted", "peer-closed")),
	"malformed-datagram":   linked(wantSessions("aborted", "peer-closed")),
	"malformed-link":       linked(wantSessions("aborted")), // with the link, by a violation
	"many":                 linked(many),
	"anonymous":            linked(wantSessions("peer-closed")),
	"anonymous-refused":    refusedBy,
	"no-datagrams":         noDatagrams,
	"one-port":             linked(onePort),
}

// settle is how long a case waits to see that nothing comes.
const settle = 500 * time.Millisecond

// linked is a case that has a link: it makes one, plays, and waits for the peer
// to end it, which the contract has it do in order.
func linked(play func(context.Context, *counterpart) error) func(context.Context, *counterpart) error {
	return func(ctx context.Context, c *counterpart) error {
		if c.role == "dial" {
			// There is no link without a session: this one is turned down.
			err := c.knock(ctx, &quicpeer.DialOptions{Protocol: "hello", PeerID: c.peer})
			if err != nil {
				return err
			}
			close(c.knocked)
		}
		if err := c.until(ctx, "a link", func() bool { return len(c.endpoint.Links()) > 0 || c.asked.Load() }); err != nil {
			return err
		}
		if err := play(ctx, c); err != nil {
			return err
		}
		for _, s := range c.sessions.all() {
			if err := c.until(ctx, fmt.Sprintf("the end of session %d", s.ID()), func() bool { return s.Err() != nil }); err != nil {
				return err
			}
			select {
			case <-s.Done():
			case <-ctx.Done():
				return fmt.Errorf("session %d has ended, but its counts are not final", s.ID())
			}
		}
		return c.until(ctx, "the peer to end the link", func() bool { return len(c.endpoint.Links()) == 0 })
	}
}

// knock opens a session that the peer rejects, because it serves no such
// protocol.
func (c *counterpart) knock(ctx context.Context, o *quicpeer.DialOptions) error {
	s, err := c.endpoint.Dial(ctx, c.peerAddress(), o)
	if err == nil {
		_ = s.Abort(session.CodeRefused)
		return fmt.Errorf("a session of the protocol %q was accepted, want REJECT, code 0x02", o.Protocol)
	}
	return wantEnd(err, session.CauseRejected, session.CodeRefused)
}

// peerAddress is where the peer is: the address dialed, or the one it came from.
func (c *counterpart) peerAddress() string {
	if c.role == "dial" {
		return c.address
	}
	for _, l := range c.endpoint.Links() {
		return l.RemoteAddr.String()
	}
	return "no link"
}

// until waits for a condition.
func (c *counterpart) until(ctx context.Context, what string, ok func() bool) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
	return nil
}

// dial opens a session on the link.
func (c *counterpart) dial(ctx context.Context, protocol, metadata string) (*session.Session, error) {
	s, err := c.endpoint.Dial(ctx, c.peerAddress(), &quicpeer.DialOptions{
		Protocol: protocol, Metadata: []byte(metadata), PeerID: c.peer,
	})
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", protocol, err)
	}
	c.sessions.add(s)
	return s, nil
}

// wantEnd checks how a session ended, or was not opened.
func wantEnd(err error, cause session.Cause, code session.Code) error {
	e, ok := errors.AsType[*session.Error](err)
	if !ok || e.Cause != cause || e.Code != code {
		return fmt.Errorf("want %v, code %#x, got: %w", cause, uint64(code), err)
	}
	return nil
}

// wantSessions serves until the peer has opened so many sessions and all have
// ended, in these ways.
func wantSessions(ends ...string) func(context.Context, *counterpart) error {
	return func(ctx context.Context, c *counterpart) error {
		slices.Sort(ends)
		var got []string
		err := c.until(ctx, "the end of the peer's sessions", func() bool {
			got = got[:0]
			for _, s := range c.sessions.all() {
				got = append(got, entry(s).End)
			}
			return len(got) >= len(ends) && !slices.Contains(got, "open")
		})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, ends) {
			return errors.Join(fmt.Errorf("sessions that ended %q, want %q", got, ends), err)
		}
		return nil
	}
}

func ping(ctx context.Context, c *counterpart) error {
	// There is no PING without a session.
	s, err := c.dial(ctx, "echo", "")
	if err != nil {
		return err
	}
	if _, err := s.Ping(ctx); err != nil {
		return fmt.Errorf("PING: %w", err)
	}
	return s.Close(ctx)
}

// refusedBy is a case in which the peer refuses this side, or gives up.
func refusedBy(ctx context.Context, c *counterpart) error {
	if c.role == "dial" {
		_, err := c.endpoint.Dial(ctx, c.address, &quicpeer.DialOptions{Protocol: "echo", PeerID: c.peer})
		if !errors.Is(err, quicpeer.ErrRefused) {
			return fmt.Errorf("want %w, got: %w", quicpeer.ErrRefused, err)
		}
		return nil
	}
	return c.wantNoSession(ctx)
}

// wantNoSession waits for an attempt to connect of which nothing comes.
func (c *counterpart) wantNoSession(ctx context.Context) error {
	select {
	case <-c.attempts:
	case <-ctx.Done():
		return errors.New("nobody tried to connect")
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
	if n := len(c.sessions.all()); n != 0 {
		return fmt.Errorf("%d sessions, want none", n)
	}
	return c.until(ctx, "the link to be gone", func() bool { return len(c.endpoint.Links()) == 0 })
}

func refusing(ctx context.Context, c *counterpart) error {
	if c.role == "dial" {
		_, err := c.endpoint.Dial(ctx, c.address, &quicpeer.DialOptions{Protocol: "echo", PeerID: c.peer})
		if _, ok := errors.AsType[*certs.UntrustedError](err); !ok {
			return fmt.Errorf("want a *certs.UntrustedError, got: %w", err)
		}
		return nil
	}
	if err := c.wantNoSession(ctx); err != nil {
		return err
	}
	if n := c.endpoint.Stats().UntrustedPeers; n != 1 {
		return fmt.Errorf("%d untrusted peers counted, want 1", n)
	}
	return nil
}

func noDatagrams(ctx context.Context, c *counterpart) error {
	if c.role == "listen" {
		return c.wantNoSession(ctx)
	}
	_, err := c.endpoint.Dial(ctx, c.address, &quicpeer.DialOptions{Protocol: "echo", PeerID: c.peer})
	if !errors.Is(err, quicpeer.ErrNoDatagrams) {
		return fmt.Errorf("want %w, got: %w", quicpeer.ErrNoDatagrams, err)
	}
	return nil
}

// hello opens an echo session, has one message come back, and closes.
func hello(code session.Code, reason string) func(context.Context, *counterpart) error {
	return func(ctx context.Context, c *counterpart) error {
		s, err := c.dial(ctx, "echo", "v=1")
		if err != nil {
			return err
		}
		if got := s.AcceptMetadata(); string(got) != "v=1" {
			return fmt.Errorf("ACCEPT with the metadata %q, want those of OPEN", got)
		}
		if err := comesBack(ctx, s, []byte("hello")); err != nil {
			return err
		}
		return s.CloseWithError(ctx, code, reason)
	}
}

// comesBack sends messages and waits until they are back, in any order.
func comesBack(ctx context.Context, s *session.Session, all ...[]byte) error {
	if _, err := s.SendBatch(ctx, all, session.SendOptions{}); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	left := slices.Clone(all)
	for len(left) > 0 {
		b, err := s.Receive(ctx)
		if err != nil {
			return fmt.Errorf("%d of %d messages have not come back: %w", len(left), len(all), err)
		}
		i := slices.IndexFunc(left, func(want []byte) bool { return bytes.Equal(b, want) })
		if i < 0 {
			return fmt.Errorf("a message of %d bytes came that was not sent", len(b))
		}
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

func rejected(ctx context.Context, c *counterpart) error {
	_, err := c.dial(ctx, "reject", "")
	if e := wantEnd(err, session.CauseRejected, rejectCode); e != nil {
		return e
	}
	if e, _ := errors.AsType[*session.Error](err); e.Reason != rejectReason || e.RetryAfter != rejectRetry {
		return fmt.Errorf("rejected with %q, %v; want %q, %v", e.Reason, e.RetryAfter, rejectReason, rejectRetry)
	}
	return nil
}

// pattern returns n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + n)
	}
	return b
}

func messages(ctx context.Context, c *counterpart) error {
	s, err := c.dial(ctx, "echo", "")
	if err != nil {
		return err
	}
	var small [][]byte
	for i := range 20 {
		small = append(small, fmt.Appendf(nil, "message %02d", i))
	}
	for _, batch := range [][][]byte{{{}}, {{1}}, {pattern(1100)}, small, {pattern(5000)}, {pattern(65536)}} {
		if err := comesBack(ctx, s, batch...); err != nil {
			return err
		}
	}
	return s.Close(ctx)
}

// late is the case early, in which one message comes too late. The echo has
// waited for it.
func late(ctx context.Context, c *counterpart) error {
	if err := wantSessions("peer-closed", "peer-closed")(ctx, c); err != nil {
		return err
	}
	if !c.late.Load() {
		return errors.New("no message came too late")
	}
	return nil
}

// awaitLate waits for the late message of the case early: its link may be gone,
// with what it has counted, as soon as the last session is over.
func (c *counterpart) awaitLate(ctx context.Context) {
	_ = c.until(ctx, "a late message", func() bool {
		n := uint64(0)
		for _, s := range c.sessions.all() { // while its stream lasts, the session counts it
			n += s.Stats().Local.Late
		}
		for _, l := range c.endpoint.Links() {
			n += l.Datagrams.MessageDrops[datagram.ReasonLate]
		}
		c.late.Store(n == 1)
		return n != 0
	}) // the case tells
}

func signals(ctx context.Context, c *counterpart) error {
	s, err := c.dial(ctx, "echo", "")
	if err != nil {
		return err
	}
	const n = 40
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if err := s.Signal(ctx, []byte(strconv.Itoa(i))); err != nil {
				sent <- fmt.Errorf("signal %d: %w", i, err)
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		b, err := s.ReceiveSignal(ctx)
		if err != nil || string(b) != strconv.Itoa(i) {
			return fmt.Errorf("signal %q came back, want %d: %w", b, i, err)
		}
	}
	if err := <-sent; err != nil {
		return err
	}
	return s.Close(ctx)
}

func closeHere(ctx context.Context, c *counterpart) error {
	s, err := c.dial(ctx, "close", "")
	if err == nil {
		_, err = s.Receive(ctx)
	}
	// An acceptor that closes at once may have done so before Dial returns.
	if e := wantEnd(err, session.CauseClosed, closeCode); e != nil {
		return e
	}
	if e, _ := errors.AsType[*session.Error](err); !e.Remote || e.Reason != closeReason {
		return fmt.Errorf("closed with %q, want %q, by the peer", e.Reason, closeReason)
	}
	return nil
}

// withdrawn is a session that is taken back before it was accepted.
func withdrawn(ctx context.Context, c *counterpart) error {
	return c.until(ctx, "the end of the session that was taken back", func() bool {
		links := c.endpoint.Links()
		return len(links) == 0 || c.endpoint.Stats().WithdrawnSessions == 1
	})
}

// giveUp opens a session, and takes it back while the peer holds its answer.
func giveUp(protocol string, wantReject bool) func(context.Context, *counterpart) error {
	return func(ctx context.Context, c *counterpart) error {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := c.dial(short, protocol, "")
		if err == nil {
			return fmt.Errorf("%q was accepted", protocol)
		}
		if _, ok := errors.AsType[*session.Error](err); ok && !wantReject && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("want the end of the time, got: %w", err)
		}
		return nil
	}
}

func shutDown(ctx context.Context, c *counterpart) error {
	select {
	case err := <-c.shut:
		return err
	case <-ctx.Done():
		return errors.New("waited in vain for the end of the shutdown")
	}
}

func many(ctx context.Context, c *counterpart) error {
	const n = 20
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			s, err := c.dial(ctx, "echo", "")
			if err == nil {
				err = comesBack(ctx, s, fmt.Appendf(nil, "session %d", i))
			}
			if err == nil {
				err = s.Close(ctx)
			}
			errs[i] = err
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return wantSessions(append(slices.Repeat([]string{"closed"}, n), slices.Repeat([]string{"peer-closed"}, n)...)...)(ctx, c)
}

// onePort has a second link, the other way.
func onePort(ctx context.Context, c *counterpart) error {
	if err := hello(0x100, "fine")(ctx, c); err != nil {
		return err
	}
	if c.role == "listen" {
		// Trust in place of an id: a link that the peer dialed is not used again.
		o := &quicpeer.DialOptions{Protocol: "hello", Trust: certs.IDs(c.peer)}
		if err := c.knock(ctx, o); err != nil {
			return fmt.Errorf("the second link: %w", err)
		}
	}
	if err := wantSessions("closed", "peer-closed", "peer-closed")(ctx, c); err != nil {
		return err
	}
	if c.role == "dial" && len(c.attempts) != 1 {
		return fmt.Errorf("the peer has dialed %d links, want 1", len(c.attempts))
	}
	return nil
}
