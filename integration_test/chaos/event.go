package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// An event is one line of a log. What a process is about to do it says before
// (begin), and what came of it after (end), so that a process that is killed
// can have done what its log does not say, but never the other way round.
type event struct {
	T int64  `json:"t"` // microseconds since the round began
	P int    `json:"p"` // process
	G int    `json:"g"` // which start of that process, from 0
	E int    `json:"e"` // endpoint of the process
	K string `json:"k"` // one of the kinds below

	Session string `json:"s,omitempty"` // the opener's unique id, which travels in the metadata of OPEN
	Role    string `json:"r,omitempty"` // opener or acceptor

	Call  uint64 `json:"c,omitempty"` // begin, end: unique in one start of a process
	Op    string `json:"op,omitempty"`
	Limit int64  `json:"limit,omitempty"` // begin: microseconds the call may take; 0: until the session ends

	Code   uint64   `json:"code,omitempty"`
	Reason string   `json:"reason,omitempty"`
	N      []uint64 `json:"n,omitempty"` // numbers of messages, or of a signal; send: first and behind last; dial: process and endpoint
	Peer   string   `json:"peer,omitempty"`
	Text   string   `json:"text,omitempty"`
	Loss   float64  `json:"loss,omitempty"` // listen: how much of what it sends is lost, by plan

	Err   *outcome       `json:"err,omitempty"`
	Stats *session.Stats `json:"stats,omitempty"`
	Rest  *rest          `json:"rest,omitempty"`
}

// Kinds of events.
const (
	kBegin = "begin" // a call begins
	kEnd   = "end"   // it has returned
	kGot   = "got"   // messages were received
	kAgain = "again" // a call on a session after another has returned its end
	kBad   = "bad"   // what was received is not what can have been sent
	kFinal = "final" // a session is over, and so is everything that used it
	kIn    = "in"    // an incoming session was handed out

	kReport = "report" // what a shutdown says became of a session

	kListen = "listen" // an endpoint listens; Peer is its id
	kEnded  = "ended"  // and is shut down
	kTick   = "tick"   // the process is alive, ten times a second
	kRest   = "rest"   // what is left in a process that has shut down
	kBye    = "bye"    // the process ends in order

	// Of the coordinator, about process P:
	kStart = "start"
	kKill  = "kill" // before
	kDead  = "dead" // after a kill, or an end nobody asked for (Text)
	kStop  = "stop" // before
	kCont  = "cont" // after
	kTell  = "tell" // before it is told to end
)

// Operations, which begin and end.
const (
	opDial          = "dial"
	opAccept        = "accept"
	opReject        = "reject"
	opSend          = "send"
	opReceive       = "receive" // from the first call to the one that fails
	opSignal        = "signal"
	opReceiveSignal = "receive-signal" // one call
	opClose         = "close"
	opAbort         = "abort"
	opShutdown      = "shutdown"
)

const (
	roleOpener   = "opener"
	roleAcceptor = "acceptor"
)

// outcome is an error in a form that can be compared. Nil is success.
type outcome struct {
	Class     string `json:"class"`
	Cause     string `json:"cause,omitempty"` // of a *session.Error
	Code      uint64 `json:"code,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Remote    bool   `json:"remote,omitempty"`
	Confirmed bool   `json:"confirmed,omitempty"`
	Text      string `json:"text"`
}

// rest is what is left of a process at its end, and what there was before it
// began.
type rest struct {
	Goroutines, BaseGoroutines int
	Files, BaseFiles           int
	Heap, BaseHeap             uint64
}

// Classes of errors.
const (
	cSession     = "session" // how the session ended, and no more
	cContext     = "context"
	cNotSent     = "signal not sent"
	cNotTaken    = "signal not taken"
	cSigUnknown  = "signal unknown"
	cUnknown     = "outcome unknown"
	cNotActed    = "not acted on"
	cClosed      = "endpoint closed"
	cRefused     = "refused"
	cLimit       = "limit"
	cUntrusted   = "untrusted"
	cWithdrawn   = "withdrawn"
	cAnswered    = "answered"
	cOther       = "other"
	cUnreachable = "unreachable" // the handshake failed
)

// outcomeOf describes an error.
func outcomeOf(err error) *outcome {
	if err == nil {
		return nil
	}
	o := &outcome{Class: classOf(err), Text: err.Error()}
	if e, ok := errors.AsType[*session.Error](err); ok {
		o.Cause, o.Code, o.Reason = e.Cause.String(), uint64(e.Code), e.Reason
		o.Remote, o.Confirmed = e.Remote, e.Confirmed
	}
	return o
}

func classOf(err error) string {
	for _, c := range []struct {
		target error
		class  string
	}{
		{session.ErrSignalNotSent, cNotSent}, {session.ErrSignalNotTaken, cNotTaken}, {session.ErrSignalUnknown, cSigUnknown},
		{quicpeer.ErrOutcomeUnknown, cUnknown}, {quicpeer.ErrNotActedOn, cNotActed}, {quicpeer.ErrEndpointClosed, cClosed},
		{quicpeer.ErrRefused, cRefused}, {quicpeer.ErrLimit, cLimit},
		{session.ErrWithdrawn, cWithdrawn}, {session.ErrAnswered, cAnswered},
	} {
		if errors.Is(err, c.target) {
			return c.class
		}
	}
	if _, ok := errors.AsType[*certs.UntrustedError](err); ok {
		return cUntrusted
	}
	if _, ok := errors.AsType[*session.Error](err); ok {
		return cSession
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return cContext
	}
	if _, ok := errors.AsType[*quicpeer.DialError](err); ok {
		return cUnreachable
	}
	return cOther
}

// A journal writes events to a file: each with one write(2) in append mode, so
// that what was written before a SIGKILL is there, and whole but for the last
// line. Safe for concurrent use.
type journal struct {
	began time.Time // when the round began, by this process's monotonic clock
	p, g  int

	mu    sync.Mutex
	f     *os.File
	buf   bytes.Buffer
	calls uint64
}

// newJournal appends to a file.
func newJournal(path string, began time.Time, p, g int) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{began: began, p: p, g: g, f: f}, nil
}

func (j *journal) write(e event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writeLocked(&e)
}

func (j *journal) writeLocked(e *event) {
	e.T = time.Since(j.began).Microseconds()
	if j.p >= 0 {
		e.P, e.G = j.p, j.g
	}
	j.buf.Reset()
	if err := json.NewEncoder(&j.buf).Encode(e); err != nil { // with a newline
		panic(fmt.Sprintf("BUG: chaos: %v", err))
	}
	if _, err := j.f.Write(j.buf.Bytes()); err != nil {
		// Without its log a process proves nothing.
		fmt.Fprintln(os.Stderr, "chaos: writing the log:", err)
		os.Exit(exitNoLog)
	}
}

// begin logs that a call begins, and returns what logs that it has returned.
func (j *journal) begin(e event) (end func(event)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls++
	e.K, e.Call = kBegin, j.calls
	j.writeLocked(&e)
	return func(r event) {
		r.K, r.Call, r.Op, r.E, r.Session, r.Role = kEnd, e.Call, e.Op, e.E, e.Session, e.Role
		j.write(r)
	}
}

func (j *journal) close() error { return j.f.Close() }

// readEvents reads a log. A last line without its end is left out: its process
// was killed in the middle of write(2), and has not done what comes after it.
func readEvents(path string, each func(event)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		var e event
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		each(e)
	}
}
