package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// A talk is one side of a session, while it is used.
type talk struct {
	*site
	s          *quicpeer.Session
	id         string
	role, peer string // this side, the other
	side       side
	ctx        context.Context // ends with the session
}

// callLimit bounds the calls of a talk that are given no time of their own.
const callLimit = 5 * time.Second

// run plays the side's part, until the session is over and everything that used
// it has returned.
func (t *talk) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t.ctx = ctx
	var wg sync.WaitGroup
	for _, f := range []func(){t.send, t.signal, t.end} {
		wg.Go(f)
	}
	if t.side.Read != "never" {
		wg.Go(t.receive)
		wg.Go(t.receiveSignals)
	}
	<-t.s.Done()
	cancel()
	wg.Wait()
	if t.side.Read == "never" {
		// What is unread would hold the session's place; an abort of a session
		// that is over drops it, and does nothing else.
		_ = t.s.Abort(0)
	}
	again := t.event(kAgain, opSend)
	again.Err = outcomeOf(t.s.Send(context.Background(), nil))
	t.log.write(again)
	stats := t.s.Stats()
	final := t.event(kFinal, "")
	final.Err, final.Stats = outcomeOf(t.s.Err()), &stats
	t.log.write(final)
}

func (t *talk) event(kind, op string) event {
	return event{K: kind, E: t.index, Session: t.id, Role: t.role, Op: op}
}

// begin logs that a call begins.
func (t *talk) begin(op string, limit time.Duration, e event) func(event) {
	e.E, e.Session, e.Role, e.Op, e.Limit = t.index, t.id, t.role, op, limit.Microseconds()
	return t.log.begin(e)
}

// over reports whether an error is the session's.
func over(err error) bool {
	_, ok := errors.AsType[*session.Error](err)
	return ok
}

func (t *talk) send() {
	var number uint64
	for _, b := range t.side.Bursts {
		if !pause(t.ctx, b.Wait) {
			return
		}
		batch := make([][]byte, b.Count)
		for i := range batch {
			batch[i] = makePayload(t.id, t.role, number+uint64(i), b.Size)
		}
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		end := t.begin(opSend, callLimit, event{N: []uint64{number, number + uint64(b.Count)}})
		n, err := t.s.SendBatch(ctx, batch, datagram.SendOptions{Full: datagram.SendPolicy(b.Policy), Expiry: b.Expiry})
		cancel()
		end(event{N: []uint64{number, number + uint64(n)}, Err: outcomeOf(err)})
		number += uint64(b.Count)
		if over(err) {
			return
		}
	}
}

func (t *talk) signal() {
	for i, wait := range t.side.Signals {
		if !pause(t.ctx, wait) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), t.side.SignalLimit)
		end := t.begin(opSignal, t.side.SignalLimit, event{N: []uint64{uint64(i)}})
		err := t.s.Signal(ctx, makePayload(t.id, t.role, uint64(i), 20+50*i*i*i*i))
		cancel()
		end(event{Err: outcomeOf(err)})
		if over(err) {
			return
		}
	}
}

// receive takes messages until the session's end, and asks once more then.
func (t *talk) receive() {
	if t.side.Read == "late" {
		pause(t.ctx, t.side.ReadIn)
	}
	end := t.begin(opReceive, 0, event{})
	batch := make([][]byte, 64)
	for {
		n, err := t.s.ReceiveBatch(context.Background(), batch)
		if err != nil {
			end(event{Err: outcomeOf(err)})
			break
		}
		got := t.event(kGot, opReceive)
		for _, b := range batch[:n] {
			number, err := readPayload(b, t.id, t.peer)
			if err != nil {
				t.bad("message: %v", err)
				continue
			}
			got.N = append(got.N, number)
		}
		t.log.write(got)
	}
	m, err := t.s.Receive(context.Background())
	if err == nil {
		t.bad("a message after the end was returned: %x", m[:min(len(m), 64)])
	}
	again := t.event(kAgain, opReceive)
	again.Err = outcomeOf(err)
	t.log.write(again)
}

// receiveSignals takes signals until the session's end. Each call is logged
// for itself: the peer's Signal returns because of it.
func (t *talk) receiveSignals() {
	if t.side.Read == "late" {
		pause(t.ctx, t.side.ReadIn)
	}
	for {
		end := t.begin(opReceiveSignal, 0, event{})
		b, err := t.s.ReceiveSignal(context.Background())
		if err != nil {
			end(event{Err: outcomeOf(err)})
			return
		}
		number, err := readPayload(b, t.id, t.peer)
		if err != nil {
			t.bad("signal: %v", err)
			number = ^uint64(0)
		}
		end(event{N: []uint64{number}})
	}
}

func (t *talk) end() {
	if t.side.End == "" || !pause(t.ctx, t.side.EndIn) {
		return
	}
	if t.side.End == opAbort {
		end := t.begin(opAbort, time.Second, event{Code: t.side.Code})
		err := t.s.Abort(session.Code(t.side.Code))
		end(event{Err: outcomeOf(err)})
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.side.Limit)
	defer cancel()
	end := t.begin(opClose, t.side.Limit, event{Code: t.side.Code, Reason: t.side.Reason})
	err := t.s.CloseWithError(ctx, session.Code(t.side.Code), t.side.Reason)
	end(event{Err: outcomeOf(err)})
}

// bad logs that something was received that cannot have been sent.
func (t *talk) bad(format string, args ...any) {
	e := t.event(kBad, "")
	e.Text = fmt.Sprintf(format, args...)
	t.log.write(e)
}
