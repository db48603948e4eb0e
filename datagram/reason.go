package datagram

import "fmt"

// A Reason says why something was dropped. Every drop has one.
type Reason uint8

const (
	// Messages, while they wait to be sent.

	ReasonExpired  Reason = iota // its expiry passed before it was handed to QUIC
	ReasonClosed                 // still queued when the session, or the link, gave up
	ReasonTooLarge               // the path takes so little now that not even a piece of it fits

	// Messages, at a full queue of either direction.

	ReasonOldest // the oldest made room for a newer one
	ReasonNewest // the newest found no room

	// Messages, on the receiving side.

	ReasonLate              // arrived after the counts were frozen, or after its session was removed
	ReasonDiscarded         // received in time, but the session discarded its receive queue
	ReasonReassemblyTimeout // not complete within a second
	ReasonReassemblyFull    // gave up its place to a newer message
	ReasonContradiction     // its fragments contradict each other
	ReasonIncomplete        // incomplete when the counts were frozen
	ReasonStaleFragment     // counts fragments: of a message that was complete, or given up, before
	ReasonUnknownSession    // names a session of our own that we never opened
	ReasonEarlyFull         // before its session, and no room to keep it
	ReasonEarlyExpired      // before its session, which was not opened within a second
	ReasonEarlyDiscarded    // before its session, which ended without being opened

	// Whole datagrams, on the receiving side.

	ReasonDuplicate   // its number was seen before
	ReasonOldNumber   // its number is older than the window in which repeats can be told
	ReasonMalformed   // does not parse, or breaks a limit
	ReasonUnknownKind // of a later version, perhaps
	ReasonLinkClosed  // arrived after the link was closed

	numReasons
)

var reasonNames = [numReasons]string{
	ReasonExpired:           "expired",
	ReasonClosed:            "closed",
	ReasonTooLarge:          "too large",
	ReasonOldest:            "oldest",
	ReasonNewest:            "newest",
	ReasonLate:              "late",
	ReasonDiscarded:         "discarded",
	ReasonReassemblyTimeout: "reassembly timeout",
	ReasonReassemblyFull:    "reassembly full",
	ReasonContradiction:     "contradiction",
	ReasonIncomplete:        "incomplete",
	ReasonStaleFragment:     "stale fragment",
	ReasonUnknownSession:    "unknown session",
	ReasonEarlyFull:         "early, no room",
	ReasonEarlyExpired:      "early, expired",
	ReasonEarlyDiscarded:    "early, discarded",
	ReasonDuplicate:         "duplicate",
	ReasonOldNumber:         "old number",
	ReasonMalformed:         "malformed",
	ReasonUnknownKind:       "unknown kind",
	ReasonLinkClosed:        "link closed",
}

// String returns a short lower-case name.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Reasons returns all of them, for those who print tables.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Drops counts by Reason. The zero value is empty; index it with a Reason.
type Drops [numReasons]uint64

// Total returns the sum over all reasons.
func (d Drops) Total() uint64 {
	var n uint64
	for _, c := range d {
		n += c
	}
	return n
}

// Add adds o to d, for totals over several flows.
func (d *Drops) Add(o Drops) {
	for i := range d {
		d[i] += o[i]
	}
}

// flowDrops counts the drops of one side of a flow. There are thousands of flows, and most drop nothing: the counts are
// made with the first drop. The zero value is empty.
type flowDrops struct{ counts *Drops }

func (d *flowDrops) add(r Reason, n int) {
	if n == 0 {
		return
	}
	if d.counts == nil {
		d.counts = new(Drops)
	}
	d.counts[r] += uint64(n)
}

func (d *flowDrops) all() Drops {
	if d.counts == nil {
		return Drops{}
	}
	return *d.counts
}
