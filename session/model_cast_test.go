package session

import (
	"fmt"
	"strings"
)

// A cast holds every machine, frame and stream content that the histories of a
// model have met, once each. A machine is a plain value and step depends on
// nothing else, so what a machine does with an input is found out once, checked
// once, and looked up from then on: a state of the model is a few small
// numbers, and millions of them fit into memory.
type cast struct {
	machines []machine
	machine  map[machine]uint32
	steps    map[stepKey]*stepResult
	frames   []Frame // of ids from 1; 0 is FIN
	frame    map[string]uint16
	streams  []stream
	stream   map[string]uint32 // by the frames' ids, two bytes each
	longer   map[uint64]uint32 // by stream<<16 | frame
	codes    []Code            // of ids from 1
	reached  map[meeting]bool
	sabotage func(before machine, in *input, after *machine, out []output) []output // breaks machines, if set
}

// A meeting is what a machine met, and in which state.
type meeting struct {
	phase string
	kind  inputKind
	frame FrameType
}

// A stream is what is on its way to one side: frames in order, FIN last.
type stream struct {
	frames string
	first  uint16
	rest   uint32
}

const (
	frameFIN    = 0
	emptyStream = 0
)

func newCast() *cast {
	return &cast{
		machine: make(map[machine]uint32),
		steps:   make(map[stepKey]*stepResult),
		frames:  []Frame{nil},
		frame:   make(map[string]uint16),
		streams: []stream{{}},
		stream:  map[string]uint32{"": emptyStream},
		longer:  make(map[uint64]uint32),
		codes:   make([]Code, 1),
		reached: make(map[meeting]bool),
	}
}

// stepKey is a machine and an input to it.
type stepKey struct {
	machine uint32
	in      inputKey
}

// inputKey is an input in small numbers. Its counts stand for a whole Tally, as
// tally says.
type inputKey struct {
	kind                 inputKind
	cause                Cause
	remote               bool
	code                 uint8 // of cast.codes
	frame                uint16
	sent, received, late uint8
}

// tally: every message has a datagram of its own, every second number belongs
// to another session, and the receive queue drops every third message.
func (k inputKey) tally() Tally {
	return Tally{
		Sent: uint64(k.sent), End: 2 * uint64(k.sent),
		Received: uint64(k.received), Late: uint64(k.late), Dropped: uint64(k.received) / 3,
	}
}

// stepResult is the machine that came of a step, and what it put out.
type stepResult struct {
	machine uint32
	effects []effect
	err     error // the step broke what holds of every step
}

// effect is an output in small numbers.
type effect struct {
	kind         outputKind
	frame        uint16
	code         uint8
	failed       bool // there is a cause
	unknown      bool
	sent, arrive uint8
	end          uint8
}

// input makes the input that a key stands for.
func (c *cast) input(k inputKey) input {
	in := input{kind: k.kind, code: c.codes[k.code], tally: k.tally()}
	switch k.kind {
	case inStart:
		in.frame = Open{}
	case inFrame:
		in.frame = c.frames[k.frame]
	case inAccept:
		in.frame = Accept{}
	case inSignal:
		in.frame = Signal{}
	case inReject:
		in.frame = Reject{Code: in.code, Reason: reasonOf(in.code)}
	case inClose:
		in.frame, in.until = Close{Code: in.code, Reason: reasonOf(in.code)}, epoch.Add(closeTimeout)
	case inAbort, inLinkLost:
		in.cause = Error{Cause: k.cause, Code: in.code, Remote: k.remote}
	}
	return in
}

// reasonOf ties a reason to each code, so that one cannot come without the
// other.
func reasonOf(c Code) string { return reasons[c%Code(len(reasons))] }

var reasons = func() (r [0x400]string) {
	for i := range r {
		r[i] = fmt.Sprintf("because of %#x", i)
	}
	return r
}()

// add returns the number of a machine, and whether it was met for the first
// time.
func (c *cast) add(m machine) (id uint32, fresh bool) {
	id, ok := c.machine[m]
	if !ok {
		id = uint32(len(c.machines))
		c.machines = append(c.machines, m)
		c.machine[m] = id
	}
	return id, !ok
}

// step returns what machine id does with an input.
func (c *cast) step(id uint32, k inputKey) *stepResult {
	key := stepKey{id, k}
	r, ok := c.steps[key]
	if !ok {
		r = c.play(id, k)
		c.steps[key] = r
	}
	return r
}

func (c *cast) play(id uint32, k inputKey) *stepResult {
	before, in := c.machines[id], c.input(k)
	c.reached[met(&before, &in)] = true
	after, out, err := c.try(before, in)
	if err != nil {
		return &stepResult{err: err}
	}
	number, fresh := c.add(after)
	if fresh {
		err = checkIdle(after)
	}
	r := &stepResult{machine: number, err: err, effects: make([]effect, len(out))}
	for i, o := range out {
		r.effects[i] = effect{
			kind: o.kind, code: c.codeID(o.code), failed: o.cause.Cause != 0, unknown: o.unknown,
			sent: uint8(o.tally.Sent), arrive: uint8(o.tally.Received), end: uint8(o.tally.End),
		}
		if o.kind == outWrite {
			r.effects[i].frame = c.frameID(o.frame)
		}
	}
	return r
}

// try has a machine take one step, and checks that.
func (c *cast) try(before machine, in input) (after machine, out []output, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panics: %v", p)
		}
	}()
	now := epoch
	switch {
	case in.kind == inTimer:
		now = before.deadline
	case in.kind == inStart && !before.opener:
		in.until = epoch.Add(openTimeout)
	}
	after = before
	out = after.step(now, &in, nil)
	if c.sabotage != nil {
		out = c.sabotage(before, &in, &after, out)
	}
	if err = checkStep(before, after, out); err == nil {
		err = checkOrder(before, &in, after, out)
	}
	return after, out, err
}

func met(m *machine, in *input) meeting {
	what := meeting{phase: phase(m), kind: in.kind}
	if in.kind == inFrame {
		what.frame = in.frame.FrameType()
	}
	return what
}

// String names what the machine met.
func (m meeting) String() string {
	if m.kind == inFrame {
		return m.frame.String()
	}
	return [...]string{
		inStart: "start", inFIN: "FIN", inReset: "RESET_STREAM", inStopSending: "STOP_SENDING", inMalformed: "malformed",
		inAccept: "accept", inReject: "reject", inClose: "close", inFlushed: "flushed", inSettled: "settled", inAbort: "abort",
		inSignal: "signal", inSignalTaken: "signal taken", inReport: "report", inLinkLost: "link lost", inTimer: "timer",
	}[m.kind]
}

// phase is the state of a machine, more finely where that decides what is read.
func phase(m *machine) string {
	switch {
	case m.state == StateIncoming && !m.opened:
		return "new"
	case m.state == StateClosing && m.peerClosed && m.closeAcked:
		return "closing, crossed, acknowledged"
	case m.state == StateClosing && m.peerClosed && m.closeSent:
		return "closing, crossed, sent"
	case m.state == StateClosing && m.peerClosed:
		return "closing, crossed"
	case m.state == StateClosing && m.closeAcked:
		return "closing, acknowledged"
	case m.state == StateClosing && m.closeSent:
		return "closing, sent"
	case m.state == StateDraining && m.peerCloseDone:
		return "draining, done"
	}
	return m.state.String()
}

// frameID returns the number of a frame.
func (c *cast) frameID(f Frame) uint16 {
	key := fmt.Sprintf("%v %+v", f.FrameType(), f)
	id, ok := c.frame[key]
	if !ok {
		id = uint16(len(c.frames))
		if id == frameFIN {
			panic("BUG: too many frames")
		}
		c.frames = append(c.frames, f)
		c.frame[key] = id
	}
	return id
}

// codeID returns the number of a code.
func (c *cast) codeID(code Code) uint8 {
	for i, known := range c.codes[1:] {
		if known == code {
			return uint8(i + 1)
		}
	}
	c.codes = append(c.codes, code)
	return uint8(len(c.codes) - 1)
}

// push returns stream s with a frame more.
func (c *cast) push(s uint32, frame uint16) uint32 {
	key := uint64(s)<<16 | uint64(frame)
	if id, ok := c.longer[key]; ok {
		return id
	}
	id := c.streamID(c.streams[s].frames + string([]byte{byte(frame >> 8), byte(frame)}))
	c.longer[key] = id
	return id
}

func (c *cast) streamID(frames string) uint32 {
	id, ok := c.stream[frames]
	if !ok {
		s := stream{frames: frames, first: uint16(frames[0])<<8 | uint16(frames[1]), rest: c.streamID(frames[2:])}
		id = uint32(len(c.streams))
		c.streams = append(c.streams, s)
		c.stream[frames] = id
	}
	return id
}

// describeStream lists what is on its way.
func (c *cast) describeStream(s uint32) string {
	var names []string
	for ; s != emptyStream; s = c.streams[s].rest {
		if f := c.frames[c.streams[s].first]; f != nil {
			names = append(names, f.FrameType().String())
		} else {
			names = append(names, "FIN")
		}
	}
	return strings.Join(names, " ")
}
