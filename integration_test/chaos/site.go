package main

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// protocol is what all sessions ask for.
const protocol = "chaos"

// A site is one endpoint of a member: it dials, answers, shuts down and comes
// back as planned.
type site struct {
	*member
	index int

	mu     sync.Mutex
	e      *quicpeer.Endpoint // nil while it is shut down
	socket net.PacketConn     // of e, if that does not close it itself
}

// tooLate is how late a session may be dialed: a process that was stopped does
// not make up for all that it has missed.
const tooLate = time.Second

// run runs the site until ctx ends, and shuts it down.
func (s *site) run(ctx context.Context) {
	var dials sync.WaitGroup
	defer dials.Wait()
	if !s.listen() {
		return
	}
	first := s.elapsed() // what was due before, an earlier start may have dialed
	dials.Go(func() {
		for _, d := range s.Shape.dialings(s.Process, s.index) {
			if d.At < max(first, s.elapsed()-tooLate) {
				continue
			}
			if !s.until(ctx, d.At) {
				return
			}
			if e := s.endpoint(); e != nil && s.elapsed()-d.At < tooLate {
				s.goTalk(func() { s.dial(e, d) })
			}
		}
	})
	for _, o := range s.Shape.reopenings(s.Process, s.index) {
		if o.At < s.elapsed() {
			continue
		}
		if !s.until(ctx, o.At) {
			break
		}
		s.shutdown(quicpeer.ShutdownOptions{Code: session.Code(o.Code), Reason: o.Reason, Drain: o.Drain})
		if !pause(ctx, o.For) || !s.listen() {
			return
		}
	}
	<-ctx.Done()
	s.shutdown(quicpeer.ShutdownOptions{Code: endCode, Reason: endReason})
}

// What a member's end tells its peers.
const (
	endCode   = 0xe0d
	endReason = "the round is over"
)

func (s *site) endpoint() *quicpeer.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.e
}

// listen opens the endpoint. Those with an even index hand out incoming
// sessions with Accept, the others to a handler.
func (s *site) listen() bool {
	id, err := certs.Load(s.Keys[s.Process][s.index][s.Key])
	var e *quicpeer.Endpoint
	if err == nil {
		c := &quicpeer.Config{Identity: id, Trust: certs.Anyone()}
		c.Session.Queues.ReceiveMessages = 256 // small, so that it overflows now and then
		if s.index%2 == 0 {
			c.Protocols = []string{protocol}
		}
		e, err = s.bind(c)
	}
	if err != nil {
		s.log.write(event{K: kBad, E: s.index, Text: "listen: " + err.Error()})
		return false
	}
	if s.index%2 == 1 {
		e.Handle(protocol, func(in *quicpeer.Incoming) {
			s.talks.Add(1)
			defer s.talks.Add(-1)
			s.answer(in)
		})
	} else {
		s.goTalk(func() {
			for {
				in, err := e.Accept(context.Background())
				if err != nil {
					return
				}
				s.goTalk(func() { s.answer(in) })
			}
		})
	}
	s.log.write(event{K: kListen, E: s.index, Peer: e.ID().String(), Loss: s.Shape.lossOf(s.Process)})
	s.mu.Lock()
	s.e = e
	s.mu.Unlock()
	return true
}

// bind makes the endpoint, on a socket that loses packets if the plan says so.
func (s *site) bind(c *quicpeer.Config) (*quicpeer.Endpoint, error) {
	address, loss := s.Addresses[s.Process][s.index], s.Shape.lossOf(s.Process)
	if loss == 0 {
		return quicpeer.Listen(address, c)
	}
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	s.socket = &lossyConn{PacketConn: pc, loss: loss, r: stream(s.Shape.Seed, "packets of %d.%d", s.Process, s.index)}
	return quicpeer.ListenPacket(s.socket, c)
}

// shutdown ends the endpoint.
func (s *site) shutdown(o quicpeer.ShutdownOptions) {
	s.mu.Lock()
	e := s.e
	s.e = nil
	s.mu.Unlock()
	limit := o.Drain + s.Shape.shutdownLimit()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	end := s.log.begin(event{E: s.index, Op: opShutdown, Limit: limit.Microseconds(), Code: uint64(o.Code), Reason: o.Reason})
	report, err := e.Shutdown(ctx, o)
	end(event{Err: outcomeOf(err)})
	for _, c := range report.Sessions {
		role := roleAcceptor
		if c.Session.Opener() {
			role = roleOpener
		}
		s.log.write(event{K: kReport, E: s.index, Session: string(c.Session.Metadata()), Role: role, Err: outcomeOf(c.Err)})
	}
	if s.socket != nil {
		_ = s.socket.Close()
	}
	s.log.write(event{K: kEnded, E: s.index})
}

// dial opens a session and uses it.
func (s *site) dial(e *quicpeer.Endpoint, d dialing) {
	t := s.Shape.script(d.Session)
	o := &quicpeer.DialOptions{Protocol: protocol, Metadata: []byte(d.Session)}
	if d.ByID {
		id, err := certs.ParsePeerID(s.IDs[d.Process][d.Endpoint][keyAt(s.plan[d.Process], d.At)])
		if err != nil {
			s.log.write(event{K: kBad, E: s.index, Session: d.Session, Text: err.Error()})
			return
		}
		o.PeerID = id
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.DialLimit)
	defer cancel()
	end := s.log.begin(event{E: s.index, Session: d.Session, Role: roleOpener, Op: opDial, Limit: t.DialLimit.Microseconds(), N: []uint64{uint64(d.Process), uint64(d.Endpoint)}})
	c, err := e.Dial(ctx, s.Addresses[d.Process][d.Endpoint], o)
	if err != nil {
		end(event{Err: outcomeOf(err)})
		return
	}
	end(event{Peer: remoteID(c)})
	(&talk{site: s, s: c, id: d.Session, role: roleOpener, peer: roleAcceptor, side: t.Sides[0]}).run()
}

// answer answers an incoming session, and uses it.
func (s *site) answer(in *quicpeer.Incoming) {
	id := string(in.Metadata())
	t := s.Shape.script(id)
	peer, _ := in.RemoteID()
	s.log.write(event{K: kIn, E: s.index, Session: id, Role: roleAcceptor, Peer: peer.String()})
	if t.AnswerIn > 0 {
		time.Sleep(t.AnswerIn)
	}
	mine := event{E: s.index, Session: id, Role: roleAcceptor, Limit: 1}
	switch t.Answer {
	case opReject:
		mine.Op, mine.Code, mine.Reason = opReject, t.RejectCode, "rejected "+id
		end := s.log.begin(mine)
		end(event{Err: outcomeOf(in.Reject(session.Code(mine.Code), mine.Reason, time.Second))})
	case opAccept:
		mine.Op = opAccept
		end := s.log.begin(mine)
		c, err := in.Accept(nil)
		end(event{Err: outcomeOf(err)})
		if err == nil {
			(&talk{site: s, s: c, id: id, role: roleAcceptor, peer: roleOpener, side: t.Sides[1]}).run()
		}
	}
}

func remoteID(s *quicpeer.Session) string {
	id, _ := s.RemoteID()
	return id.String()
}
