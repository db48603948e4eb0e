package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// tableWidth is what every line of a table fits into.
const tableWidth = 100

// column is a column of a table: its head, and what it shows of a series, "" for
// nothing.
type column struct {
	head string
	left bool // aligned; figures are not
	cell func(*Series) string
}

// WriteTable writes the result for people, at most 100 columns wide.
func (r *Report) WriteTable(w io.Writer) error {
	t := &strings.Builder{}
	r.writeHead(t)
	for _, m := range Measures {
		if series := r.of(m); len(series) > 0 {
			fmt.Fprintf(t, "\n%s\n\n", titles[m])
			writeColumns(t, r.columns(m), series)
		}
	}
	r.writeNotes(t)
	_, err := io.WriteString(w, t.String())
	return err
}

var titles = map[Measure]string{
	Throughput: "THROUGHPUT: what the receiving application takes of a flood, by size of message",
	Latency:    "LATENCY: round trip of a lone message",
	Control:    "CONTROL: while four senders saturate the link with messages of 1,300 bytes",
	Sessions:   "SESSIONS: opening one after another, and 64 at once (of bare QUIC: a stream and its echo)",
	Memory:     "MEMORY: heap and stacks of each idle session and idle link (of bare QUIC: stream, connection)",
}

func (r *Report) writeHead(t *strings.Builder) {
	e, s := r.Environment, r.Settings
	fmt.Fprintf(t, "quicpeer %s, quic-go %s, %s, %s/%s", e.Quicpeer, e.QUICGo, e.Go, e.OS, e.Arch)
	if e.Kernel != "" {
		fmt.Fprintf(t, " %s", e.Kernel)
	}
	fmt.Fprintf(t, "\n%d CPUs", e.CPUs)
	if e.CPU != "" {
		fmt.Fprintf(t, ", %s", e.CPU)
	}
	fmt.Fprintf(t, ", %s\n", e.Time.Format("2006-01-02 15:04 MST"))
	switch {
	case s.Remote != "":
		fmt.Fprintf(t, "Over the network, with the peer at %s; medians of %s.\n", s.Remote, plural(s.Rounds, "round"))
	default:
		fmt.Fprintf(t, "Over loopback, two processes each; medians of %s, subjects in turn.\n", plural(s.Rounds, "round"))
	}
	if s.Quick {
		t.WriteString("A QUICK RUN, to try it out: too short for its figures to be more than a hint.\n")
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// columns are those of a measure.
func (r *Report) columns(m Measure) []column {
	subject := column{"subject", true, func(s *Series) string { return r.label(s.Subject) }}
	what := column{"what", true, func(s *Series) string { return s.Case }}
	switch m {
	case Throughput:
		return []column{
			{"message", false, func(s *Series) string { return formatSize(s.Size) }},
			subject,
			figure("messages/s", messagesPerSecond, formatRate),
			figure("MB/s", bytesPerSecond, formatMBps),
			figure("lost", lost, formatLost),
			{"spread", false, func(s *Series) string {
				if v, ok := spread(s.Rounds, bytesPerSecond); ok {
					return formatSpread(v)
				}
				return ""
			}},
			against(quicGoName, bytesPerSecond, ""), against(udpName, bytesPerSecond, ""),
		}
	case Latency:
		return []column{
			subject,
			figure("p50", p50, formatTime), figure("p90", p90, formatTime),
			figure("p99", p99, formatTime), figure("p99.9", p999, formatTime),
			figure("lost", lost, formatLost),
			against(quicGoName, p50, "p50"), against(udpName, p50, "p50"), against(quicGoName, p99, "p99"),
		}
	case Control:
		return []column{
			subject, what, figure("p50", p50, formatTime), figure("p99", p99, formatTime),
			against(quicGoName, p50, "p50"), against(quicGoName, p99, "p99"),
		}
	case Sessions:
		return []column{
			subject, figure("p50", p50, formatTime), figure("p99", p99, formatTime),
			figure("rate (1/s)", opensPerSecond, formatRate),
			against(quicGoName, p50, "p50"), against(quicGoName, opensPerSecond, "rate"),
		}
	}
	return []column{what, subject, figure("each", eachBytes, formatBytes), against(quicGoName, eachBytes, "")}
}

func figure(head, name string, format func(float64) string) column {
	return column{head, false, func(s *Series) string {
		if v, ok := s.Median[name]; ok {
			return format(v)
		}
		return ""
	}}
}

// short are the names of the subjects to which all are compared.
var short = map[string]string{quicGoName: "quic-go", udpName: "UDP"}

// against is the column of the ratios of a figure to those of another subject.
func against(base, name, head string) column {
	return column{head + "/" + short[base], false, func(s *Series) string {
		if v, ok := s.Against[base][name]; ok {
			return formatRatio(v)
		}
		return ""
	}}
}

// writeColumns writes a table, with a line between the sizes. Columns without
// anything in them are left out.
func writeColumns(t *strings.Builder, columns []column, series []*Series) {
	columns = slices.DeleteFunc(columns, func(c column) bool {
		return !slices.ContainsFunc(series, func(s *Series) bool { return c.cell(s) != "" })
	})
	widths := make([]int, len(columns))
	rows := make([][]string, len(series)+1)
	for i, c := range columns {
		rows[0] = append(rows[0], c.head)
		for j, s := range series {
			rows[j+1] = append(rows[j+1], c.cell(s))
		}
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for j, row := range rows {
		if j > 1 && series[j-1].Size != series[j-2].Size {
			t.WriteByte('\n')
		}
		var line strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			line.WriteString("  ")
			if columns[i].left {
				line.WriteString(cell + space)
			} else {
				line.WriteString(space + cell)
			}
		}
		t.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// noteLines bounds what is shown of a compiler's complaint. JSON has more of it.
const noteLines = 12

func (r *Report) writeNotes(t *strings.Builder) {
	var notes []string
	for _, m := range r.Missing {
		notes = append(notes, fmt.Sprintf("%s is missing: %s", labelOf(m.Name), m.Why))
	}
	for _, f := range r.Failures {
		notes = append(notes, fmt.Sprintf("%s FAILED in round %d, and was not tried again: %s", f.Step, f.Round, f.Error))
	}
	if len(r.of(Throughput)) > 0 && r.Settings.Remote == "" {
		notes = append(notes, "Messages that no datagram takes are cut into pieces by quicpeer itself; by the baselines' programs for the others. A stream is reliable and in order: another service.")
	}
	if len(r.of(Memory)) > 0 {
		notes = append(notes, "A link is weighed with one idle session on it; on the dialing side also with the endpoint, or socket, that it takes there.")
	}
	if len(r.Series) > 0 {
		notes = append(notes, "\"/X\" is the median, over the rounds, of the ratio to X in the same round; the spread is that of the rounds, largest minus smallest, in percent of the median.")
	}
	if len(notes) == 0 {
		return
	}
	t.WriteString("\nNOTES\n\n")
	for _, n := range notes {
		lines := strings.Split(wrap("- "+n, tableWidth-2, "    "), "\n")
		if len(lines) > noteLines {
			lines = append(lines[:noteLines], "    ...")
		}
		t.WriteString("  " + strings.Join(lines, "\n") + "\n")
	}
}
