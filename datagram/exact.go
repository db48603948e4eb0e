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

// stretch makes d, a message or a bundle, exactly size bytes long, if it is a little shorter and that can be done by
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
