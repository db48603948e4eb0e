package main

import (
	"context"
	"fmt"
	"time"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// benchModes are what this program can do besides what all can.
var benchModes = map[string]lines.Mode{
	"flood-batch": benchFloodBatch,
	"busy":        benchBusy,
	"open":        benchOpen,
	"opens":       benchOpens,
	"idle":        benchHold,
	"links":       benchLinks,
}

// benchFloodBatch floods with the calls that send and receive several messages at
// once.
func benchFloodBatch(ctx context.Context, peer lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	p := peer.(*benchPeer)
	s, err := p.dial(ctx, benchBatch)
	if err != nil {
		return err
	}
	return lines.FloodMode(ctx, batchPeer{&benchPeer{Session: s, endpoint: p.endpoint, address: p.address}}, args, commands, out)
}

// batchPeer sends in batches.
type batchPeer struct{ *benchPeer }

func (p batchPeer) SendBatch(ctx context.Context, messages [][]byte) (int, error) {
	return p.Session.SendBatch(ctx, messages, session.SendOptions{})
}

// benchTakeBatches is the receiving side of it.
func benchTakeBatches(ctx context.Context, s *quicpeer.Session, c *lines.Counter) {
	batch := make([][]byte, 64)
	for {
		n, err := s.ReceiveBatch(ctx, batch)
		if err != nil {
			return
		}
		messages, bytes := 0, 0
		for _, b := range batch[:n] {
			if len(b) > 0 && b[0] == lines.KindCount {
				messages++
				bytes += len(b)
			}
		}
		c.Add(messages, bytes)
	}
}

// benchControlSize is the size of the signals whose time is measured.
const benchControlSize = 32

// benchBusy measures what is not a message while messages flood the link.
func benchBusy(ctx context.Context, peer lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 3 || args[0] < 1 {
		return lines.Usage("want: busy ADDRESS SIZE SENDERS COUNT")
	}
	p := peer.(*benchPeer)
	if err := lines.Ready(ctx, p, commands, out); err != nil {
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

// benchLinks holds links open, each with one idle session, and tells what they
// cost on this side: each of them with the endpoint that it takes, since an
// endpoint has one link to a peer.
func benchLinks(ctx context.Context, peer lines.Peer, args []int, commands <-chan string, out *lines.Output) error {
	if len(args) != 1 || args[0] > maxBenchLinks {
		return lines.Usage(fmt.Sprintf("want: links ADDRESS COUNT, at most %d", maxBenchLinks))
	}
	p := peer.(*benchPeer)
	return lines.Idle(args[0], commands, out, func() error {
		e, err := benchEndpoint()
		if err != nil {
			return err
		}
		p.more = append(p.more, e) // one call at a time
		_, err = p.dialFrom(ctx, e, benchIdle)
		return err
	})
}

// maxBenchLinks stays below what systems commonly let a process have open.
const maxBenchLinks = 200
