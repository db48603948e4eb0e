package integration_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// hostile is a bare QUIC stack that completes real handshakes with an endpoint,
// and then sends whatever a program says (fuzz_program_test.go). It remembers
// what it sent, so that a test can tell what may have reached the application.
//
// Only the test's goroutine acts. What the endpoint opens comes in on others.
type hostile struct {
	t    *testing.T
	host *rawHost
	to   *peer
	how  manners

	mu       sync.Mutex
	conns    []*hostileConn
	streams  []*hostileStream    // that it can write to, of all connections
	messages map[sentMessage]int // whole ones, by how often they were sent
	pieces   map[uint64]bool     // sessions of which fragments were sent
	bytes    uint64              // written to streams and in datagrams
	sent     uint64              // datagrams
	reading  sync.WaitGroup
}

// manners are what it does besides its program.
type manners struct {
	rude   bool // begins no link stream
	silent bool // answers no heartbeats
	deaf   bool // reads nothing that comes on streams
}

// sentMessage is one message, of a session by its id. Ids repeat on further
// connections.
type sentMessage struct {
	session uint64
	payload string
}

type hostileConn struct {
	*quic.Conn
	streams []*hostileStream // that it can write to, in the order in which they were opened
	theirs  []*hostileStream // that it can only read
	number  uint64           // of the next datagram
}

// hostileStream is a stream of either kind. A half that it does not have is nil.
type hostileStream struct {
	id  quic.StreamID
	out interface {
		io.WriteCloser
		CancelWrite(quic.StreamErrorCode)
		SetWriteDeadline(time.Time) error
	}
	in interface {
		io.Reader
		CancelRead(quic.StreamErrorCode)
	}
	wrote []byte
}

func (s *hostileStream) session() uint64 { return uint64(s.id)>>2<<1 | uint64(s.id)&1 }

// quickCurves saves a tenth of a program's time.
var quickCurves = []tls.CurveID{tls.X25519}

func newHostile(t *testing.T, n *network, address string, to *peer, how manners) *hostile {
	t.Helper()
	h := &hostile{
		t: t, host: n.raw(t, address), to: to, how: how,
		messages: make(map[sentMessage]int), pieces: make(map[uint64]bool),
	}
	config := h.host.identity.ServerTLS(quicpeer.ALPN, certs.Anyone(), false)
	config.CurvePreferences = quickCurves
	h.host.listen(config)
	h.reading.Go(func() {
		for {
			conn, err := h.host.listener.Accept(context.Background())
			if err != nil {
				return
			}
			h.add(conn)
		}
	})
	return h
}

// dial makes a connection, if the endpoint takes it.
func (h *hostile) dial() {
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	config := h.host.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), h.to.addr.String())
	config.CurvePreferences = quickCurves
	if conn, err := h.host.transport.Dial(ctx, h.to.addr, config, rawConfig()); err == nil {
		h.add(conn)
	}
}

func (h *hostile) add(conn *quic.Conn) {
	c := &hostileConn{Conn: conn}
	if !h.how.rude {
		h.openUni(c)
		h.write(h.stream(c, 0), session.Settings{}.Append(quicvarint.Append(nil, 0)))
	}
	h.mu.Lock()
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	h.reading.Go(func() {
		for {
			str, err := c.AcceptStream(context.Background())
			if err != nil {
				return
			}
			h.enter(c, &hostileStream{id: str.StreamID(), out: str, in: str})
		}
	})
	h.reading.Go(func() {
		for {
			str, err := c.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			h.enter(c, &hostileStream{id: str.StreamID(), in: str})
		}
	})
	h.reading.Go(func() { h.readDatagrams(c) })
}

func (h *hostile) enter(c *hostileConn, s *hostileStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.out != nil {
		c.streams = append(c.streams, s)
		h.streams = append(h.streams, s)
	} else {
		c.theirs = append(c.theirs, s)
	}
	if s.in != nil && !h.how.deaf {
		h.reading.Go(func() { _, _ = io.Copy(io.Discard, s.in) })
	}
}

func (h *hostile) readDatagrams(c *hostileConn) {
	for {
		d, err := c.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		header, body, err := datagram.ParseHeader(d)
		if err != nil || header.Kind != datagram.KindHeartbeat || h.how.silent {
			continue
		}
		token, _ := datagram.ParseHeartbeat(body)
		h.datagram(c, datagram.AppendHeartbeat(nil, h.next(c), true, token))
	}
}

// conn is the latest connection, nil if there is none.
func (h *hostile) conn() *hostileConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conns) == 0 {
		return nil
	}
	return h.conns[len(h.conns)-1]
}

// stream returns the one with this name, nil if there is none: the newest is 0,
// the oldest 0x80, the oldest that it can only read 0xc0.
func (h *hostile) stream(c *hostileConn, name byte) *hostileStream {
	h.mu.Lock()
	defer h.mu.Unlock()
	among, i := c.streams, int(name&0x3f)
	if name >= 0xc0 {
		among = c.theirs
	}
	switch n := len(among); {
	case n == 0:
		return nil
	case name < 0x80:
		return among[n-1-i%n]
	default:
		return among[i%n]
	}
}

// next gives out a datagram number.
func (h *hostile) next(c *hostileConn) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.number++
	return c.number - 1
}

// datagram sends one, whatever is in it.
func (h *hostile) datagram(c *hostileConn, wire []byte) {
	h.noteMessages(wire)
	h.mu.Lock()
	h.bytes += uint64(len(wire))
	h.sent++
	h.mu.Unlock()
	_ = c.SendDatagram(wire)
}

// noteMessages remembers the messages of a datagram that may be delivered.
func (h *hostile) noteMessages(wire []byte) {
	header, body, err := datagram.ParseHeader(wire)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	note := func(m datagram.Message) { h.messages[sentMessage{m.Session, string(m.Payload)}]++ }
	switch header.Kind {
	case datagram.KindMessage:
		if m, err := datagram.ParseMessage(body); err == nil {
			note(m)
		}
	case datagram.KindBundle:
		for len(body) > 0 {
			var m datagram.Message
			if m, body, err = datagram.NextBundleItem(body); err != nil {
				return
			}
			note(m)
		}
	case datagram.KindFragment:
		if f, err := datagram.ParseFragment(body); err == nil {
			h.pieces[f.Session] = true
		}
	}
}

func (h *hostile) openBidi(c *hostileConn) {
	if str, err := c.OpenStream(); err == nil {
		h.enter(c, &hostileStream{id: str.StreamID(), out: str, in: str})
	}
}

func (h *hostile) openUni(c *hostileConn) {
	if str, err := c.OpenUniStream(); err == nil {
		h.enter(c, &hostileStream{id: str.StreamID(), out: str})
	}
}

// write writes what flow control lets through within a moment.
func (h *hostile) write(s *hostileStream, b []byte) {
	if s == nil || s.out == nil {
		return
	}
	_ = s.out.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	n, _ := s.out.Write(b)
	h.mu.Lock()
	defer h.mu.Unlock()
	s.wrote = append(s.wrote, b[:n]...)
	h.bytes += uint64(n)
}

func (h *hostile) finish(s *hostileStream) {
	if s != nil && s.out != nil {
		_ = s.out.Close()
	}
}

func (h *hostile) reset(s *hostileStream, code session.Code) {
	if s != nil && s.out != nil {
		s.out.CancelWrite(quic.StreamErrorCode(code))
	}
}

func (h *hostile) stop(s *hostileStream, code session.Code) {
	if s != nil && s.in != nil {
		s.in.CancelRead(quic.StreamErrorCode(code))
	}
}

// end closes all its connections, and waits for what reads them.
func (h *hostile) end(code session.Code, reason string) {
	_ = h.host.listener.Close()
	h.mu.Lock()
	conns := h.conns
	h.mu.Unlock()
	for _, c := range conns {
		_ = c.CloseWithError(quic.ApplicationErrorCode(code), reason)
	}
	h.reading.Wait()
}

// opens returns what the streams of a session, of any connection, say in their
// first frames: the OPEN, if one may have been read, and the signals behind it.
func (h *hostile) opens(id uint64) (opens []session.Open, signals [][][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.streams {
		if s.out == nil || s.id&2 != 0 || s.session() != id {
			continue
		}
		fr := session.NewFrameReader(bytes.NewReader(s.wrote), session.Limits{})
		var sent [][]byte
		for {
			f, err := fr.NextFrame()
			if err != nil {
				break
			}
			switch f := f.(type) {
			case session.Open:
				opens = append(opens, f)
			case session.Signal:
				sent = append(sent, bytes.Clone(f.Payload))
			}
		}
		signals = append(signals, sent)
	}
	return opens, signals
}
