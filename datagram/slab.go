package datagram

import (
	"math/bits"
	"sync"
)

// Messages that wait to be sent are copied into slabs, which all links of the
// process reuse: a small message into one that it shares with others, a large
// one into one of its own.
const (
	sharedClass  = 12 // 4 KiB: some 60 messages of 64 bytes with one trip to the pool
	largestClass = 16 // 64 KiB: the largest message by default
	// largestShared is the largest message that shares a slab: four of them fit.
	largestShared = 1 << (sharedClass - 2)
)

var slabPools [largestClass - sharedClass + 1]sync.Pool

// A slab holds the payloads of one message or of several. The sending lock
// guards it.
type slab struct {
	bytes []byte
	used  int
	refs  int // messages in it that are not released
}

// newSlab returns an empty slab for at least n bytes.
func newSlab(n int) *slab {
	class := max(sharedClass, bits.Len(uint(n-1)))
	if class > largestClass {
		return &slab{bytes: make([]byte, n)}
	}
	if b, ok := slabPools[class-sharedClass].Get().(*slab); ok {
		return b
	}
	return &slab{bytes: make([]byte, 1<<class)}
}

// release gives one message back, and with the last one the slab.
func (b *slab) release() {
	b.refs--
	if b.refs > 0 {
		return
	}
	b.used = 0
	if n := len(b.bytes); n <= 1<<largestClass {
		slabPools[bits.Len(uint(n-1))-sharedClass].Put(b)
	}
}

// hold copies payload into a slab and describes it in it.
func (s *sender) hold(it *item, payload []byte) {
	n := len(payload)
	if n == 0 {
		return
	}
	b := s.shared
	switch {
	case n > largestShared:
		b = newSlab(n)
	case b == nil || b.used+n > len(b.bytes):
		b = newSlab(n)
		s.shared = b // who is in the old one keeps it
	}
	it.slab, it.from, it.n = b, b.used, n
	copy(b.bytes[b.used:], payload)
	b.used += n
	b.refs++
}

// free gives the memory of a message back. Nobody may hold its bytes any more.
func (s *sender) free(it *item) {
	if it.slab == nil {
		return
	}
	if it.slab.refs == 1 && it.slab == s.shared {
		s.shared = nil
	}
	it.slab.release()
	it.slab, it.n = nil, 0
}
