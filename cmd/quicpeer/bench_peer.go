package main

import (
	"context"
	"errors"
	"fmt"
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
			err := lines.Run(context.Background(), benchProgram{}, benchModes, args, std.in, std.out)
			if usage, ok := errors.AsType[lines.Usage](err); ok {
				return &usageError{usage}
			}
			return err
		},
	}
}

// benchProgram is quicpeer as a benchmark sees it.
type benchProgram struct{}

func benchEndpoint() (*quicpeer.Endpoint, error) {
	// Only loopback is bound, and nothing of worth is behind it.
	return quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{
		Trust:  certs.Anyone(),
		Limits: quicpeer.Limits{SessionsPerLink: maxBenchSessions},
	})
}

// maxBenchSessions is how many sessions the idle mode may hold open.
const maxBenchSessions = 4096

func (benchProgram) Serve(ctx context.Context, c *lines.Counter) (net.Addr, error) {
	e, err := benchEndpoint()
	if err != nil {
		return nil, err
	}
	e.Handle(benchProtocol, func(in *quicpeer.Incoming) { benchServe(ctx, in, c) })
	return e.Addr(), nil
}

// benchServe serves one session: messages, and signals, which are only taken.
func benchServe(ctx context.Context, in *quicpeer.Incoming, c *lines.Counter) {
	s, err := in.Accept(nil)
	if err != nil {
		return
	}
	if string(s.Metadata()) == benchIdle {
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

// benchIdle is the metadata of a session on which nothing will happen.
const benchIdle = "idle"

func (benchProgram) Connect(ctx context.Context, address string) (lines.Peer, error) {
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
}

func (p *benchPeer) dial(ctx context.Context, metadata string) (*quicpeer.Session, error) {
	return p.endpoint.Dial(ctx, p.address, &quicpeer.DialOptions{Protocol: benchProtocol, Metadata: []byte(metadata)})
}

// How the end of discovery of the path's size is told: the size has not changed
// for a while.
const (
	benchSettleTime = time.Second
	benchSteadyTime = 200 * time.Millisecond
	benchSettleStep = 5 * time.Millisecond
)

func (p *benchPeer) Settle(ctx context.Context) (int, error) {
	step := time.NewTicker(benchSettleStep)
	defer step.Stop()
	begun, size := time.Now(), p.DatagramSize()
	for changed := begun; time.Since(begun) < benchSettleTime && time.Since(changed) < benchSteadyTime; {
		if err := p.Send(ctx, []byte{lines.KindIgnore}); err != nil {
			return 0, err
		}
		if n := p.DatagramSize(); n != size {
			size, changed = n, time.Now()
		}
		<-step.C
	}
	return size, nil
}

func (p *benchPeer) MaxMessage() int { return p.MaxMessageSize() }

func (p *benchPeer) Receive(ctx context.Context, _ []byte) ([]byte, error) {
	return p.Session.Receive(ctx)
}

func (p *benchPeer) Close(ctx context.Context) error { return p.endpoint.Close(ctx) }

// benchModes are what this program can do besides what all can.
var benchModes = map[string]lines.Mode{
	"busy":  benchBusy,
	"open":  benchOpen,
	"opens": benchOpens,
	"idle":  benchHold,
}

// benchControlSize is the size of the signals whose time is measured.
const benchControlSize = 32

// benchBusy measures what is not a message while messages flood the link.
func benchBusy(ctx context.Context, peer lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 3 || args[0] < 1 {
		return lines.Usage("want: busy ADDRESS SIZE SENDERS COUNT")
	}
	p := peer.(*benchPeer)
	size, err := p.Settle(ctx)
	if err != nil {
		return err
	}
	out.Printf("ready %d", size)
	if err := lines.Await(commands, "go"); err != nil {
		return err
	}
	quiet, err := p.dial(ctx, "")
	if err != nil {
		return err
	}
	flood := lines.StartFlood(ctx, []lines.Peer{p}, args[1], args[0])
	for range args[2] {
		var s *quicpeer.Session
		for _, act := range []struct {
			name string
			do   func() error
		}{
			{"ping", func() error { _, err := quiet.Ping(ctx); return err }},
			{"signal", func() error { return quiet.Signal(ctx, make([]byte, benchControlSize)) }},
			{"open", func() (err error) { s, err = p.dial(ctx, ""); return err }},
			{"close", func() error { return s.Close(ctx) }},
		} {
			begun := time.Now()
			if err := act.do(); err != nil {
				return fmt.Errorf("%s under load: %w", act.name, err)
			}
			out.Printf("%s %d", act.name, time.Since(begun).Nanoseconds())
			lines.Pause()
		}
	}
	flood.Stop()
	out.Printf("done")
	return nil
}

// benchOpen measures how long it takes to open a session.
func benchOpen(ctx context.Context, peer lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 1 {
		return lines.Usage("want: open ADDRESS COUNT")
	}
	p := peer.(*benchPeer)
	out.Printf("ready 0")
	if err := lines.Await(commands, "go"); err != nil {
		return err
	}
	for range args[0] {
		begun := time.Now()
		s, err := p.dial(ctx, "")
		if err != nil {
			return err
		}
		out.Printf("open %d", time.Since(begun).Nanoseconds())
		if err := s.Close(ctx); err != nil {
			return err
		}
	}
	out.Printf("done")
	return nil
}

// benchOpens measures how many sessions can be opened and closed in a time.
func benchOpens(ctx context.Context, peer lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 2 {
		return lines.Usage("want: opens ADDRESS PARALLEL COUNT")
	}
	p := peer.(*benchPeer)
	return lines.Opens(args[0], args[1], commands, out, func() error {
		s, err := p.dial(ctx, "")
		if err != nil {
			return err
		}
		return s.Close(ctx)
	})
}

// benchHold holds sessions open and tells what they cost on this side.
func benchHold(ctx context.Context, peer lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 1 || args[0] > maxBenchSessions-2 {
		return lines.Usage(fmt.Sprintf("want: idle ADDRESS COUNT, at most %d", maxBenchSessions-2))
	}
	p := peer.(*benchPeer)
	return lines.Idle(args[0], commands, out, func() error {
		_, err := p.dial(ctx, benchIdle)
		return err
	})
}
