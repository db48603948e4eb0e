package datagram

import "github.com/quic-go/quic-go/quicvarint"

// HeartbeatSize is the least size of a heartbeat and of its echo, header included: a QUIC stack that has lost the
// connection answers only packets well above 40 bytes with a stateless reset (RFC 9000, section 10.3.3), and a packet
// around fewer bytes than these would be too small.
const HeartbeatSize = 20

// tokenSize is the size of the token of a heartbeat.
const tokenSize = 8

// AppendHeartbeat appends a whole heartbeat datagram, or its echo, padded to HeartbeatSize.
func AppendHeartbeat(b []byte, number uint64, echo bool, token [8]byte) []byte {
	start := len(b)
	kind := KindHeartbeat
	if echo {
		kind = KindHeartbeatEcho
	}
	b = AppendHeader(b, Header{kind, number})
	b = append(b, token[:]...)
	for len(b)-start < HeartbeatSize {
		b = append(b, 0)
	}
	return b
}

// ParseHeartbeat parses the body of a heartbeat or of its echo. What follows the token is padding, whatever it holds.
func ParseHeartbeat(body []byte) (token [8]byte, err error) {
	if len(body) < tokenSize {
		return token, malformed("heartbeat token cut short")
	}
	copy(token[:], body)
	return token, nil
}

// A Credit tells the sender of datagrams how far their receiver has come. It is cumulative: losing one costs nothing.
type Credit struct {
	End   uint64 // highest number seen + 1; 0 if none was
	Taken uint64 // datagrams taken so far, at most End
}

// AppendCredit appends a whole datagram of KindCredit to b.
func AppendCredit(b []byte, number uint64, c Credit) []byte {
	b = AppendHeader(b, Header{KindCredit, number})
	b = quicvarint.Append(b, c.End)
	return quicvarint.Append(b, c.Taken)
}

// ParseCredit parses the body of a datagram of KindCredit. Bytes after the two fields are ignored: that is where later
// versions put more.
func ParseCredit(body []byte) (Credit, error) {
	end, n, err := quicvarint.Parse(body)
	if err != nil {
		return Credit{}, malformed("credit cut short")
	}
	taken, _, err := quicvarint.Parse(body[n:])
	if err != nil {
		return Credit{}, malformed("credit cut short")
	}
	if taken > end {
		return Credit{}, malformed("credit for more datagrams than there were numbers")
	}
	return Credit{End: end, Taken: taken}, nil
}
