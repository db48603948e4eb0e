package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
)

// floodStream floods one stream instead of datagrams: what reliable, ordered
// delivery costs.
func floodStream(ctx context.Context, p lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 1 || args[0] < 1 {
		return lines.Usage("want: flood-stream ADDRESS SIZE")
	}
	if err := lines.Ready(ctx, p, commands, out); err != nil {
		return err
	}
	str, err := p.(*peer).conn.OpenUniStreamSync(ctx)
	if err != nil {
		return err
	}
	var stop atomic.Bool
	var messages uint64
	ended := make(chan error, 1)
	go func() {
		b := make([]byte, args[0])
		for !stop.Load() {
			if _, err := str.Write(b); err != nil {
				ended <- err
				return
			}
			messages++
		}
		ended <- str.Close()
	}()
	if err := lines.Await(commands, "stop"); err != nil {
		return err
	}
	stop.Store(true)
	if err := <-ended; err != nil {
		return err
	}
	out.Printf("sent %d %d", messages, messages*uint64(args[0]))
	return nil
}

// controlSize is the size of the messages whose round trip is measured under
// load.
const controlSize = 32

// busy measures round trips on a stream while senders flood datagrams.
func busy(ctx context.Context, p lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 3 || args[0] < 1 {
		return lines.Usage("want: busy ADDRESS SIZE SENDERS COUNT")
	}
	if err := lines.Ready(ctx, p, commands, out); err != nil {
		return err
	}
	str, err := p.(*peer).conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	flood := lines.StartFlood(ctx, []lines.Peer{p}, args[1], args[0])
	b, buf := make([]byte, controlSize), make([]byte, controlSize)
	for range args[2] {
		begun := time.Now()
		if err := echo(str, b, buf); err != nil {
			return err
		}
		out.Printf("ping %d", time.Since(begun).Nanoseconds())
		lines.Pause()
	}
	flood.Stop()
	out.Printf("done")
	return nil
}

// open measures how long it takes to open a stream and get an answer on it.
func open(ctx context.Context, p lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 1 {
		return lines.Usage("want: open ADDRESS COUNT")
	}
	out.Printf("ready 0")
	if err := lines.Await(commands, "go"); err != nil {
		return err
	}
	for range args[0] {
		begun := time.Now()
		if err := openOne(ctx, p.(*peer)); err != nil {
			return err
		}
		out.Printf("open %d", time.Since(begun).Nanoseconds())
	}
	out.Printf("done")
	return nil
}

func openOne(ctx context.Context, p *peer) error {
	str, err := p.conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	b, buf := make([]byte, controlSize), make([]byte, controlSize)
	if err := echo(str, b, buf); err != nil {
		return err
	}
	return str.Close()
}

// opens measures how many streams can be opened and answered in a time.
func opens(ctx context.Context, p lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 2 {
		return lines.Usage("want: opens ADDRESS PARALLEL COUNT")
	}
	return lines.Opens(args[0], args[1], commands, out, func() error { return openOne(ctx, p.(*peer)) })
}

// idle holds streams open and tells what they cost on this side.
func idle(ctx context.Context, p lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 1 || args[0] > maxStreams {
		return lines.Usage("want: idle ADDRESS COUNT, at most 4096")
	}
	return lines.Idle(args[0], commands, out, func() error { return hold(ctx, p.(*peer).conn) })
}

// hold opens a stream that both sides know of, and holds it open.
func hold(ctx context.Context, conn *quic.Conn) error {
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	held.Lock()
	held.streams = append(held.streams, str)
	held.Unlock()
	b, buf := make([]byte, controlSize), make([]byte, controlSize)
	return echo(str, b, buf)
}

// held keeps what is idle from being collected.
var held struct {
	sync.Mutex
	streams []any
}

// maxLinks stays below what systems commonly let a process have open.
const maxLinks = 200

// links holds connections open, each with a socket of its own and one idle
// stream, and tells what they cost on this side.
func links(ctx context.Context, p lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 1 || args[0] > maxLinks {
		return lines.Usage(fmt.Sprintf("want: links ADDRESS COUNT, at most %d", maxLinks))
	}
	address := p.(*peer).conn.RemoteAddr().String()
	return lines.Idle(args[0], commands, out, func() error {
		conn, err := quic.DialAddr(ctx, address, clientTLS(), config())
		if err != nil {
			return err
		}
		return hold(ctx, conn)
	})
}
