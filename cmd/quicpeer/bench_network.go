package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench"
	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// benchNetworkFlags is the part of bench's command line that is for measuring over
// a network.
type benchNetworkFlags struct {
	serve     bool
	connect   string
	listen    string
	trust     []string
	identity  string
	ephemeral bool
	timeout   time.Duration
}

// networkMeasures are what one side alone can measure.
var networkMeasures = []bench.Measure{bench.Throughput, bench.Latency, bench.Sessions}

func (f *benchNetworkFlags) check(fs *pflag.FlagSet, only []bench.Measure) error {
	given := func(names ...string) string {
		for _, n := range names {
			if fs.Changed(n) {
				return n
			}
		}
		return ""
	}
	if f.serve && f.connect != "" {
		return errors.New("--serve and --connect exclude each other: one side serves, the other connects")
	}
	if f.serve || f.connect != "" {
		if n := given("baselines", "baseline", "profile"); n != "" {
			return fmt.Errorf("--%s is for measuring on this machine, without --serve and --connect", n)
		}
	} else if n := given("listen", "trust", "identity", "ephemeral", "timeout"); n != "" {
		return fmt.Errorf("--%s is for --serve and --connect", n)
	}
	switch {
	case f.serve:
		if n := given("only", "sizes", "rounds", "seconds", "pings", "quick", "json", "plot", "timeout"); n != "" {
			return fmt.Errorf("--%s is for the side that measures, and --serve is the other", n)
		}
	case f.connect != "":
		if _, err := parseTarget(f.connect); err != nil {
			return fmt.Errorf("--connect: %w", err)
		}
		for _, m := range only {
			if !slices.Contains(networkMeasures, m) {
				return fmt.Errorf("--only: %s needs processes on this machine; with --connect there are %v", m, networkMeasures)
			}
		}
	}
	switch {
	case f.ephemeral && f.identity != "":
		return errors.New("--ephemeral and --identity exclude each other: the identity is either kept in a file or not")
	case f.timeout <= 0:
		return fmt.Errorf("--timeout: %v is no time to dial", f.timeout)
	}
	return nil
}

// open opens the endpoint that the flags describe. refused is told of peers that
// are not trusted.
func (f *benchNetworkFlags) open(refused func(certs.PeerID)) (*quicpeer.Endpoint, storedIdentity, trustSet, error) {
	var trusted trustSet
	var identity storedIdentity
	words := f.trust
	if len(words) == 0 {
		words = []string{"known"}
	}
	for _, spec := range words {
		if err := trusted.add(spec); err != nil {
			return nil, identity, trusted, err
		}
	}
	var err error
	if f.ephemeral {
		identity.Identity, err = certs.Generate()
	} else {
		identity, err = openIdentity(f.identity)
	}
	if err != nil {
		return nil, identity, trusted, err
	}
	e, err := quicpeer.Listen(f.listen, &quicpeer.Config{
		Identity: identity.Identity,
		Trust:    trusted.trust(refused),
	})
	return e, identity, trusted, err
}

// benchServer serves the other side of a measurement until ctx ends.
func benchServer(ctx context.Context, std stdio, f benchNetworkFlags) error {
	out := &printer{out: std.out, err: std.err}
	var untold refusals
	e, identity, trusted, err := f.open(func(id certs.PeerID) {
		if _, tell := untold.count(time.Now()); tell {
			out.linef("* a peer was turned away, since it is not trusted: %s\n  What to do: if you know it, start with --trust and its id", id)
		}
	})
	if err != nil {
		return err
	}
	var counter lines.Counter // the side that measures has its own counts
	serving, cancel := context.WithCancel(context.Background())
	defer cancel()
	e.Handle(benchProtocol, func(in *quicpeer.Incoming) { benchServe(serving, in, &counter) })
	out.linef("* serving measurements, as peer %s\n  identity   %s\n  trusting   %s\n  listening  on %v", e.ID(), identity.where(), trusted.String(), e.Addr())
	for _, address := range reachable(e.Addr()) {
		out.linef("  reached by quicpeer bench --connect '%s#%s'", address, e.ID())
	}
	<-ctx.Done()
	closing, done := context.WithTimeout(context.Background(), benchCloseTime)
	defer done()
	_ = e.Close(closing) // who measures is told, or has ended before
	return nil
}
