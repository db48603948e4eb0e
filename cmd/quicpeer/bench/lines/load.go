package lines

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Load is a flood in the background.
type Load struct {
	stop atomic.Bool
	wg   sync.WaitGroup
}

// StartFlood floods with messages of so many bytes, a number of senders at
// once, which take turns among the peers.
func StartFlood(ctx context.Context, peers []Peer, senders, size int) *Load {
	l := &Load{}
	for i := range senders {
		p := peers[i%len(peers)]
		l.wg.Go(func() { Flood(ctx, p, Pieces(KindCount, size, p.MaxMessage()), &l.stop) })
	}
	time.Sleep(warmUp)
	return l
}

// Stop ends it.
func (l *Load) Stop() {
	l.stop.Store(true)
	l.wg.Wait()
}

const (
	warmUp = 300 * time.Millisecond // until queues are full and rates steady
	pause  = 2 * time.Millisecond   // between two measurements under load
)

// Pause waits a little between two measurements, so that they do not make a
// load of their own.
func Pause() { time.Sleep(pause) }

// Opens calls open COUNT times, PARALLEL at once, and prints how long that took.
func Opens(parallel, count int, commands <-chan string, out *Output, open func() error) error {
	out.Printf("ready 0")
	if err := Await(commands, "go"); err != nil {
		return err
	}
	begun := time.Now()
	if err := InParallel(parallel, count, open); err != nil {
		return err
	}
	out.Printf("opened %d %d", count, time.Since(begun).Nanoseconds())
	return nil
}

// InParallel calls f COUNT times, PARALLEL at once, and returns the first error.
func InParallel(parallel, count int, f func() error) error {
	var left atomic.Int64
	left.Store(int64(count))
	errs := make(chan error, parallel)
	for range parallel {
		go func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range parallel {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Idle prints the memory in use before and after open was called COUNT times.
func Idle(count int, commands <-chan string, out *Output, open func() error) error {
	if err := open(); err != nil { // what only the first one costs
		return err
	}
	out.Printf("memory %d", Memory())
	if err := Await(commands, "go"); err != nil {
		return err
	}
	if err := InParallel(1, count, open); err != nil {
		return err
	}
	time.Sleep(warmUp) // timers and acknowledgements
	out.Printf("memory %d", Memory())
	return nil
}
