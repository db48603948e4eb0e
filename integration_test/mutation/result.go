package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// results are what became of some mutants.
type results struct {
	count     map[fate]int
	survivors []*mutant
	explained int
}

func summarize(mutants []*mutant, explained map[string]string) results {
	r := results{count: make(map[fate]int)}
	for _, m := range mutants {
		r.count[m.Fate]++
		if m.Fate != survived {
			continue
		}
		r.survivors = append(r.survivors, m)
		if why, ok := explained[m.Key()]; ok {
			m.Explains = why
			r.explained++
		}
	}
	return r
}

func (r results) mutants() int { return r.caught() + len(r.survivors) }

func (r results) caught() int {
	n := 0
	for f, c := range r.count {
		if f.caught() {
			n += c
		}
	}
	return n
}

// share is the part that was caught, of the mutants that compile; 0 if none does.
func (r results) share() float64 {
	return float64(r.caught()) / float64(max(r.mutants(), 1))
}

func (r results) print(w io.Writer, took time.Duration) {
	for _, m := range r.survivors {
		why := m.Explains
		if why == "" {
			why = "NOT EXPLAINED"
		}
		fmt.Fprintf(w, "survivor %s:%d (%d) %s -- %s\n", m.File, m.Line, m.Number, m.Key(), why)
	}
	fmt.Fprintf(w, "%d mutants: %d caught (%.1f %%), %d of them by a failing test and %d by the time limit; %d survive, %d of them explained; %d more do not compile; %v\n",
		r.mutants(), r.caught(), 100*r.share(), r.count[failed], r.count[timedOut],
		len(r.survivors), r.explained, r.count[noCompile], took.Round(time.Second))
}

// stale returns the explanations of mutants that were tried, and did not survive.
func (r results) stale(explained map[string]string, tried []*mutant) []string {
	var stale []string
	for _, m := range tried {
		if _, ok := explained[m.Key()]; ok && m.Fate != survived {
			stale = append(stale, m.Key())
		}
	}
	return stale
}

func (r results) markdown(explained map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d mutants, %d caught (%.1f %%), %d survivors\n\n| where | change | why it survives |\n| --- | --- | --- |\n", r.mutants(), r.caught(), 100*r.share(), len(r.survivors))
	for _, m := range r.survivors {
		fmt.Fprintf(&b, "| %s:%d | %s | %s |\n", m.File, m.Line, strings.ReplaceAll(m.What, "|", `\|`), explained[m.Key()])
	}
	return b.String()
}
