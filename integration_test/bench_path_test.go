package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	bench "github.com/oneportnet/quicpeer/cmd/quicpeer/bench/path"
)

const (
	// pathRate is that of an ordinary fast access line.
	pathRate = 100_000_000
	// pathRounds is how many times each side runs, in turn; medians are
	// reported.
	pathRounds = 5
	// pathWarmUp, in round trips, comes before the counting: by then slow
	// start and discovery of the path's size, a probe every five round trips,
	// are over.
	pathWarmUp = 50
	// pathTime is how long is counted.
	pathTime = 10 * time.Second
	// lossyFlows run side by side where packets are lost at random, each on a
	// path of its own: there the goodput is a matter of luck, and small.
	lossyFlows = 16
)

// BenchmarkPath floods full-size messages over constrained paths, with quicpeer
// and with the datagrams of quic-go used bare, in turn, and reports the goodput
// of both and their ratio, for the warm-up as well. It takes about eleven
// minutes:
//
//	go test -run '^$' -bench Path -benchtime 1x -timeout 30m ./integration_test
func BenchmarkPath(b *testing.B) {
	for _, rtt := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond} {
		for _, loss := range []float64{0, 0.01} {
			b.Run(fmt.Sprintf("rtt=%v/loss=%v%%", rtt, 100*loss), func(b *testing.B) {
				flows := 1
				if loss > 0 {
					flows = lossyFlows
				}
				var ours, bare floods
				for round := range b.N * pathRounds {
					c := bench.Config{Rate: pathRate, Delay: rtt / 2, Loss: loss, Seed: uint64(round * flows)}
					ours.add(goodput(b, c, flows, startPeers))
					bare.add(goodput(b, c, flows, startBare))
				}
				b.ReportMetric(0, "ns/op") // means nothing here
				b.ReportMetric(median(ours.steady), "quicpeer-Mbit/s")
				b.ReportMetric(median(bare.steady), "bare-Mbit/s")
				b.ReportMetric(median(ours.steady)/median(bare.steady), "of-bare")
				b.ReportMetric(median(ours.start)/median(bare.start), "of-bare-at-start")
				b.Logf("Mbit/s: quicpeer %.2f, bare %.2f", ours, bare)
			})
		}
	}
}

// floods are the Mbit/s of several, by round: during the warm-up, and after it.
type floods struct{ start, steady []float64 }

func (f *floods) add(start, steady float64) {
	f.start, f.steady = append(f.start, start), append(f.steady, steady)
}

func median(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }

// A floodLine is one connection over a path. Its functions return an error once
// the connection has ended.
type floodLine struct {
	size    func() (int, error) // of the largest message in one datagram, now
	send    func(message []byte) error
	receive func() ([]byte, error)
	stop    func() // ends both sides, and returns once they have ended
}

// startFlow starts a server, has a path put in front of it, and connects.
type startFlow func(ctx context.Context, b *testing.B, through func(server netip.AddrPort) netip.AddrPort) floodLine

// goodput returns the Mbit/s of messages that arrive, of all flows together,
// during the warm-up and after it.
func goodput(b *testing.B, c bench.Config, flows int, start startFlow) (warmUp, steady float64) {
	ctx, cancel := context.WithCancel(b.Context())
	flooding, end := context.WithCancel(ctx)
	defer end()
	var relays []*bench.Relay
	var lines []floodLine
	for range flows {
		lines = append(lines, start(flooding, b, func(server netip.AddrPort) netip.AddrPort {
			r, err := bench.Start(ctx, server, c)
			require.NoError(b, err)
			relays = append(relays, r)
			c.Seed++
			return r.Addr()
		}))
	}
	var arrived atomic.Int64
	// during waits a while, and returns the Mbit/s meanwhile.
	during := func(d time.Duration) float64 {
		before, begun := arrived.Load(), time.Now()
		wait(ctx, d)
		return float64(arrived.Load()-before) * 8 / 1e6 / time.Since(begun).Seconds()
	}
	var running sync.WaitGroup
	for _, l := range lines {
		running.Go(func() {
			for {
				m, err := l.receive()
				if err != nil {
					return
				}
				arrived.Add(int64(len(m)))
			}
		})
		running.Go(func() { floodUntil(flooding, l) })
	}
	warmUp, steady = during(pathWarmUp*2*c.Delay), during(pathTime)
	for _, r := range relays {
		there, back := r.Counts()
		if there.Faults()+back.Faults() > 0 {
			b.Logf("the relay itself lost packets: %+v, %+v", there, back)
		}
	}
	end()
	for _, l := range lines {
		running.Go(l.stop)
	}
	running.Wait()
	cancel()
	for _, r := range relays {
		r.Wait()
	}
	return warmUp, steady
}

// floodUntil sends as much as is taken, until ctx ends.
func floodUntil(ctx context.Context, l floodLine) {
	var message []byte
	var checked time.Time
	for ctx.Err() == nil {
		if now := time.Now(); now.Sub(checked) > 100*time.Millisecond {
			checked = now
			size, err := l.size()
			if err != nil {
				return
			}
			message = make([]byte, size)
		}
		if l.send(message) != nil {
			return
		}
	}
}

// wait waits; the time is what is measured.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// startPeers connects two endpoints.
func startPeers(ctx context.Context, b *testing.B, through func(netip.AddrPort) netip.AddrPort) floodLine {
	server := startPeer(b, "127.0.0.1:0", nil)
	client := startPeer(b, "127.0.0.1:0", nil)
	from, to := dialAt(ctx, b, client, server, through(addrPort(server.Addr())).String())
	return floodLine{
		size:    func() (int, error) { return from.DatagramSize(), nil },
		send:    func(m []byte) error { return from.Send(ctx, m) },
		receive: func() ([]byte, error) { return to.Receive(ctx) },
		stop: func() {
			_ = from.Abort(0)
			_ = to.Abort(0)
			closing, cancel := context.WithTimeout(b.Context(), time.Second)
			defer cancel()
			_ = client.Close(closing)
			_ = server.Close(closing)
		},
	}
}

// startBare connects two of quic-go, as it comes, with the same certificates.
func startBare(ctx context.Context, b *testing.B, through func(netip.AddrPort) netip.AddrPort) floodLine {
	server, client := newIdentity(b), newIdentity(b)
	config := &quic.Config{EnableDatagrams: true}
	ln, err := quic.ListenAddr("127.0.0.1:0", server.ServerTLS(chat, certs.Anyone(), false), config)
	require.NoError(b, err)
	address := through(addrPort(ln.Addr())).String()
	from, err := quic.DialAddr(ctx, address, client.ClientTLS(chat, certs.Anyone(), address), config)
	require.NoError(b, err)
	to, err := ln.Accept(ctx)
	require.NoError(b, err)
	return floodLine{
		size:    func() (int, error) { return datagramLimit(from) },
		send:    from.SendDatagram,
		receive: func() ([]byte, error) { return to.ReceiveDatagram(ctx) },
		stop: func() {
			_ = from.CloseWithError(0, "")
			_ = to.CloseWithError(0, "")
			_ = ln.Close()
		},
	}
}

// datagramLimit returns the size of the largest datagram: only the error for one
// that is too large tells.
func datagramLimit(c *quic.Conn) (int, error) {
	err := c.SendDatagram(make([]byte, 1<<16))
	if e, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		return int(e.MaxDatagramPayloadSize), nil
	}
	return 0, err
}
