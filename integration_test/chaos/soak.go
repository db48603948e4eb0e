package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// A soaking is one run of the soak: this process is the hub, with one endpoint
// that lives all the time. Around it are spokes, processes with two endpoints
// each. The first spoke lives all the time, too, and is watched like the hub;
// the others are killed, or end in order, and come back.
type soaking struct {
	self, dir string
	length    time.Duration
	rate      float64 // messages a second of the hub's sessions, each way
	spokes    int

	mu       sync.Mutex
	broken   []string
	samples  [2][]sample // of the hub, and of the first spoke
	returned int         // peers, after they were killed or had left
}

// The soak's own numbers.
const (
	hubWorkers   = 40 // sessions that the hub has open, about
	spokeWorkers = 4  // those of each spoke, each at the rate of one of the hub's
	sampleEvery  = 2 * time.Second
	progress     = time.Minute
	spokeLife    = 30 * time.Second // mean, of those that come back
	soakLoss     = 0.01             // of what these send; they also repeat and delay some
	// What may be left of the heap, compared with before the load: buffers and
	// pools of an endpoint that was in use, and caches of the runtime.
	soakHeapMargin = 6 << 20
	maxBroken      = 100 // that are kept
	// Less, and there are too few samples once pools and windows are filled.
	shortestSoak = 30 * time.Second
	maxRate      = 1e6
)

// spokeOrders are what a spoke is told.
type spokeOrders struct {
	Addresses []string // one for each of its endpoints
	Keys      []string // their key files
	Hub       string
	Rate      float64       // of each session
	Loss      float64       // how much of its packets get lost
	Life      time.Duration // the longest it may live
}

// run runs the soak, and prints what was seen.
func (k *soaking) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	warm()
	base := rest{BaseGoroutines: runtime.NumGoroutine(), BaseFiles: openFiles()}
	l := &load{rate: k.rate / hubWorkers, complain: k.complain}
	var err error
	if l.e, err = quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{Trust: certs.Anyone()}); err != nil {
		return err
	}
	l.e.Handle(protocol, l.echo)
	quiet := l.sample(0)

	var children sync.WaitGroup
	for i := range k.spokes {
		o, err := k.spokeOrders(i, l)
		if err != nil {
			return err
		}
		l.targets = append(l.targets, o.Addresses...)
		children.Go(func() { k.keepSpoke(ctx, i, o) })
	}
	pause(ctx, time.Second) // they start
	loading, stop := context.WithTimeout(ctx, k.length)
	defer stop()
	cpu := cpuTime()
	var workers sync.WaitGroup
	for w := range hubWorkers {
		workers.Go(func() { l.work(loading, w) })
	}
	began := time.Now()
	k.watch(loading, l, began)
	workers.Wait()
	loaded := time.Since(began)
	cancel() // the spokes end, and with them the links
	children.Wait()
	used := (cpuTime() - cpu).Seconds() / loaded.Seconds()
	left := k.settle(l, quiet)
	shutting, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	if err := l.e.Close(shutting); err != nil {
		k.complain(fmt.Sprintf("the hub's Close: %v", err))
	}
	base.settle()
	if base.Goroutines > base.BaseGoroutines || base.Files > base.BaseFiles {
		k.complain(fmt.Sprintf("after Close: %d goroutines, %d before; %d files, %d before\n%s",
			base.Goroutines, base.BaseGoroutines, base.Files, base.BaseFiles, stacks()))
	}
	return k.tell(quiet, left, used, loaded)
}

func (k *soaking) complain(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.broken) < maxBroken {
		k.broken = append(k.broken, what)
	}
}

func (k *soaking) spokeOrders(i int, l *load) (spokeOrders, error) {
	o := spokeOrders{Hub: l.e.Addr().String(), Rate: l.rate, Life: k.length + 2*time.Minute}
	if i > 0 { // the first one is watched, and ends as few links as possible
		o.Loss = soakLoss
	}
	for e := range 2 {
		pc, err := freePort()
		if err != nil {
			return o, err
		}
		defer pc.Close()
		o.Addresses = append(o.Addresses, pc.LocalAddr().String())
		o.Keys = append(o.Keys, filepath.Join(k.dir, fmt.Sprintf("%d.%d.key", i, e)))
	}
	return o, nil
}

// keepSpoke keeps a spoke alive until ctx ends, and then has it end in order.
// All but the first are killed or leave now and then before, and come back.
func (k *soaking) keepSpoke(ctx context.Context, i int, o spokeOrders) {
	defer func() {
		for _, key := range o.Keys {
			_ = os.Remove(key)
		}
	}()
	stderr := filepath.Join(k.dir, fmt.Sprintf("%d.stderr", i))
	for {
		out := &reports{k: k, first: i == 0}
		c, err := startChild(k.self, asSpoke, stderr, out, o)
		if err != nil {
			k.complain(err.Error())
			return
		}
		life := time.Duration(rand.ExpFloat64()*float64(spokeLife)) + time.Second
		if i == 0 {
			life = 10 * k.length
		}
		lasted := c.sleep(ctx, life)
		switch {
		case ctx.Err() != nil || lasted && rand.IntN(2) == 0: // in order
			if !c.end(context.Background(), 2*endLimit) {
				k.complain(fmt.Sprintf("spoke %d did not end when it was told", i))
				c.kill()
			} else if c.err != nil {
				k.complain(fmt.Sprintf("spoke %d: %v, see %s", i, c.err, stderr))
			}
		case lasted:
			c.kill()
		default:
			k.complain(fmt.Sprintf("spoke %d ended by itself: %v, see %s", i, c.err, stderr))
		}
		if ctx.Err() != nil {
			if s, err := os.Stat(stderr); err == nil && s.Size() == 0 {
				_ = os.Remove(stderr)
			}
			return
		}
		k.mu.Lock()
		k.returned++
		k.mu.Unlock()
		pause(ctx, between(rand.New(rand.NewPCG(rand.Uint64(), 0)), 10*time.Millisecond, 3*time.Second))
	}
}

// reports takes the lines that a spoke prints.
type reports struct {
	k     *soaking
	first bool
	line  []byte
}

// A spokeReport is one line of a spoke.
type spokeReport struct {
	Broken string  `json:",omitempty"`
	Sample *sample `json:",omitempty"`
}

func (r *reports) Write(b []byte) (int, error) {
	for _, c := range b {
		if c != '\n' {
			if len(r.line) < 1<<20 {
				r.line = append(r.line, c)
			}
			continue
		}
		var s spokeReport
		if err := json.Unmarshal(r.line, &s); err != nil {
			r.k.complain(fmt.Sprintf("a spoke printed %q", r.line))
		}
		r.line = r.line[:0]
		if s.Broken != "" {
			r.k.complain("a spoke: " + s.Broken)
		}
		if s.Sample != nil && r.first {
			r.k.mu.Lock()
			r.k.samples[1] = append(r.k.samples[1], *s.Sample)
			r.k.mu.Unlock()
		}
	}
	return len(b), nil
}

// watch samples the hub until ctx ends, and prints how it goes.
func (k *soaking) watch(ctx context.Context, l *load, began time.Time) {
	next := progress
	for pause(ctx, sampleEvery) {
		s := l.sample(time.Since(began))
		k.mu.Lock()
		k.samples[0] = append(k.samples[0], s)
		k.mu.Unlock()
		if s.At >= next {
			next += progress
			fmt.Printf("%6v  %d messages sent, %d lost, %d sessions open, %d links, %d goroutines, %d files, heap %d KiB, resident %d KiB\n",
				s.At.Round(time.Second), s.Sent, s.Lost, s.Sessions, s.Links, s.Goroutines, s.Files, s.Heap>>10, s.RSS>>10)
		}
	}
}

// settle waits until the hub holds no more than before the load, its endpoint
// still open, and returns what it holds.
func (k *soaking) settle(l *load, quiet sample) sample {
	var s sample
	for until := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		s = l.sample(0)
		back := s.Goroutines <= quiet.Goroutines && s.Files <= quiet.Files && s.Heap <= quiet.Heap+soakHeapMargin && s.Sessions == 0 && s.Links == 0
		if back {
			return s
		}
		if time.Now().After(until) {
			k.complain(fmt.Sprintf("a minute after the load, the hub is not back where it was: %+v, before %+v\n%s", s, quiet, stacks()))
			return s
		}
	}
}

// tell prints what was seen, and returns an error if anything is not flat or
// does not add up.
func (k *soaking) tell(quiet, left sample, cpu float64, loaded time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	fmt.Printf("\n%v, %.0f %% of one core; %d times a peer was killed, or left, and came back\n", loaded.Round(time.Second), 100*cpu, k.returned)
	var few error
	for i, who := range []string{"the hub", "the first spoke"} {
		steady := steadyPart(k.samples[i], loaded)
		if len(steady) < 5 {
			few = errors.Join(few, fmt.Errorf("%s was sampled only %d times once it was warm: nothing follows", who, len(steady)))
			continue
		}
		last := k.samples[i][len(k.samples[i])-1]
		fmt.Printf("\n%s: %d sessions opened and %d accepted, %d dials failed; %d ended with complete counts, %d torn\n"+
			"%d messages sent, %d received, %d lost by complete counts, %d dropped for a stated reason; %d signals taken\n",
			who, last.Opened, last.Accepted, last.Failed, last.Closed, last.Torn, last.Sent, last.Received, last.Lost, last.Dropped, last.Signals)
		fmt.Printf("%-14s%10s%10s%10s%10s%10s%10s\n", "", "least", "most", "at first", "then", "trend", "allowed")
		for _, c := range courses(steady) {
			fmt.Println(c)
			if !c.flat() {
				k.broken = append(k.broken, who+": "+c.what+" has grown")
			}
		}
	}
	fmt.Printf("\nafter the load the hub has %d goroutines (%d before), %d files (%d), %d KiB of heap (%d), %d sessions, %d links\n",
		left.Goroutines, quiet.Goroutines, left.Files, quiet.Files, left.Heap>>10, quiet.Heap>>10, left.Sessions, left.Links)
	if len(k.broken) == 0 {
		if few == nil {
			fmt.Println("everything is flat, and all counts add up")
		}
		return few
	}
	for _, b := range k.broken {
		fmt.Println("BROKEN:", b)
	}
	return errors.Join(fmt.Errorf("%w: %d times", errBroken, len(k.broken)), few)
}

// steadyPart leaves out the time in which pools and windows fill.
func steadyPart(samples []sample, length time.Duration) []sample {
	warm := max(length/10, 10*time.Second)
	i := slices.IndexFunc(samples, func(s sample) bool { return s.At >= warm })
	if i < 0 {
		return nil
	}
	return samples[i:]
}

// spokeMain is what a spoke does: two endpoints that echo, the first of which
// also opens sessions with the hub.
func spokeMain(in io.Reader, out io.Writer) int {
	var o spokeOrders
	ctx, err := takeOrders(in, &o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	time.AfterFunc(o.Life, func() { os.Exit(exitLate) })
	p := &printer{w: bufio.NewWriter(out)}
	var endpoints []*quicpeer.Endpoint
	var first *load
	for i, address := range o.Addresses {
		id, err := certs.LoadOrCreate(o.Keys[i])
		if err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			return 1
		}
		l := &load{rate: o.Rate, complain: func(what string) { p.print(spokeReport{Broken: what}) }, targets: []string{o.Hub, o.Hub}}
		pc, err := net.ListenPacket("udp", address)
		if err == nil {
			defer pc.Close()
			if o.Loss > 0 {
				pc = &lossyConn{PacketConn: pc, loss: o.Loss, r: rand.New(rand.NewPCG(rand.Uint64(), 0))}
			}
			l.e, err = quicpeer.ListenPacket(pc, &quicpeer.Config{Identity: id, Trust: certs.Anyone()})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			return 1
		}
		l.e.Handle(protocol, l.echo)
		endpoints = append(endpoints, l.e)
		if first == nil {
			first = l
		}
	}
	var workers sync.WaitGroup
	for w := range spokeWorkers {
		workers.Go(func() { first.work(ctx, 1000+w) })
	}
	began := time.Now()
	for pause(ctx, sampleEvery) {
		s := first.sample(time.Since(began))
		p.print(spokeReport{Sample: &s})
	}
	workers.Wait()
	var closing sync.WaitGroup
	for _, e := range endpoints {
		closing.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = e.Close(ctx) // a peer may be gone
		})
	}
	closing.Wait()
	return 0
}

// A printer prints lines. Safe for concurrent use.
type printer struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (p *printer) print(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: chaos: %v", err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.w.Write(append(line, '\n'))
	_ = p.w.Flush()
}
