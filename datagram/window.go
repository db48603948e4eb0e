package datagram

import "math/bits"

// A window remembers which of the newest numbers have been seen. Older numbers cannot be told apart any more.
type window struct {
	end  uint64   // highest number seen + 1; 0 if none was
	bits []uint64 // number n is bit n%64 of word n/64%len(bits)
}

func newWindow(size int) window { return window{bits: make([]uint64, size/64)} }

func (w *window) size() uint64 { return uint64(len(w.bits)) * 64 }

// start returns the lowest number that the window can tell about.
func (w *window) start() uint64 {
	if w.end <= w.size() {
		return 0
	}
	return w.end - w.size()
}

func (w *window) word(n uint64) *uint64 { return &w.bits[n/64%uint64(len(w.bits))] }

// old reports whether n is too old to tell.
func (w *window) old(n uint64) bool { return n < w.start() }

// seen reports whether n was marked, as far as the window can tell.
func (w *window) seen(n uint64) bool {
	return n < w.end && !w.old(n) && *w.word(n)&(1<<(n%64)) != 0
}

// mark notes that n was seen. It moves the window if n is above it, and does nothing if n is too old.
func (w *window) mark(n uint64) {
	if w.old(n) {
		return
	}
	if n >= w.end {
		w.advance(n + 1)
	}
	*w.word(n) |= 1 << (n % 64)
}

// advance moves the end, with all numbers in between unseen.
func (w *window) advance(end uint64) {
	if end-w.end >= w.size() {
		clear(w.bits)
		w.end = end
		return
	}
	for n := w.end; n < end; {
		// Clear up to the end of the word, or up to the new end.
		last := min(n|63, end-1)
		mask := (^uint64(0) << (n % 64)) & (^uint64(0) >> (63 - last%64))
		*w.word(n) &^= mask
		n = last + 1
	}
	w.end = end
}

// newestMissing returns the highest number below limit that the window knows to be unseen.
func (w *window) newestMissing(limit uint64) (uint64, bool) {
	limit = min(limit, w.end)
	for start := w.start(); limit > start; {
		n := limit - 1
		first := max(n&^63, start)
		mask := (^uint64(0) << (first % 64)) & (^uint64(0) >> (63 - n%64))
		if missing := ^*w.word(n) & mask; missing != 0 {
			return n&^63 + uint64(63-bits.LeadingZeros64(missing)), true
		}
		limit = first
	}
	return 0, false
}
