package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// runFlags is the command line of run.
type runFlags struct {
	listen         string
	dial           []string
	identity       string
	ephemeral      bool
	trust          []string
	allowAnonymous bool
	noInput        bool
	timeout        time.Duration
	closeTimeout   time.Duration
	wait           time.Duration
	log            string
	qlog           string
}

// runConfig is what the command line of run means.
type runConfig struct {
	listens bool // the user has chosen the port: others are expected
	dials   []dialTarget
	timeout time.Duration // of a dial
	wait    time.Duration // after the end of the input
	level   *slog.Level   // nil: no log
}

func newRun(std stdio) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Talk to other peers, line by line",
		Long: `Talk to other peers, line by line.

The peer opens one UDP port, listens on it, and dials from it. A line that you
enter goes to all open sessions; what comes in is shown with the number of its
session and the beginning of the peer's id. /help lists the commands.

Both sides must trust each other. Whom to trust is said with --trust, which may
be repeated; any one of them will do:
` + trustHelp + `
Without --trust it is 'known', in
` + configDisplay(knownPeersFile) + `:
you can dial anybody, but only those whom you have dialed before can come in. A
peer that is dialed as ADDRESS#PEERID must have that id, whatever --trust says.

Ctrl-C, SIGTERM, /quit and the end of the input close all sessions and tell
what each peer confirmed; a second Ctrl-C ends the program at once.

If the input is not a terminal, there is no prompt; text waits until the
addresses given with --dial have answered and a session is open, one line is
done before the next is read, and at the end everything is sent before the
sessions are closed.

Exit status: 0 if every peer has confirmed the end of its session; 1 if not, if
no --dial succeeded and --listen is not given, or, with piped input, if a line
failed; 2 if the command line is wrong; 130 after a second Ctrl-C.`,
		Example: `  quicpeer run --listen :9000 --trust anyone
  quicpeer run --dial 192.0.2.7:9000
  quicpeer run --listen :9000 --dial '[2001:db8::7]:9000#PEERID'
  quicpeer run --ephemeral --dial localhost:9000
  uptime | quicpeer run --dial example.org:9000 --wait 2s`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runPeer(std, f, c.Flags().Changed("listen"))
		},
	}
	fs := c.Flags()
	fs.StringVarP(&f.listen, "listen", "l", ":0", "the UDP `ADDRESS` to listen on and dial from; an empty host\nmeans all addresses, port 0 any free port")
	fs.StringArrayVarP(&f.dial, "dial", "d", nil, "open a session with `HOST:PORT[#PEERID]`; may be repeated")
	fs.StringVar(&f.identity, "identity", "", "the key `FILE`, created if it does not exist\n(default "+configDisplay(identityFile)+")")
	fs.BoolVar(&f.ephemeral, "ephemeral", false, "use a new identity, and keep it nowhere")
	fs.StringArrayVarP(&f.trust, "trust", "t", nil, "`WHOM` to trust, see above; may be repeated")
	fs.BoolVar(&f.allowAnonymous, "allow-anonymous", false, "let in peers that have no key at all; --trust is not asked")
	fs.BoolVar(&f.noInput, "no-input", false, "read no lines; run until interrupted")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Second, "give up a dial after this long")
	fs.DurationVar(&f.closeTimeout, "close-timeout", 5*time.Second, "how long a peer has to confirm the end of a session")
	fs.DurationVar(&f.wait, "wait", 0, "after the end of the input, go on receiving for this long,\nor until all sessions are over")
	fs.StringVar(&f.log, "log", "", "log to standard error from this `LEVEL` on: debug, info, warn, error")
	fs.StringVar(&f.qlog, "qlog", "", "write a qlog file for each connection into this `DIRECTORY`")
	return c
}

// config reads what needs no files.
func (f runFlags) config(listens bool) (runConfig, error) {
	c := runConfig{listens: listens, timeout: f.timeout, wait: f.wait}
	for _, d := range f.dial {
		t, err := parseTarget(d)
		if err != nil {
			return c, usagef("--dial: %w", err)
		}
		c.dials = append(c.dials, t)
	}
	switch {
	case f.ephemeral && f.identity != "":
		return c, usagef("--ephemeral and --identity exclude each other: the identity is either kept in a file or not")
	case f.timeout <= 0:
		return c, usagef("--timeout: %v is no time to dial", f.timeout)
	case f.closeTimeout <= 0:
		return c, usagef("--close-timeout: %v is no time to confirm", f.closeTimeout)
	case f.wait < 0:
		return c, usagef("--wait: %v is negative", f.wait)
	}
	if f.log != "" {
		c.level = new(slog.Level)
		if err := c.level.UnmarshalText([]byte(f.log)); err != nil {
			return c, usagef("--log: %q is not debug, info, warn or error", f.log)
		}
	}
	return c, nil
}

// runPeer runs the interactive peer until the input ends or an interrupt
// comes. After a second interrupt it returns at once, and leaves the rest to
// the end of the process.
func runPeer(std stdio, f runFlags, listens bool) error {
	c, err := openChat(std, f, listens)
	if err != nil {
		return err
	}
	interrupts := make(chan os.Signal, 2) // two are of interest
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var input <-chan inputLine
	if !f.noInput {
		input = readLines(ctx, std.in)
	}
	over := make(chan error, 1)
	go func() { over <- c.run(ctx, input) }()
	for interrupted := false; ; interrupted = true {
		select {
		case err := <-over:
			return err
		case s := <-interrupts:
			if interrupted {
				fmt.Fprintln(std.err, "quicpeer: interrupted twice, no peer is waited for")
				return statusError(exitInterrupted)
			}
			cancel(errQuit(signalReason(s)))
		}
	}
}

func signalReason(s os.Signal) string {
	if s == os.Interrupt {
		return "interrupted"
	}
	return "terminated"
}

// openChat prepares the interactive peer up to its open port.
func openChat(std stdio, f runFlags, listens bool) (*chat, error) {
	config, err := f.config(listens)
	if err != nil {
		return nil, err
	}
	c := &chat{
		runConfig: config,
		out:       &printer{out: std.out, err: std.err},
		piped:     f.noInput || !isTerminal(std.in),
		sessions:  make(map[int]*chatSession),
		first:     make(chan struct{}),
	}
	if len(f.trust) == 0 {
		f.trust = []string{"known"}
	}
	for _, spec := range f.trust {
		if err := c.trusted.add(spec); err != nil {
			return nil, err
		}
	}
	var identity storedIdentity
	if f.ephemeral {
		identity.Identity, err = certs.Generate()
	} else {
		identity, err = openIdentity(f.identity)
	}
	if err != nil {
		return nil, err
	}
	c.endpoint, err = quicpeer.Listen(f.listen, &quicpeer.Config{
		Identity:       identity.Identity,
		Trust:          c.trusted.trust(c.refused),
		AllowAnonymous: f.allowAnonymous,
		Protocols:      []string{chatProtocol},
		Session:        session.Options{CloseTimeout: f.closeTimeout},
		Logger:         c.logger(),
		QLogDir:        f.qlog,
	})
	if err != nil {
		return nil, err
	}
	c.greet(identity)
	if out, ok := std.out.(*os.File); ok && !c.piped && isTerminal(out) {
		c.out.linef("  Lines that you enter go to all sessions; /help lists the commands.")
		c.out.setPrompt("> ")
	}
	return c, nil
}

func (c *chat) logger() *slog.Logger {
	if c.level == nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(errorLog{c.out}, &slog.HandlerOptions{Level: c.level}))
}

// greet tells who this is, and how others get here.
func (c *chat) greet(identity storedIdentity) {
	var b strings.Builder
	id := c.endpoint.ID()
	fmt.Fprintf(&b, "* you are peer %s\n", id)
	fmt.Fprintf(&b, "  identity   %s\n", identity.where())
	fmt.Fprintf(&b, "  trusting   %s\n", c.trusted.String())
	fmt.Fprintf(&b, "  listening  on %v", c.endpoint.Addr())
	for _, address := range reachable(c.endpoint.Addr()) {
		fmt.Fprintf(&b, "\n  reached by quicpeer run --dial '%s#%s'", address, id)
	}
	c.out.linef("%s", b.String())
}

// run is the peer's life after its start.
func (c *chat) run(ctx context.Context, input <-chan inputLine) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	accepted := make(chan struct{})
	go func() { // ends with the endpoint
		defer close(accepted)
		c.accept(context.WithoutCancel(ctx))
	}()
	err := c.loop(ctx, input)
	if err == endOfInput {
		c.linger(ctx)
	}
	cancel()
	c.out.setPrompt("")
	reason, quit := errors.AsType[errQuit](err)
	if !quit {
		reason = "the program failed"
	}
	shutdownErr := c.shutdown(string(reason), accepted)
	if quit {
		return shutdownErr
	}
	return err
}

// linger gives the peers time after the end of the input.
func (c *chat) linger(ctx context.Context) {
	if c.wait == 0 {
		return
	}
	timer := time.NewTimer(c.wait)
	defer timer.Stop()
	for _, s := range c.open() {
		select {
		case <-s.printed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
