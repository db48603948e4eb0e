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
	return s.queueError(s.flow.Push(ctx, time.Now(), message, o))
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

// popped gives the peer's stream credit back when the last message of a
// session that is over has been read.
func (s *Session) popped() {
	select {
	case <-s.done:
	default:
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
