package session

import (
	"fmt"
	"time"
)

// FrameType is the number in front of every frame on a link stream or a
// session's control stream.
type FrameType uint64

// Frame types fixed by the specification (PROTOCOL.md, "Frames").
const (
	TypeSettings  FrameType = 0x00
	TypeGoAway    FrameType = 0x01
	TypePing      FrameType = 0x02
	TypePong      FrameType = 0x03
	TypeJoin      FrameType = 0x05 // reserved: version 1 neither sends nor reads it
	TypeOpen      FrameType = 0x10
	TypeAccept    FrameType = 0x11
	TypeReject    FrameType = 0x12
	TypeSignal    FrameType = 0x13
	TypeSignalAck FrameType = 0x14
	TypeReport    FrameType = 0x15
	TypeClose     FrameType = 0x16
	TypeCloseAck  FrameType = 0x18 // 0x17 is a reserved type
	TypeDone      FrameType = 0x19
)

// Reserved types are reservedStep·N + reservedBase. They mean nothing; they
// are sent now and then so that receivers keep the habit of skipping.
const (
	reservedStep = 0x29
	reservedBase = 0x17
)

// ReservedType returns the n-th reserved type. Numbers beyond what a varint
// carries wrap around.
func ReservedType(n uint64) FrameType {
	const count = (maxVarint-reservedBase)/reservedStep + 1
	return FrameType(reservedStep*(n%count) + reservedBase)
}

// IsReserved reports whether t is one of the types that mean nothing.
func (t FrameType) IsReserved() bool {
	return t >= reservedBase && (t-reservedBase)%reservedStep == 0
}

// Known reports whether version 1 gives t a meaning.
func (t FrameType) Known() bool {
	switch t {
	case TypeSettings, TypeGoAway, TypePing, TypePong,
		TypeOpen, TypeAccept, TypeReject, TypeSignal, TypeSignalAck,
		TypeReport, TypeClose, TypeCloseAck, TypeDone:
		return true
	}
	return false
}

// String names t as the specification does.
func (t FrameType) String() string {
	switch t {
	case TypeSettings:
		return "SETTINGS"
	case TypeGoAway:
		return "GOAWAY"
	case TypePing:
		return "PING"
	case TypePong:
		return "PONG"
	case TypeJoin:
		return "JOIN"
	case TypeOpen:
		return "OPEN"
	case TypeAccept:
		return "ACCEPT"
	case TypeReject:
		return "REJECT"
	case TypeSignal:
		return "SIGNAL"
	case TypeSignalAck:
		return "SIGNAL_ACK"
	case TypeReport:
		return "REPORT"
	case TypeClose:
		return "CLOSE"
	case TypeCloseAck:
		return "CLOSE_ACK"
	case TypeDone:
		return "DONE"
	}
	if t.IsReserved() {
		return fmt.Sprintf("reserved type %#x", uint64(t))
	}
	return fmt.Sprintf("unknown type %#x", uint64(t))
}

// Frame is one control frame. The types that implement it are plain values.
type Frame interface {
	// FrameType is the number that stands in front of the frame.
	FrameType() FrameType
	// Append appends the whole frame (type, length, value) to b, all
	// integers in their shortest form. A number above 2^62-1 panics: no
	// count reaches it, and codes are checked where they enter.
	Append(b []byte) []byte
}

// GoAway tells the receiver that the sender will not act on new sessions from
// it. Link stream.
type GoAway struct {
	Code     Code
	Reason   string        // at most MaxReason bytes; Append cuts it to fit
	Deadline time.Duration // from now; whole milliseconds on the wire
	// FirstRefused is the lowest id of a session opened by the receiver of
	// this frame that will not be acted on.
	FirstRefused uint64
}

// Ping asks for a Pong with the same token. Link stream.
type Ping struct{ Token [8]byte }

// Pong answers a Ping. Link stream.
type Pong struct{ Token [8]byte }

// Open is the first frame of a session's opener.
type Open struct {
	Protocol string // the application protocol; "" is the default one
	Metadata []byte // aliases the parsed value; nil when empty
}

// Accept is the acceptor's first frame when it takes the session.
type Accept struct {
	Metadata []byte // aliases the parsed value; nil when empty
}

// Reject is the acceptor's first and last frame when it does not.
type Reject struct {
	Code       Code
	Reason     string        // at most MaxReason bytes; Append cuts it to fit
	RetryAfter time.Duration // 0: no advice; whole milliseconds on the wire
}

// Signal is one reliable, ordered message of the application.
type Signal struct {
	Payload []byte // aliases the parsed value; nil when empty
}

// SignalAck says how many signals the sender's application has taken so far.
type SignalAck struct{ Taken uint64 }

// Report is a receiver's running counts, for the other side's statistics.
type Report struct {
	Received uint64 // messages completely received in time
	Late     uint64 // messages that came too late to count
	Dropped  uint64 // of Received: dropped by a full receive queue
}

// Close says that its sender sends no more, and why.
type Close struct {
	Code            Code
	Reason          string // at most MaxReason bytes; Append cuts it to fit
	Sent            uint64 // messages its sender handed to QUIC
	End             uint64 // last datagram number used for them + 1; 0: none
	SignalsReceived uint64
	SignalsTaken    uint64 // of SignalsReceived: taken by the application
}

// CloseAck answers Close once the cause is visible to its sender's
// application. As an acceptor's first frame it means: closed before accepted.
type CloseAck struct {
	Sent            uint64 // messages its sender handed to QUIC
	End             uint64 // last datagram number used for them + 1; 0: none
	Received        uint64
	Late            uint64
	Dropped         uint64
	SignalsReceived uint64
	SignalsTaken    uint64
}

// Done is the closer's last frame: what it received of the other side's
// messages.
type Done struct {
	Received uint64
	Late     uint64
	Dropped  uint64
}

// Unknown is a frame whose type version 1 does not know. A FrameReader skips
// such frames; ParseFrame returns them for tools that show everything.
type Unknown struct {
	Type  FrameType
	Value []byte // aliases the parsed value; nil when empty
}

func (Settings) FrameType() FrameType  { return TypeSettings }
func (GoAway) FrameType() FrameType    { return TypeGoAway }
func (Ping) FrameType() FrameType      { return TypePing }
func (Pong) FrameType() FrameType      { return TypePong }
func (Open) FrameType() FrameType      { return TypeOpen }
func (Accept) FrameType() FrameType    { return TypeAccept }
func (Reject) FrameType() FrameType    { return TypeReject }
func (Signal) FrameType() FrameType    { return TypeSignal }
func (SignalAck) FrameType() FrameType { return TypeSignalAck }
func (Report) FrameType() FrameType    { return TypeReport }
func (Close) FrameType() FrameType     { return TypeClose }
func (CloseAck) FrameType() FrameType  { return TypeCloseAck }
func (Done) FrameType() FrameType      { return TypeDone }
func (f Unknown) FrameType() FrameType { return f.Type }

// FrameError reports a frame that breaks the protocol: malformed, over its
// limit, or of a type that cannot come first. It costs the sender its session,
// or on the link stream its link, with CodeViolation.
type FrameError struct {
	Type   FrameType
	Reason string // for people
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("session: bad %s frame: %s", e.Type, e.Reason)
}
