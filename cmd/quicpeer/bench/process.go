package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// patience is how long a program may take for what takes a moment, on a
	// busy machine.
	patience = 20 * time.Second
	// endTime is how long it may take to end.
	endTime = 10 * time.Second
	// killDelay is how long a killed program's pipes may stay open.
	killDelay = time.Second
	// maxLine bounds what a program may write without the end of a line.
	maxLine = 200
)

// program is a process that speaks lines. It is used by one goroutine. It does
// not outlive the context that it was started with.
type program struct {
	name   string // with its arguments, for errors
	ctx    context.Context
	kill   context.CancelFunc
	in     io.WriteCloser
	lines  chan string
	stderr tail
	ended  chan struct{} // closed after the last line is in lines
	err    error         // of its end, once it has ended
}

// start starts a program of a subject.
func start(ctx context.Context, s Subject, environment []string, args ...string) (*program, error) {
	p := &program{
		name:  strings.TrimSpace(s.Name + " " + strings.Join(args, " ")),
		lines: make(chan string, 256),
		ended: make(chan struct{}),
	}
	p.ctx, p.kill = context.WithCancel(ctx)
	args = append(s.Command[1:len(s.Command):len(s.Command)], args...)
	cmd := exec.CommandContext(p.ctx, s.Command[0], args...)
	ownGroup(cmd)
	cmd.Env = append(os.Environ(), environment...)
	cmd.WaitDelay = killDelay
	cmd.Stdout = &lineWriter{p: p}
	cmd.Stderr = &p.stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		p.in = in
		err = cmd.Start()
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("%s: cannot be started: %w", p.name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// tell gives the program a command. If it is gone, what it should have answered
// tells.
func (p *program) tell(command string) { _, _ = io.WriteString(p.in, command+"\n") }

// next returns the fields of the next line, which must come within a time.
func (p *program) next(within time.Duration) ([]string, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case l := <-p.lines:
		return strings.Fields(l), nil
	default:
	}
	select {
	case l := <-p.lines:
		return strings.Fields(l), nil
	case <-p.ended:
		select {
		case l := <-p.lines:
			return strings.Fields(l), nil
		default:
		}
		if p.ctx.Err() != nil {
			return nil, context.Cause(p.ctx)
		}
		return nil, p.failure("ended too early" + p.status())
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	case <-timer.C:
		return nil, p.failure(fmt.Sprintf("said nothing for %v", within))
	}
}

// want returns the numbers of the next line, which must begin with a word.
func (p *program) want(within time.Duration, word string, numbers int) ([]float64, error) {
	fields, err := p.next(within)
	if err != nil {
		return nil, fmt.Errorf("waiting for %q: %w", word, err)
	}
	return p.parse(fields, word, numbers)
}

// parse returns the numbers of a line.
func (p *program) parse(fields []string, word string, numbers int) ([]float64, error) {
	if len(fields) != numbers+1 || fields[0] != word {
		return nil, p.failure(fmt.Sprintf("want the line %q with %d numbers, got %q", word, numbers, strings.Join(fields, " ")))
	}
	parsed := make([]float64, numbers)
	for i := range parsed {
		n, err := strconv.ParseUint(fields[i+1], 10, 63)
		if err != nil {
			return nil, p.failure(fmt.Sprintf("%q in the line %q is no number", fields[i+1], strings.Join(fields, " ")))
		}
		parsed[i] = float64(n)
	}
	return parsed, nil
}

// end ends the program's input, and waits so long for the program's end.
func (p *program) end(within time.Duration) error {
	_ = p.in.Close()
	timer := time.NewTimer(within)
	defer timer.Stop()
	defer p.abandon()
	for {
		select {
		case <-p.lines: // nobody wants them any more
		case <-p.ended:
			if p.err != nil && p.ctx.Err() == nil {
				return p.failure("ended" + p.status())
			}
			return nil
		case <-timer.C:
			return p.failure(fmt.Sprintf("did not end within %v after its input had", within))
		}
	}
}

// abandon kills the program if it still runs. It has ended when abandon returns.
func (p *program) abandon() {
	p.kill()
	<-p.ended
}

// status tells how it ended, once it has.
func (p *program) status() string {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return " with status 0"
	case errors.As(p.err, &exit):
		return " with " + exit.String()
	}
	return ": " + p.err.Error()
}

// failure is an error with what the program has said about it.
func (p *program) failure(what string) error {
	if said := strings.TrimSpace(p.stderr.String()); said != "" {
		what += "; its error output: " + said
	}
	return fmt.Errorf("%s %s", p.name, what)
}

// lineWriter cuts the output of a program into lines. One that does not end goes
// on in pieces: whoever reads it sees that it is none of those that may come.
type lineWriter struct {
	p       *program
	partial []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	for i, c := range b {
		if c != '\n' {
			if w.partial = append(w.partial, c); len(w.partial) < maxLine {
				continue
			}
		}
		select {
		case w.p.lines <- string(w.partial):
		case <-w.p.ctx.Done():
			return i, w.p.ctx.Err()
		}
		w.partial = w.partial[:0]
	}
	return len(b), nil
}

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// tailSize has room for the beginning of a panic, or for a compiler's complaint.
const tailSize = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b) - tailSize; n > 0 {
		t.b = bytes.Clone(t.b[n:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
