package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// A child is a peer in a process of its own: this test binary, run again. It
// reads requests from its standard input and writes one response for each to
// its standard output, as lines of JSON. It serves proto by echoing.
type child struct {
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	responses chan response
	exited    chan struct{} // closed when the process has been waited for
}

// childMarker in the environment makes this binary a child.
const childMarker = "QUICPEER_INTEGRATION_CHILD"

// childLife is the longest that a child lives, whatever happens to the test.
const childLife = 2 * time.Minute

type request struct {
	Op      string // listen, dial or sessions
	Address string // to listen on, or to dial
	KeyFile string // listen: the identity
	Count   int    // dial: how many sessions to open, and use
}

type response struct {
	Error    string
	Addr     string // listen: the address bound
	ID       string // listen: the peer id
	Sessions int    // sessions: how many are open
}

// startChild starts a child that ends with the test.
func startChild(t testing.TB) *child {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), childLife)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childMarker+"=1")
	cmd.WaitDelay = 2 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	c := &child{cmd: cmd, stdin: stdin, responses: make(chan response, 16), exited: make(chan struct{})}
	go func() {
		defer close(c.exited)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var r response
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				r.Error = fmt.Sprintf("unreadable response %q: %v", lines.Text(), err)
			}
			c.responses <- r
		}
		close(c.responses)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		defer cancel()
		c.kill()
		if stderr.Len() > 0 {
			t.Logf("child %d wrote: %s", cmd.Process.Pid, stderr.String())
		}
	})
	return c
}

// call sends a request, which must succeed, and waits for the response.
func (c *child) call(ctx context.Context, t testing.TB, r request) response {
	t.Helper()
	line, err := json.Marshal(r)
	require.NoError(t, err)
	_, err = c.stdin.Write(append(line, '\n'))
	require.NoError(t, err)
	select {
	case answer, ok := <-c.responses:
		require.True(t, ok, "the child has died")
		require.Empty(t, answer.Error, "%s", r.Op)
		return answer
	case <-ctx.Done():
		require.Fail(t, "no response from the child", "%s", r.Op)
		panic("not reached")
	}
}

// kill ends the process with SIGKILL, and waits until it is gone: no farewell
// leaves its socket. It may be called again.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// childMain is what a child does.
func childMain() int {
	time.AfterFunc(childLife, func() { os.Exit(3) })
	ctx, cancel := context.WithTimeout(context.Background(), childLife)
	defer cancel()
	var e *quicpeer.Endpoint
	requests := json.NewDecoder(os.Stdin)
	responses := json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := requests.Decode(&r); err != nil {
			break // the parent has gone, or has had enough
		}
		var answer response
		var err error
		switch {
		case r.Op == "listen":
			e, answer, err = childListen(r)
		case e == nil:
			err = errors.New("listen comes first")
		case r.Op == "dial":
			err = childDial(ctx, e, r)
		case r.Op == "sessions":
			answer.Sessions = len(e.Sessions())
		default:
			err = fmt.Errorf("unknown request %q", r.Op)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		if err := responses.Encode(answer); err != nil {
			return 1
		}
	}
	return 0
}

func childListen(r request) (*quicpeer.Endpoint, response, error) {
	c := chatConfig()
	if r.KeyFile != "" {
		id, err := certs.LoadOrCreate(r.KeyFile)
		if err != nil {
			return nil, response{}, err
		}
		c.Identity = id
	}
	e, err := quicpeer.Listen(r.Address, c)
	if err != nil {
		return nil, response{}, err
	}
	echo(e)
	return e, response{Addr: e.Addr().String(), ID: e.ID().String()}, nil
}

func childDial(ctx context.Context, e *quicpeer.Endpoint, r request) error {
	for range r.Count {
		s, err := e.Dial(ctx, r.Address, dialChat())
		if err != nil {
			return err
		}
		if err := tryExchange(ctx, s, "from a child"); err != nil {
			return err
		}
	}
	return nil
}
