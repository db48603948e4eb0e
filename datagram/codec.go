package datagram

import (
	"fmt"

	"github.com/quic-go/quic-go/quicvarint"
)

// A Kind says what the body of a datagram holds. It is the first varint of every datagram.
type Kind uint64

// What the specification fixes.
const (
	KindMessage       Kind = 0x00 // one whole message of one session
	KindBundle        Kind = 0x01 // several whole messages, of any sessions of the link
	KindFragment      Kind = 0x02 // a piece of one message
	KindHeartbeat     Kind = 0x10 // is the peer alive?
	KindHeartbeatEcho Kind = 0x11 // yes
	KindCredit        Kind = 0x12 // how far the receiver has come

	// MaxNumber is the largest datagram number. It is one below the largest varint (RFC 9000, section 16),
	// so that "highest number seen + 1" can always be written.
	MaxNumber = quicvarint.Max - 1
)

// String returns the kind's name in the specification.
func (k Kind) String() string {
	switch k {
	case KindMessage:
		return "message"
	case KindBundle:
		return "bundle"
	case KindFragment:
		return "fragment"
	case KindHeartbeat:
		return "heartbeat"
	case KindHeartbeatEcho:
		return "heartbeat echo"
	case KindCredit:
		return "credit"
	}
	return fmt.Sprintf("unknown kind %#x", uint64(k))
}

// A MalformedError says why bytes are not the datagram they claim to be.
type MalformedError struct {
	// Session is the session the datagram names, if it came that far.
	Session    uint64
	HasSession bool
	// Reason is for people.
	Reason string
}

func (e *MalformedError) Error() string {
	if e.HasSession {
		return fmt.Sprintf("datagram: malformed datagram of session %d: %s", e.Session, e.Reason)
	}
	return "datagram: malformed: " + e.Reason
}

// malformed blames nobody: the session id could not be read.
func malformed(reason string) error { return &MalformedError{Reason: reason} }

// malformedOf blames a session.
func malformedOf(session uint64, reason string) error {
	return &MalformedError{Session: session, HasSession: true, Reason: reason}
}

// A Header begins every datagram.
type Header struct {
	Kind   Kind
	Number uint64 // counts all datagrams of a connection and direction, from 0
}

// AppendHeader appends the wire form of h to b. It panics if a field exceeds 2^62-1, as every Append function here does.
func AppendHeader(b []byte, h Header) []byte {
	b = quicvarint.Append(b, uint64(h.Kind))
	return quicvarint.Append(b, h.Number)
}

// ParseHeader splits a datagram into header and body. It does not judge the kind. The body aliases b.
func ParseHeader(b []byte) (h Header, body []byte, err error) {
	kind, n, err := quicvarint.Parse(b)
	if err != nil {
		return Header{}, nil, malformed("kind cut short")
	}
	number, l, err := quicvarint.Parse(b[n:])
	if err != nil {
		return Header{}, nil, malformed("number cut short")
	}
	if number > MaxNumber {
		return Header{}, nil, malformed("number above 2^62-2")
	}
	return Header{Kind: Kind(kind), Number: number}, b[n+l:], nil
}

// paddingID stands in place of a session id in an item of a bundle that is padding: no session has it.
const paddingID = 1<<62 - 1

// A Message is one whole message and the session it belongs to. Its payload may be empty.
type Message struct {
	Session uint64
	Payload []byte
}

// AppendMessage appends a whole datagram of KindMessage to b.
func AppendMessage(b []byte, number uint64, m Message) []byte {
	b = AppendHeader(b, Header{KindMessage, number})
	b = quicvarint.Append(b, m.Session)
	return append(b, m.Payload...)
}

// ParseMessage parses the body of a datagram of KindMessage. The payload aliases body, with no capacity beyond it.
func ParseMessage(body []byte) (Message, error) {
	session, n, err := quicvarint.Parse(body)
	if err != nil {
		return Message{}, malformed("session id cut short")
	}
	return Message{Session: session, Payload: body[n:len(body):len(body)]}, nil
}

// AppendBundleItem appends one message to the body of a bundle. The datagram starts with AppendHeader and KindBundle.
func AppendBundleItem(b []byte, m Message) []byte {
	b = quicvarint.Append(b, m.Session)
	b = quicvarint.Append(b, uint64(len(m.Payload)))
	return append(b, m.Payload...)
}

// NextBundleItem takes the next message off the body of a datagram of KindBundle.
// Call it until rest is empty; called with an empty body it returns an error, because a bundle holds at least one message.
// The payload aliases body, with no capacity beyond it.
func NextBundleItem(body []byte) (m Message, rest []byte, err error) {
	if len(body) == 0 {
		return Message{}, nil, malformed("empty bundle")
	}
	session, n, err := quicvarint.Parse(body)
	if err != nil {
		return Message{}, nil, malformed("session id cut short in a bundle")
	}
	size, l, err := quicvarint.Parse(body[n:])
	if err != nil {
		return Message{}, nil, malformedOf(session, "length cut short in a bundle")
	}
	body = body[n+l:]
	if size > uint64(len(body)) {
		return Message{}, nil, malformedOf(session, "length beyond the end of the bundle")
	}
	return Message{Session: session, Payload: body[:size:size]}, body[size:], nil
}

// A Fragment is a piece of one message that is too large for a datagram.
type Fragment struct {
	Session uint64
	ID      uint64 // of the message: per session and direction, from 0, fragmented messages only
	Total   uint64 // length of the whole message, at least 1
	Offset  uint64 // of Payload within it
	Payload []byte // never empty
}

// AppendFragment appends a whole datagram of KindFragment to b.
func AppendFragment(b []byte, number uint64, f Fragment) []byte {
	b = AppendHeader(b, Header{KindFragment, number})
	b = quicvarint.Append(b, f.Session)
	b = quicvarint.Append(b, f.ID)
	b = quicvarint.Append(b, f.Total)
	b = quicvarint.Append(b, f.Offset)
	return append(b, f.Payload...)
}

// ParseFragment parses the body of a datagram of KindFragment. The payload aliases body, with no capacity beyond it.
func ParseFragment(body []byte) (Fragment, error) {
	session, n, err := quicvarint.Parse(body)
	if err != nil {
		return Fragment{}, malformed("session id cut short")
	}
	rest := body[n:]
	var fields [3]uint64
	for i := range fields {
		v, l, err := quicvarint.Parse(rest)
		if err != nil {
			return Fragment{}, malformedOf(session, "fragment header cut short")
		}
		fields[i], rest = v, rest[l:]
	}
	f := Fragment{Session: session, ID: fields[0], Total: fields[1], Offset: fields[2], Payload: rest[:len(rest):len(rest)]}
	// Sums of two varints cannot overflow 64 bits.
	switch {
	case f.ID > MaxNumber:
		return Fragment{}, malformedOf(session, "message id above 2^62-2")
	case len(f.Payload) == 0:
		return Fragment{}, malformedOf(session, "fragment without payload")
	case f.Offset+uint64(len(f.Payload)) > f.Total:
		return Fragment{}, malformedOf(session, "fragment beyond the end of its message")
	}
	return f, nil
}
