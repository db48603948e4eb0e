package integration_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// rawPeer is a peer that a test plays by hand: a bare QUIC connection, and the
// codecs of the protocol. It does nothing by itself but answer heartbeats, and
// read the link stream.
type rawPeer struct {
	t        *testing.T
	conn     *quic.Conn
	link     *quic.SendStream
	frames   chan session.Frame // of the endpoint's link stream
	received chan []byte        // its datagrams, but for heartbeats
	number   uint64             // of our next datagram
}

// rawHost is a bare QUIC stack on a simulated network.
type rawHost struct {
	t         *testing.T
	addr      net.Addr
	identity  *certs.Identity
	transport *quic.Transport
	listener  *quic.Listener
}

// rawConfig is what a bare stack needs for the protocol.
func rawConfig() *quic.Config {
	return &quic.Config{EnableDatagrams: true, MaxIdleTimeout: 30 * time.Second, MaxIncomingStreams: 1000}
}

// raw starts a bare stack.
func (n *network) raw(t *testing.T, address string) *rawHost {
	t.Helper()
	conn := n.socket(t, address)
	h := &rawHost{t: t, addr: conn.LocalAddr(), identity: newIdentity(t), transport: &quic.Transport{Conn: conn}}
	t.Cleanup(func() {
		_ = h.transport.Close()
		_ = conn.Close()
	})
	return h
}

// listen makes the stack accept connections.
func (h *rawHost) listen(config *tls.Config) {
	h.t.Helper()
	if config == nil {
		config = h.identity.ServerTLS(quicpeer.ALPN, certs.Anyone(), false)
	}
	var err error
	h.listener, err = h.transport.Listen(config, rawConfig())
	require.NoError(h.t, err)
}

// accept takes the next connection, and begins the link stream.
func (h *rawHost) accept() *rawPeer {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	conn, err := h.listener.Accept(ctx)
	require.NoError(h.t, err)
	return h.start(conn, session.Settings{})
}

// dial connects to an endpoint, and begins the link stream.
func (h *rawHost) dial(to *peer) *rawPeer {
	h.t.Helper()
	return h.dialWith(to, session.Settings{})
}

func (h *rawHost) dialWith(to *peer, settings session.Settings) *rawPeer {
	h.t.Helper()
	conn, err := h.connect(to)
	require.NoError(h.t, err)
	return h.start(conn, settings)
}

func (h *rawHost) connect(to *peer) (*quic.Conn, error) {
	return h.transport.Dial(h.t.Context(), to.addr, h.identity.ClientTLS(quicpeer.ALPN, certs.Anyone(), to.addr.String()), rawConfig())
}

func (h *rawHost) start(conn *quic.Conn, settings session.Settings) *rawPeer {
	h.t.Helper()
	p := &rawPeer{t: h.t, conn: conn, frames: make(chan session.Frame, 100), received: make(chan []byte, 1000)}
	var err error
	p.link, err = conn.OpenUniStream()
	require.NoError(h.t, err)
	_, err = p.link.Write(settings.Append(quicvarint.Append(nil, 0)))
	require.NoError(h.t, err)
	go p.readLink()
	go p.readDatagrams()
	h.t.Cleanup(func() { _ = conn.CloseWithError(0, "test over") })
	return p
}

func (p *rawPeer) readLink() {
	str, err := p.conn.AcceptUniStream(context.Background())
	if err != nil {
		return
	}
	if _, err := quicvarint.Read(quicvarint.NewReader(str)); err != nil {
		return
	}
	fr := session.NewFrameReader(str, session.Limits{})
	for {
		f, err := fr.NextFrame()
		if err != nil {
			return
		}
		p.frames <- f
	}
}

func (p *rawPeer) readDatagrams() {
	for {
		d, err := p.conn.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		h, body, err := datagram.ParseHeader(d)
		if err == nil && h.Kind == datagram.KindHeartbeat {
			token, _ := datagram.ParseHeartbeat(body)
			p.datagram(func(number uint64) []byte { return datagram.AppendHeartbeat(nil, number, true, token) })
			continue
		}
		p.received <- d
	}
}

// datagram sends one datagram, with the next number.
func (p *rawPeer) datagram(encode func(number uint64) []byte) {
	number := p.number
	p.number++
	_ = p.conn.SendDatagram(encode(number))
}

// message sends one message of a session.
func (p *rawPeer) message(id uint64, payload string) {
	p.datagram(func(number uint64) []byte {
		return datagram.AppendMessage(nil, number, datagram.Message{Session: id, Payload: []byte(payload)})
	})
}

// writeLink writes frames to the link stream.
func (p *rawPeer) writeLink(frames ...session.Frame) {
	p.t.Helper()
	_, err := p.link.Write(encode(frames...))
	require.NoError(p.t, err)
}

func encode(frames ...session.Frame) []byte {
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	return b
}

// wantLinkFrame waits for a frame of want's type on the endpoint's link
// stream.
func (p *rawPeer) wantLinkFrame(why string, want session.FrameType) session.Frame {
	p.t.Helper()
	for timeout := time.After(time.Minute); ; {
		select {
		case f := <-p.frames:
			if f.FrameType() == want {
				return f
			}
		case <-timeout:
			require.FailNow(p.t, why, "no %v", want)
		}
	}
}

// wantClosed waits until the endpoint closes the link, and returns with which
// code.
func (p *rawPeer) wantClosed(why string) (session.Code, string) {
	p.t.Helper()
	select {
	case <-p.conn.Context().Done():
	case <-time.After(time.Minute):
		require.FailNow(p.t, why, "the link was not closed")
	}
	var e *quic.ApplicationError
	require.ErrorAs(p.t, context.Cause(p.conn.Context()), &e, why)
	require.True(p.t, e.Remote, why)
	return session.Code(e.ErrorCode), e.ErrorMessage
}

// wantLive checks that the link is up.
func (p *rawPeer) wantLive(why string) {
	p.t.Helper()
	require.NoError(p.t, p.conn.Context().Err(), why)
}

// rawSession is one control stream of a rawPeer.
type rawSession struct {
	*quic.Stream
	p  *rawPeer
	id uint64
	fr *session.FrameReader
}

// open opens a stream and writes frames to it.
func (p *rawPeer) open(frames ...session.Frame) *rawSession {
	p.t.Helper()
	str, err := p.conn.OpenStreamSync(p.t.Context())
	require.NoError(p.t, err)
	s := p.session(str)
	if len(frames) > 0 {
		s.write(frames...)
	}
	return s
}

// openAccepted opens a session, which the endpoint accepts.
func (p *rawPeer) openAccepted(at *peer) (*rawSession, *quicpeer.Session) {
	p.t.Helper()
	s := p.open(session.Open{Protocol: simProto})
	accepted := at.accept()
	s.want("the session is accepted", session.Accept{})
	return s, accepted
}

// accept takes the next session that the endpoint opens, and reads its OPEN.
func (p *rawPeer) accept() (*rawSession, session.Open) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	str, err := p.conn.AcceptStream(ctx)
	require.NoError(p.t, err)
	s := p.session(str)
	f, err := s.next()
	require.NoError(p.t, err)
	require.IsType(p.t, session.Open{}, f)
	return s, f.(session.Open)
}

func (p *rawPeer) session(str *quic.Stream) *rawSession {
	id := uint64(str.StreamID())
	return &rawSession{Stream: str, p: p, id: id>>2<<1 | id&1, fr: session.NewFrameReader(str, session.Limits{})}
}

// write writes frames.
func (s *rawSession) write(frames ...session.Frame) {
	s.p.t.Helper()
	_, err := s.Write(encode(frames...))
	require.NoError(s.p.t, err)
}

// next reads a frame, for at most a minute.
func (s *rawSession) next() (session.Frame, error) {
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	return s.fr.NextFrame()
}

// want reads a frame, which must be this one.
func (s *rawSession) want(why string, want session.Frame) {
	s.p.t.Helper()
	f, err := s.next()
	require.NoError(s.p.t, err, why)
	require.Equal(s.p.t, want, f, why)
}

// wantFIN checks that the endpoint has ended its side.
func (s *rawSession) wantFIN(why string) {
	s.p.t.Helper()
	_, err := s.next()
	require.ErrorIs(s.p.t, err, io.EOF, why)
}

// wantReset checks that the endpoint has reset the stream.
func (s *rawSession) wantReset(why string, code session.Code) {
	s.p.t.Helper()
	f, err := s.next()
	var e *quic.StreamError
	require.True(s.p.t, errors.As(err, &e), "%s: got %v, %v", why, f, err)
	require.True(s.p.t, e.Remote, why)
	require.Equal(s.p.t, code, session.Code(e.ErrorCode), why)
}

// reset tears the stream both ways.
func (s *rawSession) reset(code session.Code) {
	s.CancelWrite(quic.StreamErrorCode(code))
	s.CancelRead(quic.StreamErrorCode(code))
}

// accept accepts the next session.
func (p *peer) accept() *quicpeer.Session {
	p.t.Helper()
	s, err := p.incoming().Accept(nil)
	require.NoError(p.t, err)
	return s
}

// incoming returns the next session that waits to be accepted.
func (p *peer) incoming() *quicpeer.Incoming {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	in, err := p.Accept(ctx)
	require.NoError(p.t, err)
	return in
}
