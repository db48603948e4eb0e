package session

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What no order of inputs reaches, or the other tests do not look at: found by
// breaking the machine on purpose (integration_test/mutation).

// A state that cannot follow would be a mistake of the machine's own.
func TestStateNeverGoesBack(t *testing.T) {
	s := stepper{machine: &machine{state: StateClosed}}
	require.PanicsWithValue(t, "BUG: session: open cannot follow closed", func() { s.changeState(StateOpen) })
	require.Equal(t, StateClosed, s.state)
}

// A torn stream is told from one that ended in order: the link waits for the
// reset to arrive before it closes (Runner.Unproven).
func TestTornIsRemembered(t *testing.T) {
	for name, tear := range map[string]func(*testMachine){
		"abort":     func(m *testMachine) { m.step(input{kind: inAbort, cause: Error{Cause: CauseAborted, Code: 0x500}}) },
		"violation": func(m *testMachine) { m.step(input{kind: inMalformed, reason: "nonsense"}) },
		"answer":    func(m *testMachine) { m.step(input{kind: inReset, code: 0x500}) },
		"lost link": func(m *testMachine) { m.step(input{kind: inLinkLost, cause: Error{Cause: CauseLinkLost}}) },
	} {
		m := newTestMachine(t, true)
		m.step(input{kind: inStart, frame: Open{}})
		require.False(t, m.reset)
		tear(m)
		require.True(t, m.reset, name)
	}
}

// CLOSE is written once, also if its queue is said to be drained again, and so is
// CLOSE_ACK, also if the stragglers are said to be in again.
func TestToldTwiceIsWrittenOnce(t *testing.T) {
	m := newMachine(true)
	written := make(map[FrameType]int)
	step := func(in input) {
		for _, o := range m.step(epoch, &in, nil) {
			if o.kind == outWrite {
				written[o.frame.FrameType()]++
			}
		}
	}
	step(input{kind: inStart, frame: Open{}})
	step(input{kind: inFrame, frame: Accept{}})
	step(input{kind: inClose, frame: Close{Code: 0x100}, until: epoch.Add(closeTimeout)})
	step(input{kind: inFlushed, tally: Tally{Sent: 1, End: 1}})
	step(input{kind: inFlushed, tally: Tally{Sent: 2, End: 2}})
	require.EqualValues(t, 1, m.counts.Sent, "as CLOSE has stated")
	step(input{kind: inFrame, frame: Close{Code: 0x101}})
	step(input{kind: inSettled})
	step(input{kind: inSettled})
	require.Equal(t, map[FrameType]int{TypeOpen: 1, TypeClose: 1, TypeCloseAck: 1}, written)
}

// After a frame that breaks the protocol nothing else is made of it: the stream is
// over.
func TestViolationIsTheEnd(t *testing.T) {
	accepted := []input{{kind: inStart, frame: Open{}}, {kind: inFrame, frame: Accept{}}}
	theyClose := append(slices.Clone(accepted), input{kind: inFrame, frame: Close{}})
	acked := append(slices.Clone(theyClose), input{kind: inSettled})
	crossed := append(slices.Clone(accepted),
		input{kind: inClose, frame: Close{}, until: epoch.Add(closeTimeout)}, input{kind: inFlushed},
		input{kind: inFrame, frame: Close{}}, input{kind: inSettled})
	for name, c := range map[string]struct {
		before []input
		frame  Frame
	}{
		"a second CLOSE":             {theyClose, Close{}},
		"signals that were not sent": {accepted, Close{SignalsReceived: 1}},
		"CLOSE_ACK without a CLOSE":  {accepted, CloseAck{}},
		"DONE out of place":          {accepted, Done{}},
		"DONE of what was not":       {acked, Done{Received: 1}},
		"DONE where closes cross":    {crossed, Done{}},
		"REPORT of what was not":     {accepted, Report{Received: 1}},
		"a second ACCEPT":            {accepted, Accept{}},
	} {
		m := newMachine(true)
		for _, in := range c.before {
			m.step(epoch, &in, nil)
		}
		require.False(t, m.finished, name)
		out := m.step(epoch, &input{kind: inFrame, frame: c.frame}, nil)
		require.NotEmpty(t, out, name)
		require.Equal(t, outFinished, out[len(out)-1].kind, name)
		require.True(t, m.finished, name)
		require.False(t, m.totals, "%s: nobody knows them", name)
	}
}

// A close that is confirmed in the last moment still waits for stragglers, and says
// what it got.
func TestConfirmedInTheLastMoment(t *testing.T) {
	m := newMachine(true)
	end := epoch.Add(closeTimeout)
	var written []FrameType
	step := func(now time.Time, in input) {
		for _, o := range m.step(now, &in, nil) {
			require.NotEqual(t, outReset, o.kind)
			if o.kind == outWrite {
				written = append(written, o.frame.FrameType())
			}
		}
	}
	step(epoch, input{kind: inStart, frame: Open{}})
	step(epoch, input{kind: inFrame, frame: Accept{}})
	step(epoch, input{kind: inClose, frame: Close{}, until: end})
	step(epoch, input{kind: inFlushed})
	step(end.Add(-1), input{kind: inFrame, frame: CloseAck{Sent: 1, End: 1}})
	step(end.Add(1), input{kind: inTimer})
	step(end.Add(2), input{kind: inSettled})
	require.Equal(t, []FrameType{TypeOpen, TypeClose, TypeDone}, written)
}

// A SIGNAL_ACK that says nothing new tells nobody anything.
func TestSignalsAreAcknowledgedOnce(t *testing.T) {
	m := newMachine(true)
	for _, in := range []input{{kind: inStart, frame: Open{}}, {kind: inFrame, frame: Accept{}}, {kind: inSignal, frame: Signal{}}} {
		m.step(epoch, &in, nil)
	}
	ack := input{kind: inFrame, frame: SignalAck{Taken: 1}}
	require.Len(t, m.step(epoch, &ack, nil), 1)
	require.Empty(t, m.step(epoch, &ack, nil))
}

// The peer's FIN is owed since ours was sent, whenever its DONE came.
func TestFINIsOwedSinceOurs(t *testing.T) {
	m := newMachine(true)
	for _, in := range []input{
		{kind: inStart, frame: Open{}}, {kind: inFrame, frame: Accept{}},
		{kind: inFrame, frame: Close{}}, {kind: inSettled},
	} {
		m.step(epoch, &in, nil)
	}
	require.True(t, m.finSent)
	m.step(epoch.Add(closeTimeout-1), &input{kind: inFrame, frame: Done{}}, nil)
	require.Equal(t, StateClosed, m.state)
	m.step(epoch.Add(closeTimeout-1), &input{kind: inTimer}, nil)
	require.False(t, m.finished)
	m.step(epoch.Add(closeTimeout), &input{kind: inTimer}, nil)
	require.True(t, m.reset)
	require.True(t, m.totals, "which DONE has told")
}
