package session

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/quic-go/quic-go/quicvarint"
)

// ParseFrame reads the value of a frame of type t. What follows the known
// fields is ignored: later versions put more there. A type that version 1 does
// not know gives an Unknown.
//
// Byte slices of the result alias value. Sizes that differ between receivers
// are for the FrameReader to check, with its Limits.
func ParseFrame(t FrameType, value []byte) (Frame, error) {
	switch t {
	case TypeSettings:
		return frame(ParseSettings(value))
	case TypeGoAway:
		return frame(ParseGoAway(value))
	case TypePing:
		return frame(ParsePing(value))
	case TypePong:
		return frame(ParsePong(value))
	case TypeOpen:
		return frame(ParseOpen(value))
	case TypeAccept:
		return frame(ParseAccept(value))
	case TypeReject:
		return frame(ParseReject(value))
	case TypeSignal:
		return frame(ParseSignal(value))
	case TypeSignalAck:
		return frame(ParseSignalAck(value))
	case TypeReport:
		return frame(ParseReport(value))
	case TypeClose:
		return frame(ParseClose(value))
	case TypeCloseAck:
		return frame(ParseCloseAck(value))
	case TypeDone:
		return frame(ParseDone(value))
	}
	if len(value) == 0 {
		value = nil
	}
	return Unknown{Type: t, Value: value}, nil
}

// frame drops the half-read value of a frame that failed.
func frame[F Frame](f F, err error) (Frame, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ParseGoAway reads the value of a GOAWAY frame.
func ParseGoAway(value []byte) (GoAway, error) {
	p := parser{t: TypeGoAway, b: value}
	f := GoAway{
		Code:         Code(p.varint("code")),
		Reason:       p.text("reason", MaxReason),
		Deadline:     p.duration("deadline"),
		FirstRefused: p.varint("first refused session id"),
	}
	return f, p.error()
}

// ParsePing reads the value of a PING frame.
func ParsePing(value []byte) (f Ping, _ error) {
	p := parser{t: TypePing, b: value}
	copy(f.Token[:], p.fixed("token", len(f.Token)))
	return f, p.error()
}

// ParsePong reads the value of a PONG frame.
func ParsePong(value []byte) (f Pong, _ error) {
	p := parser{t: TypePong, b: value}
	copy(f.Token[:], p.fixed("token", len(f.Token)))
	return f, p.error()
}

// ParseOpen reads the value of an OPEN frame.
func ParseOpen(value []byte) (Open, error) {
	p := parser{t: TypeOpen, b: value}
	f := Open{Protocol: p.text("protocol name", MaxOpenContent)}
	f.Metadata = p.bytes("metadata", MaxOpenContent)
	if p.err == nil {
		p.err = f.check()
	}
	return f, p.error()
}

// Validate reports as a *FrameError what keeps f off the wire: a protocol name
// that is not UTF-8, or more than MaxOpenContent bytes in all.
func (f Open) Validate() error {
	if err := f.check(); err != nil {
		return err
	}
	if !utf8.ValidString(f.Protocol) {
		return &FrameError{Type: TypeOpen, Reason: "the protocol name is not UTF-8"}
	}
	return nil
}

func (f Open) check() *FrameError {
	if n := len(f.Protocol) + len(f.Metadata); n > MaxOpenContent {
		return &FrameError{Type: TypeOpen, Reason: fmt.Sprintf(
			"protocol name and metadata have %d bytes, more than %d", n, MaxOpenContent)}
	}
	return nil
}

// ParseAccept reads the value of an ACCEPT frame.
func ParseAccept(value []byte) (Accept, error) {
	p := parser{t: TypeAccept, b: value}
	f := Accept{Metadata: p.bytes("metadata", MaxOpenContent)}
	return f, p.error()
}

// Validate reports as a *FrameError that f has more than MaxOpenContent bytes
// of metadata.
func (f Accept) Validate() error {
	if n := len(f.Metadata); n > MaxOpenContent {
		return &FrameError{Type: TypeAccept, Reason: fmt.Sprintf(
			"the metadata has %d bytes, more than %d", n, MaxOpenContent)}
	}
	return nil
}

// ParseReject reads the value of a REJECT frame.
func ParseReject(value []byte) (Reject, error) {
	p := parser{t: TypeReject, b: value}
	f := Reject{
		Code:       Code(p.varint("code")),
		Reason:     p.text("reason", MaxReason),
		RetryAfter: p.duration("retry-after"),
	}
	return f, p.error()
}

// ParseSignal reads the value of a SIGNAL frame. Its size is the FrameReader's
// to check.
func ParseSignal(value []byte) (Signal, error) {
	p := parser{t: TypeSignal, b: value}
	f := Signal{Payload: p.bytes("payload", maxVarint)}
	return f, p.error()
}

// ParseSignalAck reads the value of a SIGNAL_ACK frame.
func ParseSignalAck(value []byte) (SignalAck, error) {
	p := parser{t: TypeSignalAck, b: value}
	f := SignalAck{Taken: p.varint("signals taken")}
	return f, p.error()
}

// ParseReport reads the value of a REPORT frame.
func ParseReport(value []byte) (Report, error) {
	p := parser{t: TypeReport, b: value}
	var f Report
	f.Received, f.Late, f.Dropped = p.received()
	return f, p.error()
}

// ParseClose reads the value of a CLOSE frame.
func ParseClose(value []byte) (Close, error) {
	p := parser{t: TypeClose, b: value}
	f := Close{
		Code:   Code(p.varint("code")),
		Reason: p.text("reason", MaxReason),
	}
	f.Sent, f.End = p.sent()
	f.SignalsReceived, f.SignalsTaken = p.signals()
	return f, p.error()
}

// ParseCloseAck reads the value of a CLOSE_ACK frame.
func ParseCloseAck(value []byte) (CloseAck, error) {
	p := parser{t: TypeCloseAck, b: value}
	var f CloseAck
	f.Sent, f.End = p.sent()
	f.Received, f.Late, f.Dropped = p.received()
	f.SignalsReceived, f.SignalsTaken = p.signals()
	return f, p.error()
}

// ParseDone reads the value of a DONE frame.
func ParseDone(value []byte) (Done, error) {
	p := parser{t: TypeDone, b: value}
	var f Done
	f.Received, f.Late, f.Dropped = p.received()
	return f, p.error()
}

// parser takes fields from the front of a frame's value. After the first
// failure it returns zeros; error then gives that failure.
type parser struct {
	t   FrameType
	b   []byte
	err *FrameError
}

// error returns the failure as an untyped nil when there is none.
func (p *parser) error() error {
	if p.err == nil {
		return nil
	}
	return p.err
}

func (p *parser) fail(reason string) {
	if p.err == nil {
		p.err = &FrameError{Type: p.t, Reason: reason}
	}
}

func (p *parser) varint(field string) uint64 {
	if p.err != nil {
		return 0
	}
	v, n, err := quicvarint.Parse(p.b)
	if err != nil {
		p.fail("it ends inside the " + field)
		return 0
	}
	p.b = p.b[n:]
	return v
}

// fixed returns the next n bytes; they alias the value.
func (p *parser) fixed(field string, n int) []byte {
	if p.err == nil && len(p.b) < n {
		p.fail("it ends inside the " + field)
	}
	if p.err != nil {
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

// bytes returns a byte string behind its length, nil when empty; it aliases
// the value.
func (p *parser) bytes(field string, limit uint64) []byte {
	n := p.varint(field)
	if p.err == nil && n > limit {
		p.fail(fmt.Sprintf("the %s has %d bytes, more than %d", field, n, limit))
	}
	if p.err == nil && n > uint64(len(p.b)) {
		p.fail("it ends inside the " + field)
	}
	if p.err != nil || n == 0 {
		return nil
	}
	return p.fixed(field, int(n))
}

func (p *parser) text(field string, limit uint64) string {
	v := p.bytes(field, limit)
	if !utf8.Valid(v) {
		p.fail("the " + field + " is not UTF-8")
		return ""
	}
	return string(v)
}

func (p *parser) duration(field string) time.Duration { return duration(p.varint(field)) }

// sent reads messages sent and the end of their datagram numbers. A message
// needs a datagram, so messages without numbers are no honest count.
func (p *parser) sent() (sent, end uint64) {
	sent, end = p.varint("messages sent"), p.varint("end of datagram numbers")
	if sent > 0 && end == 0 {
		p.fail("messages were sent in no datagram")
	}
	return sent, end
}

// received reads the counts of a receiver.
func (p *parser) received() (received, late, dropped uint64) {
	received, late = p.varint("messages received"), p.varint("messages late")
	dropped = p.varint("messages dropped")
	if dropped > received {
		p.fail("more messages dropped than received")
	}
	return received, late, dropped
}

// signals reads the counts of signals at a close.
func (p *parser) signals() (received, taken uint64) {
	received, taken = p.varint("signals received"), p.varint("signals taken")
	if taken > received {
		p.fail("more signals taken than received")
	}
	return received, taken
}
