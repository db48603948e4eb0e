package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIDCreatesShowsAndReplaces(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "key.pem")
	id := func(code int, args ...string) string {
		return command(t, "", code, append([]string{"id", "--identity", file}, args...)...)
	}
	first, where, _ := strings.Cut(id(exitOK), "\n")
	require.Regexp(t, `^[a-z2-7]{52}$`, first)
	require.Equal(t, "(new, kept in "+file+")\n", where)
	if runtime.GOOS != "windows" {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm())
	}
	require.Equal(t, first+"\n(kept in "+file+")\n", id(exitOK))

	var shown struct {
		ID, File string
		Created  bool
	}
	require.NoError(t, json.Unmarshal([]byte(id(exitOK, "--json")), &shown))
	require.Equal(t, first, shown.ID)
	require.Equal(t, file, shown.File)
	require.False(t, shown.Created)

	out := id(exitFailure, "--new")
	require.Contains(t, out, "does not overwrite")
	require.Contains(t, out, "--force", "the remedy")
	require.Contains(t, id(exitOK), first, "untouched")
	replaced, _, _ := strings.Cut(id(exitOK, "--new", "--force"), "\n")
	require.NotEqual(t, first, replaced)
	require.Contains(t, id(exitOK), replaced)
}

func TestIDExplainsABadFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(file, []byte("no key"), 0o600))
	require.Contains(t, command(t, "", exitFailure, "id", "--identity", file), file+" cannot be used")
}
