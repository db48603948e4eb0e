package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/oneportnet/quicpeer/certs"
)

// demoProcess is a process of the demo, as the demo sees it. Its fields are
// the script's alone.
type demoProcess struct {
	name string
	in   *json.Encoder
	pid  int
	id   certs.PeerID
	port uint16 // that it is bound to

	listening demoCommand // how it was told to listen
}

// killDelay is how long a killed process's pipes may stay open.
const killDelay = time.Second

// startDemoProcess starts a peer. It is killed when ctx ends; what it reports,
// and at last that it has ended, goes to events. The returned channel is
// closed after that.
func startDemoProcess(ctx context.Context, name string, events chan<- demoEvent) (*demoProcess, <-chan struct{}, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("the demo starts this program once more for each peer: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, "demo-peer")
	cmd.WaitDelay = killDelay
	stderr := &tail{}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		reports := json.NewDecoder(out)
		for {
			var e demoEvent
			if reports.Decode(&e) != nil {
				break
			}
			e.peer = name
			send(ctx, events, e)
		}
		e := demoEvent{Kind: evExited, At: time.Now().UnixNano(), peer: name}
		if err := cmd.Wait(); err != nil {
			e.Error = strings.TrimSpace(err.Error() + "\n" + stderr.String())
		}
		send(ctx, events, e)
	}()
	return &demoProcess{name: name, in: json.NewEncoder(in)}, ended, nil
}

func send(ctx context.Context, events chan<- demoEvent, e demoEvent) {
	select {
	case events <- e:
	case <-ctx.Done():
	}
}

// tell gives the process a command. If it is gone, that is no news: the event
// of its end is on its way, and says why.
func (p *demoProcess) tell(c demoCommand) { _ = p.in.Encode(c) }

// tail keeps the last of what a process writes, enough for a panic's first
// goroutine.
type tail struct{ b []byte }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - tailSize; n > 0 {
		t.b = bytes.Clone(t.b[n:])
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }
