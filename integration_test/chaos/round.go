package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/oneportnet/quicpeer/certs"
)

// A round is one run of a plan: fresh processes, with fresh logs.
type round struct {
	shape
	self   string // this program
	dir    string // for logs and keys
	began  time.Time
	orders orders // but what differs between members
	log    *journal
	plan   [][]fault
}

// errRound wraps what kept a round from being played: not a broken promise.
var errRound = errors.New("the round could not be played")

// play runs the round, and leaves its logs in dir. If ctx ends, so does the
// round.
func (r *round) play(ctx context.Context) error {
	if err := r.prepare(); err != nil {
		return fmt.Errorf("%w: %w", errRound, err)
	}
	r.began = time.Now()
	r.orders.Shape, r.orders.Began = r.shape, r.began.UnixNano()
	log, err := newJournal(filepath.Join(r.dir, "coordinator.log"), r.began, -1, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", errRound, err)
	}
	r.log = log
	defer log.close()

	stagger := time.Duration(0)
	if d := stream(r.Seed, "end"); d.IntN(2) == 0 { // all at once, or one after another
		// Together they stay below what a member allows itself.
		stagger = min(between(d, time.Millisecond, time.Second), endLimit/time.Duration(r.Processes))
	}
	errs := make([]error, r.Processes)
	var wg sync.WaitGroup
	for p := range r.Processes {
		wg.Go(func() { errs[p] = r.direct(ctx, p, r.Round+time.Duration(p)*stagger) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", errRound, err)
	}
	return ctx.Err()
}

// prepare chooses the ports, and makes all keys that any start will need.
func (r *round) prepare() error {
	for p := range r.Processes {
		r.plan = append(r.plan, r.faults(p))
	}
	o := &r.orders
	var held []net.PacketConn
	defer func() {
		for _, pc := range held {
			_ = pc.Close()
		}
	}()
	for p := range r.Processes {
		o.Addresses = append(o.Addresses, nil)
		o.Keys, o.IDs = append(o.Keys, nil), append(o.IDs, nil)
		for e := range r.Endpoints {
			pc, err := freePort()
			if err != nil {
				return err
			}
			held = append(held, pc)
			o.Addresses[p] = append(o.Addresses[p], pc.LocalAddr().String())
			o.Keys[p], o.IDs[p] = append(o.Keys[p], nil), append(o.IDs[p], nil)
			for k := range keyAt(r.plan[p], r.Round) + 1 {
				file := filepath.Join(r.dir, fmt.Sprintf("%d.%d.%d.key", p, e, k))
				id, err := certs.LoadOrCreate(file)
				if err != nil {
					return err
				}
				o.Keys[p][e] = append(o.Keys[p][e], file)
				o.IDs[p][e] = append(o.IDs[p][e], id.ID().String())
			}
		}
	}
	return nil
}

// freePort binds a port below those that a system gives to whoever asks for
// port 0, so that nobody takes it while its endpoint is down. On Linux all of
// 127.0.0.0/8 is this machine's, and an address that nobody else thinks of makes
// that as good as sure.
func freePort() (net.PacketConn, error) {
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
	}
	for range 100 {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(10_000+rand.IntN(20_000))))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return pc, err
		}
	}
	return nil, fmt.Errorf("no free UDP port found on %s", host)
}

// direct has one process live as planned, and tells it to end at the end.
func (r *round) direct(ctx context.Context, p int, end time.Duration) error {
	start, key := 0, 0
	c, err := r.start(p, start, key)
	if err != nil {
		return err
	}
	defer func() {
		if c != nil {
			c.kill()
		}
	}()
	for _, f := range r.plan[p] {
		if !c.sleep(ctx, f.At-time.Since(r.began)) {
			break
		}
		e := event{P: p, G: start}
		if f.Kind == kStop {
			e.K = kStop
			r.log.write(e)
			if err := stop(c.cmd.Process); err != nil {
				return err
			}
			c.sleep(ctx, f.For)
			if err := goOn(c.cmd.Process); err != nil {
				return err
			}
			e.K = kCont
			r.log.write(e)
			continue
		}
		e.K = kKill
		r.log.write(e)
		c.kill()
		e.K = kDead
		r.log.write(e)
		if !pause(ctx, f.For) {
			return nil
		}
		start++
		if f.FreshKeys {
			key++
		}
		if c, err = r.start(p, start, key); err != nil {
			return err
		}
	}
	c.sleep(ctx, end-time.Since(r.began))
	select {
	case <-c.exited:
		if c.err == nil {
			r.log.write(event{K: kDead, P: p, G: start, Text: "it ended before it was told"})
		}
	default:
		r.log.write(event{K: kTell, P: p, G: start})
		if !c.end(ctx, 2*endLimit) {
			r.log.write(event{K: kDead, P: p, G: start, Text: "it did not end when it was told"})
			return nil
		}
	}
	if c.err != nil {
		r.log.write(event{K: kDead, P: p, G: start, Text: c.err.Error() + ", see " + c.stderr})
	}
	return nil
}

// A child is a process of ours, seen from outside.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr string        // the file
	exited chan struct{} // closed when it has been waited for
	err    error         // then: how it ended
}

func (r *round) start(p, start, key int) (*child, error) {
	o := r.orders
	o.Process, o.Start, o.Key = p, start, key
	name := filepath.Join(r.dir, fmt.Sprintf("%d.%d", p, start))
	o.Log = name + ".log"
	r.log.write(event{K: kStart, P: p, G: start})
	return startChild(r.self, asMember, name+".stderr", nil, o)
}

// startChild starts this program in another role. Its orders go to its standard
// input, as the first line, and what it writes to its standard error to a file.
func startChild(self, role, stderr string, stdout io.Writer, orders any) (*child, error) {
	line, err := json.Marshal(orders)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(stderr, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &child{cmd: exec.Command(self), stderr: stderr, exited: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), marker+"="+role)
	c.cmd.Stdout, c.cmd.Stderr = stdout, file
	c.cmd.SysProcAttr = ownGroup()
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		c.kill()
		return nil, fmt.Errorf("orders: %w", err)
	}
	return c, nil
}

// end tells the process to end, and waits; it reports false if the process does
// not in time, or ctx ends.
func (c *child) end(ctx context.Context, limit time.Duration) bool {
	_, _ = io.WriteString(c.stdin, "end\n")
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.exited:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// kill ends the process with SIGKILL, and waits until it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// sleep waits; it reports false if ctx, or the process, ended first.
func (c *child) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.exited:
	case <-ctx.Done():
	}
	return false
}
