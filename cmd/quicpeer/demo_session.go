package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// demoSession is one side of a session of the demo. It counts by itself what
// it gives to the library and gets from it, so that the library's counts can
// be held against something.
type demoSession struct {
	name string
	*quicpeer.Session

	mu    sync.Mutex
	count demoEnded // the part counted outside the library
}

// totalsTimeout bounds the wait for the final counts after the end of a
// session: its close is known by then, DONE is one way behind.
const totalsTimeout = 3 * time.Second

// listen reads messages and signals until the session is over, and reports its
// end.
func (s *demoSession) listen(ctx context.Context) *demoEnded {
	var reading sync.WaitGroup
	reading.Go(func() { s.readSignals(ctx) })
	s.readMessages(ctx)
	reading.Wait()
	timer := time.NewTimer(totalsTimeout)
	defer timer.Stop()
	select {
	case <-s.Done():
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.ended()
}

func (s *demoSession) readMessages(ctx context.Context) {
	seen := make(map[uint64]bool)
	for {
		b, err := s.Receive(ctx)
		if err != nil {
			return
		}
		n, ok := parseDemoMessage(b)
		s.mu.Lock()
		s.count.Taken++
		switch {
		case !ok:
			s.count.Damaged++
		case seen[n]:
			s.count.Repeated++
		}
		s.mu.Unlock()
		seen[n] = true
	}
}

func (s *demoSession) readSignals(ctx context.Context) {
	for next := 0; ; next++ {
		b, err := s.ReceiveSignal(ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.count.SignalsIn++
		if string(b) != demoSignal(next) {
			s.count.Disorder++
		}
		s.mu.Unlock()
	}
}

// talk sends messages and, while they flow, signals. It returns once the
// messages have been handed to QUIC, not only queued.
func (s *demoSession) talk(ctx context.Context, messages, signals int) error {
	failed := make(chan error, 1)
	go func() { failed <- s.sendSignals(ctx, signals) }()
	var err error
	for n := range messages {
		if err = s.Send(ctx, demoMessage(uint64(n))); err != nil {
			break
		}
		s.mu.Lock()
		s.count.Offered++
		s.mu.Unlock()
	}
	if err == nil {
		err = s.drain(ctx)
	}
	return errors.Join(err, <-failed)
}

// drain waits until no message is queued. There is nothing to wait on, so it
// looks now and then; a queue of this size drains in milliseconds.
func (s *demoSession) drain(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Stats().Local.Queued > 0 {
		select {
		case <-tick.C:
		case <-s.Done():
			return s.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *demoSession) sendSignals(ctx context.Context, signals int) error {
	for n := range signals {
		if err := s.Signal(ctx, []byte(demoSignal(n))); err != nil {
			return err
		}
		s.mu.Lock()
		s.count.SignalsOut++
		s.mu.Unlock()
	}
	return nil
}

// ended sums the session up.
func (s *demoSession) ended() *demoEnded {
	s.mu.Lock()
	e := s.count
	s.mu.Unlock()
	if cause, ok := errors.AsType[*session.Error](s.Err()); ok {
		e.Remote, e.Closed, e.Confirmed = cause.Remote, cause.Cause == session.CauseClosed, cause.Confirmed
		e.Code, e.Reason, e.Error = uint64(cause.Code), cause.Reason, cause.Error()
	}
	st := s.Stats()
	e.Complete = st.Complete
	e.Sent, e.Unsent, e.Lost = st.Local.Sent, st.Local.SendDrops.Total(), st.Lost
	e.Received, e.Dropped, e.LostIn = st.Local.Received, st.Local.Dropped, st.LostIncoming
	e.TheySent, e.TheyGot, e.TheyDropped = st.Remote.Sent, st.Remote.Received, st.Remote.Dropped
	return &e
}

func demoSignal(n int) string { return fmt.Sprintf("signal %d", n) }

// demoMessage makes the n-th message: its number, and content that follows
// from it. Most fit into one packet; each 50th is too large for that and
// travels in pieces.
func demoMessage(n uint64) []byte {
	size := 100 + int(n%7)*50
	if n%50 == 49 {
		size = 4000
	}
	return append(binary.BigEndian.AppendUint64(nil, n), bytes.Repeat([]byte{byte(n)}, size)...)
}

// parseDemoMessage returns a message's number, and whether it is exactly as it
// was sent.
func parseDemoMessage(b []byte) (n uint64, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	n = binary.BigEndian.Uint64(b)
	return n, bytes.Equal(b, demoMessage(n))
}
