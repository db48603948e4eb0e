package session

import "github.com/quic-go/quic-go/quicvarint"

// beginFrame appends t and returns where the value starts; endFrame then puts
// the length between the two. The value moves by the one to four bytes of its
// length: cheaper to read, and to get right, than a second function for every
// frame that computes what the first one writes.
func beginFrame(b []byte, t FrameType) (_ []byte, mark int) {
	b = quicvarint.Append(b, uint64(t))
	return b, len(b)
}

func endFrame(b []byte, mark int) []byte {
	n := len(b) - mark
	var room [8]byte
	b = append(b, room[:quicvarint.Len(uint64(n))]...)
	copy(b[len(b)-n:], b[mark:mark+n])
	quicvarint.Append(b[:mark], uint64(n))
	return b
}

func appendBytes(b, v []byte) []byte {
	return append(quicvarint.Append(b, uint64(len(v))), v...)
}

func appendString(b []byte, s string) []byte {
	return append(quicvarint.Append(b, uint64(len(s))), s...)
}

func appendVarints(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = quicvarint.Append(b, v)
	}
	return b
}

// Append appends the whole frame to b.
func (f GoAway) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeGoAway)
	b = appendVarints(b, uint64(f.Code))
	b = appendString(b, cutReason(f.Reason))
	b = appendVarints(b, milliseconds(f.Deadline), f.FirstRefused)
	return endFrame(b, mark)
}

// Append appends the whole frame to b.
func (f Ping) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypePing)
	return endFrame(append(b, f.Token[:]...), mark)
}

// Append appends the whole frame to b.
func (f Pong) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypePong)
	return endFrame(append(b, f.Token[:]...), mark)
}

// Append appends the whole frame to b. Check with Validate first: it does not
// cut what is too long.
func (f Open) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeOpen)
	b = appendString(b, f.Protocol)
	b = appendBytes(b, f.Metadata)
	return endFrame(b, mark)
}

// Append appends the whole frame to b. Check with Validate first: it does not
// cut what is too long.
func (f Accept) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeAccept)
	return endFrame(appendBytes(b, f.Metadata), mark)
}

// Append appends the whole frame to b.
func (f Reject) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeReject)
	b = appendVarints(b, uint64(f.Code))
	b = appendString(b, cutReason(f.Reason))
	b = appendVarints(b, milliseconds(f.RetryAfter))
	return endFrame(b, mark)
}

// Append appends the whole frame to b. The caller has compared the payload
// with what the peer takes.
func (f Signal) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeSignal)
	return endFrame(appendBytes(b, f.Payload), mark)
}

// Append appends the whole frame to b.
func (f SignalAck) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeSignalAck)
	return endFrame(appendVarints(b, f.Taken), mark)
}

// Append appends the whole frame to b.
func (f Report) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeReport)
	return endFrame(appendVarints(b, f.Received, f.Late, f.Dropped), mark)
}

// Append appends the whole frame to b.
func (f Close) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeClose)
	b = appendVarints(b, uint64(f.Code))
	b = appendString(b, cutReason(f.Reason))
	b = appendVarints(b, f.Sent, f.End, f.SignalsReceived, f.SignalsTaken)
	return endFrame(b, mark)
}

// Append appends the whole frame to b.
func (f CloseAck) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeCloseAck)
	b = appendVarints(b, f.Sent, f.End, f.Received, f.Late, f.Dropped,
		f.SignalsReceived, f.SignalsTaken)
	return endFrame(b, mark)
}

// Append appends the whole frame to b.
func (f Done) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeDone)
	return endFrame(appendVarints(b, f.Received, f.Late, f.Dropped), mark)
}

// Append appends the whole frame to b.
func (f Unknown) Append(b []byte) []byte {
	b, mark := beginFrame(b, f.Type)
	return endFrame(append(b, f.Value...), mark)
}
