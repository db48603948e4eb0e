// Command udp is the baseline of plain UDP sockets: one system call a message.
package main

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
)

func main() { lines.Main(program{}, nil) }

type program struct{}

// bufferSize is that of the socket buffers, as QUIC stacks ask for them.
const bufferSize = 7 << 20

// maxPayload is what a packet of 1,452 bytes, the largest that the QUIC stacks
// use, would hold.
const maxPayload = 1452

func (program) Serve(_ context.Context, c *lines.Counter) (net.Addr, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(bufferSize) // as much of it as the system allows
	_ = conn.SetWriteBuffer(bufferSize)
	go func() { // ends with the process
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			switch {
			case err != nil:
				return
			case n > 0 && buf[0] == lines.KindCount:
				c.Add(1, n)
			case n > 0 && buf[0] == lines.KindEcho:
				_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
			}
		}
	}()
	return conn.LocalAddr(), nil
}

func (program) Connect(_ context.Context, address string) (lines.Peer, error) {
	to, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(bufferSize)
	_ = conn.SetWriteBuffer(bufferSize)
	return peer{conn}, nil
}

type peer struct{ *net.UDPConn }

func (peer) Settle(context.Context) (int, error) { return maxPayload, nil }
func (peer) MaxMessage() int                     { return maxPayload }

func (p peer) Send(_ context.Context, b []byte) error {
	_, err := p.Write(b)
	return err
}

func (p peer) Receive(ctx context.Context, buf []byte) ([]byte, error) {
	if d, ok := ctx.Deadline(); ok {
		_ = p.SetReadDeadline(d)
	}
	n, err := p.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.DeadlineExceeded
	}
	return buf[:n], err
}

func (p peer) Close(context.Context) error { return p.UDPConn.Close() }
