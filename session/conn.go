package session

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Conn returns the session as a [net.Conn] that behaves as a connected
// *[net.UDPConn] does, for code that was written for one:
//
//   - Write sends one message. When the send queue is full it does what
//     [Session.Send] does, by default wait, until the write deadline. A message
//     above [Session.MaxMessageSize] is refused with a
//     *[MessageTooLargeError].
//   - Read returns one message. What does not fit into the buffer is dropped,
//     without an error. A message may be empty: Read then returns 0 and nil.
//     Read with an empty buffer returns at once and takes nothing.
//   - Deadlines work as with every net.Conn: they wake calls that wait, also
//     when they are moved into the past; the error has Timeout() true and
//     wraps [os.ErrDeadlineExceeded]. A deadline that has passed beats a
//     message that is there.
//   - Close wakes calls that wait, and closes the session with code 0, bounded
//     by the CloseTimeout of [Options]. Its error says that the peer has not
//     confirmed, and why. On a session that the peer has closed with code 0
//     it returns nil. Read, Write and Close return [net.ErrClosed] afterwards.
//
// What UDP does not have is the other side's end. After a normal close of the
// peer (code 0) Read returns [io.EOF], once everything that had arrived is
// read; Write returns the *[Error]. Any other end of the session makes both
// return its *[Error]. Errors but io.EOF are wrapped in a *[net.OpError], whose
// Net is "quicpeer", with the addresses of both sides.
//
// Every call of Conn returns a view of its own, with its own deadlines; the
// session behind it is the same, and may be used directly, too.
func (s *Session) Conn() net.Conn { return &conn{s: s} }

// conn is a session as a net.Conn. Safe for concurrent use.
type conn struct {
	s           *Session
	read, write deadline
}

var (
	_ net.Conn  = (*conn)(nil)
	_ net.Error = (*net.OpError)(nil)
)

// connNetwork is the Net of errors. It is not "udp", which the addresses are
// of: what failed is the session.
const connNetwork = "quicpeer"

func (c *conn) LocalAddr() net.Addr  { return c.s.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.s.RemoteAddr() }

// Read takes one message.
func (c *conn) Read(b []byte) (int, error) {
	ctx := c.read.context()
	if ctx.Err() != nil {
		return 0, c.error("read", context.Cause(ctx))
	}
	if len(b) == 0 {
		return 0, nil // as poll.FD does: a message is not wasted on it
	}
	message, err := c.s.Receive(ctx)
	if err != nil {
		if isNormalEnd(err) {
			return 0, io.EOF
		}
		return 0, c.error("read", err)
	}
	return copy(b, message), nil
}

// Write sends one message.
func (c *conn) Write(b []byte) (int, error) {
	ctx := c.write.context()
	if ctx.Err() != nil {
		return 0, c.error("write", context.Cause(ctx))
	}
	if err := c.s.Send(ctx, b); err != nil {
		return 0, c.error("write", err)
	}
	return len(b), nil
}

// Close ends this view and closes the session.
func (c *conn) Close() error {
	first := c.read.close()
	c.write.close()
	if !first {
		return c.error("close", net.ErrClosed)
	}
	if err := c.s.Close(context.Background()); err != nil && !isNormalEnd(err) {
		return c.error("close", err)
	}
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.set(&c.read, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.set(&c.write, t) }

func (c *conn) set(d *deadline, t time.Time) error {
	if !d.set(t) {
		return c.error("set", net.ErrClosed)
	}
	return nil
}

func (c *conn) error(op string, err error) error {
	return &net.OpError{Op: op, Net: connNetwork, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// isNormalEnd reports whether err says that the peer has closed the session
// with code 0.
func isNormalEnd(err error) bool {
	return errors.Is(err, &Error{Cause: CauseClosed, Code: CodeNormal, Remote: true})
}

// deadline turns a deadline that may be moved at any time into contexts for
// the calls that it bounds. The zero value is no deadline.
//
// Safe for concurrent use.
type deadline struct {
	mu     sync.Mutex
	closed bool
	timer  *time.Timer
	ctx    context.Context // for calls from now on; nil while nobody asked
	cancel context.CancelCauseFunc
}

// context returns what a call waits with. It ends with os.ErrDeadlineExceeded
// at the deadline, and with net.ErrClosed at close.
func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.contextLocked()
}

func (d *deadline) contextLocked() context.Context {
	if d.ctx == nil {
		d.ctx, d.cancel = context.WithCancelCause(context.Background())
	}
	return d.ctx
}

// set moves the deadline, for waiting calls, too. Zero means none. It reports
// false after close.
func (d *deadline) set(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	stopped := d.timer == nil || d.timer.Stop()
	d.timer = nil
	if d.ctx != nil && (!stopped || d.ctx.Err() != nil) {
		d.ctx = nil // the old one has ended, or is just about to
	}
	if t.IsZero() {
		return true
	}
	d.contextLocked()
	cancel := d.cancel
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { cancel(os.ErrDeadlineExceeded) })
	} else {
		cancel(os.ErrDeadlineExceeded)
	}
	return true
}

// close ends all calls, and reports whether it is the first close.
func (d *deadline) close() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.ctx == nil || d.ctx.Err() != nil {
		d.ctx = nil
		d.contextLocked()
	}
	d.cancel(net.ErrClosed)
	return true
}
