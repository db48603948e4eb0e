package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench"
)

// benchPatience is patience for many processes, one after another, beside other
// tests.
const benchPatience = 3 * time.Minute

// tinyBench makes a bench take a moment.
var tinyBench = []string{"bench", "--quick", "--sizes", "64,4096", "--seconds", "0.05", "--pings", "20"}

// readReport reads what --json has written.
func readReport(t *testing.T, b []byte) bench.Report {
	t.Helper()
	var r bench.Report
	require.NoError(t, json.Unmarshal(b, &r))
	return r
}

func TestBenchMeasuresAndShows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	args := append(tinyBench[:len(tinyBench):len(tinyBench)], "--json", file("r.json"),
		"--plot", file("r.svg")+","+file("r.png"), "--profile", file("profiles"))
	p := start(t, "", args...)
	p.endInput()
	select {
	case <-p.ended:
	case <-time.After(benchPatience):
	}
	out := p.wantExit("all measured", exitOK)
	for _, want := range []string{"A QUICK RUN", "THROUGHPUT", "LATENCY", "CONTROL", "SESSIONS", "MEMORY", "plain UDP", "quic-go stream"} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "FAILED")
	require.NotContains(t, out, "\r", "no progress where nobody looks")

	b, err := os.ReadFile(file("r.json"))
	require.NoError(t, err)
	r := readReport(t, b)
	require.Empty(t, r.Failures)
	require.NotEmpty(t, r.Environment.Go)
	measured := make(map[bench.Measure]map[string]bool)
	for _, s := range r.Series {
		require.Len(t, s.Rounds, 1)
		require.NotEmpty(t, s.Median, "%s of %s", s.Measure, s.Subject)
		if measured[s.Measure] == nil {
			measured[s.Measure] = make(map[string]bool)
		}
		measured[s.Measure][s.Subject] = true
	}
	few := map[string]bool{"quicpeer": true, "quicgo": true}
	require.Equal(t, map[bench.Measure]map[string]bool{
		bench.Throughput: {"quicpeer": true, "quicpeer-batch": true, "quicgo": true, "quicgo-stream": true, "udp": true},
		bench.Latency:    {"quicpeer": true, "quicgo": true, "udp": true},
		bench.Control:    few, bench.Sessions: few, bench.Memory: few,
	}, measured)

	f, err := os.Open(file("r.png"))
	require.NoError(t, err)
	defer f.Close()
	_, err = png.Decode(f)
	require.NoError(t, err)
	b, err = os.ReadFile(file("r.svg"))
	require.NoError(t, err)
	require.Contains(t, string(b), "quic-go datagrams")
	for _, profile := range []string{"throughput-64/flood.cpu", "throughput-64/serve.cpu", "memory/links.cpu"} {
		info, err := os.Stat(file(filepath.FromSlash("profiles/" + profile)))
		require.NoError(t, err)
		require.NotZero(t, info.Size(), profile)
	}
}

func TestBenchWithoutBaselines(t *testing.T) {
	t.Parallel()
	only := func(args ...string) []string {
		return append(append(tinyBench[:len(tinyBench):len(tinyBench)], "--only", "latency"), args...)
	}
	r := readReport(t, []byte(command(t, "", exitOK, only("--baseline", "none", "--json", "-")...)))
	require.Len(t, r.Series, 1, "JSON instead of the table")
	require.Empty(t, r.Missing, "nobody asked for them")

	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "broken"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken", "go.mod"), []byte("module example.org/broken\n\ngo 1.26\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken", "main.go"), []byte("package main\n\nwrong\n"), 0o600))
	out := command(t, "", exitOK, only("--baselines", dir)...)
	require.Contains(t, out, "broken is missing: building it with go")
	require.Contains(t, out, "syntax error", "the compiler says why")
}

func TestBenchTellsOfProgramsThatCrash(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "udp")
	require.NoError(t, os.Mkdir(dir, 0o700))
	for name, text := range map[string]string{
		"go.mod":  "module example.org/udp\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() { panic(\"out of luck\") }\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	args := append(tinyBench[:len(tinyBench):len(tinyBench)], "--only", "latency", "--baselines", filepath.Dir(dir))
	out := command(t, "", exitFailure, args...)
	require.Contains(t, out, "latency, plain UDP FAILED in round 1")
	require.Regexp(t, `panic:\s+out\s+of\s+luck`, out)
	require.Regexp(t, `(?m)^  quicpeer +\d`, out, "the others were measured")
}

func TestBenchMistakes(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"takes no arguments", []string{"now"}},
		{`--only: "speed" is not one of [throughput`, []string{"--only", "speed"}},
		{"--sizes: 0 is not", []string{"--sizes", "64,0"}},
		{"--rounds", []string{"--rounds", "0"}},
		{"--seconds", []string{"--seconds", "-1"}},
		{"--pings", []string{"--pings", "0", "--quick"}},
		{"neither in .svg nor in .png", []string{"--plot", "x.jpg"}},
		{"there is no directory for the file", []string{"--json", "/does/not/exist/x.json"}},
		{`there is no baseline "nothing"; there are: quicgo, udp`, []string{"--baseline", "nothing"}},
		{"--baselines: ", []string{"--baselines", "/does/not/exist"}},
		{"--trust is for --serve and --connect", []string{"--trust", "anyone"}},
		{"exclude each other: one side serves", []string{"--serve", "--connect", "localhost:9000"}},
		{"--profile is for measuring on this machine", []string{"--serve", "--profile", "x"}},
		{"--sizes is for the side that measures", []string{"--serve", "--sizes", "64"}},
		{`"nowhere" is not HOST:PORT`, []string{"--connect", "nowhere"}},
		{"--only: memory needs processes on this machine", []string{"--connect", "localhost:9000", "--only", "memory"}},
		{"--ephemeral and --identity", []string{"--serve", "--ephemeral", "--identity", "x"}},
		{"no time to dial", []string{"--connect", "localhost:9000", "--timeout", "0s"}},
		{"is not known, known:FILE", []string{"--serve", "--ephemeral", "--trust", "everyone"}},
	} {
		code, out, errs := inProcess(t, append([]string{"bench"}, c.args...)...)
		require.Equal(t, exitUsage, code, "%v: %s", c.args, errs)
		require.Empty(t, out, c.args)
		require.Contains(t, errs, c.want, c.args)
	}
}
