package session

import "fmt"

// outputHistory is all that a machine has asked for. It knows in which order a
// machine may ask, whatever its inputs were: checkStep looks at one step, this at
// a whole life.
type outputHistory struct {
	opener bool
	asked  map[outputKind]int
	wrote  map[FrameType]int
	last   FrameType
}

func newOutputHistory(opener bool) *outputHistory {
	return &outputHistory{opener: opener, asked: make(map[outputKind]int), wrote: make(map[FrameType]int)}
}

// onlyOnce are the outputs that there is at most one of in a life.
var onlyOnce = map[outputKind]string{
	outFIN: "FIN", outReset: "reset", outIncoming: "incoming", outWithdrawn: "withdrawn", outOpened: "opened",
	outFlush: "flush", outSettle: "settle", outCause: "cause", outConfirmed: "confirmed", outClosed: "closed", outFinished: "finished",
}

// onlyAfter says what must have been asked for before an output.
var onlyAfter = map[outputKind]outputKind{
	outWithdrawn: outIncoming, outConfirmed: outFlush, outClosed: outCause, outFinished: outClosed,
}

// neverAfter says what an output must not follow.
var neverAfter = map[outputKind][]outputKind{
	outWrite:     {outFIN, outReset},
	outFIN:       {outReset},
	outIncoming:  {outCause},
	outWithdrawn: {outOpened},
	outOpened:    {outCause},
	outFlush:     {outClosed},
	outSettle:    {outClosed},
	outSignal:    {outClosed},
	outReport:    {outClosed},
	outConfirmed: {outClosed},
}

// step checks the outputs of one step, after which the machine is m.
func (h *outputHistory) step(before, m machine, out []output) error {
	for _, o := range out {
		name := describeOutput(o)
		if h.asked[outFinished] > 0 {
			return fmt.Errorf("%s after the end of the stream", name)
		}
		if _, ok := onlyOnce[o.kind]; ok && h.asked[o.kind] > 0 {
			return fmt.Errorf("a second time: %s", name)
		}
		if first, ok := onlyAfter[o.kind]; ok && h.asked[first] == 0 {
			return fmt.Errorf("%s before %s", name, onlyOnce[first])
		}
		for _, n := range neverAfter[o.kind] {
			if h.asked[n] > 0 {
				return fmt.Errorf("%s after %s", name, onlyOnce[n])
			}
		}
		if o.kind == outWrite {
			if err := h.write(o.frame.FrameType()); err != nil {
				return err
			}
		}
		if o.kind == outReset && m.cause.Cause == CauseViolation && before.cause.Cause == 0 && o.code != CodeViolation {
			return fmt.Errorf("a violation is answered with %v", o.code)
		}
		h.asked[o.kind]++
	}
	switch {
	case m.cause.Cause == CauseViolation && !(m.finished && m.state == StateClosed && m.reset):
		return fmt.Errorf("a violation that leaves the session %v", m.state)
	case m.cause.Cause == CauseViolation && (m.cause.Remote || m.cause.Code != CodeViolation || m.cause.Reason == ""):
		return fmt.Errorf("a violation that does not say so: %+v", m.cause)
	case (m.cause.Cause != 0) != (h.asked[outCause] > 0), m.finished != (h.asked[outFinished] > 0):
		return fmt.Errorf("what is so and what was told differ: %+v, %v", m, h.asked)
	case m.signalsReceived-m.signalsTaken > m.peerSignalLimit:
		return fmt.Errorf("%d signals outstanding, %d are allowed", m.signalsReceived-m.signalsTaken, m.peerSignalLimit)
	case m.state == StateIncoming && !m.opened && m.deadline.IsZero():
		return fmt.Errorf("waiting for OPEN for ever")
	}
	return nil
}

// write checks a frame against the table of PROTOCOL.md, "Which frame where".
func (h *outputHistory) write(t FrameType) error {
	first := len(h.wrote) == 0
	switch t {
	case TypeOpen:
		if !h.opener || !first {
			return fmt.Errorf("OPEN out of place")
		}
	case TypeAccept, TypeReject:
		if h.opener || !first {
			return fmt.Errorf("%v out of place", t)
		}
	case TypeSignal, TypeReport:
		if h.wrote[TypeClose] > 0 || h.wrote[TypeCloseAck] > 0 || first {
			return fmt.Errorf("%v after %v", t, h.last)
		}
	case TypeSignalAck:
		if h.wrote[TypeCloseAck] > 0 || h.wrote[TypeDone] > 0 || first {
			return fmt.Errorf("%v after %v", t, h.last)
		}
	case TypeClose:
		if h.wrote[TypeCloseAck] > 0 || h.wrote[TypeClose] > 0 || first {
			return fmt.Errorf("%v after %v", t, h.last)
		}
	case TypeCloseAck:
		if h.wrote[TypeCloseAck] > 0 || first && h.opener {
			return fmt.Errorf("%v after %v", t, h.last)
		}
	case TypeDone:
		if h.wrote[TypeClose] == 0 || h.wrote[TypeCloseAck] > 0 {
			return fmt.Errorf("%v after %v", t, h.last)
		}
	default:
		return fmt.Errorf("%v does not belong on a control stream", t)
	}
	if h.last == TypeReject || h.last == TypeDone {
		return fmt.Errorf("%v after %v", t, h.last)
	}
	h.wrote[t]++
	h.last = t
	return nil
}
