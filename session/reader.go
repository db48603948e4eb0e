package session

import (
	"fmt"
	"io"

	"github.com/quic-go/quic-go/quicvarint"
)

// Chosen by this implementation.
const (
	// firstRead is how much memory a frame gets before any of its value has
	// arrived; larger frames grow as their bytes come, so that a length
	// alone buys no memory. It holds every frame but long OPEN, ACCEPT and
	// SIGNAL in one piece.
	firstRead = 2048
	// skipRead is the piece in which an unknown frame is thrown away.
	skipRead = 512
)

// FrameReader takes frames off one stream. It reads no further than the frame
// it returns and keeps no buffer between frames, so a stream on which nothing
// happens costs the reader's few words. One goroutine at a time may use it;
// after an error it is of no more use.
type FrameReader struct {
	src    io.Reader
	limits Limits
	begun  bool
	ready  uint8   // bytes of the next frame that are in head
	head   [8]byte // here, for Read would move it to the heap
}

// NewFrameReader returns a reader of the frames on src. On a link stream src
// stands behind the stream type.
func NewFrameReader(src io.Reader, limits Limits) *FrameReader {
	return &FrameReader{src: src, limits: limits}
}

// Next returns the type and the value of the next known frame; the value
// belongs to the caller. Unknown frames are skipped, except that the first
// frame of a stream must be a known one.
//
// The error is io.EOF at the end of the stream between frames,
// io.ErrUnexpectedEOF inside a frame, a *FrameError when the peer breaks the
// protocol, else what the stream returned.
func (r *FrameReader) Next() (FrameType, []byte, error) {
	for {
		t, value, err := r.next()
		if err != nil || t.Known() {
			return t, value, err
		}
	}
}

// next is Next, and returns after an unknown frame, too, without its value.
func (r *FrameReader) next() (FrameType, []byte, error) {
	v, err := r.varint()
	if err != nil {
		return 0, nil, err
	}
	t := FrameType(v)
	n, err := r.varint()
	if err != nil {
		return 0, nil, unexpected(err)
	}
	if limit := r.limits.value(t); n > limit {
		return 0, nil, &FrameError{Type: t, Reason: fmt.Sprintf(
			"it has %d bytes, more than %d", n, limit)}
	}
	if t.Known() {
		r.begun = true
		value, err := r.value(n)
		if err != nil {
			return 0, nil, unexpected(err)
		}
		return t, value, nil
	}
	if !r.begun {
		return 0, nil, &FrameError{Type: t, Reason: "it comes first on its stream"}
	}
	if err := r.skip(n); err != nil {
		return 0, nil, unexpected(err)
	}
	return t, nil, nil
}

// NextFrame is Next followed by ParseFrame, and by the check of a signal's
// size.
func (r *FrameReader) NextFrame() (Frame, error) {
	for {
		f, err := r.nextFrame()
		if err != nil || f != nil {
			return f, err
		}
	}
}

// nextFrame is NextFrame, and returns nil after an unknown frame.
func (r *FrameReader) nextFrame() (Frame, error) {
	t, value, err := r.next()
	if err != nil || !t.Known() {
		return nil, err
	}
	f, err := ParseFrame(t, value)
	if err != nil {
		return nil, err
	}
	if s, ok := f.(Signal); ok {
		if err := r.limits.checkSignal(s); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// await waits for the beginning of the next frame: two bytes, which the shortest
// frames have. It is where the goroutine of an idle session stands, so it and
// what it calls are to take little stack.
func (r *FrameReader) await() error {
	for r.ready == 0 {
		n, err := r.src.Read(r.head[:2])
		if n == 0 && err != nil {
			return err
		}
		r.ready = uint8(n) // an error beside it comes again
	}
	return nil
}

// varint reads one integer; io.EOF means that nothing of it was there.
func (r *FrameReader) varint() (uint64, error) {
	if r.ready == 0 {
		if _, err := io.ReadFull(r.src, r.head[:1]); err != nil {
			return 0, err
		}
		r.ready = 1
	}
	n := 1 << (r.head[0] >> 6) // RFC 9000 section 16
	if n > int(r.ready) {
		if _, err := io.ReadFull(r.src, r.head[r.ready:n]); err != nil {
			return 0, unexpected(err)
		}
		r.ready = uint8(n)
	}
	v, _, err := quicvarint.Parse(r.head[:n])
	r.head[0] = r.head[1] // what was read beyond it, if anything
	r.ready -= uint8(n)
	return v, err
}

// value reads a value of n bytes, n within its limit.
func (r *FrameReader) value(n uint64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, min(n, firstRead))
	for got := 0; ; {
		if _, err := io.ReadFull(r.src, b[got:]); err != nil {
			return nil, err
		}
		got = len(b)
		if uint64(got) == n {
			return b, nil
		}
		next := make([]byte, min(n, 2*uint64(got)))
		copy(next, b)
		b = next
	}
}

// skip throws n bytes away.
func (r *FrameReader) skip(n uint64) error {
	if n == 0 {
		return nil
	}
	b := make([]byte, min(n, skipRead))
	for n > 0 {
		k, err := io.ReadFull(r.src, b[:min(n, skipRead)])
		if err != nil {
			return err
		}
		n -= uint64(k)
	}
	return nil
}

// unexpected turns the end of the stream inside a frame into what it is.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
