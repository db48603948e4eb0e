package main

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// shape is what a plan is drawn for. Together with the seed it decides
// everything that is drawn.
type shape struct {
	Seed      uint64
	Round     time.Duration // how long new sessions are dialed, and faults happen
	Processes int
	Endpoints int           // of each process
	Pace      time.Duration // mean time between the dials of one endpoint
	Long      bool          // there is time for stops that outlast the link
	Loss      float64       // how much some processes lose of what they send, at most
}

// shutdownLimit bounds the shutdown of an endpoint, some of whose peers may be
// gone.
func (s shape) shutdownLimit() time.Duration { return max(time.Second, min(s.Round/5, 10*time.Second)) }

// A fault is what happens to a process, from outside.
type fault struct {
	At   time.Duration // since the round began
	Kind string        // kKill or kStop
	For  time.Duration // kStop: how long; kKill: until it starts again
	// FreshKeys: after a kill its endpoints come back with new keys, on the
	// same ports.
	FreshKeys bool
}

// A dialing is one session that an endpoint means to open.
type dialing struct {
	At       time.Duration
	Session  string
	Process  int // whom
	Endpoint int
	ByID     bool // expect the key that the plan says the peer has then
}

// A reopening ends an endpoint in order and opens it again, on the same port
// with the same key.
type reopening struct {
	At     time.Duration
	Code   uint64
	Reason string
	Drain  time.Duration
	For    time.Duration // until it listens again
}

// Each stream of random numbers belongs to one thing that is drawn, so that no
// draw depends on another, on time, or on who comes first.
func stream(seed uint64, what string, args ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, what, args...)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// between draws a time from low to high; short ones are as likely as long ones
// by order of magnitude.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	ratio := float64(high) / float64(low)
	return time.Duration(float64(low) * math.Pow(ratio, r.Float64()))
}

// The lengths of stops. A link is lost 15 s after a heartbeat without an answer
// (session/PROTOCOL.md, section 11), and heartbeats go out every 5 s.
const (
	shortStop, shortStopMax = 200 * time.Millisecond, 7 * time.Second
	longStop, longStopMax   = 27 * time.Second, 32 * time.Second
)

// faults draws what happens to a process. The first process is left alone, so
// that there is always somebody to observe what becomes of the others.
func (s shape) faults(process int) []fault {
	r := stream(s.Seed, "faults of %d", process)
	if process == 0 {
		return nil
	}
	var all []fault
	longs := 0
	at := s.Round/20 + time.Duration(r.Int64N(int64(s.Round/5)))
	for {
		f := fault{At: at, Kind: kStop}
		switch d := r.IntN(10); {
		case d < 3:
			f.For = min(between(r, shortStop, shortStopMax), s.Round/4)
		case d < 5 && s.Long && longs == 0 && at+longStopMax < s.Round:
			f.For = longStop + time.Duration(r.Int64N(int64(longStopMax-longStop)))
			longs++
		default:
			f.Kind, f.For = kKill, between(r, 20*time.Millisecond, min(4*time.Second, s.Round/8))
			f.FreshKeys = r.IntN(4) == 0
		}
		at += f.For
		if at > s.Round {
			return all
		}
		all = append(all, f)
		at += between(r, s.Round/20, s.Round/2)
	}
}

// keyAt returns which of a process's keys its endpoints have at a time, by
// plan: the number of restarts with fresh keys before.
func keyAt(faults []fault, at time.Duration) int {
	n := 0
	for _, f := range faults {
		if f.FreshKeys && f.At <= at {
			n++
		}
	}
	return n
}

// dialings draws the sessions that an endpoint means to open in all the time.
// A process that is down or stopped at the time does not dial them.
func (s shape) dialings(process, endpoint int) []dialing {
	r := stream(s.Seed, "dialings of %d.%d", process, endpoint)
	var all []dialing
	for at := between(r, time.Millisecond, s.Pace); at < s.Round; at += time.Duration(r.ExpFloat64() * float64(s.Pace)) {
		d := dialing{At: at, Session: fmt.Sprintf("%d.%d.%d", process, endpoint, len(all)), ByID: r.IntN(2) == 0}
		for d.Process, d.Endpoint = process, endpoint; d.Process == process && d.Endpoint == endpoint; {
			d.Process, d.Endpoint = r.IntN(s.Processes), r.IntN(s.Endpoints)
		}
		all = append(all, d)
		if r.IntN(20) == 0 { // several at once: they share one handshake
			at -= at % s.Pace
		}
	}
	return all
}

// reopenings draws when an endpoint shuts down for a while. The first one of
// each process never does.
func (s shape) reopenings(process, endpoint int) []reopening {
	r := stream(s.Seed, "reopenings of %d.%d", process, endpoint)
	if endpoint == 0 {
		return nil
	}
	var all []reopening
	for at := between(r, s.Round/10, 2*s.Round); at < s.Round*9/10; {
		o := reopening{At: at, Code: firstCode + uint64(r.IntN(1000)), Reason: fmt.Sprintf("endpoint %d.%d shuts down, %d", process, endpoint, len(all))}
		if r.IntN(2) == 0 {
			o.Drain = between(r, 10*time.Millisecond, s.Round/20)
		}
		o.For = between(r, time.Millisecond, s.Round/20)
		all = append(all, o)
		at += o.Drain + o.For + between(r, s.Round/4, 2*s.Round)
	}
	return all
}

// firstCode is session.FirstApplicationCode; codes of sessions follow from
// their ids.
const firstCode = 0x100

// A script is how one session goes, as far as its two sides decide: what the
// opener and the acceptor do, and when, counted from the beginning.
type script struct {
	DialLimit  time.Duration // for Dial
	AnswerIn   time.Duration // the acceptor thinks for so long
	Answer     string        // accept, reject or nothing
	RejectCode uint64
	Sides      [2]side // of opener, acceptor
}

// A side is what one side of a session does.
type side struct {
	Bursts  []burst
	Signals []time.Duration // before each
	// SignalLimit is the time for each: some do not wait until it is taken, so
	// that several are under way.
	SignalLimit time.Duration
	Read        string        // now, late, or never: read messages and signals
	ReadIn      time.Duration // late: when
	End         string        // close, abort, or empty: leave it to the other side, or to chance
	EndIn       time.Duration
	Limit       time.Duration // close: its time
	Code        uint64
	Reason      string
}

// A burst is messages sent at once.
type burst struct {
	Wait  time.Duration
	Count int
	Size  int // of each, about
	// Policy for a full queue: 0 the default, to wait; else one of
	// datagram's.
	Policy uint8
	Expiry time.Duration
}

// script draws how a session goes. Both sides draw the same, from its id.
func (s shape) script(id string) script {
	r := stream(s.Seed, "session %s", id)
	t := script{DialLimit: min(10*time.Second, max(s.Round, 2*time.Second)), Answer: opAccept, RejectCode: firstCode + uint64(r.IntN(1000))}
	if r.IntN(6) == 0 {
		t.DialLimit = between(r, time.Millisecond, t.DialLimit/4)
	}
	if r.IntN(3) == 0 {
		t.AnswerIn = between(r, time.Millisecond, min(2*time.Second, s.Round/4))
	}
	switch d := r.IntN(20); {
	case d == 0:
		t.Answer = "nothing"
		t.DialLimit = min(t.DialLimit, s.Round/4)
	case d < 3:
		t.Answer = opReject
	}
	life := between(r, 5*time.Millisecond, 10*time.Second)
	if r.IntN(6) == 0 {
		life = s.Round * 2 // until something ends it
	}
	ends := r.IntN(10)
	for i := range t.Sides {
		d := &t.Sides[i]
		d.Code = firstCode + uint64(r.IntN(1<<20))
		d.Reason = fmt.Sprintf("%s by %s", id, [2]string{roleOpener, roleAcceptor}[i])
		d.Limit = 5 * time.Second
		d.EndIn = life
		switch {
		case ends == 0 || ends == 1 && i == 0 || ends == 2 && i == 1: // both, or one, aborts
			d.End = opAbort
		case ends == 3: // both at once
			d.End = opClose
		case ends < 6 && i == 0 || ends > 6 && i == 1:
			d.End = opClose
		case ends == 6: // one abort crosses a close
			d.End = [2]string{opAbort, opClose}[i]
		}
		if d.End == opClose && r.IntN(12) == 0 {
			d.Limit = between(r, 100*time.Microsecond, 20*time.Millisecond)
		}
		switch d.Read = "now"; r.IntN(10) {
		case 0:
			d.Read, d.ReadIn = "late", between(r, 10*time.Millisecond, time.Second)
		case 1:
			d.Read = "never"
		}
		for range r.IntN(5) {
			b := burst{Wait: between(r, time.Millisecond, time.Second), Count: 1 + r.IntN(30), Size: 16 + r.IntN(200)}
			switch r.IntN(12) {
			case 0:
				b.Size, b.Count = 1000+r.IntN(600), 1+r.IntN(20)
			case 1:
				b.Size, b.Count = int(between(r, 2000, 60_000)), 1+r.IntN(6)
			case 2:
				b.Count, b.Size = 500+r.IntN(2500), 0
			}
			if r.IntN(6) == 0 {
				b.Policy = uint8(1 + r.IntN(3))
			}
			if r.IntN(8) == 0 {
				b.Expiry = between(r, time.Millisecond, 100*time.Millisecond)
			}
			d.Bursts = append(d.Bursts, b)
		}
		longest := 2 * time.Second
		if d.SignalLimit = callLimit; r.IntN(3) == 0 {
			d.SignalLimit, longest = between(r, 500*time.Microsecond, 5*time.Millisecond), 20*time.Millisecond
		}
		for range r.IntN(6) {
			d.Signals = append(d.Signals, between(r, time.Millisecond, longest))
		}
	}
	return t
}
