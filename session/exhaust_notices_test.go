package session

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestExhaustNotices breaks the machine in every simple way: it does not hear
// one kind of input, leaves out one kind of output, puts it out twice or too
// early, says something else with it, forgets one of its fields. TestExhaust must
// notice each; one that it would not shows that a check is missing, or that the
// machine does something that nobody needs.
func TestExhaustNotices(t *testing.T) {
	if raceDetector {
		t.Skip("it has nothing to find here, and takes long")
	}
	within := []bounds{orderly(1, 0, 0), orderly(0, 1, 1), orderly(1, 0, 1), timed(rough(1, 0, 0)), timed(rough(0, 1, 0))}
	noticed := func(name string, sabotage func(before machine, in *input, after *machine, out []output) []output) {
		t.Helper()
		for _, b := range within {
			md := &model{cast: newCast(), bounds: b}
			md.sabotage = sabotage
			if g, err := md.walk(); err != nil {
				t.Logf("%-32s after %2d events: %v", name, len(g.history()), err)
				return
			}
		}
		t.Errorf("%s: nobody notices", name)
	}
	for kind := inStart; kind <= inTimer; kind++ {
		if kind == inFrame || kind == inMalformed || kind == inSignalLimit {
			continue
		}
		noticed(fmt.Sprintf("deaf to %v", meeting{kind: kind}), deaf(func(in *input) bool { return in.kind == kind }))
	}
	for frame := TypeOpen; frame <= TypeDone; frame++ {
		if frame.Known() {
			noticed(fmt.Sprintf("deaf to %v", frame), deaf(func(in *input) bool { return in.kind == inFrame && in.frame.FrameType() == frame }))
		}
	}
	for kind := outWrite; kind <= outFinished; kind++ {
		is := func(o output) bool { return o.kind == kind }
		noticed(fmt.Sprintf("without output %d", kind), without(is))
		if kind != outStopSend && kind != outSignals && kind != outState { // these may be repeated
			noticed(fmt.Sprintf("output %d twice", kind), twice(is))
		}
	}
	for frame := TypeOpen; frame <= TypeDone; frame++ {
		if frame.Known() {
			is := func(o output) bool { return o.kind == outWrite && o.frame.FrameType() == frame }
			noticed(fmt.Sprintf("without %v", frame), without(is))
			if frame != TypeSignalAck { // it only repeats itself
				noticed(fmt.Sprintf("%v twice", frame), twice(is))
			}
		}
	}
	noticed("CLOSE_ACK too early", first(func(o output) bool {
		_, ok := o.frame.(CloseAck)
		return ok
	}))
	noticed("answers a reset with its cause", altered(outReset, func(_ *input, after *machine, o *output) { o.code = after.cause.Code }))
	noticed("late with another code", altered(outReset, func(in *input, after *machine, o *output) {
		if in.kind == inTimer && after.cause.Remote {
			o.code = CodeNormal
		}
	}))
	noticed("waits for fewer messages", altered(outSettle, func(_ *input, _ *machine, o *output) { o.tally.Sent = 0 }))
	noticed("waits for earlier messages", altered(outSettle, func(_ *input, _ *machine, o *output) { o.tally.End /= 2 }))
	noticed("waits for unknown counts", altered(outSettle, func(_ *input, _ *machine, o *output) { o.unknown = true }))
	noticed("reports nothing", altered(outWrite, func(_ *input, _ *machine, o *output) {
		if _, ok := o.frame.(Report); ok {
			o.frame = Report{}
		}
	}))
	noticed("fails Close with its own cause", altered(outConfirmed, func(_ *input, after *machine, o *output) {
		if o.cause.Cause != 0 {
			o.cause = after.cause
		}
	}))
	fields := reflect.TypeFor[machine]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		switch name {
		case "opener", "signalLimit", "peerSignalLimit", "bareFIN":
			continue // nothing changes these here
		}
		noticed("never changes "+name, func(before machine, _ *input, after *machine, out []output) []output {
			field(after, i).Set(field(&before, i))
			return out
		})
	}
}

// No sabotage makes a machine go in circles, so what looks for them is tried on
// graphs that have some.
func TestCirclesAreFound(t *testing.T) {
	for _, c := range []struct {
		next [][]uint32 // by state
		ends bool
	}{
		{[][]uint32{{}}, true},
		{[][]uint32{{1, 2, 2}, {2}, {}}, true},
		{[][]uint32{{0}}, false},
		{[][]uint32{{1}, {2, 3}, {1}, {}}, false},
	} {
		g := graph{worlds: make([]world, len(c.next))}
		for _, next := range c.next {
			g.next = append(g.next, next...)
			g.ranges = append(g.ranges, uint32(len(g.next)))
		}
		require.Equal(t, c.ends, g.ends(), "%v", c.next)
	}
}

// field returns a field of m, to be set.
func field(m *machine, i int) reflect.Value {
	v := reflect.ValueOf(m).Elem().Field(i)
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

func deaf(to func(*input) bool) func(machine, *input, *machine, []output) []output {
	return func(before machine, in *input, after *machine, out []output) []output {
		if to(in) {
			*after = before
			return nil
		}
		return out
	}
}

func without(what func(output) bool) func(machine, *input, *machine, []output) []output {
	return func(_ machine, _ *input, _ *machine, out []output) []output { return slices.DeleteFunc(out, what) }
}

func twice(what func(output) bool) func(machine, *input, *machine, []output) []output {
	return func(_ machine, _ *input, _ *machine, out []output) []output {
		if i := slices.IndexFunc(out, what); i >= 0 {
			return slices.Insert(out, i, out[i])
		}
		return out
	}
}

func altered(kind outputKind, alter func(*input, *machine, *output)) func(machine, *input, *machine, []output) []output {
	return func(_ machine, in *input, after *machine, out []output) []output {
		for i := range out {
			if out[i].kind == kind {
				alter(in, after, &out[i])
			}
		}
		return out
	}
}

func first(what func(output) bool) func(machine, *input, *machine, []output) []output {
	return func(_ machine, _ *input, _ *machine, out []output) []output {
		if i := slices.IndexFunc(out, what); i > 0 {
			o := out[i]
			return slices.Insert(slices.Delete(out, i, i+1), 0, o)
		}
		return out
	}
}
