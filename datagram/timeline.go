package datagram

import "time"

// Implementation choices. Together they cover the longest grace for stragglers, 250 ms.
const (
	timelineSlots = 64
	timelineStep  = 4 * time.Millisecond
)

// A timeline remembers when the highest number seen passed which value, in steps of a few milliseconds: a number
// that is missing was noticed to be missing when a higher one arrived.
type timeline struct {
	slots ring[timelineSlot]
}

type timelineSlot struct {
	first, last time.Time // of the arrivals in this step
	end         uint64    // highest number seen + 1 at last
}

// record notes that the highest number seen is now end-1.
func (t *timeline) record(now time.Time, end uint64) {
	if n := t.slots.len(); n > 0 {
		if s := t.slots.at(n - 1); now.Sub(s.first) < timelineStep {
			s.last, s.end = now, end
			return
		}
		if n == timelineSlots {
			t.slots.popFront()
		}
	}
	t.slots.pushBack(timelineSlot{first: now, last: now, end: end})
}

// passed returns when a number above n had surely arrived: at most a step after the first one did.
// For numbers older than the timeline it returns the oldest time known.
func (t *timeline) passed(n uint64) (time.Time, bool) {
	for i := range t.slots.len() {
		if s := t.slots.at(i); s.end > n {
			return s.last, true
		}
	}
	return time.Time{}, false
}
