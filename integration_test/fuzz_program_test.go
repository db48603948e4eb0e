package integration_test

import (
	"bytes"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/session"
)

// A program is what a hostile peer does, and now and then the application on the
// other side: one byte of manners, then operations. An operation is one byte and
// its arguments, a byte each unless it says otherwise; arguments that are missing
// are zero. What names a stream is said at hostile.stream.
type program []byte

// Operations, the lower four bits. With opArrive, what has been sent arrives
// before the next.
const (
	opWrite    byte = iota // stream, length, so many bytes
	opFrame                // stream, and the arguments of frame
	opFinish               // stream
	opReset                // stream, code
	opStop                 // stream, code
	opRaw                  // length, a datagram
	opDatagram             // kind, and the arguments of body: a datagram with the next number
	opFlood                // count, session, length: so many messages
	opBidi                 // opens a stream
	opUni                  // opens a stream
	opWait                 // tenths of a second
	opClose                // code, length, reason: closes the connection, and dials again
	opHonest               // the honest peers exchange messages
	opApp                  // what the application does, with which session
	opDial                 // the endpoint opens a session
	opZeros                // stream, length: so many times 64 zeros

	opArrive = 0x80
)

const (
	// maxOps, maxWait and maxConns bound a program: each connection costs a
	// handshake, each second some heartbeats.
	maxOps   = 150
	maxWait  = 40 * time.Second
	maxConns = 3
)

func (p *program) next() byte {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return b
}

func (p *program) bytes(n int) []byte {
	b := (*p)[:min(n, len(*p))]
	*p = (*p)[len(b):]
	return bytes.Clone(b)
}

// code is any of the protocol, some of the application, and the largest.
func (p *program) code() session.Code {
	switch b := p.next(); {
	case b < 0x80:
		return session.Code(b)
	case b < 0xff:
		return session.Code(b) << 4
	}
	return maxVarint
}

// maxVarint is the largest number on the wire (RFC 9000 section 16).
const maxVarint = 1<<62 - 1

// count is small, or the largest number.
func (p *program) count() uint64 {
	if b := p.next(); b < 0xff {
		return uint64(b)
	}
	return maxVarint
}

// size is what count is, in steps of 1,024.
func (p *program) size() uint64 { return min(p.count()<<10, maxVarint) }

// run does what p says.
func (s *siege) run(p program) {
	for waited, op := time.Duration(0), 0; len(p) > 0 && op < maxOps; op++ {
		b := p.next()
		if c := s.hostile.conn(); c != nil {
			waited += s.act(c, &p, b&0x0f, maxWait-waited)
		} else {
			s.n.pass(10 * time.Millisecond) // it is being dialed
		}
		if b&opArrive != 0 {
			s.n.pass(3 * time.Millisecond)
		}
	}
}

// act does one operation, and returns how long it waited, at most left.
func (s *siege) act(c *hostileConn, p *program, op byte, left time.Duration) time.Duration {
	h := s.hostile
	stream := func() *hostileStream { return h.stream(c, p.next()) }
	switch op {
	case opWrite:
		to := stream()
		h.write(to, p.bytes(int(p.next())))
	case opFrame:
		to := stream()
		h.write(to, p.frame().Append(nil))
	case opFinish:
		h.finish(stream())
	case opReset:
		of := stream()
		h.reset(of, p.code())
	case opStop:
		of := stream()
		h.stop(of, p.code())
	case opRaw:
		h.datagram(c, p.bytes(int(p.next())))
	case opDatagram:
		h.datagram(c, p.datagram(h.next(c)))
	case opFlood:
		count, id, size := p.next(), uint64(p.next()), int(p.next())
		for range count {
			h.datagram(c, datagram.AppendMessage(nil, h.next(c), datagram.Message{Session: id, Payload: make([]byte, size)}))
		}
	case opBidi:
		h.openBidi(c)
	case opUni:
		h.openUni(c)
	case opWait:
		d := min(time.Duration(p.next())*100*time.Millisecond, left)
		s.n.pass(d)
		return d
	case opClose:
		code := p.code()
		_ = c.CloseWithError(quic.ApplicationErrorCode(code), string(p.bytes(int(p.next()))))
		s.reconnect()
	case opHonest:
		s.honest.exchange()
	case opApp:
		s.app.act(p)
	case opDial:
		s.app.dial(h)
	case opZeros:
		to := stream()
		h.write(to, make([]byte, 64*int(p.next())))
	}
	return 0
}

// frame returns any frame that a sender could write, and some that none should.
func (p *program) frame() session.Frame {
	switch session.FrameType(p.next()) {
	case session.TypeSettings:
		b := p.next()
		return session.Settings{
			InstanceID: [16]byte{b}, HasInstanceID: b > 0,
			MaxMessage: p.size(), MaxSignal: p.size(), MaxSignals: p.count(), Window: p.count(),
		}
	case session.TypeGoAway:
		return session.GoAway{Code: p.code(), Reason: string(p.bytes(int(p.next()))), Deadline: time.Duration(p.next()) * time.Second, FirstRefused: p.count()}
	case session.TypePing:
		return session.Ping{Token: [8]byte{p.next()}}
	case session.TypePong:
		return session.Pong{Token: [8]byte{p.next()}}
	case session.TypeOpen:
		if n := p.next(); n > 0 {
			return session.Open{Protocol: simProto, Metadata: p.bytes(int(n))}
		}
		return session.Open{Protocol: simProto}
	case session.TypeAccept:
		return session.Accept{Metadata: p.bytes(int(p.next()))}
	case session.TypeReject:
		return session.Reject{Code: p.code(), Reason: string(p.bytes(int(p.next()))), RetryAfter: time.Duration(p.next()) * time.Second}
	case session.TypeSignal:
		return session.Signal{Payload: p.bytes(int(p.next()))}
	case session.TypeSignalAck:
		return session.SignalAck{Taken: p.count()}
	case session.TypeReport:
		return session.Report{Received: p.count(), Late: p.count(), Dropped: p.count()}
	case session.TypeClose:
		return session.Close{Code: p.code(), Reason: string(p.bytes(int(p.next()))), Sent: p.count(), End: p.count(), SignalsReceived: p.count(), SignalsTaken: p.count()}
	case session.TypeCloseAck:
		return session.CloseAck{Sent: p.count(), End: p.count(), Received: p.count(), Late: p.count(), Dropped: p.count(), SignalsReceived: p.count(), SignalsTaken: p.count()}
	case session.TypeDone:
		return session.Done{Received: p.count(), Late: p.count(), Dropped: p.count()}
	}
	return session.Unknown{Type: session.ReservedType(uint64(p.next())), Value: p.bytes(int(p.next()))}
}

// datagram returns one of any kind.
func (p *program) datagram(number uint64) []byte {
	switch datagram.Kind(p.next()) {
	case datagram.KindMessage:
		return datagram.AppendMessage(nil, number, datagram.Message{Session: p.count(), Payload: p.bytes(int(p.next()))})
	case datagram.KindBundle:
		b := datagram.AppendHeader(nil, datagram.Header{Kind: datagram.KindBundle, Number: number})
		for range p.next() % 16 {
			b = datagram.AppendBundleItem(b, datagram.Message{Session: p.count(), Payload: p.bytes(int(p.next()))})
		}
		return b
	case datagram.KindFragment:
		return datagram.AppendFragment(nil, number, datagram.Fragment{
			Session: p.count(), ID: p.count(), Total: p.size(), Offset: p.count(), Payload: p.bytes(int(p.next())),
		})
	case datagram.KindHeartbeat:
		return datagram.AppendHeartbeat(nil, number, false, [8]byte{p.next()})
	case datagram.KindHeartbeatEcho:
		return datagram.AppendHeartbeat(nil, number, true, [8]byte{p.next()})
	case datagram.KindCredit:
		return datagram.AppendCredit(nil, number, datagram.Credit{End: p.count(), Taken: p.count()})
	}
	return append(datagram.AppendHeader(nil, datagram.Header{Kind: datagram.Kind(p.count()), Number: min(number+p.count(), maxVarint)}), p.bytes(int(p.next()))...)
}

// reconnect dials once more, if the endpoint does not.
func (s *siege) reconnect() {
	if !s.dialed && s.dials < maxConns {
		s.dials++
		s.hostile.dial()
	}
}
