package bench

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// write writes files below a folder.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
	}
}

const goMod = "module example.org/x\n\ngo 1.26\n"

func TestFindBaselines(t *testing.T) {
	found, err := FindBaselines(".")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(found, "udp", "main.go"))
	_, err = FindBaselines(t.TempDir())
	require.ErrorIs(t, err, fs.ErrNotExist)
	other := t.TempDir() // another module
	write(t, other, map[string]string{"go.mod": goMod})
	_, err = FindBaselines(other)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"zebra/main.go": "", "udp/main.go": "", "quicgo/main.go": "", "alpha/CMakeLists.txt": "",
		"quinn/Cargo.toml": "", "quinn/src/main.rs": "",
		"shared/Cargo.toml": "", "shared/src/lib.rs": "", // a library of others
		"README.md": "", "empty/README.md": "",
	})
	all, err := Folders(dir)
	require.NoError(t, err)
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
		require.Equal(t, f.Name == "zebra" || f.Name == "udp" || f.Name == "quicgo", f.OnlyGo())
	}
	require.Equal(t, []string{"quicgo", "udp", "quinn", "alpha", "zebra"}, names)

	chosen, err := Select(all, []string{"quinn", "udp"})
	require.NoError(t, err)
	require.Len(t, chosen, 2)
	_, err = Select(all, []string{"none", "udp"})
	require.ErrorContains(t, err, `no baseline "none"; there are: quicgo, udp, quinn, alpha, zebra`)
	_, err = Folders(filepath.Join(dir, "nothing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"quicgo/go.mod": goMod, "quicgo/main.go": "package main\n\nfunc main() {}\n",
		"broken/go.mod": goMod, "broken/main.go": "package main\n\nfunc main() { wrong }\n",
		"quicpeer/main.go": "",
	})
	all, err := Folders(dir)
	require.NoError(t, err)
	var told []string
	subjects, missing, err := Builder{t.TempDir()}.Build(t.Context(), all, func(name string) { told = append(told, name) })
	require.NoError(t, err)
	require.Equal(t, []string{"quicpeer", "quicgo", "broken"}, told)
	require.Len(t, subjects, 2, "datagrams, and a stream")
	require.FileExists(t, subjects[0].Command[0])
	require.Equal(t, "flood-stream", subjects[1].Flood)
	require.Equal(t, []Measure{Throughput}, subjects[1].Can)
	require.Len(t, missing, 2)
	require.Contains(t, missing[0].Why, "cannot be called")
	require.Equal(t, "broken", missing[1].Name)
	require.Contains(t, missing[1].Why, "undefined: wrong", "the compiler's words")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = Builder{t.TempDir()}.Build(ctx, all, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestMissingToolchainsAreTold(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"udp/main.go": "", "quinn/Cargo.toml": "", "quinn/src/main.rs": "", "other/CMakeLists.txt": "",
	})
	all, err := Folders(dir)
	require.NoError(t, err)
	t.Setenv("PATH", t.TempDir())
	subjects, missing, err := Builder{t.TempDir()}.Build(t.Context(), all, nil)
	require.NoError(t, err)
	require.Empty(t, subjects)
	require.Equal(t, []Missing{
		{"udp", "it is built with go, which is not found; get it from https://go.dev/dl"},
		{"quinn", "it is built with cargo, which is not found; get it from https://rustup.rs"},
		{"other", "it is built with cmake, which is not found; get it from https://cmake.org"},
	}, missing)
}

func TestBuilderWithoutACache(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("LocalAppData", "")
	b, remove, err := NewBuilder()
	require.NoError(t, err)
	require.DirExists(t, b.dir)
	remove()
	require.NoDirExists(t, b.dir)
}
