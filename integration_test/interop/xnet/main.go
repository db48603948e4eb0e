// Command peer shows what becomes of a stack that has no QUIC datagrams:
// golang.org/x/net/quic. It can play one case of the interop matrix, in which it
// has to be refused clearly. The README of the folder above has the contract.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/net/quic"
)

const (
	module      = "golang.org/x/net"
	alpn        = "quicpeer/1"
	unsupported = 0x07
	patience    = 10 * time.Second
	noDatagrams = "the stack has no datagrams (RFC 9221)"
)

type result struct {
	Case       string     `json:"case"`
	OK         bool       `json:"ok"`
	Why        string     `json:"why,omitempty"`
	Impossible string     `json:"impossible,omitempty"`
	Sessions   []struct{} `json:"sessions"`
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) (status int) {
	if len(args) > 0 && args[0] == "--version" {
		return report(map[string]string{"stack": "golang.org/x/net/quic", "version": version(), "language": "Go"}, 0)
	}
	if len(args) > 0 && args[0] == "vectors" {
		return report(result{Impossible: noDatagrams}, 3)
	}
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	role := flags.String("role", "", "dial or listen")
	name := flags.String("case", "", "what to play")
	address := flags.String("address", "127.0.0.1:0", "where to dial or listen")
	cert := flags.String("cert", "", "PEM `file` with the certificate")
	key := flags.String("key", "", "PEM `file` with its key")
	id := flags.String("peer-id", "", "the peer's `id`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *role != "dial" && *role != "listen" {
		fmt.Fprintf(os.Stderr, "peer: --role is %q, want dial or listen\n", *role)
		return 2
	}
	if *name != "no-datagrams" {
		return report(result{Case: *name, Impossible: noDatagrams}, 3)
	}
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		return 2
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("waited in vain for the peer to end the connection"))
	defer cancel()
	if err := play(ctx, *role, *address, config(pair, *id)); err != nil {
		return report(result{Case: *name, Why: err.Error()}, 1)
	}
	return report(result{Case: *name, OK: true, Sessions: []struct{}{}}, 0)
}

func report(v any, status int) int {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
	return status
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "unknown"
}

// config accepts any certificate and then looks at its key. crypto/tls checks
// that the peer has the key, whatever InsecureSkipVerify says.
func config(pair tls.Certificate, id string) *quic.Config {
	return &quic.Config{TLSConfig: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{pair},
		NextProtos:         []string{alpn},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
			if text != strings.ToLower(id) {
				return fmt.Errorf("the peer is %s, want %s", text, id)
			}
			return nil
		},
	}}
}

// play connects, either way, and expects to be told why that is no use.
func play(ctx context.Context, role, address string, c *quic.Config) error {
	local, serve := address, c
	if role == "dial" {
		local, serve = "127.0.0.1:0", nil
	}
	endpoint, err := quic.Listen("udp4", local, serve)
	if err != nil {
		return err
	}
	defer func() {
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = endpoint.Close(short) // what matters is seen by then
	}()
	var conn *quic.Conn
	if role == "listen" {
		fmt.Println("listening", endpoint.LocalAddr())
		conn, err = endpoint.Accept(ctx)
	} else {
		conn, err = endpoint.Dial(ctx, "udp4", address, c)
	}
	if err == nil {
		err = conn.Wait(ctx)
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); !ok || e.Code != unsupported {
		return fmt.Errorf("want the connection closed with the code %#x, got: %w", unsupported, errors.Join(err, context.Cause(ctx)))
	}
	return nil
}
