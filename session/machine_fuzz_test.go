package session

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzMachine feeds one machine whatever the bytes say, in any order: a hostile
// peer, an application without manners, timers at odd times. It must not
// panic, and after every step what checkStep and outputHistory check must hold.
func FuzzMachine(f *testing.F) {
	f.Add(true, []byte("\x00\x11\x02\x00\x00\x0a\x05\x00\x0b\x03\x18"))
	f.Add(false, []byte("\x00\x10\x06\x03\x16\x01\x02\x00\x00\x0c\x04\x19\x04"))
	f.Add(true, []byte{0, 0x12, 1, 1, 0x20})
	f.Add(false, []byte{0x20, 0x21, 0x30, 0x31})
	f.Add(false, slices.Concat([]byte("\x10\x00\x00\x00\x00\x00\x00\x00\x05"), bytes.Repeat([]byte("\x13"), 8*(DefaultMaxSignals+1)))) // more than it takes
	f.Add(true, []byte("\x11\x00\x00\x00\x00\x00\x00\x00\x07\x00\x05\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00"))                // flushed twice
	f.Fuzz(func(t *testing.T, opener bool, data []byte) {
		m, now := newMachine(opener), epoch
		history := newOutputHistory(opener)
		step := func(in input) {
			before := m
			out := m.step(now, &in, nil)
			require.NoError(t, checkStep(before, m, out))
			require.NoError(t, history.step(before, m, out))
		}
		start := input{kind: inStart, frame: Open{}}
		if !opener {
			start.until = now.Add(openTimeout)
		}
		step(start)
		r := fuzzReader(data)
		for len(r) > 0 {
			in, wait := r.input(&m)
			now = now.Add(wait)
			if in.kind != 0 {
				step(in)
			}
		}
		// Without the application and the peer, time ends everything that is
		// ending.
		for range 4 {
			now = now.Add(time.Hour)
			step(input{kind: inTimer})
		}
		switch m.state {
		case StateOpening, StateIncoming, StateOpen:
		default:
			require.True(t, m.finished, "%v for ever", m.state)
		}
	})
}

// fuzzReader makes inputs of bytes; it has zeros when they are used up.
type fuzzReader []byte

func (r *fuzzReader) next() byte {
	if len(*r) == 0 {
		return 0
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return b
}

func (r *fuzzReader) count() uint64 { return uint64(r.next()) % 8 }

func (r *fuzzReader) tally() Tally {
	return Tally{Sent: r.count(), End: r.count(), Received: r.count(), Late: r.count(), Dropped: r.count()}
}

// input returns the next input, or none, and how much later it comes. It does
// not produce what the caller of a machine promises not to: signals beyond
// credit, and more signals taken than received.
func (r *fuzzReader) input(m *machine) (in input, wait time.Duration) {
	b := r.next()
	if b >= 0x10 && b < 0x20 {
		return input{kind: inFrame, frame: r.frame(FrameType(b)), tally: r.tally()}, 0
	}
	switch b {
	case 0x0f:
		in = input{kind: inFrame, frame: []Frame{Settings{}, GoAway{}, Ping{}, Pong{}, Unknown{}}[r.next()%5]}
	case 0x01:
		in = input{kind: inFIN}
	case 0x02:
		in = input{kind: inReset, code: Code(r.count())}
	case 0x03:
		in = input{kind: inStopSending, code: Code(r.count())}
	case 0x04:
		in = input{kind: inMalformed, reason: "fuzz"}
	case 0x05:
		in = input{kind: inAccept, frame: Accept{}}
	case 0x06:
		in = input{kind: inReject, frame: Reject{Code: Code(r.count())}}
	case 0x07:
		in = input{kind: inClose, frame: Close{Code: Code(r.count())}, until: epoch.Add(time.Duration(r.next()) * time.Second)}
	case 0x08:
		in = input{kind: inFlushed, tally: r.tally()}
	case 0x09:
		in = input{kind: inSettled, tally: r.tally()}
	case 0x0a:
		in = input{kind: inAbort, cause: Error{Cause: CauseAborted, Code: Code(r.count())}}
	case 0x0b:
		if m.state == StateOpen && m.maySignal() {
			in = input{kind: inSignal, frame: Signal{}}
		}
	case 0x0c:
		if m.signalsTaken < m.signalsReceived {
			in = input{kind: inSignalTaken}
		}
	case 0x0d:
		in = input{kind: inReport, tally: r.tally()}
	case 0x0e:
		in = input{kind: inLinkLost, cause: Error{Cause: CauseLinkLost}}
	case 0x20:
		in = input{kind: inSignalLimit, code: Code(DefaultMaxSignals + r.count())}
	default:
		in, wait = input{kind: inTimer}, time.Duration(b)*10*time.Millisecond
	}
	return in, wait
}

// frame returns a frame that parsing lets through: no more signals taken than
// received.
func (r *fuzzReader) frame(t FrameType) Frame {
	signals := r.count()
	taken := r.count() % (signals + 1)
	switch t {
	case TypeOpen:
		return Open{}
	case TypeAccept:
		return Accept{}
	case TypeReject:
		return Reject{Code: Code(r.count())}
	case TypeSignal:
		return Signal{}
	case TypeSignalAck:
		return SignalAck{Taken: r.count()}
	case TypeReport:
		return Report{Received: r.count()}
	case TypeClose:
		return Close{Code: Code(r.count()), Sent: r.count(), End: r.count(), SignalsReceived: signals, SignalsTaken: taken}
	case TypeCloseAck:
		return CloseAck{Sent: r.count(), End: r.count(), Received: r.count(), SignalsReceived: signals, SignalsTaken: taken}
	case TypeDone:
		return Done{Received: r.count(), Late: r.count(), Dropped: r.count()}
	}
	return Unknown{Type: t}
}
