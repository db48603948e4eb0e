package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// benchProtocol is the application protocol between the processes of a
// benchmark.
const benchProtocol = "quicpeer-bench"

// newBenchPeer is one process of a benchmark. The bench starts it; people need
// not see it.
func newBenchPeer(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:    "bench-peer",
		Short:  "One process of a benchmark; the bench starts it",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			program := &benchProgram{}
			err := lines.Run(context.Background(), program, benchModes, args, std.in, std.out)
			program.close()
			if usage, ok := errors.AsType[lines.Usage](err); ok {
				return &usageError{usage}
			}
			return err
		},
	}
}

// benchProgram is quicpeer as a benchmark sees it.
type benchProgram struct {
	serving *quicpeer.Endpoint // nil if it does not
}

// close ends what serves. Those who connected have ended before, or are gone.
func (p *benchProgram) close() {
	if p.serving == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), benchCloseTime)
	defer cancel()
	_ = p.serving.Close(ctx)
}

const benchCloseTime = 2 * time.Second

func benchEndpoint() (*quicpeer.Endpoint, error) {
	// Only loopback is bound, and nothing of worth is behind it.
	return quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{
		Trust: certs.Anyone(),
		Limits: quicpeer.Limits{
			SessionsPerLink: maxBenchSessions,
			LinksPerAddress: -1, HandshakesPerSecond: -1, // all come from here
		},
	})
}

// maxBenchSessions is how many sessions the idle mode may hold open.
const maxBenchSessions = 4096

func (p *benchProgram) Serve(ctx context.Context, c *lines.Counter) (net.Addr, error) {
	e, err := benchEndpoint()
	if err != nil {
		return nil, err
	}
	p.serving = e
	e.Handle(benchProtocol, func(in *quicpeer.Incoming) { benchServe(ctx, in, c) })
	return e.Addr(), nil
}

// benchServe serves one session: messages, and signals, which are only taken.
func benchServe(ctx context.Context, in *quicpeer.Incoming, c *lines.Counter) {
	s, err := in.Accept(nil)
	if err != nil {
		return
	}
	switch string(s.Metadata()) {
	case benchIdle:
		return
	case benchBatch:
		benchTakeBatches(ctx, s, c)
		return
	}
	go func() {
		for {
			if _, err := s.ReceiveSignal(ctx); err != nil {
				return
			}
		}
	}()
	for {
		b, err := s.Receive(ctx)
		switch {
		case err != nil:
			return
		case len(b) > 0 && b[0] == lines.KindCount:
			c.Add(1, len(b))
		case len(b) > 0 && b[0] == lines.KindEcho:
			if s.Send(ctx, b) != nil {
				return
			}
		}
	}
}

// Metadata of sessions: on one nothing will happen, on the other messages are
// taken in batches.
const (
	benchIdle  = "idle"
	benchBatch = "batch"
)

func (*benchProgram) Connect(ctx context.Context, address string) (lines.Peer, error) {
	e, err := benchEndpoint()
	if err != nil {
		return nil, err
	}
	p := &benchPeer{endpoint: e, address: address}
	p.Session, err = p.dial(ctx, "")
	return p, err
}

type benchPeer struct {
	*quicpeer.Session
	endpoint *quicpeer.Endpoint
	address  string
	id       certs.PeerID // that must be there; zero: whoever is trusted

	more []*quicpeer.Endpoint // of the links mode
}

func (p *benchPeer) dial(ctx context.Context, metadata string) (*quicpeer.Session, error) {
	return p.dialFrom(ctx, p.endpoint, metadata)
}

func (p *benchPeer) dialFrom(ctx context.Context, e *quicpeer.Endpoint, metadata string) (*quicpeer.Session, error) {
	return e.Dial(ctx, p.address, &quicpeer.DialOptions{Protocol: benchProtocol, Metadata: []byte(metadata), PeerID: p.id})
}

func (p *benchPeer) Settle(ctx context.Context) (int, error) {
	return lines.Settle(ctx, p, func() (int, error) { return p.DatagramSize(), nil })
}

func (p *benchPeer) MaxMessage() int { return p.MaxMessageSize() }

func (p *benchPeer) Receive(ctx context.Context, _ []byte) ([]byte, error) {
	return p.Session.Receive(ctx)
}

func (p *benchPeer) Close(ctx context.Context) error {
	errs := make(chan error)
	for _, e := range p.more {
		go func() { errs <- e.Close(ctx) }()
	}
	err := p.endpoint.Close(ctx)
	for range p.more {
		err = errors.Join(err, <-errs)
	}
	return err
}
