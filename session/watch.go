package session

import (
	"context"
	"net"
)

// Snapshot is what can change on a session, at one moment.
type Snapshot struct {
	State State
	// Err is why the session ended; nil while it has not.
	Err error
	// RemoteAddr is the peer's address; it changes when the peer moves.
	RemoteAddr net.Addr
	// MaxMessageSize and DatagramSize are in bytes; see the methods of the
	// same names.
	MaxMessageSize int
	DatagramSize   int
}

func (a Snapshot) equal(b Snapshot) bool {
	return a.State == b.State && a.Err == b.Err &&
		a.MaxMessageSize == b.MaxMessageSize && a.DatagramSize == b.DatagramSize &&
		addrString(a.RemoteAddr) == addrString(b.RemoteAddr)
}

func addrString(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// Snapshot returns what can change, as it is now.
func (s *Session) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot()
}

func (s *Session) snapshot() Snapshot {
	n := Snapshot{
		State:          s.m.state,
		RemoteAddr:     s.link.RemoteAddr(),
		MaxMessageSize: s.MaxMessageSize(),
		DatagramSize:   s.DatagramSize(),
	}
	if s.err != nil {
		n.Err = s.err
	}
	return n
}

// WaitChange waits until something differs from last, and returns how it is
// then. States follow one another in one direction only, so a state that was
// passed through in between can be told from the one reached. It returns last
// and ctx's error if ctx ends first, and the session's error once it is closed
// and last says so.
func (s *Session) WaitChange(ctx context.Context, last Snapshot) (Snapshot, error) {
	for {
		s.mu.Lock()
		n := s.snapshot()
		changed := s.changedLocked()
		s.mu.Unlock()
		switch {
		case !n.equal(last):
			return n, nil
		case n.State == StateClosed:
			return n, n.Err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return last, context.Cause(ctx)
		}
	}
}

// changedLocked returns a channel that is closed at the next change.
func (s *Session) changedLocked() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// notify wakes everything that waits for a change.
func (s *Session) notify() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
