package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/oneportnet/quicpeer/certs"
)

// caseTime is how long a program may take; it ends by itself earlier.
const caseTime = 15 * time.Second

// A report is the line that a program prints.
type report struct {
	OK         bool   `json:"ok"`
	Why        string `json:"why"`
	Impossible string `json:"impossible"`
	Sessions   []struct {
		ID           uint64 `json:"id"`
		End          string `json:"end"`
		Code         uint64 `json:"code"`
		Reason       string `json:"reason"`
		Sent         int64  `json:"sent"`
		Received     int64  `json:"received"`
		PeerSent     int64  `json:"peer_sent"`
		PeerReceived int64  `json:"peer_received"`
	} `json:"sessions"`
}

// playOne plays one case and fills the cell.
func (m *matrix) playOne(ctx context.Context, c *cell) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, caseTime)
	defer cancel()
	// Each side is told whom to expect.
	peersID, ownID := m.peer.id, m.own.id
	switch c.Case {
	case "wrong-id":
		ownID = m.stranger
	case "refused":
		peersID = m.stranger
	}
	peer := func(role, address string) *program {
		return start(ctx, m.stack(c.Stack).peer, role, c.Case, address, m.peer, ownID)
	}
	counterpart := func(role, address string) *program {
		return start(ctx, m.counterpart, role, c.Case, address, m.own, peersID)
	}
	const anyPort = "127.0.0.1:0"
	var p, q *program
	if c.Role == "dial" {
		q = counterpart("listen", anyPort)
		p = peer("dial", q.listening())
	} else {
		p = peer("listen", anyPort)
		if address := p.listening(); address != "" {
			q = counterpart("dial", address)
		}
	}
	peers, err := p.wait()
	if peers.Impossible != "" && exitCode(err) == 3 {
		c.Impossible = peers.Impossible
		cancel() // nobody plays with the counterpart
	} else if err != nil {
		c.Failures = append(c.Failures, fmt.Sprintf("the peer: %v", err))
	}
	if q != nil {
		own, err := q.wait()
		if err != nil && c.Impossible == "" {
			c.Failures = append(c.Failures, fmt.Sprintf("the counterpart: %v", err))
		}
		if c.Failures == nil && c.Impossible == "" {
			if c.Case != "one-port" { // two links have the same session ids
				c.Failures = compare(peers, own)
			}
			c.Pass = c.Failures == nil
		}
	}
	c.Seconds = time.Since(began).Seconds()
}

// compare returns what the two sides do not agree about.
func compare(peers, own report) (differences []string) {
	agrees := map[string]string{ // of the peer, of the counterpart
		"closed": "peer-closed", "peer-closed": "closed", "crossed": "closed", "aborted": "aborted",
		"lost": "aborted", // a link that the counterpart ends aborts its sessions
	}
	for _, q := range own.Sessions {
		found := false
		for _, p := range peers.Sessions {
			if p.ID != q.ID {
				continue
			}
			if found {
				differences = append(differences, fmt.Sprintf("session %d: the peer has it twice", q.ID))
			}
			found = true
			if agrees[p.End] != q.End {
				differences = append(differences, fmt.Sprintf("session %d: %s for the peer, %s for the counterpart", q.ID, p.End, q.End))
			}
			if p.End != "crossed" && p.End != "lost" && (p.Code != q.Code || p.End != "aborted" && p.Reason != q.Reason) {
				differences = append(differences, fmt.Sprintf("session %d: %#x %q for the peer, %#x %q for the counterpart", q.ID, p.Code, p.Reason, q.Code, q.Reason))
			}
			if p.End == "aborted" || p.End == "lost" {
				continue
			}
			for _, count := range []struct {
				what        string
				mine, yours int64
			}{
				{"sent by the peer", p.Sent, q.PeerSent}, {"received by the peer", p.Received, q.PeerReceived},
				{"sent by the counterpart", q.Sent, p.PeerSent}, {"received by the counterpart", q.Received, p.PeerReceived},
			} {
				if count.mine != count.yours && count.yours != -1 {
					differences = append(differences, fmt.Sprintf("session %d: %d messages %s, the other side says %d", q.ID, count.mine, count.what, count.yours))
				}
			}
		}
		if !found {
			differences = append(differences, fmt.Sprintf("session %d is not among the peer's", q.ID))
		}
	}
	return differences
}

// A program is one side, running.
type program struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	errs   bytes.Buffer
	failed error // it did not start
}

func start(ctx context.Context, path, role, name, address string, own party, expect certs.PeerID) *program {
	p := &program{cmd: exec.CommandContext(ctx, path, "--role", role, "--case", name, "--address", address,
		"--cert", own.cert, "--key", own.key, "--peer-id", expect.String())}
	p.cmd.Stderr = &p.errs
	p.cmd.WaitDelay = time.Second
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	p.failed = err
	p.out = bufio.NewReader(out)
	return p
}

// listening returns the address that the program serves, or nothing if it ends
// before it does.
func (p *program) listening() string {
	if p.failed != nil {
		return ""
	}
	if b, err := p.out.Peek(1); err != nil || b[0] == '{' {
		return "" // its result comes at once
	}
	line, err := p.out.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening ")
	if err != nil || !ok {
		p.failed = fmt.Errorf("it printed %q, want listening and an address", line)
	}
	return address
}

// wait returns what the program reports, and an error unless that is success.
func (p *program) wait() (r report, err error) {
	if p.cmd.Process == nil {
		return r, p.failed
	}
	line, _ := io.ReadAll(p.out) // what is wrong with it shows below
	err = p.cmd.Wait()
	if p.failed != nil {
		return r, errors.Join(p.failed, err)
	}
	if e := json.Unmarshal(line, &r); e != nil {
		return r, fmt.Errorf("%w, %v: printed %q, and for people %q", errors.Join(err, e), p.cmd.ProcessState, line, lastLine(p.errs.Bytes()))
	}
	switch {
	case err != nil:
		return r, fmt.Errorf("%w: %s%s", err, r.Why, r.Impossible)
	case !r.OK:
		return r, fmt.Errorf("it ended with success, and says that it failed: %s", r.Why)
	}
	return r, nil
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}
