package integration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tests sleep in virtual time only: where they call time.Sleep, or pass it on,
// they do so inside a call of synctest.Test. Anywhere else it would make them
// slow, or depend on how fast the machine is.
func TestSleepsStandInBubbles(t *testing.T) {
	files, sleeps := token.NewFileSet(), 0
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		var bubble ast.Node // the last call of synctest.Test, whose inside is walked next
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isSelector(call.Fun, "synctest", "Test") {
				bubble = call
			}
			if n, ok := n.(*ast.SelectorExpr); ok && isSelector(n, "time", "Sleep") {
				sleeps++
				require.True(t, bubble != nil && n.End() <= bubble.End(), "%v: time.Sleep outside of synctest.Test", files.Position(n.Pos()))
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	require.NotZero(t, sleeps, "none was found: the look is broken")
}

func isSelector(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}
