package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What makes no sense is refused before anything begins, and says what would.
func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"soak"}, `"soak" is no flag`},
		{[]string{"--processes", "1", "--endpoints", "1"}, "want 2 to 256 endpoints"},
		{[]string{"--processes", "-2", "--endpoints", "-2"}, "want 2 to 256 endpoints"},
		{[]string{"--processes", "4294967296", "--endpoints", "4294967297"}, "want 2 to 256 endpoints"},
		{[]string{"--loss", "NaN"}, "want 0 to 0.3"},
		{[]string{"--round", "0"}, "want at least 1s"},
		{[]string{"--pace", "-1s"}, "and 1ms"},
		{[]string{"--rounds", "-1"}, "0 for no limit"},
		{[]string{"--soak", "--for", "10s"}, "want at least 30s"},
		{[]string{"--soak", "--rate", "-1"}, "want 1 to 1e+06 messages"},
		{[]string{"--soak", "--rate", "NaN"}, "want 1 to 1e+06 messages"},
	} {
		require.ErrorContains(t, run(t.Context(), c.args), c.want, "%v", c.args)
	}
}
