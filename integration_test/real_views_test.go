package integration_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// Each side writes a file for its end of the connection, complete once the
// endpoint has ended.
func TestQLogWritten(t *testing.T) {
	ctx := within(t, 10*time.Second)
	config := chatConfig()
	config.QLogDir = filepath.Join(t.TempDir(), "made", "as needed")
	a, b := startPeer(t, "127.0.0.1:0", config), startPeer(t, "127.0.0.1:0", config)
	dialed, accepted := dialOpen(ctx, t, a, b)
	go echoSession(accepted)
	exchange(ctx, t, dialed, "for the record")
	require.NoError(t, a.Close(ctx))
	require.NoError(t, b.Close(ctx))

	for _, side := range []string{"client", "server"} {
		var log []byte
		until(ctx, t, "the log of the "+side+" is complete", func() bool {
			files, err := filepath.Glob(filepath.Join(config.QLogDir, "*_"+side+".sqlog"))
			require.NoError(t, err)
			require.LessOrEqual(t, len(files), 1, "one connection")
			if len(files) == 0 {
				return false
			}
			log, err = os.ReadFile(files[0])
			require.NoError(t, err)
			return bytes.Contains(log, []byte("connection_closed")) && bytes.HasSuffix(log, []byte("\n"))
		})
		// JSON text sequences (RFC 7464).
		records := strings.Split(string(log), "\x1e")
		require.Empty(t, records[0])
		require.Greater(t, len(records), 10)
		for _, r := range records[1:] {
			require.True(t, json.Valid([]byte(r)), "%s", r)
		}
		require.Contains(t, string(log), "datagram", "messages show")
	}
}

// Each side writes the secrets of its connections, and both the same.
func TestKeyLog(t *testing.T) {
	ctx := within(t, 10*time.Second)
	var logs [2]bytes.Buffer
	var endpoints [2]*quicpeer.Endpoint
	for i := range endpoints {
		config := chatConfig()
		config.KeyLogWriter = &logs[i]
		endpoints[i] = startPeer(t, "127.0.0.1:0", config)
	}
	dialOpen(ctx, t, endpoints[0], endpoints[1])
	for _, e := range endpoints {
		require.NoError(t, e.Close(ctx))
	}
	require.Contains(t, logs[0].String(), "CLIENT_TRAFFIC_SECRET_0 ")
	require.ElementsMatch(t, strings.Split(logs[0].String(), "\n"), strings.Split(logs[1].String(), "\n"))
}

// Code that was written for a connected UDP socket works on a session.
func TestNetConnView(t *testing.T) {
	ctx := within(t, 10*time.Second)
	a, b := startPeer(t, "127.0.0.1:0", nil), startPeer(t, "127.0.0.1:0", nil)
	dialed, accepted := dialOpen(ctx, t, a, b)
	client, server := dialed.Conn(), accepted.Conn()
	require.Equal(t, b.Addr().String(), client.RemoteAddr().String())
	require.Equal(t, a.Addr().String(), client.LocalAddr().String())

	// A request and its answer, with code that knows nothing of sessions.
	served := make(chan error, 1)
	go func() {
		_, err := io.Copy(server, server) // until the client's end
		served <- err
	}()
	require.NoError(t, client.SetDeadline(time.Now().Add(5*time.Second)))
	type note struct{ Text string }
	require.NoError(t, json.NewEncoder(client).Encode(note{"as JSON"}))
	var got note
	require.NoError(t, json.NewDecoder(client).Decode(&got))
	require.Equal(t, "as JSON", got.Text)

	// Deadlines, as the net package has them.
	require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err := client.Read(make([]byte, 100))
	wantErrorIs(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())

	require.NoError(t, client.Close())
	require.NoError(t, <-served, "the client's end is EOF")
	_, err = client.Read(make([]byte, 100))
	wantErrorIs(t, err, net.ErrClosed)
	wantErrorIs(t, accepted.Err(), &quicpeer.Error{Cause: session.CauseClosed, Remote: true})
}
