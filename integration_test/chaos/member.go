package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Exit codes of a member.
const (
	exitNoLog  = 4 // it could not write its log
	exitOrphan = 5 // nobody told it to end, but its parent is gone
	exitLate   = 6 // it outlived every bound
)

// marker in the environment makes this program a member, or a spoke.
const (
	marker   = "QUICPEER_CHAOS_ROLE"
	asMember = "member"
	asSpoke  = "spoke"
)

// orders are what a member is told, as the first line of its standard input.
// A second line, whatever it says, tells it to end.
type orders struct {
	Shape     shape
	Process   int
	Start     int   // which start of the process this is, from 0
	Began     int64 // when the round began: nanoseconds of Unix time
	Log       string
	Key       int // which of its keys its endpoints have
	Addresses [][]string
	Keys      [][][]string // key files: process, endpoint, key
	IDs       [][][]string // their peer ids
}

// A member is one process of a round.
type member struct {
	orders
	log   *journal
	since time.Time    // the round began, by the monotonic clock
	plan  [][]fault    // of all processes, to know whom to expect
	talks atomic.Int64 // goroutines that use a session, or answer one
}

// endLimit bounds the end of a member: its shutdowns, and what it waits for
// then.
const endLimit = 20 * time.Second

// memberMain is what a member does.
func memberMain(in io.Reader) int {
	m := &member{}
	ctx, err := takeOrders(in, &m.orders)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	now := time.Now()
	elapsed := now.Sub(time.Unix(0, m.Began))
	m.since = now.Add(-elapsed)
	if m.log, err = newJournal(m.Log, m.since, m.Process, m.Start); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitNoLog
	}
	bound := m.Shape.Round - elapsed + 4*endLimit
	time.AfterFunc(bound, func() {
		fmt.Fprintf(os.Stderr, "chaos: alive %v after its start\n", bound)
		os.Exit(exitLate)
	})
	for p := range m.Shape.Processes {
		m.plan = append(m.plan, m.Shape.faults(p))
	}
	ticking := make(chan struct{})
	go m.tick(ticking)

	warm()
	left := rest{BaseGoroutines: runtime.NumGoroutine(), BaseFiles: openFiles(), BaseHeap: heap()}
	var sites sync.WaitGroup
	for e := range m.Shape.Endpoints {
		sites.Go(func() { (&site{member: m, index: e}).run(ctx) })
	}
	sites.Wait()
	if !m.talksEnd() {
		m.log.write(event{K: kBad, Text: "sessions are in use although their endpoints are shut down\n" + stacks()})
	}
	left.settle()
	text := ""
	if left.Goroutines > left.BaseGoroutines {
		text = stacks()
	}
	m.log.write(event{K: kRest, Rest: &left, Text: text})
	m.log.write(event{K: kBye})
	close(ticking)
	return 0
}

// takeOrders reads a child's orders. The context ends when it is told to end;
// the process ends at once when its parent is gone.
func takeOrders(in io.Reader, orders any) (context.Context, error) {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, orders)
	}
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	go func() {
		for {
			if _, err := lines.ReadByte(); err != nil {
				os.Exit(exitOrphan)
			}
			end()
		}
	}()
	return ctx, nil
}

// tick shows, and logs, that the process gets its turns.
func (m *member) tick(over <-chan struct{}) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return
		case <-ticker.C:
			m.log.write(event{K: kTick})
		}
	}
}

const tickEvery = 100 * time.Millisecond

// warm has the runtime open what it keeps open.
func warm() {
	if pc, err := net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
		_ = pc.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, _, _ = pc.ReadFrom(make([]byte, 1))
		_ = pc.Close()
	}
}

// settle measures what is left, and gives it some seconds to go.
func (r *rest) settle() {
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r.Goroutines, r.Files = runtime.NumGoroutine(), openFiles()
		if r.Goroutines <= r.BaseGoroutines && r.Files <= r.BaseFiles || time.Now().After(until) {
			break
		}
	}
	r.Heap = heap()
}

// heap returns the bytes in use once the garbage is collected.
func heap() uint64 {
	for range 2 { // what a sync.Pool holds survives one
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// openFiles returns how many files the process has open, or 0 where the system
// does not tell.
func openFiles() int {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return len(names)
}

func stacks() string {
	b := make([]byte, 256<<10)
	return string(b[:runtime.Stack(b, true)])
}

// goTalk runs f, which uses a session, and which the member's end waits for.
func (m *member) goTalk(f func()) {
	m.talks.Add(1)
	go func() {
		defer m.talks.Add(-1)
		f()
	}()
}

// talksEnd waits until no session is used any more, and reports false if that
// takes too long.
func (m *member) talksEnd() bool {
	for until := time.Now().Add(endLimit); m.talks.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			return false
		}
	}
	return true
}

// elapsed is the time since the round began.
func (m *member) elapsed() time.Duration { return time.Since(m.since) }

// until waits for a time of the round, and reports whether it came before ctx
// ended.
func (m *member) until(ctx context.Context, at time.Duration) bool {
	return pause(ctx, at-m.elapsed())
}

// pause waits, and reports whether ctx lasted.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
