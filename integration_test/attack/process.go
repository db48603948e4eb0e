package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Every part is a process of its own, this program run again: what the victim
// spends is then the victim's, and nobody else's. The one that plays the attacks
// writes requests to a part's standard input, and reads one response for each
// from its standard output, as lines of JSON.

// roleVariable in the environment says which part a process is.
const roleVariable = "QUICPEER_ATTACK_ROLE"

// partLife is the longest that a part lives, whatever happens.
const partLife = 15 * time.Minute

// request is what a part is asked for. Which fields matter depends on Op.
type request struct {
	Op       string
	Address  string        `json:",omitempty"` // of the victim
	PeerID   string        `json:",omitempty"` // of the victim
	Identity string        `json:",omitempty"` // a key file
	Second   string        `json:",omitempty"` // another one
	IDs      []string      `json:",omitempty"` // whom to trust
	Log      string        `json:",omitempty"` // the victim's log file
	Load     int           `json:",omitempty"` // messages a second
	Attack   string        `json:",omitempty"`
	Rate     int           `json:",omitempty"` // acts a second
	For      time.Duration `json:",omitempty"`
	GC       bool          `json:",omitempty"` // collect the garbage first
}

// response has one part's answer.
type response struct {
	Error   string         `json:",omitempty"`
	Address string         `json:",omitempty"`
	PeerID  string         `json:",omitempty"`
	Victim  *victimSample  `json:",omitempty"`
	Honest  *honestSample  `json:",omitempty"`
	Attack  *attackerTally `json:",omitempty"`
}

// part is a process that plays one.
type part struct {
	role  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
	mu    sync.Mutex // one request at a time
}

func startPart(ctx context.Context, role string) (*part, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true")
	cmd.WaitDelay = 2 * time.Second
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	return &part{role: role, cmd: cmd, stdin: stdin, lines: lines}, nil
}

// call sends a request and waits for the response.
func (p *part) call(r request) (response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line, err := json.Marshal(r)
	if err != nil {
		return response{}, err
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return response{}, fmt.Errorf("%s: %w", p.role, err)
	}
	if !p.lines.Scan() {
		return response{}, fmt.Errorf("%s has died: %w", p.role, errors.Join(p.lines.Err(), io.ErrUnexpectedEOF))
	}
	var answer response
	if err := json.Unmarshal(p.lines.Bytes(), &answer); err != nil {
		return response{}, fmt.Errorf("%s: unreadable response %q: %w", p.role, p.lines.Text(), err)
	}
	if answer.Error != "" {
		return response{}, fmt.Errorf("%s: %s", p.role, answer.Error)
	}
	return answer, nil
}

// kill ends the process, as a crash does.
func (p *part) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// play answers requests until there are no more.
func play(answer func(request) (response, error)) {
	time.AfterFunc(partLife, func() { os.Exit(3) })
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var r request
		err := json.Unmarshal(in.Bytes(), &r)
		var a response
		if err == nil {
			a, err = answer(r)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if out.Encode(a) != nil {
			return
		}
	}
}
