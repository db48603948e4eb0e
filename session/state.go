package session

import "fmt"

// State is where a session stands in its life. It only ever moves forward,
// along the arrows:
//
//	   Dial                                    OPEN arrives
//	     │                                          │
//	  Opening ── REJECT, ctx, abort ─► Closed ◄─ Reject ─ Incoming
//	     │ ACCEPT                                 Accept │
//	     └──────────────────► Open ◄────────────────────┘
//	                Close │          │ CLOSE arrives
//	                   Closing     Draining
//	CLOSE_ACK, then DONE  │          │ CLOSE_ACK sent, DONE read
//	                      └─► Closed ◄┘
//
// Every state also leads straight to Closed when the session is aborted, the
// peer breaks the protocol, or the link is lost.
type State uint8

const (
	// StateOpening: our OPEN is on its way, the peer has not answered.
	StateOpening State = iota + 1
	// StateIncoming: the peer's OPEN is here, the application has not answered.
	StateIncoming
	// StateOpen: both sides may send messages and signals.
	StateOpen
	// StateClosing: this side closes: it takes no more messages, hands over
	// those it has, sends CLOSE and waits for CLOSE_ACK, then for the last
	// messages of the peer.
	StateClosing
	// StateDraining: the peer closes: the last of its messages are awaited,
	// CLOSE_ACK is sent, and DONE awaited for the totals.
	StateDraining
	// StateClosed: it is over, and its totals are final.
	StateClosed
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case StateOpening:
		return "opening"
	case StateIncoming:
		return "incoming"
	case StateOpen:
		return "open"
	case StateClosing:
		return "closing"
	case StateDraining:
		return "draining"
	case StateClosed:
		return "closed"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// follows reports whether the life cycle has an arrow from one state to
// another.
func (s State) follows(from State) bool {
	switch s {
	case StateOpening, StateIncoming:
		return from == 0
	case StateOpen:
		return from == StateOpening || from == StateIncoming
	case StateClosing:
		return from == StateOpening || from == StateOpen
	case StateDraining:
		return from == StateIncoming || from == StateOpen
	case StateClosed:
		return from != 0 && from != StateClosed
	}
	return false
}
