package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// epoch is when the machines of the tests begin.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// testMachine is a machine with a test and a time of its own. What a step puts
// out waits, in words, for want.
type testMachine struct {
	machine
	t   *testing.T
	now time.Time
	out []string
}

func newTestMachine(t *testing.T, opener bool) *testMachine {
	return &testMachine{machine: newMachine(opener), t: t, now: epoch}
}

// step feeds the machine and checks what must hold after every step.
func (m *testMachine) step(in input) {
	m.t.Helper()
	before := m.machine
	out := m.machine.step(m.now, &in, nil)
	require.NoError(m.t, checkStep(before, m.machine, out))
	for _, o := range out {
		m.out = append(m.out, describeOutput(o))
	}
}

func (m *testMachine) do(kind inputKind) { m.t.Helper(); m.step(input{kind: kind}) }
func (m *testMachine) read(f Frame)      { m.t.Helper(); m.step(input{kind: inFrame, frame: f}) }
func (m *testMachine) pass(d time.Duration) {
	m.t.Helper()
	m.now = m.now.Add(d)
	m.do(inTimer)
}

// close is the application's Close, with the default time.
func (m *testMachine) close(code Code, reason string) {
	m.t.Helper()
	m.step(input{kind: inClose, frame: Close{Code: code, Reason: reason}, until: m.now.Add(closeTimeout)})
}

func (m *testMachine) flushed(sent, end uint64) {
	m.t.Helper()
	m.step(input{kind: inFlushed, tally: Tally{Sent: sent, End: end}})
}

func (m *testMachine) settle(t Tally) { m.t.Helper(); m.step(input{kind: inSettled, tally: t}) }

// want compares everything put out since the last want.
func (m *testMachine) want(why string, want ...string) {
	m.t.Helper()
	require.Equal(m.t, want, m.out, why)
	m.out = nil
}

// forget drops what was put out: the test is about something else.
func (m *testMachine) forget() *testMachine { m.out = nil; return m }

func (m *testMachine) wantState(s State, why string) {
	m.t.Helper()
	require.Equal(m.t, s.String(), m.state.String(), why)
}

// wantViolation: the step just taken must have torn the session for it.
func (m *testMachine) wantViolation(why string) {
	m.t.Helper()
	require.Contains(m.t, m.out, "reset violation", why)
	if c := m.cause.Cause; c != CauseClosed && c != CauseRejected { // the first cause stays
		require.Equal(m.t, CauseViolation, m.cause.Cause, why)
		require.False(m.t, m.cause.Remote, why)
	}
	require.True(m.t, m.finished, why)
	m.out = nil
}

func (m *testMachine) wantCause(e Error, why string) {
	m.t.Helper()
	require.Equal(m.t, e, m.cause, why)
}

// describeOutput puts an output in words.
func describeOutput(o output) string {
	outcome := func(e Error) string {
		s := e.Error()[len("session: "):]
		if e.Confirmed {
			s += " (confirmed)"
		}
		return s
	}
	switch o.kind {
	case outWrite:
		return fmt.Sprintf("write %v %+v", o.frame.FrameType(), o.frame)
	case outFIN:
		return "FIN"
	case outReset:
		return fmt.Sprintf("reset %v", o.code)
	case outIncoming:
		return "incoming " + o.frame.(Open).Protocol
	case outWithdrawn:
		return "withdrawn"
	case outOpened:
		return fmt.Sprintf("opened %s", o.frame.(Accept).Metadata)
	case outFlush:
		return "flush"
	case outStopSend:
		return "stop sending"
	case outSettle:
		if o.unknown {
			return "settle, counts unknown"
		}
		return fmt.Sprintf("settle %d up to %d", o.tally.Sent, o.tally.End)
	case outCause:
		return "cause " + outcome(o.cause)
	case outSignal:
		return fmt.Sprintf("signal %s", o.frame.(Signal).Payload)
	case outSignals:
		s := fmt.Sprintf("signals %d taken, %d arrived", o.tally.Sent, o.tally.Received)
		if o.cause.Cause != 0 {
			s += ", no more"
		}
		return s
	case outReport:
		return fmt.Sprintf("report %+v", o.frame)
	case outConfirmed:
		if o.cause.Cause == 0 {
			return "confirmed"
		}
		return "not confirmed: " + outcome(o.cause)
	case outState:
		return "state"
	case outClosed:
		return "closed"
	case outFinished:
		return "finished"
	}
	return fmt.Sprintf("output %d", o.kind)
}

// checkStep checks what must be true of any step of any machine, whatever the
// peer sends.
func checkStep(before, after machine, out []output) error {
	if before.finished && (len(out) > 0 || before != after) {
		return fmt.Errorf("a finished machine moved: %v", out)
	}
	state := before.state
	if before.state != after.state {
		// Draining may be passed through in one step.
		direct := after.state.follows(before.state)
		if !direct && !(StateDraining.follows(before.state) && after.state.follows(StateDraining)) {
			return fmt.Errorf("%v cannot follow %v", after.state, before.state)
		}
	}
	if before.cause.Cause != 0 {
		c := after.cause
		c.Confirmed = before.cause.Confirmed
		if c != before.cause {
			return fmt.Errorf("the first cause did not stay: %v, then %v", before.cause, after.cause)
		}
	}
	fin, reset := before.finSent, before.reset
	for _, o := range out {
		switch o.kind {
		case outWrite:
			if fin || reset {
				return fmt.Errorf("%v was written after the end of the stream", o.frame.FrameType())
			}
		case outFIN:
			if fin || reset {
				return fmt.Errorf("FIN after the end of the stream")
			}
			fin = true
		case outReset:
			if reset {
				return fmt.Errorf("the stream was reset twice")
			}
			reset = true
		case outClosed:
			if state == StateClosed {
				return fmt.Errorf("closed twice")
			}
			state = StateClosed
		}
	}
	if after.state == StateClosed && state != StateClosed {
		return fmt.Errorf("closed, and nobody was told")
	}
	if after.state == StateClosed && after.cause.Cause == 0 {
		return fmt.Errorf("closed without a cause")
	}
	ending := after.state == StateClosing || after.state == StateDraining || after.state == StateClosed
	switch {
	case after.finished && !after.deadline.IsZero():
		return fmt.Errorf("finished, and still with a deadline")
	case after.finished && after.state != StateClosed:
		return fmt.Errorf("finished, and not closed but %v", after.state)
	case !after.finished && ending && after.deadline.IsZero():
		return fmt.Errorf("%v without a deadline", after.state)
	case after.totals && after.peer.Received > after.counts.Sent, after.totals && after.counts.Received > after.peer.Sent:
		return fmt.Errorf("totals that cannot be: we %+v, the peer %+v", after.counts, after.peer)
	case before.totals && (before.counts != after.counts || before.peer != after.peer):
		return fmt.Errorf("the totals changed: we %+v, the peer %+v", after.counts, after.peer)
	case after.signalsTaken > after.signalsReceived, after.signalsAcked > after.signalsSent:
		return fmt.Errorf("more signals taken than there were: %+v", after)
	}
	return nil
}

// The places in the life of a session at which most tests begin.

func opening(t *testing.T) *testMachine {
	m := newTestMachine(t, true)
	m.step(input{kind: inStart, frame: Open{Protocol: "chat"}})
	m.want("the OPEN goes out at once", "write OPEN {Protocol:chat Metadata:[]}")
	return m
}

func streamNew(t *testing.T) *testMachine {
	m := newTestMachine(t, false)
	m.step(input{kind: inStart, until: m.now.Add(openTimeout)})
	m.want("an acceptor waits")
	return m
}

func incoming(t *testing.T) *testMachine {
	m := streamNew(t)
	m.read(Open{Protocol: "chat"})
	m.want("the OPEN is offered", "incoming chat")
	return m
}

// opened is the opener's side of an open session, accepted the acceptor's.
func opened(t *testing.T) *testMachine {
	m := opening(t)
	m.read(Accept{Metadata: []byte("hi")})
	m.want("the session is open", "state", "opened hi")
	m.wantState(StateOpen, "after ACCEPT")
	return m
}

func accepted(t *testing.T) *testMachine {
	m := incoming(t)
	m.step(input{kind: inAccept, frame: Accept{}})
	m.want("accepted", "write ACCEPT {Metadata:[]}", "state")
	m.wantState(StateOpen, "after ACCEPT")
	return m
}

// closing waits for its queue, closeSent for CLOSE_ACK.
func closing(t *testing.T) *testMachine {
	m := opened(t)
	m.close(0x100, "bye")
	m.want("the queue is handed over first", "cause closed by this side (application code 0x100): bye", "state", "flush")
	return m
}

func closeSent(t *testing.T) *testMachine {
	m := closing(t)
	m.flushed(5, 9)
	m.want("CLOSE states what was sent", "write CLOSE {Code:application code 0x100 Reason:bye Sent:5 End:9 SignalsReceived:0 SignalsTaken:0}")
	return m
}

// crossed has read the peer's CLOSE after its own went out.
func crossed(t *testing.T) *testMachine {
	m := closeSent(t)
	m.read(Close{Code: 0x200, Reason: "mine", Sent: 3, End: 4})
	m.want("the peer's CLOSE is answered too", "signals 0 taken, 0 arrived, no more", "stop sending", "settle 3 up to 4")
	m.wantState(StateClosing, "its own close goes on")
	return m
}

// closeAcked waits for stragglers.
func closeAcked(t *testing.T) *testMachine {
	m := closeSent(t)
	m.read(CloseAck{Sent: 7, End: 8, Received: 4, Late: 1})
	m.want("Close returns now", "signals 0 taken, 0 arrived, no more", "confirmed", "settle 7 up to 8")
	return m
}

// draining waits for stragglers, closeAckSent for DONE.
func draining(t *testing.T) *testMachine {
	m := accepted(t)
	m.read(Close{Code: 0x100, Reason: "bye", Sent: 5, End: 9})
	m.want("the peer has closed",
		"cause closed by the peer (application code 0x100): bye (confirmed)",
		"signals 0 taken, 0 arrived, no more", "state", "stop sending", "settle 5 up to 9")
	m.wantState(StateDraining, "after CLOSE")
	return m
}

func closeAckSent(t *testing.T) *testMachine {
	m := draining(t)
	m.settle(Tally{Sent: 7, End: 8, Received: 4, Late: 1})
	m.want("stragglers are in, the cause is visible",
		"write CLOSE_ACK {Sent:7 End:8 Received:4 Late:1 Dropped:0 SignalsReceived:0 SignalsTaken:0}", "FIN")
	return m
}

// rejecting has sent REJECT.
func rejecting(t *testing.T) *testMachine {
	m := incoming(t)
	m.step(input{kind: inReject, frame: Reject{Code: CodeBusy, Reason: "later", RetryAfter: time.Second}})
	m.want("REJECT and FIN at once",
		"cause rejected by this side (busy): later",
		"write REJECT {Code:busy Reason:later RetryAfter:1s}", "FIN",
		"signals 0 taken, 0 arrived, no more", "state", "closed")
	return m
}

func TestStateFollows(t *testing.T) {
	all := []State{0, StateOpening, StateIncoming, StateOpen, StateClosing, StateDraining, StateClosed}
	arrows := map[[2]State]bool{
		{0, StateOpening}: true, {0, StateIncoming}: true,
		{StateOpening, StateOpen}: true, {StateIncoming, StateOpen}: true,
		{StateOpening, StateClosing}: true, {StateOpen, StateClosing}: true,
		{StateIncoming, StateDraining}: true, {StateOpen, StateDraining}: true,
	}
	for _, from := range all {
		for _, to := range all {
			want := arrows[[2]State{from, to}] || to == StateClosed && from != StateClosed && from != 0
			require.Equal(t, want, to != 0 && to.follows(from), "%v to %v", from, to)
		}
	}
	require.Equal(t, "state(9)", State(9).String())
}

func TestCloserReadsAckAndSendsDone(t *testing.T) {
	m := closeAcked(t)
	m.wantCause(Error{Cause: CauseClosed, Code: 0x100, Reason: "bye", Confirmed: true}, "own close, confirmed")
	m.step(input{kind: inFIN})
	m.want("the peer has said everything; stragglers are still awaited")
	m.settle(Tally{Received: 6, Late: 2, Dropped: 1})
	m.want("both counts are known", "write DONE {Received:6 Late:2 Dropped:1}", "FIN",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.True(t, m.totals)
	require.Equal(t, Tally{Sent: 5, End: 9, Received: 6, Late: 2, Dropped: 1}, m.counts)
	require.Equal(t, Tally{Sent: 7, End: 8, Received: 4, Late: 1}, m.peer)
}

func TestOtherSideAcksAndReadsDone(t *testing.T) {
	m := closeAckSent(t)
	m.wantState(StateDraining, "DONE is owed")
	m.read(Done{Received: 6, Late: 2, Dropped: 1})
	m.want("the totals are known", "signals 0 taken, 0 arrived, no more", "state", "closed")
	require.True(t, m.totals)
	require.Equal(t, Tally{Sent: 7, End: 8, Received: 4, Late: 1}, m.counts)
	require.Equal(t, Tally{Sent: 5, End: 9, Received: 6, Late: 2, Dropped: 1}, m.peer)
	m.do(inFIN)
	m.want("the stream is over", "finished")
}

func TestDoneNeverComes(t *testing.T) {
	m := closeAckSent(t)
	m.pass(closeTimeout - 1)
	m.want("not yet")
	m.pass(1)
	m.want("it missed the totals and nothing else", "reset application code 0x100", "stop sending",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.False(t, m.totals)
	m.wantCause(Error{Cause: CauseClosed, Code: 0x100, Reason: "bye", Remote: true, Confirmed: true}, "the close stays the cause")
}

func TestFINInsteadOfDone(t *testing.T) {
	m := closeAckSent(t)
	m.do(inFIN)
	m.want("no DONE will come", "signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.False(t, m.totals)

	m = draining(t)
	m.do(inFIN)
	m.want("FIN came before CLOSE_ACK went: the stragglers are still awaited")
	m.settle(Tally{Sent: 7, End: 8, Received: 4})
	m.want("answered, and over", "write CLOSE_ACK {Sent:7 End:8 Received:4 Late:0 Dropped:0 SignalsReceived:0 SignalsTaken:0}", "FIN",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.False(t, m.totals)
}

func TestFINNeverComes(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*testing.T) *testMachine
		want string
	}{
		{"after DONE", func(t *testing.T) *testMachine {
			m := closeAcked(t)
			m.settle(Tally{})
			return m
		}, "reset application code 0x100"},
		{"after REJECT", rejecting, "reset busy"},
		{"after the answer to REJECT", func(t *testing.T) *testMachine {
			m := opening(t)
			m.read(Reject{Code: 0x300})
			return m
		}, "reset application code 0x300"},
		{"after a crossed close", func(t *testing.T) *testMachine {
			m := crossed(t)
			m.settle(Tally{})
			m.read(CloseAck{Sent: 3, End: 4})
			return m
		}, "reset application code 0x100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.make(t).forget()
			m.wantState(StateClosed, "for the application it is over")
			totals := m.totals
			m.pass(closeTimeout - 1)
			m.want("not yet")
			m.pass(1)
			m.want("only the stream is torn", c.want, "stop sending", "finished")
			require.Equal(t, totals, m.totals, "what was known stays known")
		})
	}
}

func TestCloseNotAcknowledgedInTime(t *testing.T) {
	for name, begin := range map[string]func(*testing.T) *testMachine{"CLOSE held back": closing, "CLOSE sent": closeSent, "crossed": crossed} {
		t.Run(name, func(t *testing.T) {
			m := begin(t)
			m.pass(closeTimeout)
			require.Equal(t, []string{"reset application code 0x100", "stop sending",
				"not confirmed: timed out waiting for the peer (application code 0x100): bye: context deadline exceeded",
				"signals 0 taken, 0 arrived, no more", "state", "closed", "finished"}, m.out, "an abort with CLOSE's code")
			m.wantCause(Error{Cause: CauseClosed, Code: 0x100, Reason: "bye"}, "not confirmed")
			require.False(t, m.totals)
		})
	}
}

func TestStragglersTakeTooLong(t *testing.T) {
	m := closeAcked(t)
	m.pass(closeTimeout)
	m.want("Close has returned long ago", "reset application code 0x100", "stop sending",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.False(t, m.totals)

	m = draining(t)
	m.pass(closeTimeout)
	m.want("the peer is told nothing more", "reset application code 0x100", "stop sending",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
}

func TestTimerTooEarly(t *testing.T) {
	m := opened(t)
	m.pass(time.Hour)
	m.want("an open session waits for nothing")
	m = closing(t)
	m.pass(closeTimeout - 1)
	m.want("a timer that fired for an older deadline changes nothing")
}

// Crossed closes: both are acknowledged, no DONE.
func TestCrossedCloses(t *testing.T) {
	ack := CloseAck{Sent: 3, End: 4, Received: 5}
	wrote := "write CLOSE_ACK {Sent:5 End:9 Received:2 Late:0 Dropped:0 SignalsReceived:0 SignalsTaken:0}"
	over := []string{"FIN", "signals 0 taken, 0 arrived, no more", "state", "closed"}

	m := crossed(t)
	m.settle(Tally{Received: 2})
	m.want("our answer; theirs is still owed", wrote)
	m.read(ack)
	m.want("both are acknowledged", append([]string{"signals 0 taken, 0 arrived, no more", "confirmed"}, over...)...)
	require.True(t, m.totals)
	require.Equal(t, Tally{Sent: 3, End: 4, Received: 5}, m.peer)
	m.wantCause(Error{Cause: CauseClosed, Code: 0x100, Reason: "bye", Confirmed: true}, "each side's cause is its own")
	require.Equal(t, Code(0x200), m.peerClosing.Code, "the peer's stays visible")
	m.do(inFIN)
	m.want("over", "finished")

	m = crossed(t)
	m.read(ack)
	m.want("theirs first", "signals 0 taken, 0 arrived, no more", "confirmed")
	m.do(inFIN)
	m.want("the peer must wait for our answer")
	m.settle(Tally{Received: 2})
	m.want("and gets it", append(append([]string{wrote}, over...), "finished")...)
	require.True(t, m.totals)

	m = closing(t)
	m.read(Close{Code: 0x200, Sent: 3, End: 4})
	m.want("CLOSE comes while ours waits for the queue", "signals 0 taken, 0 arrived, no more", "stop sending", "settle 3 up to 4")
	m.settle(Tally{Received: 2})
	m.want("the acknowledgement must not overtake our CLOSE")
	m.flushed(5, 9)
	m.want("now both", "write CLOSE {Code:application code 0x100 Reason:bye Sent:5 End:9 SignalsReceived:0 SignalsTaken:0}", wrote)
	m.read(ack)
	require.True(t, m.totals)
	m.wantState(StateClosed, "as any crossed close")
}

// The peer ends its stream without the CLOSE_ACK that it owes.
func TestCrossedCloseNeverAcknowledged(t *testing.T) {
	m := crossed(t)
	m.settle(Tally{Received: 2})
	m.forget()
	m.do(inFIN)
	m.want("Close learns that nothing is promised", "FIN", "not confirmed: closed by the peer (application code 0x200): mine: the peer ended the stream without acknowledging the close",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.False(t, m.totals)

	m = crossed(t)
	m.do(inFIN)
	m.want("the peer still gets its answer first")
	m.settle(Tally{Received: 2})
	m.want("FIN after it", "write CLOSE_ACK {Sent:5 End:9 Received:2 Late:0 Dropped:0 SignalsReceived:0 SignalsTaken:0}", "FIN",
		"not confirmed: closed by the peer (application code 0x200): mine: the peer ended the stream without acknowledging the close",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
}

func TestRejectBothSides(t *testing.T) {
	m := rejecting(t)
	m.read(Close{})
	m.want("a CLOSE that crossed it is ignored")
	m.read(Settings{})
	m.want("and so is everything else until FIN")
	m.do(inFIN)
	m.want("over", "finished")
	m.wantCause(Error{Cause: CauseRejected, Code: CodeBusy, Reason: "later", RetryAfter: time.Second}, "")

	m = opening(t)
	m.read(Reject{Code: CodeBusy, Reason: "later", RetryAfter: time.Second})
	m.want("rejected", "cause rejected by the peer (busy): later (confirmed)", "stop sending", "FIN",
		"signals 0 taken, 0 arrived, no more", "state", "closed")
	m.wantCause(Error{Cause: CauseRejected, Code: CodeBusy, Reason: "later", RetryAfter: time.Second, Remote: true, Confirmed: true}, "")
	m.do(inFIN)
	m.want("over", "finished")
}

func TestAnsweredOnce(t *testing.T) {
	for name, m := range map[string]*testMachine{"accepted": accepted(t), "rejected": rejecting(t), "no OPEN yet": streamNew(t), "opener": opening(t)} {
		before := m.machine
		m.step(input{kind: inAccept, frame: Accept{}})
		m.step(input{kind: inReject, frame: Reject{}})
		m.want(name)
		require.Equal(t, before, m.machine, name)
	}
}

// Abort, violation and the loss of the link lead from everywhere to the end.
func TestTornEverywhere(t *testing.T) {
	lost := Error{Cause: CauseLinkLost}
	for name, begin := range everywhere {
		t.Run(name, func(t *testing.T) {
			m := begin(t)
			was := m.machine
			m.step(input{kind: inLinkLost, cause: lost})
			require.True(t, m.finished)
			for _, o := range m.out {
				require.NotContains(t, o, "reset", "there is no stream to reset")
				require.NotContains(t, o, "write")
			}
			wantFirstCause(t, was, m.machine, lost)

			for _, kind := range []inputKind{inReset, inStopSending} {
				m = begin(t)
				m.step(input{kind: kind, code: 0x345})
				require.Contains(t, m.out, "reset application code 0x345", "either half is answered with the same code")
				require.True(t, m.finished)
				wantFirstCause(t, was, m.machine, Error{Cause: CauseAborted, Code: 0x345, Remote: true, Confirmed: true})
				m.forget()
				m.step(input{kind: inReset, code: 1})
				m.step(input{kind: inStopSending, code: 1})
				m.want("the other half, and the echo of ours, are no news")
			}

			m = begin(t)
			m.step(input{kind: inMalformed, reason: "nonsense"})
			require.Contains(t, m.out, "reset violation")
			require.True(t, m.finished)
			wantFirstCause(t, was, m.machine, Error{Cause: CauseViolation, Code: CodeViolation, Reason: "nonsense"})

			m = begin(t)
			abort := Error{Cause: CauseAborted, Code: 0x567}
			m.step(input{kind: inAbort, cause: abort})
			if was.state == StateDraining || was.state == StateClosed {
				m.want("a session that has ended in order is left to end its stream")
				require.Equal(t, was, m.machine)
				return
			}
			require.Contains(t, m.out, "reset application code 0x567")
			require.True(t, m.finished)
			wantFirstCause(t, was, m.machine, abort)
		})
	}
}

func wantFirstCause(t *testing.T, before, after machine, last Error) {
	t.Helper()
	if before.cause.Cause != 0 {
		last = before.cause
	}
	require.Equal(t, last, after.cause, "the first cause wins")
	require.Equal(t, StateClosed, after.state)
}

// everywhere is every place in the life of a session.
var everywhere = map[string]func(*testing.T) *testMachine{
	"stream new": streamNew, "incoming": incoming, "opening": opening,
	"open, opener": opened, "open, acceptor": accepted,
	"closing": closing, "close sent": closeSent, "crossed": crossed, "close acked": closeAcked,
	"draining": draining, "close ack sent": closeAckSent, "rejecting": rejecting,
	"rejected": func(t *testing.T) *testMachine {
		m := opening(t)
		m.read(Reject{})
		return m.forget()
	},
	"done sent": func(t *testing.T) *testMachine {
		m := closeAcked(t)
		m.settle(Tally{})
		return m.forget()
	},
	"done read": func(t *testing.T) *testMachine {
		m := closeAckSent(t)
		m.read(Done{})
		return m.forget()
	},
	"cancelled": func(t *testing.T) *testMachine {
		m := opening(t)
		m.close(CodeCancelled, "")
		m.flushed(0, 0)
		return m.forget()
	},
	"withdrawn": func(t *testing.T) *testMachine {
		m := incoming(t)
		m.read(Close{Code: CodeCancelled})
		return m.forget()
	},
}

// PROTOCOL.md, "What is read when".
func TestWhatIsReadWhen(t *testing.T) {
	all := []Frame{
		Settings{}, GoAway{}, Ping{}, Pong{}, Open{}, Accept{}, Reject{}, Signal{}, SignalAck{}, Report{}, Close{},
		CloseAck{Sent: 3, End: 4}, Done{},
	}
	rows := map[string][]FrameType{
		"stream new":     {TypeOpen},
		"incoming":       {TypeClose},
		"opening":        {TypeAccept, TypeReject},
		"cancelled":      {TypeAccept, TypeReject, TypeCloseAck},
		"open, opener":   {TypeSignal, TypeSignalAck, TypeReport, TypeClose},
		"open, acceptor": {TypeSignal, TypeSignalAck, TypeReport, TypeClose},
		"closing":        {TypeSignal, TypeSignalAck, TypeReport, TypeClose},
		"close sent":     {TypeSignal, TypeSignalAck, TypeReport, TypeClose, TypeCloseAck},
		"crossed":        {TypeSignalAck, TypeCloseAck},
		"close acked":    {},
		"draining":       {TypeSignalAck},
		"close ack sent": {TypeSignalAck, TypeDone},
		"withdrawn":      {TypeSignalAck, TypeDone},
	}
	for name, begin := range everywhere {
		for _, f := range all {
			m := begin(t)
			was := m.state
			m.read(f)
			inOrder, ok := rows[name]
			switch {
			case !ok:
				require.Equal(t, StateClosed, was, "%s has no row", name)
				m.want(fmt.Sprintf("%v after the end is ignored", f.FrameType()))
			case slices.Contains(inOrder, f.FrameType()):
				require.NotContains(t, m.out, "reset violation", "%s: %v is in order", name, f.FrameType())
			default:
				m.wantViolation(fmt.Sprintf("%s: %v is out of order", name, f.FrameType()))
			}
		}
	}
}

func TestUnknownInputPanics(t *testing.T) {
	require.PanicsWithValue(t, "BUG: session: unknown input 99", func() {
		m := newMachine(true)
		m.step(epoch, &input{kind: 99}, nil)
	})
}
