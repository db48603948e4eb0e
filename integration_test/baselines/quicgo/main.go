// Command quicgo is the baseline of quic-go used bare: datagrams or, with
// flood-stream, one stream; and stream echoes for what sessions are compared to.
package main

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
)

func main() {
	lines.Main(program{}, map[string]lines.Mode{
		"flood-stream": floodStream,
		"busy":         busy,
		"open":         open,
		"opens":        opens,
		"idle":         idle,
		"links":        links,
	})
}

type program struct{}

// maxStreams is how many streams the idle mode may hold open.
const maxStreams = 4096

func config() *quic.Config {
	return &quic.Config{EnableDatagrams: true, MaxIncomingStreams: maxStreams, MaxIncomingUniStreams: maxStreams}
}

func (program) Serve(ctx context.Context, c *lines.Counter) (net.Addr, error) {
	tlsConfig, err := serverTLS()
	if err != nil {
		return nil, err
	}
	ln, err := quic.ListenAddr("127.0.0.1:0", tlsConfig, config())
	if err != nil {
		return nil, err
	}
	go func() { // ends with the process, as what it starts does
		for {
			conn, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			go receive(ctx, conn, c)
			go acceptEchoes(ctx, conn)
			go acceptCounted(ctx, conn, c)
		}
	}()
	return ln.Addr(), nil
}

func receive(ctx context.Context, conn *quic.Conn, c *lines.Counter) {
	for {
		b, err := conn.ReceiveDatagram(ctx)
		switch {
		case err != nil:
			return
		case len(b) > 0 && b[0] == lines.KindCount:
			c.Add(1, len(b))
		case len(b) > 0 && b[0] == lines.KindEcho:
			if conn.SendDatagram(b) != nil {
				return
			}
		}
	}
}

// acceptEchoes sends back what comes on bidirectional streams.
func acceptEchoes(ctx context.Context, conn *quic.Conn) {
	for {
		str, err := conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		go func() {
			buf := make([]byte, 64)
			for {
				n, err := str.Read(buf)
				if n > 0 {
					if _, err := str.Write(buf[:n]); err != nil {
						return
					}
				}
				if err != nil {
					_ = str.Close()
					return
				}
			}
		}()
	}
}

// acceptCounted counts the bytes of unidirectional streams.
func acceptCounted(ctx context.Context, conn *quic.Conn, c *lines.Counter) {
	for {
		str, err := conn.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		go func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := str.Read(buf)
				c.Add(1, n)
				if err != nil {
					return
				}
			}
		}()
	}
}

func (program) Connect(ctx context.Context, address string) (lines.Peer, error) {
	conn, err := quic.DialAddr(ctx, address, clientTLS(), config())
	if err != nil {
		return nil, err
	}
	p := &peer{conn: conn}
	p.size, err = p.datagramLimit()
	return p, err
}

type peer struct {
	conn *quic.Conn
	size int
}

// datagramLimit asks for the size of the largest datagram: only the error for one that
// is too large tells.
func (p *peer) datagramLimit() (int, error) {
	err := p.conn.SendDatagram(make([]byte, 1<<16))
	if e, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		return int(e.MaxDatagramPayloadSize), nil
	}
	return 0, err
}

func (p *peer) Settle(ctx context.Context) (int, error) {
	size, err := lines.Settle(ctx, p, p.datagramLimit)
	p.size = size
	return size, err
}

func (p *peer) MaxMessage() int                        { return p.size }
func (p *peer) Send(_ context.Context, b []byte) error { return p.conn.SendDatagram(b) }
func (p *peer) Close(context.Context) error            { return p.conn.CloseWithError(0, "") }
func (p *peer) Receive(ctx context.Context, _ []byte) ([]byte, error) {
	return p.conn.ReceiveDatagram(ctx)
}

// echo opens nothing: it sends b on a stream and reads it back into buf.
func echo(str *quic.Stream, b, buf []byte) error {
	if _, err := str.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(str, buf[:len(b)])
	return err
}
