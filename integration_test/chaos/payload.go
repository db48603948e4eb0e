package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A payload says what it is, so that whoever gets it can tell whether it is
// whole, and of which session, direction and number:
//
//	+--------------+---------+------+--------+---------+--------+
//	| length of id | id      | role | number | filler  | CRC-32 |
//	+--------------+---------+------+--------+---------+--------+
//	  1              length    1      8        any       4

// makePayload makes the payload with a number, of about size bytes.
func makePayload(id, role string, number uint64, size int) []byte {
	b := make([]byte, 0, max(size, len(id)+14))
	b = append(b, byte(len(id)))
	b = append(b, id...)
	b = append(b, role[0])
	b = binary.BigEndian.AppendUint64(b, number)
	for x := number*0x9e3779b97f4a7c15 + 1; len(b)+4 < size; x ^= x << 13 {
		x ^= x >> 7
		x ^= x << 17
		b = append(b, byte(x))
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// readPayload returns the number of a payload that role has sent on the
// session, and an error if it is none.
func readPayload(b []byte, id, role string) (uint64, error) {
	if len(b) < 4 || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return 0, fmt.Errorf("%d bytes, altered: %x", len(b), b[:min(len(b), 64)])
	}
	head := append([]byte{byte(len(id))}, id...)
	head = append(head, role[0])
	if !bytes.HasPrefix(b, head) || len(b) < len(head)+12 {
		return 0, fmt.Errorf("of another session or direction: %q", b[:min(len(b), 64)])
	}
	return binary.BigEndian.Uint64(b[len(head):]), nil
}
