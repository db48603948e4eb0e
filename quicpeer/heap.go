package quicpeer

import "sync"

// heapReserve is memory that is never used, and so takes address space but no
// memory of the machine. Go's collector runs whenever the heap has grown by as
// much as was in use after its last run, and by 4 MB at least. quic-go allocates
// each datagram it sends or receives: at full rate, a process that holds little
// else is collected some fifty times a second, and every run wakes threads that
// the datagrams are waiting for. With the reserve in the heap it runs a few times
// a second, and takes as much less of the processor.
//
// One reserve serves all endpoints of a process; the first that is busy sets it
// aside, and it stays.
var heapReserve struct {
	once sync.Once
	b    []byte
}

const (
	// defaultHeapReserve makes a collection rare enough at full rate, some
	// 200 MB of datagrams a second, and is little on any machine that sees one.
	defaultHeapReserve = 32 << 20
	// busyRate is the datagrams a second, in either direction, from which a link
	// counts as busy: below it, collection costs nothing that matters.
	busyRate = 20_000
)

func setHeapReserve(n int) {
	if n > 0 {
		heapReserve.once.Do(func() { heapReserve.b = make([]byte, n) })
	}
}
