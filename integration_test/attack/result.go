package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is what one attack came to. Figures are medians of the rounds, counts
// are of all rounds together.
type result struct {
	Attack, Tried, Act, Promised string
	Rate, Times, Rounds, Load    int
	Seconds                      float64 // of each half of a round

	Acts, Packets, Bytes uint64
	VictimPerPacket      float64 // µs of CPU
	VictimPerByte        float64 // ns of CPU
	AttackerPerPacket    float64 // µs of CPU
	VictimCPU            float64 // of one processor, because of the attack
	Throughput           float64 // honest, with the attack / without
	HonestRate           float64 // messages a second, without
	Lost                 int     // honest sessions
	Closes, Unconfirmed  int     // of honest peers, with the attack
	Newcomers            int
	TurnedAway           int
	CloseTime            float64 // ms, 99th percentile of opening and closing, with the attack
	CloseTimeWithout     float64
	MemoryBytes          int64 // by how much the victim's peak was higher
	Goroutines, Links    int   // the same, and how many links attackers had
	LogLines, LogBytes   int64
	Counted              statsGrowth
	Cut, Reset, Notes    map[string]uint64
	RecoverySeconds      float64 // until the victim held what it held before all
	LeftBytes            int64
	Why                  string   `json:",omitempty"` // the last thing that failed for an honest peer
	Broken               []string `json:",omitempty"`

	recovered recovered // of the last round's victim: read by conclude
}

// fill works the halves out.
func (r *result) fill(a attack, without, with []half) {
	var o outcome
	var perPacket, perByte, ownPerPacket, cpu, throughput, rate, slow, slowWithout []float64
	for i, h := range with {
		w, t := without[i], h.attacker
		extra := (h.cpu() - w.cpu()) * h.seconds
		perPacket = append(perPacket, extra*1e6/float64(max(t.Packets, 1)))
		perByte = append(perByte, extra*1e9/float64(max(t.Bytes, 1)))
		ownPerPacket = append(ownPerPacket, t.CPU.Seconds()*1e6/float64(max(t.Packets, 1)))
		cpu = append(cpu, extra/h.seconds)
		throughput = append(throughput, h.messages()/max(w.messages(), 1))
		rate = append(rate, w.messages())
		slow, slowWithout = append(slow, ms(h.honest.Slow)), append(slowWithout, ms(w.honest.Slow))
		r.Lost += h.honest.Lost
		r.Closes += h.honest.Confirmed + h.honest.Failed
		r.Unconfirmed += h.honest.Failed
		r.Newcomers += h.honest.Newcomers + h.honest.TurnedAway
		r.TurnedAway += h.honest.TurnedAway
		if h.honest.Why != "" {
			r.Why = h.honest.Why
		}
		r.MemoryBytes = max(r.MemoryBytes, h.end.PeakRSS-w.end.PeakRSS)
		r.Goroutines = max(r.Goroutines, h.end.PeakRoutine-w.end.PeakRoutine)
		r.Links = max(r.Links, h.end.PeakLinks)
		lines := h.end.LogLines - h.begin.LogLines
		r.LogLines = max(r.LogLines, lines)
		o.logLines = max(o.logLines, lines-(w.end.LogLines-w.begin.LogLines))
		r.LogBytes = max(r.LogBytes, h.end.LogBytes-h.begin.LogBytes)
		o.attacker.add(t)
		o.stats.add(growth(h.begin.Stats, h.end.Stats))
		o.closes += h.end.Closes - h.begin.Closes
		o.slowClose = max(o.slowClose, h.end.SlowClose.Seconds())
	}
	o.peakLinks, o.rounds, o.seconds = r.Links, r.Rounds, r.Seconds
	r.Acts, r.Packets, r.Bytes = o.attacker.Acts, o.attacker.Packets, o.attacker.Bytes
	r.VictimPerPacket, r.VictimPerByte, r.AttackerPerPacket = median(perPacket), median(perByte), median(ownPerPacket)
	r.VictimCPU, r.Throughput, r.HonestRate = median(cpu), median(throughput), median(rate)
	r.CloseTime, r.CloseTimeWithout = median(slow), median(slowWithout)
	r.Counted, r.Cut, r.Reset, r.Notes = o.stats, o.attacker.Cut, o.attacker.Reset, o.attacker.Notes
	r.judge(a, &o)
}

// judge notes what did not hold. At more than the stated rate, a machine may have
// no time left for what is said of honest peers.
func (r *result) judge(a attack, o *outcome) {
	k := kept(r.Broken)
	k.want(r.Acts > 0 && r.Packets > 0, "the attacker did nothing: %v", r.Notes)
	k.want(r.MemoryBytes <= memoryBound*int64(r.Times), "%d MiB of memory", r.MemoryBytes>>20)
	k.want(r.LogLines <= logBound+int64(logPace*r.Seconds), "%d lines in the log", r.LogLines)
	if r.Times == 1 {
		least := grossLoss
		if r.Rounds >= enoughRounds && r.Seconds >= enoughTime.Seconds() {
			least = keptThroughput
		}
		k.want(r.Throughput >= least, "honest throughput is %.0f %% of what it was", r.Throughput*100)
		if r.Seconds >= 1 { // what hangs for all of an attack has not failed yet
			k.want(r.Closes > 0, "no honest peer has closed a session")
			k.want(r.Newcomers > 0, "no newcomer got in")
		}
		k.want(r.Unconfirmed == 0, "%d closes of honest peers were not confirmed: %s", r.Unconfirmed, r.Why)
		k.want(r.TurnedAway == 0, "%d of %d newcomers did not get in: %s", r.TurnedAway, r.Newcomers, r.Why)
		k.want(r.Lost == 0, "%d sessions of honest peers ended", r.Lost)
	}
	if a.check != nil {
		k = append(k, a.check(o)...)
	}
	r.Broken = k
}

// conclude adds what became of the victim later, which is known once it is not
// watched any more.
func (r *result) conclude() {
	r.RecoverySeconds, r.LeftBytes = r.recovered.seconds, r.recovered.left
	if r.recovered.broken != "" {
		r.Broken = append(r.Broken, r.recovered.broken)
	}
}

func (s *statsGrowth) add(o statsGrowth) {
	s.Refused += o.Refused
	s.Untrusted += o.Untrusted
	s.Violations += o.Violations
	s.RefusedSessions += o.RefusedSessions
	s.Busy += o.Busy
	s.Withdrawn += o.Withdrawn
}

// text names what was counted.
func (s statsGrowth) text() string {
	return counts(nonzero(map[string]uint64{
		"refused": s.Refused, "untrusted": s.Untrusted, "violations": s.Violations,
		"no such protocol": s.RefusedSessions, "busy": s.Busy, "withdrawn": s.Withdrawn,
	}))
}

func nonzero(m map[string]uint64) map[string]uint64 {
	for k, n := range m {
		if n == 0 {
			delete(m, k)
		}
	}
	return m
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 0 {
		return (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return s[len(s)/2]
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// line is a result as it is printed at once.
func (r *result) line() string {
	text := fmt.Sprintf("%-27s %9s acts %9s packets, CPU a packet: victim %.1f µs, attacker %.1f µs; a byte: %.0f ns; attack takes %.0f %% of a core; "+
		"honest %.1f %% of %s/s, closes %d of %d, p99 %.1f ms (%.1f without), newcomers %d of %d; memory %+.1f MiB, goroutines %+d, links %d; log %d lines, %d bytes",
		r.Attack, number(float64(r.Acts)), number(float64(r.Packets)), r.VictimPerPacket, r.AttackerPerPacket, r.VictimPerByte, r.VictimCPU*100,
		r.Throughput*100, number(r.HonestRate), r.Closes-r.Unconfirmed, r.Closes, r.CloseTime, r.CloseTimeWithout, r.Newcomers-r.TurnedAway, r.Newcomers,
		float64(r.MemoryBytes)/(1<<20), r.Goroutines, r.Links, r.LogLines, r.LogBytes)
	for _, m := range []struct{ what, text string }{{"cut", counts(r.Cut)}, {"reset", counts(r.Reset)}, {"counted", r.Counted.text()}, {"notes", counts(r.Notes)}} {
		if m.text != "" {
			text += "; " + m.what + " " + m.text
		}
	}
	for _, b := range r.Broken {
		text += "\n    BROKEN: " + b
	}
	return text
}

// recovery is what is known of it later.
func (r *result) recovery() string {
	if r.RecoverySeconds == 0 {
		return fmt.Sprintf("%-27s NOT back at base", r.Attack)
	}
	return fmt.Sprintf("%-27s back at base after %.0f s, heap %+d KiB", r.Attack, r.RecoverySeconds, r.LeftBytes>>10)
}

// number writes one for people, with three digits.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', 1, 64) + " M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'f', 0, 64) + " k"
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// tables are the results in Markdown, one for each multiple of the stated rates.
func tables(all []*result) string {
	var b strings.Builder
	b.WriteString(heading)
	for times := 1; times <= maxTimes; times++ {
		var rows []*result
		for _, r := range all {
			if r.Times == times {
				rows = append(rows, r)
			}
		}
		if len(rows) == 0 {
			continue
		}
		if times > 1 {
			fmt.Fprintf(&b, "\nAt %d times these rates:\n\n", times)
		}
		b.WriteString("| name | attack | how often | promised | honest throughput | honest closes confirmed | newcomers let in | victim's CPU a packet (attacker's) | of a core | memory | back at base | seen |\n")
		b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
		for _, r := range rows {
			fmt.Fprintf(&b, "| %s | %s | %s: %s, %s/s | %s | %.0f %% | %d of %d | %d of %d | %.0f (%.0f) µs | %.0f %% | %.0f MiB | %.0f s | %s |\n",
				r.Attack, r.Tried, r.Act, number(float64(r.Acts)), number(float64(r.Rate)), r.Promised, r.Throughput*100, r.Closes-r.Unconfirmed, r.Closes, r.Newcomers-r.TurnedAway, r.Newcomers,
				r.VictimPerPacket, r.AttackerPerPacket, r.VictimCPU*100, float64(r.MemoryBytes)/(1<<20), r.RecoverySeconds, r.seen())
		}
	}
	return b.String()
}

// heading says what the columns of the tables are.
const heading = `# What attacks did

In each round honest peers talk with a victim, first alone and then beside an
attacker, all on one machine. Throughput is what the victim's application took of
them beside the attacker, of what it took before. A packet's CPU is what the victim
spent more than before, by the packets that the attacker sent, and what that spent
itself. Memory is the most that the victim had more than before; it is back at base
when it holds, without its peers, what it held in the beginning.

` + "`go run ./integration_test/attack --attacks NAME,…`" + ` plays some of them.

`

// seen says what became of the attacker.
func (r *result) seen() string {
	var all []string
	if len(r.Cut) > 0 {
		all = append(all, "links ended: "+counts(r.Cut))
	}
	if len(r.Reset) > 0 {
		all = append(all, "streams reset: "+counts(r.Reset))
	}
	if t := r.Counted.text(); t != "" {
		all = append(all, "counted: "+t)
	}
	if r.Links > 0 {
		all = append(all, fmt.Sprintf("%d links at most", r.Links))
	}
	all = append(all, fmt.Sprintf("%d log lines", r.LogLines))
	if len(r.Broken) > 0 {
		all = append(all, "**not kept: "+strings.Join(r.Broken, "; ")+"**")
	}
	return strings.Join(all, "; ")
}
