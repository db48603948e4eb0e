package session

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules of PROTOCOL.md that a session's machine obeys, by their numbers.

func TestRule02StreamWithoutOpen(t *testing.T) {
	m := streamNew(t)
	m.pass(openTimeout - 1)
	m.want("not yet")
	m.pass(1)
	m.want("reset and stopped; it never was a session", "cause protocol violation: no complete OPEN in time", "reset violation",
		"stop sending", "signals 0 taken, 0 arrived, no more", "state", "closed", "finished")

	m = incoming(t)
	m.pass(openTimeout)
	m.want("an application may think about an OPEN as long as it likes")
}

func TestRule03CloseDuringOpeningIsAcked(t *testing.T) {
	// The opener.
	m := opening(t)
	m.close(CodeCancelled, "never mind")
	m.flushed(2, 2)
	m.want("the OPEN is taken back", "cause closed by this side (cancelled): never mind", "state", "flush",
		"write CLOSE {Code:cancelled Reason:never mind Sent:2 End:2 SignalsReceived:0 SignalsTaken:0}")
	m.read(CloseAck{})
	m.want("closed before it was accepted", "signals 0 taken, 0 arrived, no more", "confirmed", "settle 0 up to 0")
	m.settle(Tally{})
	m.do(inFIN)
	m.want("as any close", "write DONE {Received:0 Late:0 Dropped:0}", "FIN", "signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.True(t, m.totals)

	// The acceptor.
	m = incoming(t)
	m.read(Close{Code: CodeCancelled, Reason: "never mind", Sent: 2, End: 2})
	m.want("the backlog entry goes, and CLOSE_ACK is the first frame",
		"cause closed by the peer (cancelled): never mind (confirmed)", "signals 0 taken, 0 arrived, no more",
		"withdrawn", "state", "stop sending",
		"write CLOSE_ACK {Sent:0 End:0 Received:0 Late:0 Dropped:0 SignalsReceived:0 SignalsTaken:0}", "FIN")
	m.step(input{kind: inAccept, frame: Accept{}})
	m.step(input{kind: inReject, frame: Reject{}})
	m.want("too late to answer")
	m.read(Done{})
	m.do(inFIN)
	m.want("as any close", "signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.True(t, m.totals)
}

func TestRule03CloseCrossesAccept(t *testing.T) {
	m := everywhere["cancelled"](t)
	m.read(Accept{Metadata: []byte("hi")})
	m.want("CLOSE wins")
	m.wantState(StateClosing, "never open")
	m.read(CloseAck{Sent: 1, End: 1})
	m.want("closed like an open one", "signals 0 taken, 0 arrived, no more", "confirmed", "settle 1 up to 1")

	m = opening(t)
	m.close(CodeCancelled, "")
	m.forget()
	m.read(Accept{})
	m.want("also before CLOSE is written")
	m.flushed(0, 0)
	m.want("it goes out all the same", "write CLOSE {Code:cancelled Reason: Sent:0 End:0 SignalsReceived:0 SignalsTaken:0}")

	m = accepted(t)
	m.read(Close{Code: CodeCancelled})
	m.wantState(StateDraining, "the acceptor's application gets a session that is closed at once")
}

func TestRule03CloseCrossesReject(t *testing.T) {
	for name, begin := range map[string]func(*testing.T) *testMachine{
		"CLOSE sent": everywhere["cancelled"],
		"CLOSE held back": func(t *testing.T) *testMachine {
			m := opening(t)
			m.close(CodeCancelled, "")
			return m.forget()
		},
	} {
		m := begin(t)
		m.read(Reject{Code: 0x404, Reason: "no"})
		m.want(name+": Close returns the rejection", "stop sending", "FIN", "not confirmed: rejected by the peer (application code 0x404): no (confirmed)",
			"signals 0 taken, 0 arrived, no more", "state", "closed")
		m.wantCause(Error{Cause: CauseClosed, Code: CodeCancelled}, "the first cause is this side's")
		m.flushed(0, 0)
		m.want(name + ": nothing is written any more")
		m.do(inFIN)
		m.want("over", "finished")
	}
}

func TestRule03CloseAfterPeersCloseChangesNothing(t *testing.T) {
	for _, name := range []string{"draining", "close ack sent", "withdrawn", "done read"} {
		m := everywhere[name](t)
		was := m.machine
		m.close(0x999, "me too")
		m.want(name + ": the peer's code and reason stay")
		require.Equal(t, was, m.machine)
	}
}

func TestRule04BareFIN(t *testing.T) {
	m := streamNew(t)
	m.do(inFIN)
	m.wantViolation("before OPEN")

	m = opening(t)
	m.do(inFIN)
	m.want("REJECT(internal)", "cause rejected by the peer (internal): the peer ended the stream without an answer (confirmed)", "stop sending", "FIN",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")

	m = everywhere["cancelled"](t)
	m.do(inFIN)
	m.want("REJECT(internal), as the answer to CLOSE", "stop sending", "FIN", "not confirmed: rejected by the peer (internal): the peer ended the stream without an answer (confirmed)",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")

	m = incoming(t)
	m.do(inFIN)
	m.want("CLOSE(0), before it was accepted", "cause closed by the peer (normal) (confirmed)", "signals 0 taken, 0 arrived, no more", "withdrawn", "state", "stop sending",
		"write CLOSE_ACK {Sent:0 End:0 Received:0 Late:0 Dropped:0 SignalsReceived:0 SignalsTaken:0}", "FIN",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
	require.False(t, m.totals)

	for _, begin := range []func(*testing.T) *testMachine{opened, accepted} {
		m = begin(t)
		m.do(inFIN)
		m.want("CLOSE(0), counts unknown", "cause closed by the peer (normal) (confirmed)", "signals 0 taken, 0 arrived, no more", "state", "stop sending", "settle, counts unknown")
		m.settle(Tally{Sent: 3, End: 3, Received: 100})
		m.want("answered like a CLOSE; any count may be true", "write CLOSE_ACK {Sent:3 End:3 Received:100 Late:0 Dropped:0 SignalsReceived:0 SignalsTaken:0}", "FIN",
			"signals 0 taken, 0 arrived, no more", "state", "closed", "finished")
		require.False(t, m.totals, "no DONE can come")
	}
}

func TestRule04BareFINDuringClose(t *testing.T) {
	over := []string{"FIN", "not confirmed: closed by the peer (normal): the peer ended the stream without acknowledging the close",
		"signals 0 taken, 0 arrived, no more", "state", "closed", "finished"}
	wrote := "write CLOSE_ACK {Sent:5 End:9 Received:2 Late:0 Dropped:0 SignalsReceived:0 SignalsTaken:0}"

	m := closeSent(t)
	m.do(inFIN)
	m.want("the peer will not acknowledge, but it is answered", "signals 0 taken, 0 arrived, no more", "stop sending", "settle, counts unknown")
	m.settle(Tally{Received: 2})
	m.want("the own close is not confirmed", append([]string{wrote}, over...)...)
	require.False(t, m.totals)

	m = closing(t)
	m.do(inFIN)
	m.want("CLOSE waits for the queue", "signals 0 taken, 0 arrived, no more", "stop sending", "settle, counts unknown")
	m.settle(Tally{Received: 2})
	m.want("and is written before its answer")
	m.flushed(5, 9)
	m.want("as if they had crossed", append([]string{"write CLOSE {Code:application code 0x100 Reason:bye Sent:5 End:9 SignalsReceived:0 SignalsTaken:0}", wrote}, over...)...)
}

func TestRule05MalformedInput(t *testing.T) {
	for name, begin := range everywhere {
		m := begin(t)
		m.step(input{kind: inMalformed, reason: "the stream ended inside a frame"})
		m.wantViolation(name + ": FIN inside a frame, or anything else that does not parse")
	}
}

func TestRule05CountsAboveWhatWasSent(t *testing.T) {
	m := opened(t)
	m.step(input{kind: inFrame, frame: Report{Received: 4}, tally: Tally{Sent: 4}})
	m.want("REPORT may count what is being handed over", "report {Received:4 Late:0 Dropped:0}")
	m.step(input{kind: inFrame, frame: Report{Received: 5}, tally: Tally{Sent: 4}})
	m.wantViolation("REPORT: messages")

	m = opened(t)
	m.read(SignalAck{Taken: 1})
	m.wantViolation("SIGNAL_ACK: signals")
	m = opened(t)
	m.read(Close{SignalsReceived: 1})
	m.wantViolation("CLOSE: signals")
	m = closeSent(t)
	m.read(CloseAck{SignalsReceived: 1})
	m.wantViolation("CLOSE_ACK: signals")
	m = closeSent(t)
	m.read(CloseAck{Received: 6})
	m.wantViolation("CLOSE_ACK: messages")
	m = closeAckSent(t)
	m.read(Done{Received: 8})
	m.wantViolation("DONE: messages")

	m = draining(t)
	m.settle(Tally{Received: 6})
	m.wantViolation("CLOSE: fewer than have arrived")
	m = closeAcked(t)
	m.settle(Tally{Received: 8})
	m.wantViolation("CLOSE_ACK: fewer than have arrived")
	m = crossed(t)
	m.settle(Tally{Received: 4})
	m.wantViolation("CLOSE, crossed: fewer than have arrived")
	m = crossed(t)
	m.read(CloseAck{Sent: 4, End: 4})
	m.wantViolation("CLOSE_ACK: other messages than CLOSE")
	m = crossed(t)
	m.read(CloseAck{Sent: 3, End: 5})
	m.wantViolation("CLOSE_ACK: another number than CLOSE")
}

// sendSignals writes n signals.
func (m *testMachine) sendSignals(n int) {
	m.t.Helper()
	for range n {
		m.step(input{kind: inSignal, frame: Signal{}})
	}
}

func TestRule15SignalsWaitForCredit(t *testing.T) {
	m := opened(t)
	for range DefaultMaxSignals {
		require.True(t, m.maySignal())
		m.sendSignals(1)
	}
	require.False(t, m.maySignal(), "sixteen are under way")
	require.PanicsWithValue(t, "BUG: session: signal sent out of turn", func() { m.sendSignals(1) })
	m.forget()
	m.read(SignalAck{Taken: 3})
	m.want("three were taken", "signals 3 taken, 3 arrived")
	m.read(SignalAck{Taken: 2})
	m.want("an older count is no news")
	m.sendSignals(3)
	require.False(t, m.maySignal())
	m.step(input{kind: inSignalLimit, code: 20})
	require.True(t, m.maySignal(), "the peer's SETTINGS have come")
	m.forget()
	m.close(0, "")
	m.flushed(0, 0)
	require.Contains(t, m.out, "write CLOSE {Code:normal Reason: Sent:0 End:0 SignalsReceived:0 SignalsTaken:0}", "CLOSE needs no credit")
	require.PanicsWithValue(t, "BUG: session: signal sent out of turn", func() { m.sendSignals(1) })
}

func TestRule15SignalsBeyondCredit(t *testing.T) {
	m := accepted(t)
	for range DefaultMaxSignals {
		m.read(Signal{Payload: []byte("s")})
		m.want("within the credit", "signal s")
	}
	m.do(inSignalTaken)
	m.want("the peer learns", "write SIGNAL_ACK {Taken:1}")
	m.read(Signal{})
	m.forget()
	m.read(Signal{})
	m.wantViolation("the seventeenth outstanding")
	require.PanicsWithValue(t, "BUG: session: more signals taken than received", func() {
		m := accepted(t)
		m.do(inSignalTaken)
	})
}

func TestRule15SignalsAtTheClose(t *testing.T) {
	// The peer closes: of four signals it has taken one more than it
	// acknowledged, another has arrived.
	begin := func() *testMachine {
		m := opened(t)
		m.sendSignals(4)
		m.read(SignalAck{Taken: 1})
		return m.forget()
	}
	m := begin()
	m.read(Close{SignalsReceived: 3, SignalsTaken: 2})
	require.Contains(t, m.out, "signals 2 taken, 3 arrived, no more", "the last is unknown")
	m = begin()
	m.do(inFIN)
	require.Contains(t, m.out, "signals 1 taken, 1 arrived, no more", "a bare FIN states no counts")
	m = begin()
	m.step(input{kind: inReset})
	require.Contains(t, m.out, "signals 1 taken, 1 arrived, no more", "nor does a reset")
	m = begin()
	m.close(0, "")
	m.flushed(0, 0)
	m.forget()
	m.read(SignalAck{Taken: 2})
	m.want("acknowledgements may follow CLOSE", "signals 2 taken, 2 arrived")
	m.read(CloseAck{SignalsReceived: 4, SignalsTaken: 3})
	m.want("CLOSE_ACK decides", "signals 3 taken, 4 arrived, no more", "confirmed", "settle 0 up to 0")

	// We close, and are closed, with signals unread.
	unread := func(begin func(*testing.T) *testMachine) *testMachine {
		m := begin(t)
		m.read(Signal{})
		m.read(Signal{})
		m.do(inSignalTaken)
		return m.forget()
	}
	m = unread(opened)
	m.close(0, "")
	m.flushed(0, 0)
	require.Contains(t, m.out, "write CLOSE {Code:normal Reason: Sent:0 End:0 SignalsReceived:2 SignalsTaken:1}")
	m.forget()
	m.do(inSignalTaken)
	m.want("what arrived may still be taken", "write SIGNAL_ACK {Taken:2}")
	m.read(Signal{Payload: []byte("crossed")})
	m.want("and a signal that crossed CLOSE is delivered", "signal crossed")

	m = unread(accepted)
	m.read(Close{})
	m.settle(Tally{})
	require.Contains(t, m.out, "write CLOSE_ACK {Sent:0 End:0 Received:0 Late:0 Dropped:0 SignalsReceived:2 SignalsTaken:1}")
	m.forget()
	m.do(inSignalTaken)
	m.want("CLOSE_ACK was the last word", []string(nil)...)
	m.read(Done{})
	m.do(inFIN)
	require.True(t, m.finished)
}

func TestRule16TheFirstCauseStays(t *testing.T) {
	last := map[string]input{
		"peer's CLOSE": {kind: inFrame, frame: Close{Code: 0x777}},
		"reset":        {kind: inReset, code: 0x777},
		"malformed":    {kind: inMalformed, reason: "x"},
		"link lost":    {kind: inLinkLost, cause: Error{Cause: CausePeerRestarted}},
		"abort":        {kind: inAbort, cause: Error{Cause: CauseAborted, Code: 0x777}},
		"close":        {kind: inClose, frame: Close{Code: 0x777}, until: epoch.Add(closeTimeout)},
		"bare FIN":     {kind: inFIN},
	}
	for first, one := range last {
		for second, other := range last {
			m := opened(t)
			m.step(one)
			want := m.cause
			require.NotZero(t, want.Cause, first)
			m.step(other)
			require.Equal(t, want, m.cause, "%s, then %s", first, second)
		}
	}
}
