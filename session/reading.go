package session

import (
	"errors"
	"io"
	"time"
)

// Who reads a session's stream. One goroutine at a time does, but not always the
// same: what an idle session costs most is the stack of the goroutine that
// waits, so that is a fresh one each time.

// Read waits for the next frames on the control stream and does what they ask
// for. It returns false once there is nothing more to read. When the next frame
// may be long in coming, it leaves that to a goroutine that [Link].Read starts,
// and returns true.
func (r *Runner) Read() bool {
	for {
		if err := r.s.frames.await(); err != nil {
			r.ended(err)
			return false
		}
		if !r.takeFrame() {
			return false
		}
		if r.leave() {
			return true
		}
	}
}

// leave leaves reading to another goroutine, if that may take long, and serves
// an incoming session, if somebody has asked for that.
func (r *Runner) leave() bool {
	s := r.s
	s.mu.Lock()
	serve := s.serve
	switch s.m.state {
	case StateOpening, StateIncoming, StateOpen:
	default: // the peer owes the next frame
		if serve == nil {
			s.mu.Unlock()
			return false
		}
	}
	s.left, s.serve = true, nil
	s.owed = s.waiting || serve != nil
	owed := s.owed
	s.mu.Unlock()
	if !owed {
		s.link.Read(r)
	}
	if serve != nil {
		soon := time.AfterFunc(resumeDelay, s.resume)
		serve()
		soon.Stop()
		s.resume()
	}
	return true
}

// resume has reading go on, if that is owed: once an incoming session is
// answered, or its handler has returned, but soon in any case; once a dialer
// has its answer. To start another goroutine takes longer than the answer does,
// so the answer comes first.
func (s *Session) resume() {
	s.mu.Lock()
	owed := s.owed
	s.owed = false
	s.mu.Unlock()
	if owed {
		s.link.Read(&Runner{s})
	}
}

// takeFrame reads a frame that has begun, and reports false if that fails.
func (r *Runner) takeFrame() bool {
	f, err := r.s.frames.nextFrame()
	if err != nil {
		r.ended(err)
		return false
	}
	if f == nil {
		return true // of an unknown type
	}
	in := &input{kind: inFrame, frame: f}
	if _, ok := f.(Report); ok {
		in.tally = r.s.offered()
	}
	r.s.step(in)
	return true
}

// Serve has f called, which works on an incoming session for as long as it
// likes. Usually that is by the goroutine that has read the OPEN: waking
// another would take longer than all else that happens to an OPEN here.
func Serve(in *Incoming, f func()) {
	s := in.s
	s.mu.Lock()
	defer s.unlock()
	if s.left {
		go f()
		return
	}
	s.serve = f
}

// ended takes the way in which reading ended to the machine.
func (r *Runner) ended(err error) {
	var reset *ResetError
	var frame *FrameError
	switch {
	case err == io.EOF:
		r.s.step(&input{kind: inFIN})
	case errors.As(err, &reset):
		r.s.step(&input{kind: inReset, code: reset.Code})
	case errors.As(err, &frame):
		r.s.step(&input{kind: inMalformed, reason: frame.Error()})
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.s.step(&input{kind: inMalformed, reason: "the stream ended inside a frame"})
	}
	// Anything else: the link is gone, and says why with LinkLost.
}

// offered counts what the peer may have seen of our messages: no more than
// were ever queued. How many were sent is known only a moment after QUIC has
// them, and the peer's report may be faster.
func (s *Session) offered() Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flow == nil {
		return Tally{}
	}
	return Tally{Sent: s.flow.Totals().Pushed}
}
