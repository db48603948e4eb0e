package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// What the honest peers do, besides sending messages at a steady rate.
const (
	steadySessions = 4
	messageSize    = 200
	churnEvery     = 20 * time.Millisecond  // a session is opened and closed
	newcomerEvery  = 250 * time.Millisecond // an endpoint comes, and does so once
	patience       = 5 * time.Second        // for a dial, and for a close
)

// honestSample is what honest peers got, since the last mark but for Sent.
type honestSample struct {
	Sent       uint64 // messages, since the beginning
	Confirmed  int    // sessions opened, used, and closed with confirmation
	Failed     int    // those that were not
	Lost       int    // steady sessions that ended
	Newcomers  int    // new endpoints that opened a session and closed it
	TurnedAway int    // those that could not
	Typical    time.Duration
	Slow       time.Duration // the 99th percentile of opening and closing, Typical the median
	Why        string        // the last failure
}

// honest are two peers: one with a link that stays, and one that comes anew each
// time. They have addresses that nobody else uses.
type honest struct {
	victim string
	id     certs.PeerID
	first  *quicpeer.Endpoint
	second *certs.Identity

	mu    sync.Mutex
	now   honestSample
	times []time.Duration
}

func playHonest() {
	var h honest
	play(func(r request) (response, error) {
		switch r.Op {
		case "start":
			return response{}, h.start(r)
		case "sample":
			return h.sample(), nil
		case "mark":
			h.mu.Lock()
			h.now, h.times = honestSample{Sent: h.now.Sent}, nil
			h.mu.Unlock()
			return response{}, nil
		}
		return response{}, fmt.Errorf("an honest peer does not know %q", r.Op)
	})
}

func (h *honest) start(r request) error {
	identity, err := certs.Load(r.Identity)
	if err != nil {
		return err
	}
	if h.second, err = certs.Load(r.Second); err != nil {
		return err
	}
	if h.id, err = certs.ParsePeerID(r.PeerID); err != nil {
		return err
	}
	h.victim = r.Address
	if h.first, err = quicpeer.Listen("127.0.1.1:0", &quicpeer.Config{Identity: identity}); err != nil {
		return err
	}
	if err := h.churn(); err != nil { // the victim is there, and trusts us
		return err
	}
	for range steadySessions {
		go h.steady(r.Load / steadySessions)
	}
	go h.every(churnEvery, h.churn, func(ok bool) {
		if ok {
			h.now.Confirmed++
		} else {
			h.now.Failed++
		}
	})
	go h.every(newcomerEvery, h.newcomer, func(ok bool) {
		if ok {
			h.now.Newcomers++
		} else {
			h.now.TurnedAway++
		}
	})
	return nil
}

func (h *honest) dial(ctx context.Context, e *quicpeer.Endpoint) (*quicpeer.Session, error) {
	return e.Dial(ctx, h.victim, &quicpeer.DialOptions{Protocol: protoCount, PeerID: h.id})
}

// steady sends so many messages a second. What cannot be sent in time is not
// made up for: it is missing from the count.
func (h *honest) steady(rate int) {
	message := make([]byte, messageSize)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		s, err := h.dial(ctx, h.first)
		cancel()
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		h.flow(s, rate, message)
		h.mu.Lock()
		h.now.Lost++
		h.mu.Unlock()
	}
}

func (h *honest) flow(s *quicpeer.Session, rate int, message []byte) {
	last, due := time.Now(), 0.0
	for range time.Tick(2 * time.Millisecond) {
		now := time.Now()
		due = min(due+now.Sub(last).Seconds()*float64(rate), max(float64(rate)/50, 1)) // 20 ms at most
		last = now
		sent := uint64(0)
		for ; due >= 1; due-- {
			if s.Send(context.Background(), message) != nil {
				return
			}
			sent++
		}
		h.mu.Lock()
		h.now.Sent += sent
		h.mu.Unlock()
	}
}

// every has something done every so often, one at a time, and counted.
func (h *honest) every(d time.Duration, do func() error, count func(ok bool)) {
	for range time.Tick(d) {
		err := do()
		h.mu.Lock()
		count(err == nil)
		if err != nil {
			h.now.Why = err.Error()
		}
		h.mu.Unlock()
	}
}

// churn opens a session, uses it, and closes it.
func (h *honest) churn() error {
	began := time.Now()
	if err := h.use(h.first); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.times = append(h.times, time.Since(began))
	return nil
}

func (h *honest) use(e *quicpeer.Endpoint) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := h.dial(ctx, e)
	if err != nil {
		return err
	}
	if err := s.Send(ctx, []byte("hello")); err != nil {
		return err
	}
	return s.CloseWithError(ctx, 0x100, "that was all")
}

// newcomer is a peer whose address the victim has never proved.
func (h *honest) newcomer() error {
	e, err := quicpeer.Listen("127.0.1.2:0", &quicpeer.Config{Identity: h.second})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(h.use(e), e.Close(ctx))
}

func (h *honest) sample() response {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.now
	if n := len(h.times); n > 0 {
		sorted := slices.Sorted(slices.Values(h.times))
		s.Typical, s.Slow = sorted[n/2], sorted[n*99/100]
	}
	return response{Honest: &s}
}
