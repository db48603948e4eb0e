package integration_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is this module's path, quicGo that of the QUIC stack.
const (
	module = "github.com/oneportnet/quicpeer"
	quicGo = "github.com/quic-go/quic-go"
)

// floors: a package imports only from lower ones. The key "cmd" stands for
// every package below it.
var floors = map[string]int{
	"certs":            1,
	"datagram":         1,
	"session":          2,
	"quicpeer":         3,
	"cmd":              4,
	"integration_test": 5, // so nothing may import it
}

// listedPackage is what go list tells of a package.
type listedPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string // without those of tests
	Module     *struct{ Path string }
}

// goList runs go list in the module's root.
func goList(t testing.TB, args ...string) []listedPackage {
	t.Helper()
	gobin, err := exec.LookPath("go")
	if err != nil {
		t.Skipf("no go command to ask: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), gobin, append([]string{"list", "-json=ImportPath,Standard,Imports,Module"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		require.NoError(t, err, "%s", exit.Stderr)
	}
	require.NoError(t, err)
	var packages []listedPackage
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listedPackage
		err := decoder.Decode(&p)
		if err == io.EOF {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

// floorOf returns the folder that stands for a package of this module, and its
// floor.
func floorOf(t testing.TB, importPath string) (folder string, floor int) {
	t.Helper()
	folder, ok := strings.CutPrefix(importPath, module+"/")
	require.True(t, ok, "%s: the module's root has no package", importPath)
	folder, _, _ = strings.Cut(folder, "/")
	floor, ok = floors[folder]
	require.True(t, ok, "%s has no floor: give it one", importPath)
	return folder, floor
}

// inModule reports whether a package belongs to a module.
func inModule(path, module string) bool { return path == module || strings.HasPrefix(path, module+"/") }

func TestFloorPlan(t *testing.T) {
	packages := goList(t, "./...")
	require.NotEmpty(t, packages)
	for _, p := range packages {
		folder, floor := floorOf(t, p.ImportPath)
		for _, imported := range p.Imports {
			switch {
			case inModule(imported, module):
				of, below := floorOf(t, imported)
				if folder == "cmd" && of == "cmd" {
					continue // commands may have packages of their own
				}
				require.Less(t, below, floor, "%s imports %s", p.ImportPath, imported)
			case imported == quicGo && p.ImportPath == module+"/integration_test/attack":
				// Attackers are peers that do what the library would not.
			case imported == quicGo+"/quicvarint":
				require.Contains(t, []string{"datagram", "session", "quicpeer"}, folder, "%s imports %s", p.ImportPath, imported)
			case inModule(imported, quicGo) && strings.HasPrefix(p.ImportPath, module+"/integration_test/baselines/"):
				// A program that stands for the stack used bare.
			case inModule(imported, quicGo):
				require.Equal(t, "quicpeer", folder, "%s imports %s: only one package knows the QUIC stack", p.ImportPath, imported)
			case imported == "golang.org/x/net/quic" && p.ImportPath == module+"/integration_test/interop/xnet":
				// A peer on that stack.
			case folder == "quicpeer" && (imported == "golang.org/x/net/ipv4" || imported == "golang.org/x/sys/unix"):
				// quic-go's batch reads take messages of the one; the other has
				// the system calls of receive offload. quic-go needs both itself.
			case strings.Contains(strings.Split(imported, "/")[0], "."):
				require.Equal(t, "cmd", folder, "%s imports %s: the library needs no other module", p.ImportPath, imported)
			}
		}
	}
}

// What a program takes on with the library: quic-go, and what that needs.
func TestLibraryNeedsNoOtherModule(t *testing.T) {
	allowed := make(map[string]bool)
	for _, p := range goList(t, "-deps", quicGo, quicGo+"/qlog", quicGo+"/qlogwriter") {
		if p.Module != nil {
			require.True(t, p.Module.Path == quicGo || strings.HasPrefix(p.Module.Path, "golang.org/x/"), "%s", p.Module.Path)
			allowed[p.Module.Path] = true
		}
	}
	for _, p := range goList(t, "-deps", "./quicpeer") {
		require.NotEqual(t, module+"/quicpeer/faultnet", p.ImportPath, "it is for tests of applications")
		if p.Standard || p.Module.Path == module {
			continue
		}
		require.True(t, allowed[p.Module.Path], "the library needs %s, of %s", p.ImportPath, p.Module.Path)
	}
	for _, p := range goList(t, "-deps", "./quicpeer/faultnet") {
		require.True(t, p.Standard || p.ImportPath == module+"/quicpeer/faultnet" || p.ImportPath == quicGo+"/testutils/simnet", "faultnet needs %s", p.ImportPath)
	}
	for _, p := range goList(t, "-deps", "./certs") {
		require.True(t, p.Standard || p.ImportPath == module+"/certs", "certs needs %s", p.ImportPath)
	}
}
