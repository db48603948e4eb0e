//go:build unix

package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBenchOverANetwork(t *testing.T) {
	t.Parallel()
	serveConfig, _ := identity(t)
	measureConfig, measurer := identity(t)
	key := func(config string) string { return config + "/key.pem" }
	server := start(t, serveConfig, "bench", "--serve", "--listen", "127.0.0.1:0", "--identity", key(serveConfig), "--trust", measurer)
	at := server.want("where", `quicpeer bench --connect '(.*)'$`)[1]

	connect := func(code int, args ...string) string {
		args = append([]string{"--connect", at}, args...)
		return command(t, measureConfig, code, append(tinyBench[:len(tinyBench):len(tinyBench)], args...)...)
	}
	out := connect(exitOK, "--identity", key(measureConfig), "--json", "-")
	r := readReport(t, []byte(out))
	require.Empty(t, r.Failures)
	require.NotEmpty(t, r.Settings.Remote)
	require.Len(t, r.Series, 4, "two sizes, latency and sessions")
	for _, s := range r.Series {
		require.NotEmpty(t, s.Median)
		for name, v := range s.Median {
			require.GreaterOrEqual(t, v, 0.0, name)
		}
	}

	out = connect(exitFailure, "--ephemeral", "--only", "latency")
	require.Contains(t, out, "the peer does not trust this identity")
	stranger := server.want("who was turned away", `a peer was turned away, since it is not trusted: (\w+)`)[1]
	require.Contains(t, out, stranger, "the remedy names the id")

	// Nothing else is served.
	out = command(t, measureConfig, exitFailure, "run", "--identity", key(measureConfig), "--dial", at)
	require.Contains(t, out, "rejected")

	require.NoError(t, server.cmd.Process.Signal(os.Interrupt))
	server.wantExit("interrupted", exitOK)
}

func TestBenchConnectExplainsASilentAddress(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	severed, cut := severable(t, a.address)
	cut()
	out := command(t, "", exitFailure, "bench", "--connect", severed, "--ephemeral", "--timeout", "300ms")
	require.Contains(t, out, "cannot open a session with")
	require.Contains(t, out, "What to do")
}

func TestBenchInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	profiles := t.TempDir()
	p := start(t, "", append(tinyBench[:len(tinyBench):len(tinyBench)], "--baseline", "none", "--seconds", "60", "--only", "throughput", "--profile", profiles)...)
	awaitFile(t, profiles+"/throughput-64/flood.cpu")
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	out := p.wantExit("interrupted", exitInterrupted)
	require.Regexp(t, regexp.MustCompile("interrupted; the bench's processes are gone"), out)
}
