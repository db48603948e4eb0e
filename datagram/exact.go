package datagram

import "github.com/quic-go/quic-go/quicvarint"

// Send offload (UDP GSO) takes packets in one piece only if all but the last have the same size, and a QUIC stack fills
// them to the largest. A datagram that leaves a few bytes of its packet free breaks the batch. Integers may be written
// longer than they need to be (RFC 9000 section 16), and that fills such a gap without a byte of padding on the wire
// that a receiver would have to know of.

// stretchable is the largest gap that stretch looks at.
const stretchable = 16

// lengths are those that an integer can have.
var lengths = [...]int{1, 2, 4, 8}

// stretch makes d, a message, exactly size bytes long, if it is a little shorter and that can be done by
// writing its first three integers, kind, number and session id, longer. If not, it returns d as it is. It works in
// d's memory, as far as that has room.
func stretch(d []byte, size int) []byte {
	gap := size - len(d)
	if gap <= 0 || gap > stretchable || cap(d) < size {
		return d
	}
	var values [3]uint64
	var least [3]int
	head := 0
	for i := range values {
		v, n, err := quicvarint.Parse(d[head:])
		if err != nil {
			return d
		}
		values[i], least[i] = v, n
		head += n
	}
	for _, a := range lengths {
		for _, b := range lengths {
			for _, c := range lengths {
				if a < least[0] || b < least[1] || c < least[2] || a+b+c != head+gap {
					continue
				}
				body := len(d) - head
				d = d[:size]
				copy(d[size-body:], d[head:head+body])
				h := quicvarint.AppendWithLen(d[:0], values[0], a)
				h = quicvarint.AppendWithLen(h, values[1], b)
				quicvarint.AppendWithLen(h, values[2], c)
				return d
			}
		}
	}
	return d
}

// appendBundle appends a bundle of what is in the hand, longer by gap if it is to fill its packet: by writing its integers
// longer, which is enough where there are many small messages, or else with padding, if that is not too much.
func (s *sender) appendBundle(b []byte, gap int) []byte {
	padding := 0
	if gap > s.widest() {
		if gap >= leastPadding && s.mayPad(gap) {
			padding = gap
		}
		gap = 0
	}
	kind := 1
	if gap%2 == 1 { // most other integers only grow by even numbers
		kind = 2
	}
	gap -= kind - 1
	b = quicvarint.AppendWithLen(b, uint64(KindBundle), kind)
	b = quicvarint.Append(b, s.number)
	for i := range s.hand.items {
		h := &s.hand.items[i]
		b = appendWide(b, h.flow.id, &gap)
		b = appendWide(b, uint64(h.item.n), &gap)
		b = append(b, h.item.payload()...)
	}
	if padding > 0 {
		b = appendPadding(b, padding)
	}
	return b
}

const (
	// leastPadding is the size of an item of padding that holds nothing.
	leastPadding = 8 + 1
	// mostPadding is the part of a packet, as a divisor, that may be padding. It costs the path as much, and saves
	// several times that of the processor.
	mostPadding = 8
)

func (s *sender) mayPad(gap int) bool { return gap <= s.maxDatagram/mostPadding }

// appendPadding appends an item of padding that takes n bytes, at least leastPadding.
func appendPadding(b []byte, n int) []byte {
	b = quicvarint.Append(b, paddingID)
	length := n - leastPadding
	if length > 63 { // its length takes two bytes
		b = quicvarint.AppendWithLen(b, uint64(length-1), 2)
		return append(b, make([]byte, length-1)...)
	}
	b = quicvarint.Append(b, uint64(length))
	return append(b, make([]byte, length)...)
}

// widest returns by how much the bundle in the hand can grow.
func (s *sender) widest() int {
	grown := 2 - 1 // of the kind
	for i := range s.hand.items {
		h := &s.hand.items[i]
		grown += 16 - quicvarint.Len(h.flow.id) - quicvarint.Len(uint64(h.item.n))
	}
	return grown
}

// appendWide appends v in the longest form that exceeds the shortest by gap at most, and takes the excess off gap.
func appendWide(b []byte, v uint64, gap *int) []byte {
	if *gap == 0 {
		return quicvarint.Append(b, v)
	}
	least := quicvarint.Len(v)
	for i := len(lengths) - 1; lengths[i] > least; i-- {
		if grown := lengths[i] - least; grown <= *gap {
			*gap -= grown
			return quicvarint.AppendWithLen(b, v, lengths[i])
		}
	}
	return quicvarint.Append(b, v)
}
