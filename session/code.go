package session

import "fmt"

// Code says why something ended. It is what CLOSE, REJECT and GOAWAY carry and
// the application error code of RESET_STREAM, STOP_SENDING and
// CONNECTION_CLOSE. 0 is a normal end, 0x01 to 0xff belong to the protocol,
// everything from FirstApplicationCode up to MaxCode to the application.
//
// Timeouts and lost links are local findings: they have a Cause, not a Code.
type Code uint64

// Codes fixed by the specification (PROTOCOL.md, "Codes").
const (
	// CodeNormal ends something that went as intended.
	CodeNormal Code = 0x00
	// CodeViolation answers input that the protocol does not allow.
	CodeViolation Code = 0x01
	// CodeRefused answers an OPEN that policy does not admit, or that asks
	// for a protocol nobody serves.
	CodeRefused Code = 0x02
	// CodeBusy answers an OPEN that came while the accept backlog was full.
	CodeBusy Code = 0x03
	// CodeLimit reports that a local resource limit was reached.
	CodeLimit Code = 0x04
	// CodeGoingAway reports an endpoint that shuts down: what it answers was
	// not acted on and may be tried elsewhere.
	CodeGoingAway Code = 0x05
	// CodeSuperseded ends a link whose peer was found alive on a newer one
	// while this one stayed silent.
	CodeSuperseded Code = 0x06
	// CodeUnsupported answers a peer that lacks something required, such as
	// QUIC datagrams.
	CodeUnsupported Code = 0x07
	// CodeInternal reports a failure of the side that sends it.
	CodeInternal Code = 0x08
	// CodeLinkIdle closes a link that carried no session for a while.
	CodeLinkIdle Code = 0x09
	// CodeCancelled ends what its initiator no longer wants.
	CodeCancelled Code = 0x0a

	// FirstApplicationCode is the lowest code an application may define.
	FirstApplicationCode Code = 0x100
	// MaxCode is the highest code a varint can carry (RFC 9000 section 16).
	MaxCode Code = 1<<62 - 1
)

// IsApplication reports whether c belongs to the application.
func (c Code) IsApplication() bool { return c >= FirstApplicationCode }

// String names c for logs and error texts.
func (c Code) String() string {
	switch c {
	case CodeNormal:
		return "normal"
	case CodeViolation:
		return "violation"
	case CodeRefused:
		return "refused"
	case CodeBusy:
		return "busy"
	case CodeLimit:
		return "limit"
	case CodeGoingAway:
		return "going away"
	case CodeSuperseded:
		return "superseded"
	case CodeUnsupported:
		return "unsupported"
	case CodeInternal:
		return "internal"
	case CodeLinkIdle:
		return "link idle"
	case CodeCancelled:
		return "cancelled"
	}
	if c.IsApplication() {
		return fmt.Sprintf("application code %#x", uint64(c))
	}
	return fmt.Sprintf("protocol code %#x", uint64(c))
}
