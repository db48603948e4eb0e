package session

import (
	"context"
	"fmt"
	"time"
)

// A machine is the life cycle of one session on one side, as the
// specification has it (PROTOCOL.md, "Life of a session"). It is a plain
// value: copying it forks the session's history, comparing two tells whether
// they stand at the same point. It does no I/O, starts nothing and reads no
// clock: step is handed the time, and says what is to be done.
//
// Not safe for concurrent use; Session guards it.
type machine struct {
	state  State
	opener bool // this side sent the OPEN
	opened bool // the OPEN is complete: sent, or read
	// answered: ACCEPT, or CLOSE_ACK in its place, has been sent (acceptor), or
	// read, as REJECT may have been (opener).
	answered bool

	closeSent, closeAcked bool // our own CLOSE
	peerClosed            bool // the peer's CLOSE, or a bare FIN in its place, has been read
	bareFIN               bool // the peer's counts are unknown: it ended the stream without CLOSE
	peerCloseDone         bool // CLOSE_ACK has been sent
	settling              bool // waiting for stragglers
	settled               bool // the receive counts are frozen, in counts
	totals                bool // both directions are known exactly

	finSent, finRead, reset bool
	finished                bool // nothing more will happen on the stream

	cause       Error // the first one stays; Cause == 0 while there is none
	closing     Close // what our CLOSE says; its counts are filled in at the flush
	peerClosing Close // what the peer's CLOSE said
	counts      Tally
	peer        Tally // what the peer stated; exact once totals is true

	signalsSent, signalsAcked     uint64 // ours: written; taken by the peer's application
	signalsReceived, signalsTaken uint64 // the peer's: read; taken by our application
	signalLimit, peerSignalLimit  uint64 // how many of ours may be outstanding; how many of the peer's

	deadline time.Time
}

// Tally is what one side knows of the messages of one session.
type Tally struct {
	Sent     uint64 // messages handed to QUIC
	End      uint64 // the number after the last datagram that carried any of them; 0 if none did
	Received uint64 // messages that arrived whole and in time
	Late     uint64 // messages that arrived after the counts were frozen, or too far out of order to judge
	Dropped  uint64 // of those received, the ones that the receive queue dropped
}

type inputKind uint8

const (
	inStart       inputKind = iota + 1 // the stream exists; opener: send the OPEN in frame
	inFrame                            // a frame was read
	inFIN                              // the peer ended its side, between two frames
	inReset                            // RESET_STREAM was read, with code
	inStopSending                      // STOP_SENDING was received, with code
	inMalformed                        // the stream cannot be parsed; reason says why
	inAccept                           // the application accepts; metadata in frame
	inReject                           // the application rejects; frame
	inClose                            // the application closes; frame has code and reason, until the deadline
	inFlushed                          // the send side is drained; tally has Sent and End
	inSettled                          // the receive side is frozen; tally is final
	inAbort                            // this side aborts, for the reason in cause
	inSignal                           // the application signals; frame
	inSignalTaken                      // the application took a signal
	inSignalLimit                      // how many signals the peer takes outstanding, in code
	inReport                           // tell the peer our counts, in tally, if it may be told
	inLinkLost                         // the link is gone, for the reason in cause
	inTimer                            // the deadline has come, perhaps
)

type input struct {
	kind   inputKind
	frame  Frame
	code   Code
	reason string
	tally  Tally // the session's counts now; exact for inFlushed and inSettled
	cause  Error
	until  time.Time // inClose: the close's deadline; inStart: none, or the OPEN's
}

type outputKind uint8

const (
	outWrite     outputKind = iota + 1 // write frame to the stream
	outFIN                             // end our side of the stream
	outReset                           // RESET_STREAM and STOP_SENDING, with code
	outIncoming                        // the OPEN is complete: offer it to the application
	outWithdrawn                       // the OPEN offered is taken back
	outOpened                          // the peer accepted; frame is its ACCEPT
	outFlush                           // take no more messages, hand over those queued, then inFlushed
	outStopSend                        // take no more messages, drop those queued, then inFlushed if a flush is on
	outSettle                          // wait for stragglers up to tally, freeze the receive side, then inSettled
	outCause                           // the cause is known from now on
	outSignal                          // a signal for the application; frame
	outSignals                         // signals of ours: tally.Sent taken, tally.Received arrived; the rest is unknown if cause is set
	outReport                          // the peer's report of its counts; frame
	outConfirmed                       // our close is over: confirmed, or not, for the reason in cause
	outState                           // the state has changed
	outClosed                          // the session is over; the totals are final
	outFinished                        // the stream is over, both ways
)

type output struct {
	kind    outputKind
	frame   Frame
	code    Code
	tally   Tally
	unknown bool // outSettle: the peer did not state its counts
	cause   Error
}

func newMachine(opener bool) machine {
	m := machine{opener: opener, signalLimit: DefaultMaxSignals, peerSignalLimit: DefaultMaxSignals}
	if opener {
		m.state = StateOpening
	} else {
		m.state = StateIncoming
	}
	return m
}

// step takes one input and appends to out what is to be done, in order.
func (m *machine) step(now time.Time, in *input, out []output) []output {
	if m.finished {
		return out
	}
	s := stepper{machine: m, now: now, out: out}
	switch in.kind {
	case inStart:
		s.start(in)
	case inFrame:
		s.frameRead(in)
	case inFIN:
		s.finReadNow(in)
	case inReset, inStopSending:
		s.resetRead(in.code)
	case inMalformed:
		s.violation(in.reason)
	case inAccept:
		s.accept(in)
	case inReject:
		s.reject(in)
	case inClose:
		s.close(in)
	case inFlushed:
		s.flushed(in.tally)
	case inSettled:
		s.settledNow(in.tally)
	case inAbort:
		s.abort(in.cause)
	case inSignal:
		s.signal(in)
	case inSignalTaken:
		s.signalTaken()
	case inSignalLimit:
		m.signalLimit = uint64(in.code)
	case inReport:
		if s.state == StateOpen {
			s.write(Report{Received: in.tally.Received, Late: in.tally.Late, Dropped: in.tally.Dropped})
		}
	case inLinkLost:
		s.linkLost(in.cause)
	case inTimer:
		s.timer()
	default:
		panic(fmt.Sprintf("BUG: session: unknown input %d", in.kind))
	}
	return s.out
}

// maySignal reports whether the peer's credit allows another signal now.
func (m *machine) maySignal() bool { return m.signalsSent-m.signalsAcked < m.signalLimit }

// stepper is a machine during one step.
type stepper struct {
	*machine
	now time.Time
	out []output
}

// do asks for something, and returns it to be filled in.
func (s *stepper) do(kind outputKind) *output {
	s.out = append(s.out, output{})
	o := &s.out[len(s.out)-1]
	o.kind = kind
	return o
}

func (s *stepper) write(f Frame) { s.do(outWrite).frame = f }

// changeState is the only place where the state changes.
func (s *stepper) changeState(to State) {
	if !to.follows(s.state) {
		panic(fmt.Sprintf("BUG: session: %v cannot follow %v", to, s.state))
	}
	s.state = to
	s.do(outState)
	if to == StateClosed {
		s.do(outClosed).cause = s.cause
	}
}

// setCause keeps the first cause.
func (s *stepper) setCause(c Error) {
	if s.cause.Cause != 0 {
		return
	}
	s.cause = c
	s.do(outCause).cause = c
}

func (s *stepper) start(in *input) {
	s.deadline = in.until
	if s.opener {
		s.opened = true
		s.write(in.frame)
	}
}

// over ends the session for the application. What became of our close is
// told once.
func (s *stepper) over(closeResult Error) {
	if s.state == StateClosed {
		return
	}
	if s.state == StateClosing && !s.closeAcked {
		s.do(outConfirmed).cause = closeResult
	}
	o := s.do(outSignals)
	o.tally, o.cause = Tally{Sent: s.signalsAcked, Received: s.signalsAcked}, s.cause
	s.changeState(StateClosed)
}

// finish notes that the stream is over, both ways.
func (s *stepper) finish() {
	s.finished = true
	s.deadline = noDeadline
	s.do(outFinished)
}

// tear ends the session and the stream at once, with RESET_STREAM and
// STOP_SENDING (RFC 9000 sections 19.4 and 19.5).
func (s *stepper) tear(code Code, closeResult Error) {
	if !s.reset {
		s.reset = true
		s.do(outReset).code = code
	}
	s.stopSend()
	s.withdraw()
	s.over(closeResult)
	s.finish()
}

func (s *stepper) withdraw() {
	if s.state == StateIncoming && s.opened {
		s.do(outWithdrawn).cause = s.cause
	}
}

// stopSend drops what is still queued.
func (s *stepper) stopSend() { s.do(outStopSend).cause = s.cause }

func (s *stepper) violation(reason string) {
	c := Error{Cause: CauseViolation, Code: CodeViolation, Reason: reason}
	s.setCause(c)
	s.tear(CodeViolation, c)
}

// abort tears a session that has not ended. One that the peer has closed, or
// that is over, is left to end its stream in order: tearing it could cost the
// peer the CLOSE_ACK or DONE that is on its way.
func (s *stepper) abort(c Error) {
	if s.state == StateDraining || s.state == StateClosed {
		return
	}
	s.setCause(c)
	s.tear(c.Code, c)
}

func (s *stepper) linkLost(c Error) {
	s.setCause(c)
	s.reset = true // the stream has died with the link
	s.tear(c.Code, c)
}

// resetRead: RESET_STREAM and STOP_SENDING both end the session; each is
// answered with both. One that answers our own STOP_SENDING never gets here:
// the session is finished by then.
func (s *stepper) resetRead(code Code) {
	c := Error{Cause: CauseAborted, Code: code, Remote: true, Confirmed: true}
	s.setCause(c)
	s.tear(code, c)
}

func (s *stepper) accept(in *input) {
	if s.state != StateIncoming || !s.opened {
		return
	}
	s.answered = true
	s.write(in.frame)
	s.changeState(StateOpen)
}

func (s *stepper) reject(in *input) {
	if s.state != StateIncoming || !s.opened {
		return
	}
	r := in.frame.(Reject)
	s.setCause(Error{Cause: CauseRejected, Code: r.Code, Reason: r.Reason, RetryAfter: r.RetryAfter})
	s.write(r)
	s.fin()
	s.over(s.cause)
	s.await(closeTimeout)
}

func (s *stepper) signal(in *input) {
	if s.state != StateOpen || !s.maySignal() {
		panic("BUG: session: signal sent out of turn")
	}
	s.signalsSent++
	s.write(in.frame)
}

func (s *stepper) signalTaken() {
	if s.signalsTaken == s.signalsReceived {
		panic("BUG: session: more signals taken than received")
	}
	s.signalsTaken++
	// Once CLOSE_ACK has stated the counts, and once our side has ended, the
	// peer is told no more.
	if !s.finSent && !s.peerCloseDone {
		s.write(SignalAck{Taken: s.signalsTaken})
	}
}

// fin ends our side of the stream.
func (s *stepper) fin() {
	s.finSent = true
	s.do(outFIN)
}

// finishIfEnded finishes once both sides have ended the stream.
func (s *stepper) finishIfEnded() {
	if s.finSent && s.finRead {
		s.finish()
	}
}

// await sets the deadline for what the peer owes next, from now.
func (s *stepper) await(d time.Duration) {
	s.deadline = s.now.Add(d)
	s.finishIfEnded()
}

func (s *stepper) timer() {
	if s.now.Before(s.deadline) {
		return
	}
	switch {
	case !s.opened:
		s.violation("no complete OPEN in time")
	case s.state == StateClosing:
		// A close that times out ends as an abort, with CLOSE's code.
		s.tear(s.closing.Code, Error{Cause: CauseTimeout, Code: s.closing.Code, Reason: s.closing.Reason, Err: context.DeadlineExceeded})
	case s.state == StateClosed || s.state == StateDraining:
		// The peer owes DONE, or its FIN. Nothing that was promised hangs on
		// either; only the totals stay incomplete.
		s.tear(s.cause.Code, s.cause)
	}
}
