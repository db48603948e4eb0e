package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench"
	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// networkBench measures against a peer that serves.
type networkBench struct {
	*benchPeer // its session is quiet, but for latency
	settings   bench.Settings
	timeout    time.Duration
}

// networkStep is one measurement of a round.
type networkStep struct {
	measure bench.Measure
	size    int
	run     func(ctx context.Context, size int) (bench.Values, []float64, error)
}

func (s networkStep) String() string {
	if s.measure == bench.Throughput {
		return fmt.Sprintf("%s %d B", s.measure, s.size)
	}
	return string(s.measure)
}

// benchConnect measures against the peer that the flags name.
func benchConnect(ctx context.Context, std stdio, f benchFlags, bar *benchProgress) (*bench.Report, error) {
	target, err := parseTarget(f.network.connect)
	if err != nil {
		return nil, err
	}
	e, _, _, err := f.network.open(func(certs.PeerID) {})
	if err != nil {
		return nil, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), benchCloseTime)
		defer cancel()
		_ = e.Close(closing) // everything was measured before
	}()
	b := &networkBench{
		benchPeer: &benchPeer{endpoint: e, address: target.address, id: target.id},
		settings:  f.settings,
		timeout:   f.network.timeout,
	}
	if b.Session, err = b.open(ctx); err != nil {
		cause, remedy := explain(err, e.ID())
		if remedy == "" || ctx.Err() != nil {
			return nil, err
		}
		fmt.Fprintf(std.err, "quicpeer: %s\n  What to do: %s\n", cause, remedy)
		return nil, statusError(exitFailure)
	}
	if _, err := b.Settle(ctx); err != nil {
		return nil, err
	}
	f.settings.Remote = b.RemoteAddr().String()
	report := &bench.Report{
		Version: 1, Environment: bench.CurrentEnvironment(), Settings: f.settings,
		Subjects: []bench.SubjectInfo{bench.Quicpeer().Info()},
	}
	if err := b.rounds(ctx, report, bar); err != nil {
		return nil, err
	}
	report.Finish()
	return report, nil
}

func (b *networkBench) rounds(ctx context.Context, report *bench.Report, bar *benchProgress) error {
	var steps []networkStep
	for _, m := range networkMeasures {
		switch {
		case !slices.Contains(b.settings.Only, m):
		case m == bench.Throughput:
			for _, size := range b.settings.Sizes {
				steps = append(steps, networkStep{m, size, b.throughput})
			}
		case m == bench.Latency:
			steps = append(steps, networkStep{m, bench.PingSize, b.latency})
		default:
			steps = append(steps, networkStep{m, 0, b.opens})
		}
	}
	failed := make([]bool, len(steps))
	for round := range b.settings.Rounds {
		for i, s := range steps {
			bar.step(round*len(steps)+i, b.settings.Rounds*len(steps), s.String())
			if failed[i] {
				continue
			}
			v, samples, err := s.run(ctx, s.size)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				failed[i] = true
				report.Fail(round, s.String(), err)
				continue
			}
			report.Add(round, bench.Measurement{
				Measure: s.measure, Subject: bench.QuicpeerName, Size: s.size, Values: v, Samples: samples,
			})
		}
	}
	return nil
}

// open opens a session within the time that a dial has.
func (b *networkBench) open(ctx context.Context) (*quicpeer.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.dial(ctx, "")
}

// networkWarmUp is how long a flood runs, on a session of its own, before one is
// measured: until windows are open and the path's queues are full.
const networkWarmUp = 500 * time.Millisecond

func (b *networkBench) throughput(ctx context.Context, size int) (bench.Values, []float64, error) {
	if _, err := b.flood(ctx, size, networkWarmUp); err != nil {
		return nil, nil, err
	}
	v, err := b.flood(ctx, size, time.Duration(b.settings.Seconds*float64(time.Second)))
	return v, nil, err
}

// flood floods a session of its own for a time, closes it, and returns what both
// sides then agree on.
func (b *networkBench) flood(ctx context.Context, size int, duration time.Duration) (bench.Values, error) {
	oneWay, err := b.Ping(ctx)
	if err != nil {
		return nil, err
	}
	s, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	pieces := lines.Pieces(lines.KindCount, size, s.MaxMessageSize())
	sending, stop := context.WithTimeout(ctx, duration)
	defer stop()
	begun := time.Now()
	for err == nil {
		for _, p := range pieces {
			if err = s.Send(sending, p); err != nil {
				break
			}
		}
	}
	if ctx.Err() != nil {
		_ = s.Abort(0)
		return nil, context.Cause(ctx)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	// The close is behind all messages. The first of them took half a round trip
	// to arrive, as the answer to the close did.
	if err := s.Close(ctx); err != nil {
		return nil, fmt.Errorf("the peer has not confirmed the end of the flood: %w", err)
	}
	seconds := (time.Since(begun) - oneWay).Seconds()
	st := s.Stats()
	if !st.Complete || st.Local.Sent == 0 || seconds <= 0 {
		return nil, fmt.Errorf("after %v of flood %d messages were sent, and the counts are final: %t", duration, st.Local.Sent, st.Complete)
	}
	taken := float64(st.Remote.Received - st.Remote.Dropped)
	perSecond := taken / float64(len(pieces)) / seconds
	return bench.Throughputs(perSecond, size, 100*(1-taken/float64(st.Local.Sent))), nil
}

// networkAnswerTime is how long an answer is waited for: far longer than any
// round trip on earth.
const networkAnswerTime = 2 * time.Second

// latency measures round trips of a lone message.
func (b *networkBench) latency(ctx context.Context, size int) (bench.Values, []float64, error) {
	message := make([]byte, size)
	message[0] = lines.KindEcho
	var took []float64
	for n := range b.settings.Pings {
		binary.BigEndian.PutUint64(message[1:], uint64(n))
		d, err := b.roundTrip(ctx, message)
		switch {
		case err == nil:
			took = append(took, float64(d.Nanoseconds()))
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return nil, nil, err
		}
	}
	return bench.Latencies(took, b.settings.Pings), took, nil
}

// roundTrip returns how long a message's answer took. Late answers to earlier ones
// do not count.
func (b *networkBench) roundTrip(ctx context.Context, message []byte) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, networkAnswerTime)
	defer cancel()
	begun := time.Now()
	if err := b.Send(ctx, message); err != nil {
		return 0, err
	}
	for {
		answer, err := b.Receive(ctx, nil)
		if err != nil {
			return 0, err
		}
		if slices.Equal(answer, message) {
			return time.Since(begun), nil
		}
	}
}

// opens measures how long sessions take to open, one after another, and how many
// at once open and close in a second.
func (b *networkBench) opens(ctx context.Context, _ int) (bench.Values, []float64, error) {
	one, many := b.settings.Opens()
	var took []float64
	for range one {
		begun := time.Now()
		s, err := b.open(ctx)
		if err != nil {
			return nil, nil, err
		}
		took = append(took, float64(time.Since(begun).Nanoseconds()))
		if err := s.Close(ctx); err != nil {
			return nil, nil, err
		}
	}
	begun := time.Now()
	err := lines.InParallel(bench.Openers, many, func() error {
		s, err := b.open(ctx)
		if err != nil {
			return err
		}
		return s.Close(ctx)
	})
	return bench.Openings(took, float64(many)/time.Since(begun).Seconds()), nil, err
}
