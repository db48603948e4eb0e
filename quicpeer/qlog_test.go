package quicpeer

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
)

// Where a qlog file cannot be made, connections run without: all of them, with
// one line in the log and a count.
func TestConnectionsWithoutQLog(t *testing.T) {
	notDir := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(notDir, nil, 0o600))
	peer, err := Listen("127.0.0.1:0", nil)
	require.NoError(t, err)
	var log bytes.Buffer
	e, err := Listen("127.0.0.1:0", &Config{
		Trust: certs.IDs(peer.ID()), QLogDir: notDir,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	require.NoError(t, err)
	e.Handle("hello", func(in *Incoming) { _ = in.Reject(0x100, "hello to you", 0) })
	const connections = 5
	for range connections {
		other, err := Listen("127.0.0.1:0", &Config{Identity: peer.identity})
		require.NoError(t, err)
		_, err = other.Dial(t.Context(), e.Addr().String(), &DialOptions{Protocol: "hello", PeerID: e.ID()})
		require.ErrorContains(t, err, "hello to you")
		require.NoError(t, other.Close(t.Context()))
	}
	require.NoError(t, peer.Close(t.Context()))
	require.NoError(t, e.Close(t.Context()))
	require.EqualValues(t, connections, e.Stats().FailedQLogs)
	require.Equal(t, 1, strings.Count(log.String(), "no qlog"), log.String())
	require.Contains(t, log.String(), notDir)
}

// On a full disk, what quic-go writes is taken and lost. It is told once, at the
// end, also if all of it had been in the buffer.
func TestQLogOnAFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/dev/full is a disk that is always full on Linux")
	}
	for _, size := range []int{10, 100_000} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		require.NoError(t, err)
		var told []error
		f := newQLogFile(full, func(err error) { told = append(told, err) })
		for range size / 10 {
			n, err := f.Write(make([]byte, 10))
			require.NoError(t, err)
			require.Equal(t, 10, n)
		}
		require.Empty(t, told)
		require.NoError(t, f.Close())
		require.Len(t, told, 1)
		require.ErrorIs(t, told[0], syscall.ENOSPC)
	}
}

// The tokens in a file reset connections, and a client chooses the name of it:
// it is its owner's alone, and never takes the place of another file.
func TestQLogFilesAreNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "as needed")
	none := func(err error) { t.Error(err) }
	f, err := createQLog(dir, "id_server.sqlog", none)
	require.NoError(t, err)
	_, err = f.Write([]byte("of this connection"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.file.Close(), os.ErrClosed, "it is closed")
	_, err = createQLog(dir, "id_server.sqlog", none)
	require.ErrorIs(t, err, fs.ErrExist)
	content, err := os.ReadFile(filepath.Join(dir, "id_server.sqlog"))
	require.NoError(t, err)
	require.Equal(t, "of this connection", string(content))
	if runtime.GOOS == "windows" {
		return // there are no such modes
	}
	for path, mode := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "id_server.sqlog"): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}
