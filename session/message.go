package session

import (
	"context"
	"errors"
	"time"
)

// Send sends one message, unreliably: it may be lost, arrive late, or out of
// order, but never twice and never in part. It returns once the message is
// queued; when the queue is full it does what the session's
// [datagram.FlowConfig] says, by default wait for ctx.
//
// Messages may be empty. One above [Session.MaxMessageSize] is refused with a
// *[MessageTooLargeError]; one above [Session.DatagramSize] travels in pieces,
// all of which must arrive. The slice may be reused after the call.
func (s *Session) Send(ctx context.Context, message []byte) error {
	return s.SendWith(ctx, message, SendOptions{})
}

// SendWith is [Session.Send] with an expiry, a priority, or another policy for
// a full queue, for this message alone.
func (s *Session) SendWith(ctx context.Context, message []byte, o SendOptions) error {
	if limit := s.MaxMessageSize(); len(message) > limit {
		return &MessageTooLargeError{Kind: "message", Size: len(message), Max: limit}
	}
	drive, err := s.flow.Offer(ctx, sendTime(o), message, o)
	if drive {
		s.link.Drive()
	}
	return s.queueError(err)
}

// SendBatch sends messages one after another, as SendWith does, with less work
// for each. It ends at the first that fails, and returns how many were queued.
func (s *Session) SendBatch(ctx context.Context, messages [][]byte, o SendOptions) (int, error) {
	limit := s.MaxMessageSize()
	for i, message := range messages {
		if len(message) > limit {
			n, err := s.SendBatch(ctx, messages[:i], o)
			if err == nil {
				err = &MessageTooLargeError{Kind: "message", Size: len(message), Max: limit}
			}
			return n, err
		}
	}
	n, drive, err := s.flow.OfferBatch(ctx, sendTime(o), messages, o)
	if drive {
		s.link.Drive()
	}
	return n, s.queueError(err)
}

// sendTime is the time that an expiry counts from. Without one it is not
// needed, and reading the clock costs as much as the rest of sending a small
// message.
func sendTime(o SendOptions) time.Time {
	if o.Expiry <= 0 {
		return time.Time{}
	}
	return time.Now()
}

// errEnded closes the queues of a session that has ended.
var errEnded = errors.New("session: ended")

// queueError gives the session's cause, as it is known now, for the error of a
// queue that was closed with it.
func (s *Session) queueError(err error) error {
	if err == errEnded {
		return s.Err()
	}
	return err
}

// Receive returns the next message. It waits for ctx, or until the session
// ends; messages that arrived before the end are returned first. The slice
// belongs to the caller.
func (s *Session) Receive(ctx context.Context) ([]byte, error) {
	b, err := s.flow.Pop(ctx)
	s.popped()
	return b, s.queueError(err)
}

// ReceiveInto is [Session.Receive] into the caller's buffer: it returns the
// length of the message, and allocates nothing. A message that buf is too small
// for stays where it is, and the error is a *[datagram.ShortBufferError]; a
// buffer of 64 KiB takes every message unless the application has raised the
// limit.
func (s *Session) ReceiveInto(ctx context.Context, buf []byte) (int, error) {
	n, err := s.flow.PopInto(ctx, buf)
	s.popped()
	return n, s.queueError(err)
}

// ReceiveBatch is [Session.Receive] for as many messages as there are, and as
// batch has places: it waits for one, and takes what else is there. It returns
// how many it took. The slices belong to the caller.
func (s *Session) ReceiveBatch(ctx context.Context, batch [][]byte) (int, error) {
	n, err := s.flow.PopBatch(ctx, batch)
	s.popped()
	return n, s.queueError(err)
}

// popped gives the peer's stream credit back when the last message of a
// session that is over has been read.
func (s *Session) popped() {
	if !s.over.Load() {
		return
	}
	s.mu.Lock()
	s.releaseCredit()
	s.mu.Unlock()
}

// MaxMessageSize returns the largest message, in bytes, that Send takes: the
// peer's limit, 64 KiB or more. It can grow once, when the peer's settings
// arrive; [Session.WaitChange] tells.
func (s *Session) MaxMessageSize() int { return s.link.PeerLimits().MaxMessage }

// messageOverhead is what a message takes of a datagram besides its payload:
// kind, the longest number, and the session id.
const messageOverhead = 1 + 8

// DatagramSize returns the largest message, in bytes, that travels in one
// datagram on the path as it is now. It changes with the path;
// [Session.WaitChange] tells.
func (s *Session) DatagramSize() int {
	return s.link.Mux().MaxDatagram() - messageOverhead - varintLen(s.id)
}
