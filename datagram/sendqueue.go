package datagram

import (
	"math"
	"time"
)

// An item is a message that waits to be sent.
type item struct {
	slab     *slab // nil if it is empty
	from, n  int   // its place in the slab
	expires  int64 // by sender.clock; 0: never
	priority int
}

func (it *item) payload() []byte {
	if it.slab == nil {
		return nil
	}
	return it.slab.bytes[it.from : it.from+it.n]
}

func (it *item) expired(clock int64) bool { return it.expires != 0 && clock >= it.expires }

// clock is now as items have it: nanoseconds since some moment, never 0.
func (s *sender) clock(now time.Time) int64 {
	if s.began.IsZero() {
		s.began = now.Add(-1)
	}
	return int64(now.Sub(s.began))
}

// expiry returns when what was pushed now expires. Now may be a little before the clock began, and after may be as long as
// a duration can be.
func (s *sender) expiry(now time.Time, after time.Duration) int64 {
	clock := max(s.clock(now), 1)
	return clock + min(int64(after), math.MaxInt64-clock)
}

// A sendQueue holds messages in lanes: the highest priority first, first in, first out within a lane.
// The zero value is empty. It bounds nothing: the flow does.
type sendQueue struct {
	lanes    []lane // by falling priority; none is empty, except a single one that is kept for reuse
	messages int
	bytes    int
	expiring int // messages with an expiry
}

type lane struct {
	priority int
	items    ring[item]
}

// lane returns the lane of a priority, made where it is missing.
func (q *sendQueue) lane(priority int) *lane {
	if q.messages == 0 && len(q.lanes) == 1 {
		q.lanes[0].priority = priority
	}
	i := 0
	for ; i < len(q.lanes); i++ {
		if q.lanes[i].priority == priority {
			return &q.lanes[i]
		}
		if q.lanes[i].priority < priority {
			break
		}
	}
	q.lanes = append(q.lanes, lane{})
	copy(q.lanes[i+1:], q.lanes[i:])
	q.lanes[i] = lane{priority: priority}
	return &q.lanes[i]
}

func (q *sendQueue) add(it *item, sign int) {
	q.messages += sign
	q.bytes += sign * it.n
	if it.expires != 0 {
		q.expiring += sign
	}
}

func (q *sendQueue) pushBack(it item) {
	q.lane(it.priority).items.pushBack(it)
	q.add(&it, 1)
}

func (q *sendQueue) pushFront(it item) {
	q.lane(it.priority).items.pushFront(it)
	q.add(&it, 1)
}

// front returns the next message to send, nil if there is none.
func (q *sendQueue) front() *item {
	if q.messages == 0 {
		return nil
	}
	return q.lanes[0].items.at(0)
}

func (q *sendQueue) popFront() item { return q.pop(0) }

// popOldest takes the oldest message of the lowest priority.
func (q *sendQueue) popOldest() item { return q.pop(len(q.lanes) - 1) }

// lowest returns the lowest priority in the queue, which must not be empty.
func (q *sendQueue) lowest() int { return q.lanes[len(q.lanes)-1].priority }

func (q *sendQueue) pop(i int) item {
	it := q.lanes[i].items.popFront()
	q.add(&it, -1)
	if len(q.lanes) > 1 {
		q.tidy()
	}
	return it
}

// tidy removes empty lanes, but keeps one.
func (q *sendQueue) tidy() {
	for i := 0; i < len(q.lanes) && len(q.lanes) > 1; {
		if q.lanes[i].items.len() > 0 {
			i++
			continue
		}
		copy(q.lanes[i:], q.lanes[i+1:])
		q.lanes[len(q.lanes)-1] = lane{}
		q.lanes = q.lanes[:len(q.lanes)-1]
	}
}

// removeExpired frees every message whose expiry has passed, and returns how many there were.
func (s *sender) removeExpired(q *sendQueue, now time.Time) (removed int) {
	if q.expiring == 0 {
		return 0
	}
	clock := s.clock(now)
	for i := range q.lanes {
		q.lanes[i].items.filter(func(it *item) bool {
			if !it.expired(clock) {
				return true
			}
			q.add(it, -1)
			s.free(it)
			removed++
			return false
		})
	}
	q.tidy()
	return removed
}

// clear frees all messages, and returns how many there were.
func (s *sender) clear(q *sendQueue) int {
	n := q.messages
	for q.messages > 0 {
		it := q.popFront()
		s.free(&it)
	}
	return n
}

// large reports whether the queue holds more memory than an idle flow should.
func (q *sendQueue) large() bool {
	for i := range q.lanes {
		if q.lanes[i].items.large() {
			return true
		}
	}
	return false
}

// trim gives the memory of an empty queue back.
func (q *sendQueue) trim() {
	if q.messages == 0 {
		q.lanes = nil
	}
}
