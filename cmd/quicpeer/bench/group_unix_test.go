//go:build unix

package bench

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever holds a pipe open is alive: its reader sees the end when nobody does.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	for _, behavior := range []string{"hang", "parent"} {
		pipe := filepath.Join(t.TempDir(), "pipe")
		require.NoError(t, syscall.Mkfifo(pipe, 0o600))
		ctx, cancel := context.WithCancel(t.Context())
		p, err := start(ctx, fakeSubject(t, "parent", behavior+":"+pipe), nil, "serve")
		require.NoError(t, err)
		f, err := os.Open(pipe) // waits until the other end is open too
		require.NoError(t, err)
		r := bufio.NewReader(f)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "here\n", line)
		cancel()
		_, err = r.ReadByte()
		require.ErrorIs(t, err, io.EOF, "the program, and what it has started, is gone")
		<-p.ended
		require.NoError(t, f.Close())
	}
}
