package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// A load is what one process of a soak does with its endpoint: workers open
// sessions, send at a steady rate, and end them in all ways; what comes in is
// echoed. Every session's counts are judged at its end.
type load struct {
	e        *quicpeer.Endpoint
	targets  []string
	rate     float64      // messages a second of one session
	complain func(string) // tells of a broken promise
	counts   totals
}

// totals are sums over all sessions that have ended, and what the applications
// did. They only grow.
type totals struct {
	Opened, Accepted, Failed atomic.Uint64
	Closed, Torn             atomic.Uint64 // sessions, by their end: complete counts, or not
	Sent, Received, Lost     atomic.Uint64 // messages; lost are those of both ways
	Dropped                  atomic.Uint64 // of all reasons, on both ways
	Signals                  atomic.Uint64 // taken by the peer's application
}

// Times of a soak's sessions.
const (
	soakLife, soakLifeMax = time.Second, 20 * time.Second
	soakCall              = 5 * time.Second
	beat                  = 100 * time.Millisecond // between bursts of messages
)

// work opens sessions one after another until ctx ends.
func (l *load) work(ctx context.Context, worker int) {
	r := rand.New(rand.NewPCG(uint64(worker), uint64(time.Now().UnixNano())))
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%d.%d.%x", worker, n, r.Uint32())
		target := l.targets[r.IntN(len(l.targets)-1)]
		if r.IntN(100) == 0 {
			target = l.targets[len(l.targets)-1] // rarely: its link becomes idle
		}
		dialing, cancel := context.WithTimeout(ctx, soakCall)
		s, err := l.e.Dial(dialing, target, &quicpeer.DialOptions{Protocol: protocol, Metadata: []byte(id)})
		cancel()
		if err != nil {
			l.counts.Failed.Add(1)
			pause(ctx, 200*time.Millisecond)
			continue
		}
		l.counts.Opened.Add(1)
		l.converse(ctx, s, id, between(r, soakLife, soakLifeMax), r.IntN(20))
	}
}

// converse sends for a while, takes the echoes, and ends the session.
func (l *load) converse(ctx context.Context, s *quicpeer.Session, id string, life time.Duration, end int) {
	var wg sync.WaitGroup
	var pushed, taken uint64
	wg.Go(func() { pushed = l.sendAll(s, id) })
	wg.Go(func() { taken = l.takeEchoes(s, id) })
	wg.Go(func() { l.signals(s) })
	timer := time.NewTimer(life)
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.Done():
	}
	timer.Stop()
	switch {
	case end == 0 && ctx.Err() == nil:
		_ = s.Abort(session.FirstApplicationCode)
	case end == 1 && ctx.Err() == nil:
		over, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_ = s.CloseWithError(over, session.FirstApplicationCode, "in a hurry")
		cancel()
	default:
		over, cancel := context.WithTimeout(context.Background(), soakCall)
		_ = s.CloseWithError(over, session.FirstApplicationCode, id)
		cancel()
	}
	<-s.Done()
	wg.Wait()
	l.judge(s, id, pushed, taken)
}

// sendAll sends at the rate until the session ends, and returns how many
// messages were taken.
func (l *load) sendAll(s *quicpeer.Session, id string) (pushed uint64) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var owed float64
	var number uint64
	for {
		select {
		case <-s.Done():
			return pushed
		case <-ticker.C:
		}
		owed += l.rate * beat.Seconds()
		batch := make([][]byte, int(owed))
		owed -= float64(len(batch))
		for i := range batch {
			size := 40
			if number%50 == 0 {
				size = 3000
			}
			batch[i] = makePayload(id, roleOpener, number, size)
			number++
		}
		ctx, cancel := context.WithTimeout(context.Background(), soakCall)
		n, err := s.SendBatch(ctx, batch, datagram.SendOptions{})
		cancel()
		pushed += uint64(n)
		if over(err) {
			return pushed
		}
	}
}

// takeEchoes takes messages until the session ends, and returns how many.
func (l *load) takeEchoes(s *quicpeer.Session, id string) (taken uint64) {
	seen := make(map[uint64]bool)
	for {
		m, err := s.Receive(context.Background())
		if err != nil {
			return taken
		}
		taken++
		number, err := readPayload(m, id, roleOpener)
		switch {
		case err != nil:
			l.complain(fmt.Sprintf("session %s: %v", id, err))
		case seen[number]:
			l.complain(fmt.Sprintf("session %s: message %d came twice", id, number))
		}
		seen[number] = true
	}
}

// signals sends signals, which the peer answers by taking them.
func (l *load) signals(s *quicpeer.Session) {
	for number := uint64(0); ; number++ {
		ctx, cancel := context.WithTimeout(context.Background(), soakCall)
		err := s.Signal(ctx, binary.BigEndian.AppendUint64(nil, number))
		cancel()
		if err != nil {
			if !over(err) && !errors.Is(err, context.DeadlineExceeded) {
				l.complain(fmt.Sprintf("signal: %v", err))
			}
			if over(err) {
				return
			}
		} else {
			l.counts.Signals.Add(1)
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-s.Done():
			timer.Stop()
			return
		}
	}
}

// echo answers incoming sessions until the endpoint ends.
func (l *load) echo(in *quicpeer.Incoming) {
	id := string(in.Metadata())
	s, err := in.Accept(nil)
	if err != nil {
		return
	}
	l.counts.Accepted.Add(1)
	var wg sync.WaitGroup
	var pushed, taken uint64
	wg.Go(func() {
		for {
			m, err := s.Receive(context.Background())
			if err != nil {
				return
			}
			taken++
			if s.SendWith(context.Background(), m, datagram.SendOptions{Full: datagram.SendDropOldest}) == nil {
				pushed++
			}
		}
	})
	wg.Go(func() {
		for next := uint64(0); ; next++ {
			b, err := s.ReceiveSignal(context.Background())
			if err != nil {
				return
			}
			if len(b) != 8 || binary.BigEndian.Uint64(b) < next {
				l.complain(fmt.Sprintf("session %s: signal %x, expected %d or a later one", id, b, next))
			} else {
				next = binary.BigEndian.Uint64(b)
			}
		}
	})
	if rand.IntN(8) == 0 { // this side closes
		timer := time.NewTimer(between(rand.New(rand.NewPCG(rand.Uint64(), 0)), soakLife, soakLifeMax))
		select {
		case <-timer.C:
			ctx, cancel := context.WithTimeout(context.Background(), soakCall)
			_ = s.CloseWithError(ctx, session.FirstApplicationCode+1, id)
			cancel()
		case <-s.Done():
		}
		timer.Stop()
	}
	<-s.Done()
	wg.Wait()
	l.judge(s, id, pushed, taken)
}

// judge holds a session's counts against what the application did.
func (l *load) judge(s *quicpeer.Session, id string, pushed, taken uint64) {
	n := s.Stats()
	for _, wrong := range sumsWrong(n, pushed, taken) {
		l.complain(fmt.Sprintf("session %s: %s: %+v", id, wrong, n))
	}
	if n.Complete {
		l.counts.Closed.Add(1)
		l.counts.Lost.Add(n.Lost + n.LostIncoming)
	} else {
		l.counts.Torn.Add(1)
	}
	l.counts.Sent.Add(n.Local.Sent)
	l.counts.Received.Add(n.Local.Received)
	l.counts.Dropped.Add(n.Local.SendDrops.Total() + n.Local.ReceiveDrops.Total())
}

// sumsWrong returns what does not add up in the counts of a session that is
// over, whose application sent and took so many messages.
func sumsWrong(n session.Stats, pushed, taken uint64) (wrong []string) {
	for _, sum := range []struct {
		what string
		a, b uint64
	}{
		{"messages that Send took", n.Local.Pushed, pushed},
		{"messages sent, dropped before, or queued", n.Local.Pushed, n.Local.Sent + n.Local.SendDrops.Total() + uint64(n.Local.Queued)},
		{"messages taken, dropped, or unread", n.Local.Received, taken + n.Local.Dropped + n.Local.ReceiveDrops[datagram.ReasonDiscarded] + uint64(n.Local.Unread)},
		{"messages dropped by the full queue", n.Local.Dropped, n.Local.ReceiveDrops[datagram.ReasonOldest] + n.Local.ReceiveDrops[datagram.ReasonNewest]},
		{"late messages", n.Local.Late, n.Local.ReceiveDrops[datagram.ReasonLate]},
	} {
		if sum.a != sum.b {
			wrong = append(wrong, fmt.Sprintf("%s: %d and %d", sum.what, sum.a, sum.b))
		}
	}
	if n.Complete && n.Local.Queued > 0 { // a torn session may have one in hand
		wrong = append(wrong, fmt.Sprintf("%d messages still queued", n.Local.Queued))
	}
	if n.Complete && (n.Local.Sent != n.Remote.Received+n.Lost || n.Remote.Sent != n.Local.Received+n.LostIncoming) {
		wrong = append(wrong, "sent is not received and lost")
	}
	return wrong
}

// linksWrong returns the links whose datagrams are not all accounted for.
func linksWrong(links []quicpeer.LinkInfo) (wrong []string) {
	for _, i := range links {
		if d := i.Datagrams; d.Received != d.Accepted+d.DatagramDrops.Total() {
			wrong = append(wrong, fmt.Sprintf("the link with %v: datagrams received are not accepted and dropped: %+v", i.RemoteAddr, d))
		}
	}
	return wrong
}
