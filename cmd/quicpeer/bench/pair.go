package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// pair is two processes of one subject: one serves, the other has connected to it.
type pair struct {
	ctx            context.Context
	server, client *program
}

// withPair starts a pair, lets f measure it, and ends it. Neither process is left
// when it returns.
func withPair(ctx context.Context, s Subject, environment []string, f func(pair) error, mode string, args ...string) (err error) {
	server, err := start(ctx, s, environment, "serve")
	if err != nil {
		return err
	}
	defer server.abandon()
	address, err := serving(server)
	if err != nil {
		return err
	}
	client, err := start(ctx, s, environment, append([]string{mode, address}, args...)...)
	if err != nil {
		return err
	}
	defer client.abandon()
	if err := f(pair{ctx, server, client}); err != nil {
		return withServer(server, err)
	}
	return errors.Join(client.end(endTime), server.end(endTime))
}

// serving returns where a program serves. Nothing but this machine is ever
// measured by processes.
func serving(server *program) (string, error) {
	fields, err := server.next(patience)
	if err != nil {
		return "", err
	}
	if len(fields) == 2 && fields[0] == "listening" {
		if a, err := netip.ParseAddrPort(fields[1]); err == nil && a.Addr().IsLoopback() {
			return fields[1], nil
		}
	}
	return "", server.failure(fmt.Sprintf("want the line \"listening\" with an address of this machine, got %q", fields))
}

// withServer adds to an error that the server is gone, if that is so: the client
// knows only that nobody answers.
func withServer(server *program, err error) error {
	select {
	case <-server.ended:
		if server.ctx.Err() == nil && !errors.Is(err, errServerEnded) {
			return fmt.Errorf("%w; and %w", err, server.failure("ended too early"+server.status()))
		}
	default:
	}
	return err
}

// errServerEnded marks errors that tell of the server's end already.
var errServerEnded = errors.New("the serving program ended")

// wait waits, unless one of the programs ends.
func (p pair) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	case <-p.client.ended:
		return p.client.failure("ended too early" + p.client.status())
	case <-p.server.ended:
		return fmt.Errorf("%w: %w", errServerEnded, p.server.failure("ended too early"+p.server.status()))
	}
}

// begin waits until the client is ready, and lets it begin.
func (p pair) begin() error {
	if _, err := p.client.want(patience, "ready", 1); err != nil {
		return err
	}
	p.client.tell("go")
	return nil
}

// count is what the server has counted.
type count struct {
	messages, bytes float64
	at              time.Duration // of the server's clock
}

func (p pair) count() (count, error) {
	p.server.tell("count")
	n, err := p.server.want(patience, "count", 3)
	if err != nil {
		return count{}, err
	}
	return count{n[0], n[1], time.Duration(n[2])}, nil
}

const (
	settleStep  = 100 * time.Millisecond
	settleSteps = 50
)

// settled returns what the server has counted when it counts no more, because the
// flood is over and the queues are empty.
func (p pair) settled() (count, error) {
	last, err := p.count()
	for range settleSteps {
		if err != nil {
			return count{}, err
		}
		if err := p.wait(settleStep); err != nil {
			return count{}, err
		}
		var now count
		now, err = p.count()
		if err == nil && now.messages == last.messages && now.bytes == last.bytes {
			return now, nil
		}
		last = now
	}
	return count{}, errors.Join(err, p.server.failure(fmt.Sprintf("still counts %v after the flood has ended", settleStep*settleSteps)))
}
