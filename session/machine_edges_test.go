package session

import (
	"testing"

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

// CLOSE is written once, also if its queue is said to be drained again.
func TestDrainedTwiceIsOneClose(t *testing.T) {
	m := newMachine(true)
	written := 0
	step := func(in input) {
		for _, o := range m.step(epoch, &in, nil) {
			if _, ok := o.frame.(Close); ok && o.kind == outWrite {
				written++
			}
		}
	}
	step(input{kind: inStart, frame: Open{}})
	step(input{kind: inClose, frame: Close{Code: 0x100}, until: epoch.Add(closeTimeout)})
	step(input{kind: inFlushed, tally: Tally{Sent: 1, End: 1}})
	step(input{kind: inFlushed, tally: Tally{Sent: 2, End: 2}})
	require.Equal(t, 1, written)
	require.EqualValues(t, 1, m.counts.Sent, "as CLOSE has stated")
}
