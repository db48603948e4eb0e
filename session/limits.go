package session

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Fixed by the specification (PROTOCOL.md, "Limits").
const (
	// MaxOpenContent bounds protocol name and metadata of OPEN together, and
	// the metadata of ACCEPT: room for a certificate chain or a token, while
	// a thousand waiting OPENs still cost no more than 16 MiB.
	MaxOpenContent = 16 << 10
	// MaxReason bounds a reason string, in bytes: a sentence or two for a
	// log, and CLOSE still fits into one packet.
	MaxReason = 1024
	// DefaultMaxSignal is the largest signal every receiver takes.
	DefaultMaxSignal = 16 << 10
	// DefaultMaxSignals is how many signals every receiver lets be
	// outstanding: with the largest signal, 256 KiB a session.
	DefaultMaxSignals = 16
	// DefaultMaxMessage is the largest message every receiver takes.
	DefaultMaxMessage = 64 << 10
	// MaxUnknown bounds a frame that is only skipped. It costs no memory;
	// the limit is there so that a wrong length does not swallow a stream.
	MaxUnknown = 64 << 10
	// MaxDuration is the longest time a frame can state: 2^31-1 ms, about
	// 24.8 days, fits every platform's timers. Longer ones are read as this.
	MaxDuration = math.MaxInt32 * time.Millisecond

	// frameRoom is what a frame may hold besides its strings and payload.
	// The most there is are seven varints of 8 bytes, or the five settings,
	// under 60; the rest is for what later versions append.
	frameRoom = 1024

	maxVarint = 1<<62 - 1 // RFC 9000 section 16
)

// Limits are the sizes that differ between receivers. The zero value holds
// what the specification gives every receiver.
type Limits struct {
	// MaxSignal is the largest signal this side said it takes, in bytes.
	// Values below DefaultMaxSignal mean DefaultMaxSignal.
	MaxSignal uint64
}

// value returns the largest value that a frame of type t may have.
func (l Limits) value(t FrameType) uint64 {
	switch t {
	case TypeOpen, TypeAccept:
		return MaxOpenContent + frameRoom
	case TypeSignal:
		// Bounded by what a varint carries, so the sum cannot wrap.
		return min(max(l.MaxSignal, DefaultMaxSignal), maxVarint) + frameRoom
	case TypeGoAway, TypeReject, TypeClose:
		return MaxReason + frameRoom
	}
	if t.Known() {
		return frameRoom
	}
	return MaxUnknown
}

// cutReason makes s fit for the wire: valid UTF-8 of at most MaxReason bytes,
// cut between characters.
func cutReason(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxReason {
		return s
	}
	n := MaxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// milliseconds returns d as the wire has it: rounded up, so that a short time
// does not become "none", and within 0 and MaxDuration.
func milliseconds(d time.Duration) uint64 {
	d = min(max(d, 0), MaxDuration)
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
}

// duration is the inverse of milliseconds.
func duration(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt32)) * time.Millisecond
}

// checkSignal reports a signal above the limit. The limit of its frame is
// higher, because later versions may append fields.
func (l Limits) checkSignal(s Signal) error {
	limit := max(l.MaxSignal, DefaultMaxSignal)
	if n := uint64(len(s.Payload)); n > limit {
		return &FrameError{Type: TypeSignal, Reason: fmt.Sprintf(
			"the payload has %d bytes, more than %d", n, limit)}
	}
	return nil
}
