package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"encoding/xml"

	"github.com/stretchr/testify/require"
)

// fullReport is a report of everything there can be, with figures as wide as they
// get.
func fullReport() *Report {
	r := &Report{
		Version: 1,
		Environment: Environment{
			Time: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Quicpeer: "(devel) 0123456789abcdef", QUICGo: "v9.8.7",
			Go: "go9.8.7", OS: "linux", Arch: "amd64", Kernel: "9.8.7-generic", CPU: "a processor", CPUs: 8,
		},
		Settings: Settings{Rounds: 3, Only: Measures, Sizes: DefaultSizes(), Seconds: 1, Pings: 100},
		Missing:  []Missing{{"cmakeone", "it is built with cmake, which is not found"}},
	}
	for i, name := range order {
		r.Subjects = append(r.Subjects, SubjectInfo{name, labelOf(name)})
		for round := range 3 {
			speed := float64(len(order)-i) * (1 + 0.1*float64(round))
			for _, size := range r.Settings.Sizes {
				perSecond := speed * 1e9 / float64(size+1000)
				r.Add(round, Measurement{Throughput, name, "", size, Throughputs(perSecond, size, 12.3456), nil})
			}
			if name == quicGoStreamName {
				continue
			}
			var took []float64
			for n := range 1000 {
				took = append(took, 1e6/speed*(1+math.Pow(float64(n)/900, 8)))
			}
			r.Add(round, Measurement{Latency, name, "", PingSize, Latencies(took, 1001), took})
			if i > 1 {
				continue
			}
			for _, c := range []string{CasePing, CaseSignal, CaseOpen, CaseClose} {
				r.Add(round, Measurement{Control, name, c, 0, times(took), nil})
			}
			r.Add(round, Measurement{Sessions, name, CaseOpen, 0, Openings(took, 12345), nil})
			for _, c := range []string{CaseSessionDialing, CaseSessionServing, CaseLinkDialing, CaseLinkServing} {
				r.Add(round, Measurement{Memory, name, c, 0, Values{eachBytes: 123456 / speed}, nil})
			}
		}
	}
	r.Fail(1, "throughput 64 B, quinn", errors.New("quinn flood said nothing for 20s; its error output: "+strings.Repeat("many words ", 200)))
	r.Finish()
	return r
}

func table(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, r.WriteTable(&b))
	return b.String()
}

func TestTableFitsAndSaysAll(t *testing.T) {
	out := table(t, fullReport())
	for line := range strings.Lines(out) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), tableWidth, line)
		require.Equal(t, strings.TrimRight(line, " \n")+"\n", line, "no spaces at the end")
	}
	for _, m := range Measures {
		require.Contains(t, out, titles[m])
	}
	for _, name := range order {
		require.Contains(t, out, labelOf(name))
	}
	require.Contains(t, out, "cmakeone is missing: it is built with cmake")
	require.Contains(t, out, "throughput 64 B, quinn FAILED in round 2")
	require.Contains(t, out, "    ...\n", "a long complaint is cut")
	require.NotContains(t, out, "QUICK")
}

func TestTableOfAQuickRunSaysSo(t *testing.T) {
	r := fullReport()
	r.Settings = QuickSettings()
	require.Contains(t, table(t, r), "A QUICK RUN")
	r.Settings.Remote = "192.0.2.7:9000"
	require.Contains(t, table(t, r), "with the peer at 192.0.2.7:9000")
}

func TestTableLeavesOutEmptyColumns(t *testing.T) {
	r := &Report{Settings: Settings{Rounds: 1}, Subjects: []SubjectInfo{Quicpeer().Info()}}
	r.Add(0, Measurement{Throughput, QuicpeerName, "", 64, Throughputs(1e6, 64, 0.001), nil})
	r.Finish()
	out := table(t, r)
	require.Regexp(t, `(?m)^  message  subject   messages/s  MB/s     lost$`, out)
	require.Regexp(t, `(?m)^     64 B  quicpeer      1\.00 M  64\.0  <0\.01 %$`, out)
	require.NotContains(t, table(t, &Report{}), "NOTES")
}

func TestJSONHasEverything(t *testing.T) {
	r := fullReport()
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	var read Report
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&read))
	for _, s := range r.Series {
		s.samples = nil // the distribution is what is kept of them
	}
	require.Equal(t, r, &read)
	require.NotEmpty(t, read.of(Latency)[0].Distribution)
	require.Len(t, read.of(Throughput)[0].Rounds, 3)
	require.Contains(t, read.of(Throughput)[0].Against, udpName)
}

func TestPlotsCanBeDecoded(t *testing.T) {
	r := fullReport()
	var b bytes.Buffer
	require.NoError(t, r.WritePlot(&b, "x.PNG"))
	if name := os.Getenv("BENCH_TEST_PLOT"); name != "" { // to look at
		require.NoError(t, os.WriteFile(name, b.Bytes(), 0o666))
	}
	image, err := png.Decode(&b)
	require.NoError(t, err)
	colors := make(map[any]bool)
	for x := range image.Bounds().Dx() {
		for y := range image.Bounds().Dy() {
			colors[image.At(x, y)] = true
		}
	}
	require.Greater(t, image.Bounds().Dx(), 1500)
	require.Greater(t, len(colors), 100, "lines and text, with soft edges")

	b.Reset()
	require.NoError(t, r.WritePlot(&b, "x.svg"))
	text := b.String()
	for _, s := range r.plotted() {
		require.Contains(t, text, s.Label)
	}
	require.NotContains(t, text, labelOf(quicGoStreamName), "another service")
	require.Contains(t, text, "sans-serif")
	for d := xml.NewDecoder(&b); ; {
		_, err := d.Token()
		if err != nil {
			require.ErrorContains(t, err, "EOF")
			break
		}
	}
}

func TestPlotsOfLess(t *testing.T) {
	full := fullReport()
	for _, m := range []Measure{Throughput, Latency} {
		r := &Report{Settings: full.Settings, Subjects: full.Subjects, Series: full.of(m)}
		var b bytes.Buffer
		require.NoError(t, r.WritePlot(&b, "x.png"))
		image, err := png.Decode(&b)
		require.NoError(t, err)
		require.Less(t, image.Bounds().Dx(), 1500, "one panel")
	}
	r := &Report{Settings: full.Settings, Subjects: full.Subjects, Series: full.of(Memory)}
	require.ErrorContains(t, r.WritePlot(&bytes.Buffer{}, "x.png"), "nothing was measured")
	require.ErrorContains(t, r.WritePlot(&bytes.Buffer{}, "x.jpg"), ".svg")
}
