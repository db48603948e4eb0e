package integration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// wallClock are the methods and functions of package time that leave the
// monotonic clock behind: what is computed from their results jumps when the
// machine's clock is set.
var wallClock = []string{
	"Unix", "UnixMilli", "UnixMicro", "UnixNano", "Round", "Truncate", "Date", "AddDate", "UTC", "In",
}

// wallClockUsers may use them, and say why it does no harm. There are tests of
// each with a clock that is set back.
var wallClockUsers = []string{"quicpeer/feed.go"}

// Setting the machine's clock cannot touch a session: the library measures time
// with the monotonic clock only. A test cannot set the clock of this machine, so
// the code is looked at.
func TestTimeIsMeasuredMonotonically(t *testing.T) {
	files, seen, users := token.NewFileSet(), 0, []string(nil)
	for _, dir := range []string{"certs", "datagram", "session", "quicpeer"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			seen++
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains(wallClock, s.Sel.Name) {
					return true
				}
				name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
				require.Contains(t, wallClockUsers, name, "%v: %s is of the wall clock", files.Position(n.Pos()), s.Sel.Name)
				users = append(users, name)
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
	require.Greater(t, seen, 50, "the look is broken")
	for _, user := range wallClockUsers {
		require.Contains(t, users, user, "uses it no more: take it off the list")
	}
}

// Peers whose clocks are decades apart get along: a certificate carries a key
// here, and its dates mean nothing. Bubbles begin in the year 2000.
func TestClocksThatDisagree(t *testing.T) {
	t.Parallel()
	var old *certs.Identity
	synctest.Test(t, func(t *testing.T) { old = newIdentity(t) })
	require.True(t, old.Certificate().Leaf.NotAfter.Before(time.Now()), "expired by this machine's clock")
	ctx := within(t, 10*time.Second)
	young := newIdentity(t)
	start := func(own, other *certs.Identity) *quicpeer.Endpoint {
		return startPeer(t, "127.0.0.1:0", &quicpeer.Config{Identity: own, Trust: certs.IDs(other.ID()), Protocols: []string{chat}})
	}
	a, b := start(old, young), start(young, old)
	for _, way := range [][2]*quicpeer.Endpoint{{a, b}, {b, a}} {
		s, _ := dialOpen(ctx, t, way[0], way[1])
		require.NoError(t, s.Close(ctx))
	}

	bubble(t, 1, func(t *testing.T, n *network) {
		require.True(t, young.Certificate().Leaf.NotBefore.After(time.Now()), "not valid yet")
		a := n.peer(t, "10.0.0.1:1000", quicpeer.Config{})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Identity: young})
		for _, way := range [][2]*peer{{a, b}, {b, a}} {
			s, _ := way[0].open(way[1])
			require.NoError(t, s.Close(t.Context()))
		}
	})
}
