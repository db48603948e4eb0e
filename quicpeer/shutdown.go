package quicpeer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// ShutdownOptions say how an endpoint ends.
type ShutdownOptions struct {
	// Code and Reason are what every peer's session learns. The code is 0 or
	// at least [session.FirstApplicationCode].
	Code   session.Code
	Reason string
	// Drain is how long sessions may go on and end by themselves, while no
	// new ones begin, before they are closed. Zero: they are closed at once.
	Drain time.Duration
}

// CloseOutcome is what became of one session at a shutdown.
type CloseOutcome struct {
	Session    *Session
	RemoteAddr net.Addr
	RemoteID   certs.PeerID // zero if anonymous
	// Err is nil if the peer confirmed the close, or was closing the session
	// itself; else why the close is not confirmed.
	Err error
}

// ShutdownReport is what became of every session that lived when the shutdown
// began.
type ShutdownReport struct{ Sessions []CloseOutcome }

// Err joins the errors of the sessions whose close was not confirmed; nil if
// all were.
func (r ShutdownReport) Err() error {
	var errs []error
	for _, o := range r.Sessions {
		if o.Err != nil {
			errs = append(errs, fmt.Errorf("session %d with %v: %w", o.Session.ID(), o.RemoteAddr, o.Err))
		}
	}
	return errors.Join(errs...)
}

// Close ends the endpoint: it closes every session with code 0, waits until
// the peers have confirmed, closes the links, and then the socket. Without a
// deadline in ctx every close has the session's CloseTimeout. It returns nil
// if every peer confirmed; else the errors of those that did not, joined. The
// endpoint is closed in any case. A second call waits for the first, and returns
// the same.
func (e *Endpoint) Close(ctx context.Context) error {
	r, err := e.Shutdown(ctx, ShutdownOptions{})
	if errors.Is(err, ErrEndpointClosed) {
		select {
		case <-e.ended:
			return e.result
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err != nil {
		return err
	}
	return r.Err()
}

// Shutdown ends the endpoint as [Endpoint.Close] does, with a code and a
// reason, and reports what each peer confirmed. New sessions, in both
// directions, are refused from its beginning on; peers are told with GOAWAY.
// The error is ErrEndpointClosed if the endpoint was closed before, or that of
// an invalid option; then nothing was done.
func (e *Endpoint) Shutdown(ctx context.Context, o ShutdownOptions) (ShutdownReport, error) {
	if o.Code != session.CodeNormal && !o.Code.IsApplication() || o.Code > session.MaxCode {
		return ShutdownReport{}, &session.InvalidCodeError{Code: o.Code}
	}
	if len(o.Reason) > session.MaxReason {
		return ShutdownReport{}, &session.ReasonTooLongError{Size: len(o.Reason)}
	}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return ShutdownReport{}, ErrEndpointClosed
	}
	e.closing = true
	links := e.allLinks()
	for _, c := range e.dials {
		c.cancel()
	}
	e.mu.Unlock()
	defer close(e.ended)

	for _, in := range e.backlog.close() {
		_ = in.Reject(session.CodeGoingAway, "the endpoint is shutting down", 0)
	}
	closing := e.config.Session.CloseTimeout
	if closing <= 0 {
		closing = session.DefaultCloseTimeout
	}
	deadline := o.Drain + closing + lingerTimeout
	if d, ok := ctx.Deadline(); ok {
		deadline = min(deadline, time.Until(d))
	}
	for _, l := range links {
		l.goAway(o.Code, o.Reason, deadline)
	}
	var ends []ending
	for _, l := range links {
		l.openers.Wait() // they do not wait any more
		l.mu.Lock()
		runners := l.runners()
		l.mu.Unlock()
		for _, r := range runners {
			ends = append(ends, ending{r, r.Live()})
		}
	}
	if o.Drain > 0 {
		waitAll(ctx, ends, o.Drain)
	}
	report := closeAll(ctx, ends, o)
	e.result = report.Err()

	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() { l.linger(ctx) })
	}
	wg.Wait()
	_ = e.listener.Close()
	e.closeTransport()
	e.background.Wait()
	for _, l := range links {
		<-l.done
	}
	return report, nil
}

// ending is a session at a shutdown.
type ending struct {
	*session.Runner
	lived bool // when the shutdown began
}

// waitAll waits until every session has ended by itself, for at most d.
func waitAll(ctx context.Context, ends []ending, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for _, r := range ends {
		select {
		case <-r.Session().Done():
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// closeAll closes the sessions, all at once, so that none waits for a peer that
// is not its own, and tells what became of each.
func closeAll(ctx context.Context, ends []ending, o ShutdownOptions) ShutdownReport {
	var report ShutdownReport
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, r := range ends {
		if !r.lived && !r.Live() {
			// No application has it here: taken back or rejected, which is no
			// news to report.
			wg.Go(func() { r.GiveUp(ctx) })
			continue
		}
		wg.Go(func() {
			s := r.Session()
			var err error
			if s.State() == session.StateClosed {
				err = s.Err() // it ended while others were drained
			} else {
				err = r.CloseWith(ctx, o.Code, o.Reason)
			}
			if e, ok := errors.AsType[*session.Error](err); ok && e.Cause == session.CauseClosed && e.Confirmed {
				err = nil // the peer was faster, or the application
			}
			id, _ := s.RemoteID()
			mu.Lock()
			defer mu.Unlock()
			report.Sessions = append(report.Sessions, CloseOutcome{Session: s, RemoteAddr: s.RemoteAddr(), RemoteID: id, Err: err})
		})
	}
	wg.Wait()
	return report
}

// linger ends a link whose sessions are over. CONNECTION_CLOSE makes the
// peer's stack discard what its application has not read yet, so it must not
// overtake anything: the peer, which was told GOAWAY, closes once its last
// session is over and it has read everything. Only if it does not within the
// linger time does this side close.
func (l *link) linger(ctx context.Context) {
	timer := time.NewTimer(lingerTimeout)
	defer timer.Stop()
	select {
	case <-l.conn.Context().Done():
	case <-timer.C:
	case <-ctx.Done():
	}
	l.close(closed(session.CodeNormal, "the endpoint has shut down"))
}
