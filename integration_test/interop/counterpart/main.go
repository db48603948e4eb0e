// Command counterpart is the side of the interop matrix that is made with the
// library: it plays its part of one case with a peer on another QUIC stack, and
// says in a line of JSON what it saw. The README beside it has the contract.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// patience is how long a case may take.
const patience = 10 * time.Second

// result is the line that is printed.
type result struct {
	Case     string         `json:"case"`
	OK       bool           `json:"ok"`
	Why      string         `json:"why,omitempty"`
	Sessions []sessionEntry `json:"sessions"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Printf("{\"stack\":\"quic-go\",\"version\":%q,\"language\":\"Go\"}\n", quicGoVersion())
		return
	}
	c, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "counterpart:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("the time is up"))
	defer cancel()
	err = c.play(ctx)
	r := result{Case: c.name, OK: err == nil, Sessions: c.sessions.entries()}
	if err != nil {
		r.Why = err.Error()
	}
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
	if !r.OK {
		os.Exit(1)
	}
}

func quicGoVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/quic-go/quic-go" {
				return m.Version
			}
		}
	}
	return "unknown"
}

// counterpart is one case being played.
type counterpart struct {
	name, role, address string
	identity            *certs.Identity
	peer                certs.PeerID

	endpoint *quicpeer.Endpoint
	sessions sessionLog
	attempts chan struct{} // one for each connection that came in, as far as it has room
	asked    atomic.Bool   // the peer has sent OPEN
	late     atomic.Bool   // a message came too late
	knocked  chan struct{} // closed when there is a link, if it is this side that dials
	shut     chan error    // what became of the shutdown that the peer asked for
}

func parse() (*counterpart, error) {
	c := &counterpart{attempts: make(chan struct{}, 16), knocked: make(chan struct{}), shut: make(chan error, 1)}
	flags := flag.NewFlagSet("counterpart", flag.ContinueOnError)
	flags.StringVar(&c.role, "role", "", "dial or listen")
	flags.StringVar(&c.name, "case", "", "what to play")
	flags.StringVar(&c.address, "address", "127.0.0.1:0", "where to dial or listen")
	cert := flags.String("cert", "", "PEM `file` with the certificate")
	key := flags.String("key", "", "PEM `file` with its key")
	id := flags.String("peer-id", "", "the peer's `id`")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return nil, err
	}
	if c.role != "dial" && c.role != "listen" {
		return nil, fmt.Errorf("--role is %q, want dial or listen", c.role)
	}
	if _, ok := cases[c.name]; !ok {
		return nil, fmt.Errorf("--case is %q, which is none of the cases", c.name)
	}
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return nil, fmt.Errorf("--cert and --key: %w", err)
	}
	if c.identity, err = certs.FromTLSCertificate(pair); err != nil {
		return nil, fmt.Errorf("--cert: %w", err)
	}
	if c.peer, err = certs.ParsePeerID(*id); err != nil {
		return nil, fmt.Errorf("--peer-id: %w", err)
	}
	return c, nil
}

// play makes the link, plays the case, and waits until the peer has ended all.
func (c *counterpart) play(ctx context.Context) (err error) {
	listen := c.address
	if c.role == "dial" {
		listen = "127.0.0.1:0"
	}
	level := slog.LevelWarn
	if os.Getenv("VERBOSE") != "" {
		level = slog.LevelDebug
	}
	c.endpoint, err = quicpeer.Listen(listen, &quicpeer.Config{
		Identity:       c.identity,
		Trust:          certs.IDs(c.peer),
		AllowAnonymous: c.name == "anonymous",
		Logger:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		AdmitConnection: func(quicpeer.ConnectionInfo) error {
			select {
			case c.attempts <- struct{}{}:
			default:
			}
			return nil
		},
		AdmitSession: func(*quicpeer.Incoming) bool {
			c.asked.Store(true)
			return true
		},
	})
	if err != nil {
		return err
	}
	defer func() {
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.endpoint.Close(short) // the case has its verdict
	}()
	c.serve(ctx)
	if c.role == "listen" {
		fmt.Println("listening", c.endpoint.Addr())
	}
	return cases[c.name](ctx, c)
}
