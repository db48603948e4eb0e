package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for a process to say or do something, even
// on a busy machine. None of it is spent if all is well.
const patience = time.Minute

// process is a command that a test has started; it does not outlive the test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *record // both outputs, in the order they were written
	ended  chan struct{}
	err    error // of Wait, once ended
	config string
}

// start starts the command with a configuration directory of its own, or the
// given one.
func start(t *testing.T, config string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	if config == "" {
		config = t.TempDir()
	}
	p := &process{t: t, cmd: exec.Command(exe, args...), out: newRecord(), ended: make(chan struct{}), config: config}
	// Where os.UserConfigDir looks, on any system.
	p.cmd.Env = append(os.Environ(), asCommand+"=1", "XDG_CONFIG_HOME="+config, "HOME="+config, "AppData="+config)
	p.cmd.Env = append(p.cmd.Env, goCaches()...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.WaitDelay = time.Second
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // does nothing if it has ended
		<-p.ended
	})
	return p
}

// goCaches keeps the go command's caches where they are in another home: without
// them a baseline takes as long to build as all that it imports.
var goCaches = sync.OnceValue(func() (env []string) {
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		if out, err := exec.Command("go", "env", name).Output(); err == nil {
			env = append(env, name+"="+strings.TrimSpace(string(out)))
		}
	}
	return env
})

// say writes lines to the process's input.
func (p *process) say(lines ...string) {
	p.t.Helper()
	for _, l := range lines {
		_, err := io.WriteString(p.in, l+"\n")
		require.NoError(p.t, err, "the process reads no more; it said:\n%s", p.out)
	}
}

// want waits until the process has written something, and returns what the
// pattern's groups matched.
func (p *process) want(why, pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for ended := false; ; {
		text, more := p.out.text()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		if ended {
			require.FailNow(p.t, "want "+why, "the process ended; it said:\n%s", text)
		}
		select {
		case <-more:
		case <-p.ended:
			ended = true
		case <-deadline.C:
			require.FailNow(p.t, "want "+why, "the process said:\n%s", text)
		}
	}
}

// wantExit waits for the end of the process.
func (p *process) wantExit(why string, code int) string {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.ended:
	case <-deadline.C:
		require.FailNow(p.t, "want the end: "+why, "the process said:\n%s", p.out)
	}
	require.Equal(p.t, code, p.cmd.ProcessState.ExitCode(), "%s; it said:\n%s", why, p.out)
	return p.out.String()
}

// endInput closes the process's input.
func (p *process) endInput() { require.NoError(p.t, p.in.Close()) }

// command runs a command to its end.
func command(t *testing.T, config string, code int, args ...string) string {
	t.Helper()
	p := start(t, config, args...)
	p.endInput()
	return p.wantExit("exit status", code)
}

// identity makes an identity in a configuration directory.
func identity(t *testing.T) (config, id string) {
	t.Helper()
	config = t.TempDir()
	file := filepath.Join(config, "key.pem")
	stored, err := newIdentity(file, false)
	require.NoError(t, err)
	return config, stored.ID().String()
}

// record keeps what is written to it, and tells when there is more.
type record struct {
	mu   sync.Mutex
	b    []byte
	more chan struct{} // closed and replaced with every write
}

func newRecord() *record { return &record{more: make(chan struct{})} }

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b = append(r.b, b...)
	close(r.more)
	r.more = make(chan struct{})
	return len(b), nil
}

func (r *record) text() (string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.b), r.more
}

func (r *record) String() string {
	s, _ := r.text()
	return s
}

// awaitFile waits until a file exists.
func awaitFile(t *testing.T, name string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	step := time.NewTicker(5 * time.Millisecond)
	defer step.Stop()
	for {
		if _, err := os.Stat(name); err == nil {
			return
		}
		select {
		case <-step.C:
		case <-deadline.C:
			require.FailNow(t, "want the file "+name)
		}
	}
}
