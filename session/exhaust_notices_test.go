package session

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"unsafe"
)

// TestExhaustNotices breaks the machine in every simple way: it does not hear
// one kind of input, leaves out one kind of output, puts it out twice or too
// early, forgets one of its fields. TestExhaust must notice each; one that it
// would not shows that a check is missing, or that the machine does something
// that nobody needs.
func TestExhaustNotices(t *testing.T) {
	if raceDetector {
		t.Skip("it has nothing to find here, and takes long")
	}
	within := []bounds{orderly(1, 0, 0), orderly(0, 1, 1), timed(rough(1, 0, 0)), timed(rough(0, 1, 0))}
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

func first(what func(output) bool) func(machine, *input, *machine, []output) []output {
	return func(_ machine, _ *input, _ *machine, out []output) []output {
		if i := slices.IndexFunc(out, what); i > 0 {
			o := out[i]
			return slices.Insert(slices.Delete(out, i, i+1), 0, o)
		}
		return out
	}
}
