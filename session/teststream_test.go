package session

import (
	"errors"
	"io"
	"sync"
	"time"
)

// testStream is one end of a bidirectional stream in memory that behaves as a
// QUIC stream does where sessions can tell: RESET_STREAM erases what is unread,
// STOP_SENDING is answered with RESET_STREAM, flow control can run out, and
// what is written takes a while.
type testStream struct {
	in, out *testPipe

	frames *FrameReader // of a test that reads what a session writes

	mu       sync.Mutex
	released int // calls of ReleaseCredit
}

var _ Stream = (*testStream)(nil)

// testPipe is one direction.
type testPipe struct {
	mu      sync.Mutex
	changed sync.Cond
	delay   time.Duration
	limited bool // flow control: only room bytes may be written
	room    int
	chunks  []testChunk // written, unread
	fin     bool
	finRead bool
	reset   error // *ResetError, for the reader
	stopped bool  // the reader has cancelled
	dead    error // the link has gone
	onStop  func(Code)
}

type testChunk struct {
	b  []byte
	at time.Time // when it arrives
}

var (
	errTestCancelled = errors.New("test: cancelled on this side")
	errTestLinkGone  = errors.New("test: the link has gone")
)

func newTestStreams() (a, b *testStream) {
	one, other := &testPipe{}, &testPipe{}
	one.changed.L, other.changed.L = &one.mu, &other.mu
	return &testStream{in: one, out: other}, &testStream{in: other, out: one}
}

func (s *testStream) Read(b []byte) (int, error) {
	p := s.in
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.dead != nil:
			return 0, p.dead
		case p.stopped:
			return 0, errTestCancelled
		case p.reset != nil:
			return 0, p.reset
		case len(p.chunks) > 0:
			c := &p.chunks[0]
			if wait := time.Until(c.at); wait > 0 {
				time.AfterFunc(wait, func() {
					p.mu.Lock()
					defer p.mu.Unlock()
					p.changed.Broadcast()
				})
				p.changed.Wait()
				continue
			}
			n := copy(b, c.b)
			if c.b = c.b[n:]; len(c.b) == 0 {
				p.chunks = p.chunks[1:]
			}
			return n, nil
		case p.fin:
			p.finRead = true
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

// writable returns why nothing can be written. The caller holds mu.
func (p *testPipe) writable() error {
	switch {
	case p.dead != nil:
		return p.dead
	case p.fin, p.reset != nil:
		return errTestCancelled
	}
	return nil
}

func (p *testPipe) append(b []byte) {
	p.chunks = append(p.chunks, testChunk{append([]byte(nil), b...), time.Now().Add(p.delay)})
	p.room -= len(b)
	p.changed.Broadcast()
}

func (s *testStream) TryWrite(b []byte) error {
	p := s.out
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.writable(); err != nil {
		return err
	}
	if p.limited && p.room < len(b) {
		return ErrWouldBlock
	}
	p.append(b)
	return nil
}

func (s *testStream) Write(b []byte) (int, error) {
	p := s.out
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := 0; ; {
		if err := p.writable(); err != nil {
			return n, err
		}
		k := len(b) - n
		if p.limited {
			k = min(k, p.room)
		}
		if k > 0 {
			p.append(b[n : n+k])
			n += k
		}
		if n == len(b) {
			return n, nil
		}
		p.changed.Wait()
	}
}

func (s *testStream) CloseWrite() {
	p := s.out
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fin = true
	p.changed.Broadcast()
}

func (s *testStream) Reset(code Code) {
	s.resetWrite(code)
	s.stopReading(code)
}

// resetWrite is RESET_STREAM alone.
func (s *testStream) resetWrite(code Code) {
	s.out.mu.Lock()
	s.out.resetLocked(code)
	s.out.mu.Unlock()
}

func (p *testPipe) resetLocked(code Code) {
	if p.reset == nil && !p.finRead {
		p.reset, p.chunks = &ResetError{Code: code}, nil
	}
	p.changed.Broadcast()
}

// stopReading is STOP_SENDING alone. The other side's stack answers it.
func (s *testStream) stopReading(code Code) {
	p := s.in
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.finRead {
		return
	}
	p.stopped = true
	if f := p.onStop; f != nil && !p.fin && p.reset == nil && p.dead == nil {
		p.onStop = nil
		go f(code)
	}
	p.resetLocked(code)
}

func (s *testStream) OnStopSending(f func(Code)) (stop func() bool) {
	p := s.out
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onStop = f
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		was := p.onStop != nil
		p.onStop = nil
		return was
	}
}

func (s *testStream) ReleaseCredit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released++
}

// credits returns how often ReleaseCredit was called.
func (s *testStream) credits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released
}

// lose ends the stream with its link.
func (s *testStream) lose() {
	for _, p := range []*testPipe{s.in, s.out} {
		p.mu.Lock()
		p.dead = errTestLinkGone
		p.changed.Broadcast()
		p.mu.Unlock()
	}
}

// limit leaves n bytes of flow control credit for what this end writes.
func (s *testStream) limit(n int) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.limited, s.out.room = true, n
	s.out.changed.Broadcast()
}

// slow makes what this end writes arrive after d.
func (s *testStream) slow(d time.Duration) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.delay = d
}
