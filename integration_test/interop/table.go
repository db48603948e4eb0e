package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// table writes the results in Markdown: a line a case, a column a stack, in each
// the role of the one that dials, then of the one that is dialed.
func (m *matrix) table() string {
	var b strings.Builder
	b.WriteString("| stack | version | language | test vectors |\n| --- | --- | --- | --- |\n")
	shown := m.stacks[:0:0]
	for _, s := range m.stacks {
		switch {
		case s.Missing != "":
			fmt.Fprintf(&b, "| %s | | | missing: %s |\n", s.Name, s.Missing)
			continue
		case s.Failed != "":
			fmt.Fprintf(&b, "| %s | %s | %s | FAIL: %s |\n", s.Stack, s.Version, s.Language, s.Failed)
		case s.NoVectors != "":
			fmt.Fprintf(&b, "| %s | %s | %s | none: %s |\n", s.Stack, s.Version, s.Language, s.NoVectors)
		default:
			fmt.Fprintf(&b, "| %s | %s | %s | all %d |\n", s.Stack, s.Version, s.Language, s.Vectors)
		}
		shown = append(shown, s)
	}
	if len(shown) == 0 {
		return b.String()
	}
	b.WriteString("\n| case |")
	for _, s := range shown {
		fmt.Fprintf(&b, " %s |", s.Stack)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(shown)) + "\n")
	var notes []string
	for _, name := range m.cases {
		fmt.Fprintf(&b, "| %s |", name)
		for _, s := range shown {
			b.WriteString(" " + m.mark(s, "dial", name, &notes) + " " + m.mark(s, "listen", name, &notes) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\nIn each field the stack dials, then is dialed: ✓ pass, ✗ fail, – there is no such case, a number: not possible, because\n\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	return b.String()
}

func (m *matrix) mark(s *stack, role, name string, notes *[]string) string {
	i := slices.IndexFunc(m.cells, func(c cell) bool { return c.Stack == s.Name && c.Role == role && c.Case == name })
	switch {
	case i < 0:
		return "–"
	case m.cells[i].Pass:
		return "✓"
	case m.cells[i].Impossible == "":
		return "✗"
	}
	note := m.cells[i].Impossible
	n := slices.Index(*notes, note)
	if n < 0 {
		n = len(*notes)
		*notes = append(*notes, note)
	}
	return fmt.Sprint(n + 1)
}

// writeJSON writes all results to a file.
func (m *matrix) writeJSON(path string) error {
	b, err := json.MarshalIndent(struct {
		Stacks []*stack `json:"stacks"`
		Cells  []cell   `json:"cells"`
	}{m.stacks, m.cells}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
