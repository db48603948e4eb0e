package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// What the services answer with.
const (
	rejectCode   session.Code = 0x1f4
	rejectReason              = "not today"
	rejectRetry               = 1500 * time.Millisecond
	closeCode    session.Code = 0x155
	closeReason               = "enough"
	abortCode    session.Code = 0x177
	shutCode     session.Code = 0x100
	shutReason                = "maintenance"
)

// serve offers the sessions that the contract names.
func (c *counterpart) serve(ctx context.Context) {
	handle := func(protocol string, f func(*session.Session)) {
		c.endpoint.Handle(protocol, func(in *session.Incoming) {
			s, err := in.Accept(in.Metadata())
			if err != nil {
				return // taken back
			}
			c.sessions.add(s)
			f(s)
		})
	}
	handle("echo", func(s *session.Session) { c.echo(ctx, s) })
	handle("close", func(s *session.Session) { _ = s.CloseWithError(ctx, closeCode, closeReason) })
	handle("abort", func(s *session.Session) { _ = s.Abort(abortCode) })
	handle("shutdown", func(s *session.Session) {
		if _, err := s.Receive(ctx); err != nil {
			return
		}
		if c.role == "dial" {
			<-c.knocked
		}
		c.shut <- c.shutDown(ctx)
	})
	c.endpoint.Handle("reject", func(in *session.Incoming) {
		_ = in.Reject(rejectCode, rejectReason, rejectRetry) // or it was taken back
	})
	c.endpoint.Handle("hold", func(in *session.Incoming) { // until it is withdrawn
		<-ctx.Done()
		_ = in.Reject(session.CodeInternal, "nobody closed it", 0)
	})
}

// echo sends back what comes, until the peer ends the session.
func (c *counterpart) echo(ctx context.Context, s *session.Session) {
	signals := make(chan struct{})
	go func() {
		defer close(signals)
		for {
			b, err := s.ReceiveSignal(ctx)
			if err != nil || s.Signal(ctx, b) != nil {
				return
			}
		}
	}()
	for {
		b, err := s.Receive(ctx)
		if c.name == "early" && string(b) == "on" {
			c.awaitLate(ctx)
		}
		if err != nil || s.Send(ctx, b) != nil {
			break
		}
	}
	<-signals
}

// shutDown ends the endpoint in order, and fails if any close is not confirmed.
func (c *counterpart) shutDown(ctx context.Context) error {
	report, err := c.endpoint.Shutdown(ctx, quicpeer.ShutdownOptions{Code: shutCode, Reason: shutReason})
	if err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	if err := report.Err(); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	if len(report.Sessions) == 0 {
		return errors.New("shutting down: no session was alive")
	}
	return nil
}
