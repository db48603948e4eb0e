package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// line is a verdict in one line.
func (v *verdict) line() string {
	var t tally
	for _, p := range v.Promises {
		t.Checked += p.Checked
		t.Excused += p.Excused
		t.Broken += p.Broken
	}
	f := v.Figures
	return fmt.Sprintf("%d sessions, %d kills, %d stops, %d closes confirmed; promises checked %d times, excused %d, broken %d",
		f["sessions opened"], f["kills"], f["stops"], f["closes confirmed"], t.Checked, t.Excused, t.Broken)
}

// summary is a verdict as a table.
func (v *verdict) summary(rounds, processes, endpoints int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds of %d processes with %d endpoints each\n\n", rounds, processes, endpoints)
	for _, name := range slices.Sorted(maps.Keys(v.Figures)) {
		fmt.Fprintf(&b, "%12d  %s\n", v.Figures[name], name)
	}
	fmt.Fprintf(&b, "\n%12s%12s%12s  promise\n", "checked", "excused", "broken")
	for _, name := range slices.Sorted(maps.Keys(v.Promises)) {
		t := v.Promises[name]
		fmt.Fprintf(&b, "%12d%12d%12d  %s\n", t.Checked, t.Excused, t.Broken, name)
	}
	return b.String()
}

// Bounds of what is printed about broken promises; the logs have it all.
const (
	maxBreaches = 10
	maxLines    = 80
)

// report prints what is broken, with what the logs say of the session, and how
// to play it again.
func report(w io.Writer, dir string, s shape, breaches []breach) {
	for i, b := range breaches {
		if i == maxBreaches {
			fmt.Fprintf(w, "… and %d more\n", len(breaches)-i)
			break
		}
		fmt.Fprintf(w, "BROKEN: %s\n  session %s, process %s: %s\n", b.Promise, b.Session, b.Process, b.Text)
		if b.Session != "" && i < 3 {
			excerpt(w, dir, b.Session)
		}
	}
	fmt.Fprintf(w, "logs: %s\nplay it again: %s\n", dir, s.command())
}

// command is what plays a round again.
func (s shape) command() string {
	return fmt.Sprintf("go run ./integration_test/chaos --seed %d --rounds 1 --round %v --processes %d --endpoints %d --pace %v --loss %v --keep",
		s.Seed, s.Round, s.Processes, s.Endpoints, s.Pace, s.Loss)
}

// excerpt prints the lines of all logs that name a session.
func excerpt(w io.Writer, dir, session string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	left := maxLines
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() && left > 0 {
			if strings.Contains(lines.Text(), `"s":"`+session+`"`) {
				fmt.Fprintf(w, "    %s: %s\n", filepath.Base(file), lines.Text())
				left--
			}
		}
		_ = f.Close()
	}
}
