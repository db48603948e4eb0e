package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// The protocols that the victim serves.
const (
	protoCount = "count" // counts what comes
	protoHold  = "hold"  // accepts, and reads nothing
	protoTalk  = "talk"  // sends messages and signals, and closes after a while
	protoQueue = "queue" // nobody ever accepts
)

// victimSample is what the victim holds, and has spent.
type victimSample struct {
	CPU         time.Duration // since it began, of user and system
	RSS         int64         // bytes
	Heap        int64         // bytes, live or not collected yet
	Goroutines  int
	Links       int // of others than the honest peers
	Messages    uint64
	Stats       quicpeer.Stats
	LogLines    int64
	LogBytes    int64
	Closes      uint64        // that it began itself, on sessions of protoTalk
	SlowClose   time.Duration // the longest of them
	PeakRSS     int64         // the peaks since the last mark
	PeakHeap    int64
	PeakRoutine int
	PeakLinks   int
}

// victim is an endpoint with default limits, and a program behind it.
type victim struct {
	endpoint *quicpeer.Endpoint
	honest   map[certs.PeerID]bool
	log      countedLog
	messages atomic.Uint64 // of honest peers

	mu        sync.Mutex
	peak      victimSample
	closes    uint64
	slowClose time.Duration
}

// countedLog counts what is written.
type countedLog struct {
	io.Writer
	lines, bytes atomic.Int64
}

func (l *countedLog) Write(b []byte) (int, error) {
	l.lines.Add(1)
	l.bytes.Add(int64(len(b)))
	return l.Writer.Write(b)
}

func playVictim() {
	v := &victim{honest: make(map[certs.PeerID]bool)}
	play(func(r request) (response, error) {
		switch r.Op {
		case "listen":
			return v.listen(r)
		case "sample":
			if r.GC {
				runtime.GC()
				runtime.GC() // what a sync.Pool holds survives one
			}
			s := v.sample()
			return response{Victim: &s}, nil
		case "mark":
			v.mu.Lock()
			v.peak, v.slowClose = victimSample{}, 0
			v.mu.Unlock()
			return response{}, nil
		}
		return response{}, fmt.Errorf("a victim does not know %q", r.Op)
	})
}

// honestIDs is how many of the ids that the victim trusts are honest ones: the
// others are of those who attack.
const honestIDs = 2

func (v *victim) listen(r request) (response, error) {
	var ids []certs.PeerID
	for i, text := range r.IDs {
		id, err := certs.ParsePeerID(text)
		if err != nil {
			return response{}, err
		}
		ids = append(ids, id)
		v.honest[id] = i < honestIDs
	}
	file, err := os.Create(r.Log)
	if err != nil {
		return response{}, err
	}
	v.log.Writer = file
	e, err := quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{
		Trust: certs.IDs(ids...), Protocols: []string{protoQueue},
		Logger:      slog.New(slog.NewTextHandler(&v.log, nil)),
		HeapReserve: -1, // it would show in the heap, and is no peer's doing
	})
	if err != nil {
		return response{}, err
	}
	v.endpoint = e
	e.Handle(protoCount, v.count)
	e.Handle(protoHold, hold)
	e.Handle(protoTalk, v.talk)
	go v.watch()
	return response{Address: e.Addr().String(), PeerID: e.ID().String()}, nil
}

func (v *victim) count(in *quicpeer.Incoming) {
	s, err := in.Accept(nil)
	if err != nil {
		return
	}
	id, _ := s.RemoteID()
	buf := make([]byte, s.MaxMessageSize())
	for {
		if _, err := s.ReceiveInto(context.Background(), buf); err != nil {
			return
		}
		if v.honest[id] {
			v.messages.Add(1)
		}
	}
}

func hold(in *quicpeer.Incoming) {
	if s, err := in.Accept(nil); err == nil {
		<-s.Done()
	}
}

// talk sends for a moment and then closes, with a time limit: whoever does not
// read must hold up neither.
func (v *victim) talk(in *quicpeer.Incoming) {
	s, err := in.Accept(nil)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), talkTime)
	defer cancel()
	go func() {
		for s.Signal(ctx, make([]byte, 1000)) == nil {
		}
	}()
	message := make([]byte, 1000)
	for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
		if s.Send(ctx, message) != nil {
			break
		}
	}
	limit, stop := context.WithTimeout(context.Background(), closeLimit)
	defer stop()
	began := time.Now()
	_ = s.CloseWithError(limit, 0x100, "said enough")
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closes++
	v.slowClose = max(v.slowClose, time.Since(began))
}

const (
	// talkTime is how long the victim sends to whoever asks for that.
	talkTime = 200 * time.Millisecond
	// closeLimit is how long it then waits for the confirmation of its close.
	closeLimit = 300 * time.Millisecond
)

// watch keeps the peaks.
func (v *victim) watch() {
	for range time.Tick(25 * time.Millisecond) {
		s := v.sample()
		v.mu.Lock()
		v.peak.PeakRSS = max(v.peak.PeakRSS, s.RSS)
		v.peak.PeakHeap = max(v.peak.PeakHeap, s.Heap)
		v.peak.PeakRoutine = max(v.peak.PeakRoutine, s.Goroutines)
		v.peak.PeakLinks = max(v.peak.PeakLinks, s.Links)
		v.mu.Unlock()
	}
}

func (v *victim) sample() victimSample {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	links := 0
	for _, l := range v.endpoint.Links() {
		if !v.honest[l.RemoteID] {
			links++
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return victimSample{
		CPU: cpuTime(), RSS: residentBytes(), Heap: int64(heap[0].Value.Uint64()),
		Goroutines: runtime.NumGoroutine(), Links: links,
		Messages: v.messages.Load(), Stats: v.endpoint.Stats(),
		LogLines: v.log.lines.Load(), LogBytes: v.log.bytes.Load(),
		Closes: v.closes, SlowClose: v.slowClose,
		PeakRSS: v.peak.PeakRSS, PeakHeap: v.peak.PeakHeap, PeakRoutine: v.peak.PeakRoutine, PeakLinks: v.peak.PeakLinks,
	}
}
