package integration_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// Peers that are bare QUIC stacks, without this library.

// dialBare makes a QUIC connection without a client certificate.
func dialBare(ctx context.Context, t testing.TB, address, alpn string, datagrams bool) (*quic.Conn, error) {
	return dialBareTLS(ctx, t, address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}}, datagrams)
}

func dialBareTLS(ctx context.Context, t testing.TB, address string, config *tls.Config, datagrams bool) (*quic.Conn, error) {
	conn, err := quic.DialAddr(ctx, address, config, &quic.Config{EnableDatagrams: datagrams, RequireStreamCreditRelease: false})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn, nil
}

// bareOpen opens a session, on a link stream of its own if it is the first, and
// returns the answer.
func bareOpen(ctx context.Context, conn *quic.Conn, protocol string) (session.Frame, error) {
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if str.StreamID() == 0 {
		link, err := conn.OpenUniStream()
		if err != nil {
			return nil, err
		}
		if _, err := link.Write(session.Settings{}.Append(quicvarint.Append(nil, 0))); err != nil {
			return nil, err
		}
	}
	if _, err := str.Write(session.Open{Protocol: protocol}.Append(nil)); err != nil {
		return nil, err
	}
	return bareRead(ctx, str)
}

// listenBare runs a QUIC listener that answers handshakes and does nothing
// more.
func listenBare(t testing.TB, alpn string, datagrams bool) (address string, conns <-chan *quic.Conn) {
	t.Helper()
	id, err := certs.Generate()
	require.NoError(t, err)
	l, err := quic.ListenAddr("127.0.0.1:0", id.ServerTLS(alpn, certs.Anyone(), true), &quic.Config{EnableDatagrams: datagrams})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	accepted := make(chan *quic.Conn, 16)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	return l.Addr().String(), accepted
}

// wantUnsupported waits until a connection is closed, which must be with the
// code for a peer that lacks something.
func wantUnsupported(ctx context.Context, t testing.TB, conn *quic.Conn) {
	t.Helper()
	select {
	case <-conn.Context().Done():
	case <-ctx.Done():
		require.Fail(t, "the connection is not closed")
	}
	var closed *quic.ApplicationError
	require.ErrorAs(t, context.Cause(conn.Context()), &closed)
	require.True(t, closed.Remote)
	require.EqualValues(t, 0x07, closed.ErrorCode)
	require.Contains(t, closed.ErrorMessage, "RFC 9221", "and says what")
}

func TestNoDatagramSupport(t *testing.T) {
	ctx := within(t, 10*time.Second)
	e := startPeer(t, "127.0.0.1:0", nil)

	t.Run("of the peer dialed", func(t *testing.T) {
		address, conns := listenBare(t, quicpeer.ALPN, false)
		_, err := e.Dial(ctx, address, dialChat())
		wantErrorIs(t, err, quicpeer.ErrNoDatagrams)
		var conn *quic.Conn
		select { // a peer that is closed before its handshake is complete is never told why
		case conn = <-conns:
		case <-ctx.Done():
			require.Fail(t, "the peer has seen no connection")
		}
		wantUnsupported(ctx, t, conn)
		require.Empty(t, e.Links())
	})
	t.Run("of the peer that dials", func(t *testing.T) {
		id, err := certs.Generate()
		require.NoError(t, err)
		conn, err := dialBareTLS(ctx, t, e.Addr().String(), id.ClientTLS(quicpeer.ALPN, certs.Anyone(), ""), false)
		require.NoError(t, err)
		wantUnsupported(ctx, t, conn)
		require.Empty(t, e.Links())
	})
}

func TestWrongALPN(t *testing.T) {
	ctx := within(t, 10*time.Second)
	e := startPeer(t, "127.0.0.1:0", nil)

	t.Run("of the peer dialed", func(t *testing.T) {
		address, _ := listenBare(t, "h3", true)
		_, err := e.Dial(ctx, address, dialChat())
		wantErrorIs(t, err, quicpeer.ErrWrongProtocol)
		require.ErrorContains(t, err, quicpeer.ALPN)
		require.False(t, errors.Is(err, quicpeer.ErrRefused))
	})
	t.Run("of the peer that dials", func(t *testing.T) {
		id, err := certs.Generate()
		require.NoError(t, err)
		_, err = dialBareTLS(ctx, t, e.Addr().String(), id.ClientTLS("h3", certs.Anyone(), ""), true)
		var refused *quic.TransportError
		require.ErrorAs(t, err, &refused)
		require.True(t, refused.Remote)
		require.EqualValues(t, 0x178, refused.ErrorCode, "TLS alert no_application_protocol (RFC 9001 section 8.1)")
		require.Empty(t, e.Links())
	})
}
