package session

import (
	"fmt"
	"strings"
)

// A model is two sides of one session and all that lies between them, as far
// as bounds let anything happen: two machines, the streams, which keep order
// within a link and die with it, the datagrams, which do neither, and what the
// runtime around the machines does (Session, in small). Time is no number: a
// deadline that is set may come at any moment.
//
// TestExhaust walks all of its states, TestExplore walks far by chance.
type model struct {
	*cast
	bounds
}

// bounds says what may happen in a history, and how often.
type bounds struct {
	messages, signals, reports int    // in each direction
	credit                     uint64 // how many signals may be outstanding
	reject                     bool   // the acceptor's application may reject
	giveUp                     bool   // the context of a Close may end
	aborts                     bool   // the applications may abort
	timers                     bool   // time passes: a deadline comes when it likes
	loss                       bool   // the link may be lost
	crash                      bool   // one of the processes may stop
	idle                       bool   // the acceptor may close the link as idle
	sessions                   int    // how many, one after the other, each on a link of its own
}

// orderly reports whether nothing may go wrong: then nothing may end otherwise
// than in order, and no deadline is ever needed.
func (b *bounds) orderly() bool {
	return !(b.giveUp || b.aborts || b.timers || b.loss || b.crash || b.idle)
}

// A world is one state of a model: a plain value.
type world struct {
	sides   [2]worldSide // the opener, the acceptor
	session uint8        // which session of these two processes it is, from 1
	idle    bool         // the acceptor has closed the link as idle
}

// worldSide is one side: its machine, what is on its way to it, and what the
// runtime around the machine knows.
type worldSide struct {
	machine     uint32 // of the cast
	in          uint32 // the stream towards this side
	reset, stop uint8  // RESET_STREAM and STOP_SENDING towards this side: their codes
	offer       offer
	call        call // of Close
	settle      settle

	sent, received, late uint8 // messages
	unread, taken        uint8 // signals
	reports, heard       uint8

	flow     bool // there are queues for messages
	muted    bool // takes no messages from the application
	flushing bool // inFlushed is owed
	drained  bool // hands no message to QUIC any more
	frozen   bool // takes no message from the peer any more
	knows    bool // the cause is visible to every call
	told     bool // no call of Signal waits any more
	closed   bool // the session is over
	finished bool // the stream is over
	aborted  bool // the application has aborted
	gone     bool // the link is gone, as far as this side knows
	crashed  bool // the process has stopped
}

// An offer is the OPEN, as the acceptor's application sees it.
type offer uint8

const (
	notOffered offer = iota
	offered
	answered
	withdrawn
)

// A call is what became of the call of Close.
type call uint8

const (
	notCalled call = iota
	waiting
	returnedNil
	returnedError
)

// settle is how far the wait for stragglers is.
type settle uint8

const (
	notSettling settle = iota
	settling
	freezing // the queue is closed; inSettled is owed
	settled
)

func (s *worldSide) over() bool { return s.finished || s.crashed }

// An eventKind is something that happens at one side.
type eventKind uint8

const (
	// These cannot stay away for ever.
	evRead      eventKind = iota // the next frame, or FIN, is read
	evReset                      // RESET_STREAM is read; it erases what was on its way
	evStop                       // STOP_SENDING is read
	evResetLost                  // only STOP_SENDING has come: either alone will do
	evStopLost                   // only RESET_STREAM has, or STOP_SENDING means nothing any more
	evFlush                      // the send queue is empty, or dropped
	evFreeze                     // the wait for stragglers is over
	evSettled                    // and the machine hears of it
	evLost                       // the link is found to be gone
	evTimer                      // the deadline has come
	// These need an application, or luck, good or bad.
	evMessage // a message arrives; one that is lost never does
	evSend    // a message is handed to QUIC
	evAccept
	evReject
	evSignal
	evTake // the application takes a signal
	evReport
	evClose
	evGiveUp // the context of Close ends
	evAbort
	evCrash
	evIdle  // the link is closed, because nothing is known to be on it
	evAgain // both sides are over, and begin a new session on a new link
	eventKinds
)

var eventNames = [eventKinds]string{
	evRead: "reads", evReset: "reads RESET_STREAM", evStop: "reads STOP_SENDING", evResetLost: "gets no RESET_STREAM",
	evStopLost: "gets no STOP_SENDING", evFlush: "has flushed", evFreeze: "freezes", evSettled: "has settled",
	evLost: "loses the link", evTimer: "has its deadline come", evMessage: "gets a message", evSend: "sends a message",
	evAccept: "accepts", evReject: "rejects", evSignal: "signals", evTake: "takes a signal",
	evReport: "reports", evClose: "closes", evGiveUp: "gives Close up", evAbort: "aborts",
	evCrash: "crashes", evIdle: "finds the link idle", evAgain: "begins again",
}

type event struct {
	kind eventKind
	side uint8
}

// The codes of a session, different for all that may state one. reasonOf has
// the reasons.
const (
	codeClose  Code = 0x100
	codeAbort  Code = 0x200
	codeReject Code = 0x300
)

func codeOf(base Code, side, session uint8) Code { return base + 0x10*Code(session) + Code(side) }

// begin returns the first state.
func (md *model) begin() (world, error) {
	return md.open(world{session: 1})
}

// open puts fresh machines into a world, and starts them.
func (md *model) open(w world) (world, error) {
	for i := range w.sides {
		m := newMachine(i == 0)
		m.signalLimit, m.peerSignalLimit = md.credit, md.credit
		w.sides[i].machine, _ = md.add(m)
		w.sides[i].flow = i == 0
	}
	for i := range w.sides {
		if err := md.feed(&w, uint8(i), inputKey{kind: inStart}); err != nil {
			return w, err
		}
	}
	return w, nil
}

var sideNames = [2]string{"opener", "acceptor"}

// events calls f with all that can happen in w.
func (md *model) events(w *world, f func(event)) {
	for kind := range eventKinds {
		for side := range uint8(2) {
			if e := (event{kind, side}); md.may(w, e) {
				f(e)
			}
		}
	}
}

// describe has e happen and tells about it in a line.
func (md *model) describe(w *world, e event) string {
	if e.kind == evAgain {
		_ = md.happen(w, e)
		return "both begin again, on a new link"
	}
	s := &w.sides[e.side]
	before := md.machines[s.machine]
	var line strings.Builder
	fmt.Fprintf(&line, "%-8s (%v) %s", sideNames[e.side], phase(&before), eventNames[e.kind])
	if e.kind == evRead {
		name, _, _ := strings.Cut(md.describeStream(s.in), " ")
		fmt.Fprintf(&line, " %s", name)
	}
	if err := md.happen(w, e); err != nil {
		fmt.Fprintf(&line, ": %v", err)
		return line.String()
	}
	for i, s := range w.sides {
		m := &md.machines[s.machine]
		fmt.Fprintf(&line, " | %s %s", sideNames[i][:1], phase(m))
		if s.in != emptyStream {
			fmt.Fprintf(&line, " ‹%s", md.describeStream(s.in))
		}
	}
	return line.String()
}

// tell has events happen from the beginning, and describes each.
func (md *model) tell(events []event) []string {
	lines := []string{fmt.Sprintf("bounds: %+v", md.bounds)}
	w, err := md.begin()
	if err != nil {
		return lines
	}
	for n, e := range events {
		lines = append(lines, fmt.Sprintf("%3d  %s", n+1, md.describe(&w, e)))
	}
	for i, s := range w.sides {
		lines = append(lines, fmt.Sprintf("the %s: %+v", sideNames[i], s), fmt.Sprintf("    %+v", md.machines[s.machine]))
	}
	return lines
}
