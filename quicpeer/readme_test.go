package quicpeer_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program in the README is the tested Example, line by line.
func TestREADMEShowsTheExample(t *testing.T) {
	between := func(file, from, to string) string {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		_, rest, ok := strings.Cut(string(b), from)
		require.True(t, ok, "%s has no %q", file, from)
		part, _, ok := strings.Cut(rest, to)
		require.True(t, ok, "%s has no %q after %q", file, to, from)
		return strings.TrimSpace(part)
	}
	require.Equal(t,
		between("example_test.go", "func Example() {\n", "\t// Output:"),
		between("../README.md", "func main() {\n", "\n}\n```"),
	)
}
