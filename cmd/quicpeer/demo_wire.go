package main

import (
	"github.com/oneportnet/quicpeer/certs"
)

// demoProtocol is the application protocol of the demo's sessions.
const demoProtocol = "quicpeer-demo/1"

// What the demo tells one of its peers to do: one JSON object a line, on the
// process's standard input. Its end means that the demo is gone, and the peer
// ends at once.
type demoCommand struct {
	Do string `json:"do"`

	Address string         `json:"address,omitempty"` // listen, dial
	Trust   []certs.PeerID `json:"trust,omitempty"`   // listen: who may connect
	Serve   bool           `json:"serve,omitempty"`   // listen: accept sessions

	Session string       `json:"session,omitempty"` // dial, close: the session's name, known to both sides
	Peer    certs.PeerID `json:"peer,omitzero"`     // dial: who must answer
	At      int64        `json:"at,omitempty"`      // dial, close: when to begin, Unix time in ns; 0: now

	Messages int `json:"messages,omitempty"` // talk: on each session
	Signals  int `json:"signals,omitempty"`  // talk: on each session

	Code   uint64 `json:"code,omitempty"`   // close, quit
	Reason string `json:"reason,omitempty"` // close, quit
}

// Values of demoCommand.Do.
const (
	doListen = "listen" // answered by listening or notListening; an endpoint that is open is closed before
	doDial   = "dial"   // answered by opened or dialFailed
	doTalk   = "talk"   // answered by talked
	doClose  = "close"  // answered by ended
	doQuit   = "quit"   // answered by quit, then the process ends
)

// What a peer of the demo reports: one JSON object a line, on its standard
// output.
type demoEvent struct {
	Kind    string       `json:"event"`
	At      int64        `json:"at"` // Unix time in ns
	PID     int          `json:"pid,omitempty"`
	ID      certs.PeerID `json:"id,omitzero"`
	Address string       `json:"address,omitempty"`
	Session string       `json:"session,omitempty"`
	Count   int          `json:"count,omitempty"`
	Signals int          `json:"signals,omitempty"`
	Error   string       `json:"error,omitempty"`
	Opened  *demoOpened  `json:"opened,omitempty"`
	Ended   *demoEnded   `json:"ended,omitempty"`

	peer string // who reports; filled in by the reader
}

// Values of demoEvent.Kind.
const (
	evStarted      = "started"      // PID, ID
	evListening    = "listening"    // Address
	evNotListening = "notListening" // Error
	evOpened       = "opened"       // Session, Opened
	evDialFailed   = "dialFailed"   // Session, Error
	evTalked       = "talked"       // Count messages and Signals signals sent
	evEnded        = "ended"        // Session, Ended
	evQuit         = "quit"         // Count sessions confirmed; Error
	evFailed       = "failed"       // Error: the demo cannot go on
	evExited       = "exited"       // made by the reader: the process has ended; Error
)

// demoOpened is one side's view of a new session.
type demoOpened struct {
	Dialed   bool         `json:"dialed"`
	Began    int64        `json:"began,omitempty"` // when Dial was called, Unix time in ns
	Remote   string       `json:"remote"`          // address of the other side, as this side sees it
	RemoteID certs.PeerID `json:"remoteID,omitzero"`
}

// demoEnded is one side's view of a session that is over.
type demoEnded struct {
	Remote      bool   `json:"remote"`    // the other side ended it
	Closed      bool   `json:"closed"`    // by a close, not by a failure
	Confirmed   bool   `json:"confirmed"` // the other side is known to know
	Code        uint64 `json:"code"`
	Reason      string `json:"reason"`
	Error       string `json:"error"`
	Complete    bool   `json:"complete"` // the counts are final and exact
	Sent        uint64 `json:"sent"`
	Unsent      uint64 `json:"unsent"` // still queued when the other side closed
	Lost        uint64 `json:"lost"`
	Received    uint64 `json:"received"`
	Dropped     uint64 `json:"dropped"` // of those received, dropped by the full receive queue
	LostIn      uint64 `json:"lostIn"`
	TheySent    uint64 `json:"theySent"`
	TheyGot     uint64 `json:"theyGot"`
	TheyDropped uint64 `json:"theyDropped"`

	// Counted by the demo itself, outside the library.
	Offered    uint64 `json:"offered"`    // messages given to Send
	Taken      uint64 `json:"taken"`      // messages that Receive returned
	Damaged    uint64 `json:"damaged"`    // of those, with other content than was sent
	Repeated   uint64 `json:"repeated"`   // of those, seen before
	SignalsOut uint64 `json:"signalsOut"` // signals sent, and taken by the other side
	SignalsIn  uint64 `json:"signalsIn"`  // signals taken here
	Disorder   uint64 `json:"disorder"`   // of those, out of order or damaged
}
