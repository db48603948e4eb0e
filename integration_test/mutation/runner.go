package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A fate is what became of a mutant.
type fate string

const (
	noCompile  fate = "does not compile"
	failed     fate = "a test fails"
	timedOut   fate = "does not end"
	survived   fate = "SURVIVED"
	outputKept      = 64 << 10 // of what tests say: enough for the first failure
)

// verdict is what a fate means for the tests.
func verdict(f fate) string {
	switch {
	case f.caught():
		return "caught"
	case f == survived:
		return "NOT CAUGHT"
	}
	return "not tried"
}

// caught reports whether the tests noticed.
func (f fate) caught() bool { return f == failed || f == timedOut }

// runner tries mutants. Safe for concurrent use.
type runner struct {
	preset
	timeout time.Duration
	work    string // a folder of its own
}

func newRunner(p preset, timeout time.Duration) (*runner, error) {
	work, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return nil, err
	}
	return &runner{preset: p, timeout: timeout, work: work}, nil
}

func (r *runner) close() { _ = os.RemoveAll(r.work) }

// baseline sees to it that the tests pass as things are: else every mutant
// would be caught by chance.
func (r *runner) baseline(ctx context.Context) error {
	m := &mutant{}
	if err := r.try(ctx, m, filepath.Join(r.work, "baseline")); err != nil {
		return err
	}
	if m.Fate != survived {
		return fmt.Errorf("without a change: %s\n%s", m.Fate, m.output)
	}
	return nil
}

// all tries mutants, some at a time, and tells of each when it is done. It stops
// early when ctx ends, or one cannot be tried.
func (r *runner) all(ctx context.Context, mutants []*mutant, jobs int, tell func(*mutant)) error {
	next := make(chan *mutant)
	var mu sync.Mutex // guards first, and makes tell's calls follow each other
	var first error
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() {
			for m := range next {
				err := r.try(ctx, m, filepath.Join(r.work, fmt.Sprint(m.Number)))
				mu.Lock()
				if err == nil {
					tell(m)
				} else if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	stopped := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return first != nil || ctx.Err() != nil
	}
	for _, m := range mutants {
		if stopped() {
			break
		}
		next <- m
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return first
}

// try compiles and tests one mutant, in a folder that it removes again.
func (r *runner) try(ctx context.Context, m *mutant, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", filepath.Join(dir, "test.bin")}
	if m.path != "" {
		overlay, err := r.overlay(m, dir)
		if err != nil {
			return err
		}
		build = append(build, "-overlay="+overlay)
	}
	m.Fate = survived
	tests := r.tests
	if m.tests != nil {
		tests = m.tests
	}
	for _, t := range tests {
		out, err := output(ctx, 10*time.Minute, ".", "go", append(build, "./"+t.dir)...)
		if err != nil && ctx.Err() == nil && m.path != "" && !strings.Contains(out, m.File+":") {
			// No complaint about the file: a full disk, say. It is no mutant's fate.
			return fmt.Errorf("mutant %d cannot be built: %w\n%s", m.Number, err, out)
		}
		if err != nil {
			m.Fate, m.output = noCompile, out
			return ctx.Err()
		}
		args := []string{"-test.failfast", "-test.count=1", "-test.timeout=" + r.timeout.String()}
		if t.run != "" {
			args = append(args, "-test.run="+t.run)
		}
		// A little longer than the test's own limit, which names the test.
		began := time.Now()
		out, err = output(ctx, r.timeout+10*time.Second, t.dir, filepath.Join(dir, "test.bin"), args...)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			continue
		}
		m.output, m.Explains = out, firstFailure(out)
		if m.Fate = failed; time.Since(began) >= r.timeout {
			m.Fate = timedOut
		}
		return nil
	}
	return nil
}

// overlay writes the mutant and the file that puts it in the original's place.
func (r *runner) overlay(m *mutant, dir string) (string, error) {
	original, err := filepath.Abs(m.path)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, m.File)
	if err := os.WriteFile(file, m.mutated(), 0o644); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {original: file}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o644)
}

// output runs a program for at most so long, and keeps the beginning of what it
// says.
func output(ctx context.Context, limit time.Duration, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var b beginning
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	return b.String(), err
}

// beginning keeps the first bytes that are written to it.
type beginning struct{ bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	if room := outputKept - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// firstFailure returns the name of the first test that failed.
func firstFailure(out string) string {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "--- FAIL: ") || strings.HasPrefix(line, "panic: ") {
			return line
		}
	}
	return ""
}
