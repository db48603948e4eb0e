package integration_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// A process that has used up its file descriptors goes on talking: endpoints
// need no more than the one that they have. What needs another says so.
func TestFileDescriptorsUsedUp(t *testing.T) {
	t.Parallel()
	apart(t, 0, func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		dir := t.TempDir()
		known, err := certs.KnownPeers(filepath.Join(dir, "known"))
		require.NoError(t, err)
		var log safeBuffer
		c := chatConfig()
		c.QLogDir = filepath.Join(dir, "qlog")
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		hub := startPeer(t, "127.0.0.1:0", c)
		echo(hub)
		spokes := make([]*quicpeer.Endpoint, 5)
		for i := range spokes {
			spokes[i] = startPeer(t, "127.0.0.1:0", nil)
			echo(spokes[i])
		}
		before, err := spokes[0].Dial(ctx, hub.Addr().String(), dialChat())
		require.NoError(t, err)

		free := useUpDescriptors(t)
		exchange(ctx, t, before, "a session that was there")
		for _, spoke := range spokes {
			s, err := spoke.Dial(ctx, hub.Addr().String(), dialChat())
			require.NoError(t, err)
			exchange(ctx, t, s, "accepted")
			require.NoError(t, s.Close(ctx))
		}
		for _, spoke := range spokes[1:] {
			s, err := hub.Dial(ctx, spoke.Addr().String(), &quicpeer.DialOptions{Protocol: chat, PeerID: spoke.ID()})
			require.NoError(t, err)
			exchange(ctx, t, s, "dialed")
			require.NoError(t, s.Close(ctx))
		}
		_, err = quicpeer.Listen("127.0.0.1:0", nil)
		require.ErrorIs(t, err, syscall.EMFILE)
		require.ErrorContains(t, err, `listen on "127.0.0.1:0"`)
		require.ErrorIs(t, known.Add("a", certs.PeerID{1}), syscall.EMFILE)
		_, err = certs.LoadOrCreate(filepath.Join(dir, "peer.key"))
		require.ErrorIs(t, err, syscall.EMFILE)
		require.EqualValues(t, len(spokes)-1, hub.Stats().FailedQLogs, "of the new connections")
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())

		free()
		s, err := startPeer(t, "127.0.0.1:0", nil).Dial(ctx, hub.Addr().String(), dialChat())
		require.NoError(t, err)
		exchange(ctx, t, s, "a new one")
		require.NoError(t, s.Close(ctx))
		require.NoError(t, before.Close(ctx))
		require.NoError(t, known.Add("a", certs.PeerID{1}))
		require.EqualValues(t, len(spokes)-1, hub.Stats().FailedQLogs)
	})
}

// useUpDescriptors opens files until the process may not. The function returned
// closes them.
func useUpDescriptors(t *testing.T) (free func()) {
	t.Helper()
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 256, Max: 256}))
	var files []*os.File
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			require.ErrorIs(t, err, syscall.EMFILE)
			break
		}
		files = append(files, f)
	}
	return func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
}

// A full disk costs the qlog files, and one line in the log: not a connection.
func TestQLogDiskFull(t *testing.T) {
	t.Parallel()
	apart(t, syscall.CLONE_NEWNS, func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		dir := t.TempDir()
		err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		if errors.Is(err, fs.ErrPermission) { // a container may have the right to make namespaces alone
			t.Skipf("no file systems here: %v", err)
		}
		require.NoError(t, err)
		require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
		defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
		var log safeBuffer
		c := chatConfig()
		c.QLogDir = dir
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		hub := startPeer(t, "127.0.0.1:0", c)
		echo(hub)
		const peers = 6
		for range peers {
			e := startPeer(t, "127.0.0.1:0", nil)
			s, err := e.Dial(ctx, hub.Addr().String(), dialChat())
			require.NoError(t, err)
			for range 50 {
				exchange(ctx, t, s, "a few events for the qlog")
			}
			require.NoError(t, s.Close(ctx))
			require.NoError(t, e.Close(ctx))
		}
		require.NoError(t, hub.Close(ctx))
		failed := hub.Stats().FailedQLogs
		require.Positive(t, failed)
		require.LessOrEqual(t, failed, uint64(peers))
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), "no space left on device")
	})
}
