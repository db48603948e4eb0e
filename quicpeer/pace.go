package quicpeer

import (
	"sync"
	"time"
)

// pace lets burst things happen at once, and then one in each interval: a token
// bucket, full at first, that reckons in time. Not safe for concurrent use.
type pace struct {
	burst int
	every time.Duration

	debt time.Duration // how long it takes until the bucket is full again
	at   time.Time     // when that was reckoned
}

// take reports whether one more may happen now. A clock that was set back takes
// nothing away.
func (p *pace) take(now time.Time) bool {
	p.debt = max(0, p.debt-max(0, now.Sub(p.at)))
	p.at = now
	if p.debt > time.Duration(p.burst-1)*p.every {
		return false
	}
	p.debt += p.every
	return true
}

// seldom says when to log something that may happen all the time: at its pace,
// with how often it has happened. Safe for concurrent use.
type seldom struct {
	mu     sync.Mutex
	pace   pace
	silent uint64 // how often it has happened since it was logged
}

func newSeldom(burst int, every time.Duration) *seldom {
	return &seldom{pace: pace{burst: burst, every: every}}
}

// next counts n more, and returns how many to log, if it is time.
func (s *seldom) next(now time.Time, n uint64) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent += n
	if !s.pace.take(now) {
		return 0, false
	}
	n, s.silent = s.silent, 0
	return n, true
}
