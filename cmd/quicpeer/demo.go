package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// demoConfig is how the demo runs.
type demoConfig struct {
	ports    []int // of alice and bob, to try first
	messages int   // each way, on each session
	signals  int   // each way, on each session
	loss     int   // percent of the packets between carol and bob
	timeout  time.Duration
}

func newDemo(std stdio) *cobra.Command {
	f := demoConfig{signals: 3}
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: two peers dial each other from the ports they listen on",
		Long: `See it work, on this machine alone. Nothing needs to be set up.

Two processes, alice and bob, each open one UDP port, listen on it, and dial
each other from it at the same moment, over IPv4 and IPv6. A third, carol, only
dials; her way to bob loses packets. Messages and signals flow both ways on all
sessions. Then sessions are closed with a code and a reason, and the other side
prints both, with the exact count of messages lost.

What happened is printed as a timeline, and at the end what it proves, measured
and not assumed. The exit status is 1 if anything did not hold.

Each peer trusts exactly the ids of the others. The sockets are open to the
network while the demo runs, some seconds.`,
		Example: `  quicpeer demo
  quicpeer demo --ports 7001,7002
  quicpeer demo --messages 3000 --loss 20`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := f.check(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err := runDemo(ctx, f, &printer{out: std.out, err: std.err})
			if ctx.Err() != nil {
				fmt.Fprintln(std.err, "quicpeer: interrupted; the demo's processes are gone")
				return statusError(exitInterrupted)
			}
			return err
		},
	}
	c.Flags().IntSliceVar(&f.ports, "ports", []int{9000, 9001}, "the two UDP `PORTS` of alice and bob; others are used if they are taken")
	c.Flags().IntVar(&f.messages, "messages", 500, "how many messages each side sends on each session")
	c.Flags().IntVar(&f.loss, "loss", 5, "how many percent of the packets between carol and bob get lost")
	c.Flags().DurationVar(&f.timeout, "timeout", 15*time.Second, "give up after this long")
	return c
}

func (f demoConfig) check() error {
	if len(f.ports) != 2 {
		return usagef("--ports needs two ports, as in --ports 9000,9001; got %d", len(f.ports))
	}
	for _, p := range f.ports {
		if p < 0 || p > 65535 {
			return usagef("--ports: %d is not a port; they go from 1 to 65535, 0 means any", p)
		}
	}
	switch {
	case f.messages < 0:
		return usagef("--messages: %d is negative", f.messages)
	case f.loss < 0 || f.loss > 50:
		return usagef("--loss: %d is not from 0 to 50; with more, no handshake gets through in time", f.loss)
	case f.timeout <= 0:
		return usagef("--timeout: %v is no time to run", f.timeout)
	}
	return nil
}

// errDemoTimeout is why a demo is stopped that does not end.
var errDemoTimeout = errors.New("stopped, its time is over")

// runDemo runs the script against processes of its own. All of them have ended
// when it returns.
func runDemo(ctx context.Context, f demoConfig, out *printer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, errDemoTimeout)
	defer cancel()
	d := newDemoScript(f, out)
	defer d.waitProcesses()
	defer cancel() // kills what is left
	if err := d.play(ctx); err != nil {
		if context.Cause(ctx) == errDemoTimeout {
			return fmt.Errorf("demo: %w after %v, --timeout allows more: %w", errDemoTimeout, f.timeout, err)
		}
		return fmt.Errorf("demo: %w", err)
	}
	if !d.verdict() {
		return statusError(exitFailure)
	}
	return nil
}
