package quicpeer

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// endedConn dials an address, and returns the connection once the peer has
// ended it.
func endedConn(ctx context.Context, t *testing.T, e *Endpoint, address net.Addr) *quic.Conn {
	t.Helper()
	var conn *quic.Conn
	var err error
	for conn == nil { // the end may come before the dial has returned, and is its error then
		conn, err = e.transport.Dial(ctx, address, e.identity.ClientTLS(ALPN, certs.Anyone(), ""), e.quicConfig())
		require.NoError(t, ctx.Err(), "%v", err)
	}
	select {
	case <-conn.Context().Done():
	case <-ctx.Done():
		require.Fail(t, "the connection lives")
	}
	return conn
}

// wantIs is require.ErrorIs, which cannot print some of QUIC's errors.
func wantIs(t *testing.T, err, target error) {
	t.Helper()
	require.True(t, errors.Is(err, target), "got %v, want %v", err, target)
}

// A listener's verdict on our certificate can come at any time after our side
// of the handshake is complete: before the link is set up, or before the
// session is opened. Dial tells what it was all the same.
func TestRefusalBeforeTheLinkIsUsed(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e, err := Listen("127.0.0.1:0", &Config{Trust: certs.Anyone()})
	require.NoError(t, err)
	defer e.Close(ctx)
	stranger, err := Listen("127.0.0.1:0", nil)
	require.NoError(t, err)
	defer stranger.Close(ctx)
	conn := endedConn(ctx, t, e, stranger.Addr())

	_, err = e.addLink(conn, &target{address: stranger.Addr().String()}, nil)
	wantIs(t, err, ErrRefused)
	require.Empty(t, e.Links())

	l := &link{ep: e, conn: conn}
	for _, noWait := range []bool{false, true} {
		_, _, err = l.openRunner(ctx, session.Open{}, noWait)
		wantIs(t, err, ErrRefused)
		require.False(t, l.notActedOn(0, err), "there is no use in trying again")
		require.True(t, l.closing, "the next dial, which may be trusted, makes a new link")
	}
	_, _, err = l.openSession(ctx, session.Open{}, false)
	wantIs(t, err, ErrRefused)
}

// A link that was closed with a code before anything was sent on it.
func TestClosedBeforeTheLinkIsUsed(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e, err := Listen("127.0.0.1:0", &Config{Trust: certs.Anyone()})
	require.NoError(t, err)
	defer e.Close(ctx)
	id, err := certs.Generate()
	require.NoError(t, err)
	peer, err := quic.ListenAddr("127.0.0.1:0", id.ServerTLS(ALPN, certs.Anyone(), false), e.quicConfig())
	require.NoError(t, err)
	defer peer.Close()
	go func() {
		for {
			conn, err := peer.Accept(ctx)
			if err != nil {
				return
			}
			_ = conn.CloseWithError(quic.ApplicationErrorCode(session.CodeGoingAway), "not today")
		}
	}()
	conn := endedConn(ctx, t, e, peer.Addr())

	want := &session.Error{Cause: session.CauseLinkClosed, Code: session.CodeGoingAway, Remote: true}
	_, err = e.addLink(conn, &target{address: peer.Addr().String()}, nil)
	wantIs(t, err, want)
	require.False(t, errors.Is(err, ErrOutcomeUnknown))

	l := &link{ep: e, conn: conn}
	_, _, err = l.openSession(ctx, session.Open{}, false)
	wantIs(t, err, want)
	require.True(t, l.notActedOn(0, err), "it may be tried again on another link")
}

// Only what a peer says about our certificate is a refusal of it.
func TestRefusalIsToldFromOtherAlerts(t *testing.T) {
	id := certs.PeerID{1}
	alert := func(n quic.TransportErrorCode, remote bool) error {
		return handshakeError(&quic.TransportError{ErrorCode: alertFirst + n, Remote: remote}, id)
	}
	for _, n := range []quic.TransportErrorCode{42, 43, 44, 45, 46, 48, 49, 116} {
		wantIs(t, alert(n, true), ErrRefused)
		require.False(t, errors.Is(alert(n, false), ErrRefused), "alert %d is our own", n)
	}
	for _, n := range []quic.TransportErrorCode{10, 40, 47, 50, 70, 80, 109} {
		require.False(t, errors.Is(alert(n, true), ErrRefused), "alert %d", n)
	}
	wantIs(t, alert(120, true), ErrWrongProtocol)
}

// What a stranger says in a refusal is shown in one line, whatever it is, and
// however many addresses have failed.
func TestDialErrorShowsNoControlCharacters(t *testing.T) {
	refusal := &quic.TransportError{Remote: true, ErrorCode: quic.ConnectionRefused, ErrorMessage: "go\x1b[2J\r\naway"}
	err := &DialError{Address: "host:1", Err: attemptsError{handshakeError(refusal, certs.PeerID{}), errors.New("the other")}}
	require.EqualError(t, err, "quicpeer: dial host:1: CONNECTION_REFUSED (remote): go\ufffd[2J\ufffd\ufffdaway; the other")
	wantIs(t, err, refusal)
}
