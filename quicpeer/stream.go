package quicpeer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/session"
)

// controlStream shows a QUIC stream to its session, what comes on it to those who
// watch for signs of life, and what is written to it to those who would send
// messages meanwhile.
type controlStream struct {
	*quic.Stream
	link *link
}

var _ session.Stream = (*controlStream)(nil)

// sessionID is the id of the session on a stream (session/PROTOCOL.md,
// "Session id"): the stream's number among the bidirectional ones of its
// initiator, and the initiator in the lowest bit (RFC 9000 section 2.1).
func sessionID(id quic.StreamID) uint64 { return uint64(id)>>2<<1 | uint64(id)&1 }

// Read hides the kinds of error that a session does not tell apart. Idle
// sessions wait here: what is not needed for that is elsewhere, off the stack.
func (s *controlStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 {
		s.heard()
	}
	if err != nil {
		err = readError(err)
	}
	return n, err
}

func (s *controlStream) heard() { s.link.life.heard() }

func readError(err error) error {
	if err == io.EOF {
		return err
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok && e.Remote {
		return &session.ResetError{Code: session.Code(e.ErrorCode)}
	}
	return err
}

// TryWrite queues all of p or nothing.
func (s *controlStream) TryWrite(p []byte) error {
	err := s.TryWriteAll(p)
	s.link.feed.hold(time.Now())
	if errors.Is(err, quic.ErrWouldBlock) {
		return session.ErrWouldBlock
	}
	return err
}

// CloseWrite ends our side. The only error is that the stream was torn
// before, which the reading side reports.
func (s *controlStream) CloseWrite() { _ = s.Close() }

// Reset tears both directions.
func (s *controlStream) Reset(code session.Code) {
	s.CancelWrite(quic.StreamErrorCode(code))
	s.CancelRead(quic.StreamErrorCode(code))
}

// OnStopSending watches the stream's context, which costs no goroutine until
// it ends.
func (s *controlStream) OnStopSending(f func(session.Code)) (stop func() bool) {
	ctx := s.Context()
	return context.AfterFunc(ctx, func() {
		if e, ok := errors.AsType[*quic.StreamError](context.Cause(ctx)); ok && e.Remote {
			f(session.Code(e.ErrorCode))
		}
	})
}

// ReleaseCredit lets the peer open another session.
func (s *controlStream) ReleaseCredit() { s.ReleaseStreamCredit() }
