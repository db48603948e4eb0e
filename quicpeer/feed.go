package quicpeer

import (
	"sync/atomic"
	"time"
)

// feed holds messages back for a moment after something was written to a stream.
// quic-go packs stream data only when its queue of datagrams is empty, and a
// flood never lets it be: without the hold, a signal or an OPEN waits behind all
// that is queued, again and again. Safe for concurrent use. The zero value holds
// nothing.
type feed struct {
	from atomic.Int64 // when the last hold began, Unix nanoseconds
}

// What this implementation has chosen.
const (
	// feedHold is how long messages wait: what quic-go has queued takes about as
	// long to leave. Four times as long was no better for control.
	feedHold = 500 * time.Microsecond
	// feedRest is how long they flow at least before the next hold, so that
	// signals without end do not stop them.
	feedRest = 2 * time.Millisecond
)

// hold begins a hold, unless the last one was just now.
func (f *feed) hold(now time.Time) {
	n := now.UnixNano()
	if last := f.from.Load(); n-last > int64(feedHold+feedRest) || n < last {
		f.from.CompareAndSwap(last, n)
	}
}

// wait returns how long the hold still lasts, 0 or less if it is over. One that
// begins later than now was begun a moment ago by another goroutine, or before
// the clock was set back.
func (f *feed) wait(now time.Time) time.Duration {
	ahead := time.Duration(f.from.Load() - now.UnixNano())
	if ahead > feedHold {
		return 0
	}
	return min(ahead, 0) + feedHold
}
