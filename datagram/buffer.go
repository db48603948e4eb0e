package datagram

import (
	"math/bits"
	"sync"
)

// Buffers for messages that wait to be sent are reused by all links of the process, in classes of powers of two.
const (
	smallestClass = 6  // 64 bytes: below that, the bookkeeping outweighs the payload
	largestClass  = 16 // 64 KiB: the largest message by default
)

var pools [largestClass - smallestClass + 1]sync.Pool

// A buffer owns the copy of one message's payload. nil is an empty payload.
type buffer struct {
	payload []byte
}

func (b *buffer) bytes() []byte {
	if b == nil {
		return nil
	}
	return b.payload
}

func (b *buffer) len() int { return len(b.bytes()) }

// newBuffer returns a copy of payload.
func newBuffer(payload []byte) *buffer {
	if len(payload) == 0 {
		return nil
	}
	class := max(smallestClass, bits.Len(uint(len(payload)-1)))
	if class > largestClass {
		return &buffer{payload: append([]byte(nil), payload...)}
	}
	b, ok := pools[class-smallestClass].Get().(*buffer)
	if !ok {
		b = &buffer{payload: make([]byte, 1<<class)}
	}
	b.payload = b.payload[:len(payload)]
	copy(b.payload, payload)
	return b
}

// release gives the buffer back. Nobody may hold its bytes any more.
func (b *buffer) release() {
	if b == nil || cap(b.payload) > 1<<largestClass {
		return
	}
	pools[bits.Len(uint(cap(b.payload)-1))-smallestClass].Put(b)
}
