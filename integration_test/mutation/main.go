// Command mutation breaks the code on purpose, one place at a time, and counts
// how often the tests notice.
//
//	go run ./integration_test/mutation                     # every mutant of the session machine
//	go run ./integration_test/mutation --sample 40 --seed 1 # some of them
//	go run ./integration_test/mutation --preset links       # decisions about links
//	go run ./integration_test/mutation --preset rulings     # the 17 rules of the specification
//	go run ./integration_test/mutation --list               # only tell them
//	go run ./integration_test/mutation --only 17            # one, with its diff
//
// A mutant is a copy of one file with one change: a statement or a case is
// deleted, a condition negated, an operand of && and || dropped, an operator, a
// constant, or a number replaced. Those of the rules are written by hand, in
// rulings.go: each makes the code do something else than a rule says. The file
// takes the place of the original with go's -overlay, so the tree stays as it is.
// A mutant that does not compile is none. It is caught when a test fails or does
// not end in time; else it survives, which is a gap in the tests, or a change that
// changes nothing. Such ones are named with the reason in explained.txt; they
// still count as survivors.
//
// The exit status is 1 when fewer than --at-least of the mutants are caught, when
// none compiles, when one of the rules' does not, or when an explanation fits no
// survivor of a full run.
//
// Run it in the module's root.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A preset is a set of files and the tests that have to guard them.
type preset struct {
	dir     string
	files   []string
	tests   []testRun
	rulings bool // the rules, in place of files; the tests are those of all of them
}

// mutants makes all there are.
func (p preset) mutants() ([]*mutant, error) {
	if p.rulings {
		return mutantsOfRulings()
	}
	return mutantsOf(p.dir, p.files)
}

// A testRun is a package whose tests are run, and which of them; all if empty.
type testRun struct{ dir, run string }

// simulated are the tests of integration_test that take little time.
const simulated = "^Test(Rule|Trust|Tickets|Revoked|Address|Attack|Dialer|GoAway|Shutdown|Handshake|Crossed|Lost|" +
	"ConnectionClose|Thousand|Loss|NAT|OneWay|Dead|Heartbeats|Idle|Accepted|Unsupported|Flood|PeerWithout)"

var presets = map[string]preset{
	// The life cycle of a session.
	"machine": {
		dir:   "session",
		files: []string{"machine.go", "machine_close.go", "machine_frames.go"},
		tests: []testRun{{dir: "session"}},
	},
	// What carries it out, as far as the rules decide there.
	"session": {
		dir:   "session",
		files: []string{"incoming.go", "close.go", "signal.go", "runner.go"},
		tests: []testRun{{dir: "session"}},
	},
	// Decisions about links. Slow: every mutant runs the tests of two packages.
	"links": {
		dir:   "quicpeer",
		files: []string{"connect.go", "dial.go", "link.go", "linkstream.go", "shutdown.go"},
		tests: []testRun{{dir: "quicpeer"}, {dir: "integration_test", run: simulated}},
	},
	// What the rules of the specification say, whoever carries it out.
	"rulings": {
		rulings: true,
		tests:   []testRun{{dir: "certs"}, {dir: "datagram"}, {dir: "session"}, {dir: "quicpeer"}, {dir: "integration_test", run: simulated}},
	},
}

type options struct {
	preset              string
	dir, files          string
	jobs, only, sample  int
	seed                uint64
	atLeast             float64
	timeout             time.Duration
	list                bool
	json, markdown, why string
}

func main() {
	var o options
	flag.StringVar(&o.preset, "preset", "machine", "what to break: machine, session, links or rulings")
	flag.StringVar(&o.dir, "package", "", "folder of another package to break; its own tests are run")
	flag.StringVar(&o.files, "files", "", "files of it, separated by commas, in place of the preset's")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "mutants at a time")
	flag.BoolVar(&o.list, "list", false, "only list the mutants")
	flag.IntVar(&o.only, "only", 0, "try only this mutant, and show what its tests say")
	flag.IntVar(&o.sample, "sample", 0, "try only so many, chosen by chance; 0 is all")
	flag.Uint64Var(&o.seed, "seed", 1, "decides which --sample takes")
	flag.Float64Var(&o.atLeast, "at-least", 0.95, "the share that must be caught")
	flag.DurationVar(&o.timeout, "timeout", time.Minute, "for one mutant's tests of one package")
	flag.StringVar(&o.json, "json", "", "write the results to this file")
	flag.StringVar(&o.markdown, "markdown", "", "write the survivors to this file, as a table")
	flag.StringVar(&o.why, "explained", "integration_test/mutation/explained.txt", "file of the survivors that are understood")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "mutation: %q is no flag, and nothing else is expected\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run does what the command does. It reports whether enough were caught.
func run(ctx context.Context, o options, out io.Writer) (bool, error) {
	p, ok := presets[o.preset]
	switch {
	case !ok:
		return false, fmt.Errorf("no preset %q: want machine, session, links or rulings", o.preset)
	case o.only < 0 || o.sample < 0 || o.jobs < 1:
		return false, errors.New("--only and --sample must not be negative, and --jobs at least 1")
	case o.timeout < time.Second:
		return false, fmt.Errorf("a time limit of %v: want at least 1s", o.timeout)
	case !(o.atLeast >= 0 && o.atLeast <= 1): // nor NaN
		return false, fmt.Errorf("a share of %v: want 0 to 1", o.atLeast)
	}
	if o.dir != "" {
		p = preset{dir: o.dir, tests: []testRun{{dir: o.dir}}}
	}
	if o.files != "" {
		if p.rulings {
			return false, errors.New("--files: the preset rulings has its own")
		}
		p.files = strings.Split(o.files, ",")
	}
	if len(p.files) == 0 && !p.rulings {
		return false, fmt.Errorf("--package needs --files")
	}
	explained, err := readExplained(o.why)
	if err != nil {
		return false, err
	}
	all, err := p.mutants()
	if err != nil {
		return false, err
	}
	chosen := slices.Clone(all)
	switch {
	case o.only > 0:
		if o.only > len(all) {
			return false, fmt.Errorf("there are %d mutants", len(all))
		}
		chosen = all[o.only-1 : o.only]
	case o.sample > 0 && o.sample < len(all):
		rng := rand.New(rand.NewPCG(o.seed, 0))
		rng.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		chosen = chosen[:o.sample]
		slices.SortFunc(chosen, func(a, b *mutant) int { return a.Number - b.Number })
		fmt.Fprintf(out, "seed %d: %d of %d mutants\n", o.seed, o.sample, len(all))
	}
	if o.list {
		for _, m := range chosen {
			fmt.Fprintf(out, "%4d %s:%d: %s\n", m.Number, m.File, m.Line, m.Key())
		}
		return true, nil
	}
	r, err := newRunner(p, o.timeout)
	if err != nil {
		return false, err
	}
	defer r.close()
	began := time.Now()
	if err := r.baseline(ctx); err != nil {
		return false, err
	}
	var tried []*mutant
	err = r.all(ctx, chosen, o.jobs, func(m *mutant) {
		tried = append(tried, m)
		if p.rulings {
			fmt.Fprintf(out, "%s: %s: %s (%d): %s %s\n", verdict(m.Fate), m.Func, m.What, m.Number, m.Fate, m.Explains)
		}
		if m.Fate == survived || o.only > 0 {
			fmt.Fprintf(out, "%s %s:%d (%d) %s\n%s", m.Fate, m.File, m.Line, m.Number, m.Key(), m.Diff())
		}
		if o.only > 0 {
			fmt.Fprintf(out, "%s", m.output)
		}
	})
	if err != nil && ctx.Err() == nil {
		return false, err
	}
	slices.SortFunc(tried, func(a, b *mutant) int { return a.Number - b.Number })
	res := summarize(tried, explained)
	res.print(out, time.Since(began))
	if err != nil {
		fmt.Fprintln(out, "interrupted: these are not all")
		ok = false
	}
	if p.rulings && res.count[noCompile] > 0 {
		fmt.Fprintln(out, "a break of a rule has to compile")
		ok = false
	}
	full := len(tried) == len(all)
	if full && o.dir == "" {
		for _, key := range res.stale(explained, tried) {
			fmt.Fprintf(out, "explained, but no survivor: %s\n", key)
			ok = false
		}
	}
	if o.json != "" {
		b, err := json.MarshalIndent(tried, "", "\t")
		if err != nil {
			return false, err
		}
		if err := os.WriteFile(o.json, b, 0o644); err != nil {
			return false, err
		}
	}
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, []byte(res.markdown(explained)), 0o644); err != nil {
			return false, err
		}
	}
	if res.mutants() == 0 && o.only == 0 {
		return false, errors.New("none of them compiles: nothing was tried")
	}
	return ok && (o.only > 0 || res.share() >= o.atLeast), nil
}

// readExplained reads the survivors that are understood: a line each, the
// mutant's key, " -- ", and the reason.
func readExplained(path string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Clean(path))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	explained := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, why, ok := strings.Cut(line, " -- ")
		if !ok || why == "" {
			return nil, fmt.Errorf("%s: %q has no reason", path, line)
		}
		explained[key] = why
	}
	return explained, nil
}
