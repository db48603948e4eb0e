package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oneportnet/quicpeer/certs"
)

// stdio is what a command reads from and writes to.
type stdio struct {
	in       *os.File
	out, err io.Writer
}

// Exit statuses, as --help states them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 + SIGINT, as shells report it
)

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// statusError ends a command whose output has said everything already.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// execute runs one command line and returns the exit status.
func execute(args []string, std stdio) int {
	root := newRoot(std)
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	command, err := root.ExecuteC()
	if err == nil {
		return exitOK
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return int(status)
	}
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(std.err, "quicpeer: %v\n", usage)
		fmt.Fprintf(std.err, "  See '%s --help'.\n", command.CommandPath())
		return exitUsage
	}
	cause, remedy := explain(err, certs.PeerID{})
	fmt.Fprintf(std.err, "quicpeer: %s\n", cause)
	if remedy != "" {
		fmt.Fprintf(std.err, "  What to do: %s\n", remedy)
	}
	return exitFailure
}

func newRoot(std stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "quicpeer",
		Short: "Peers over QUIC: one UDP port that both listens and dials",
		Long: `Peers over QUIC: one UDP port that both listens and dials.

A peer opens sessions with other peers from the port it listens on. A session
carries unreliable messages and reliable signals both ways, and its end is
confirmed: both sides know the code, the reason and how many messages were
lost. A peer is known by its key; its id is the fingerprint of that key.

Exit status:
    0  all went well
    1  something failed; the message says what, and what to do
    2  the command line is wrong
  130  interrupted (Ctrl-C)`,
		Example: `  quicpeer demo                               see it work, on this machine alone
  quicpeer run --listen :9000 --trust anyone  wait for peers on port 9000
  quicpeer run --dial 192.0.2.7:9000          talk to one`,
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return usagef("there is no command %q, perhaps %s is meant", args[0], strings.Join(near, " or "))
			}
			return usagef("there is no command %q", args[0])
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newDemo(std), newDemoPeer(std), newBenchPeer(std), newRun(std), newBench(std), newID(std), newVersion(std))
	return root
}

// noArgs is for commands that take flags only.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q takes no arguments, got %q", c.CommandPath(), args[0])
	}
	return nil
}
