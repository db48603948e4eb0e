package bench

import (
	"cmp"
	"slices"
)

// Subject is what can be measured.
type Subject struct {
	Name    string   // short, for flags and JSON
	Label   string   // for people
	Command []string // the program, and what comes before the mode
	Flood   string   // the mode that floods
	Can     []Measure
}

func (s Subject) can(m Measure) bool { return slices.Contains(s.Can, m) }

// Info returns the subject's names.
func (s Subject) Info() SubjectInfo { return SubjectInfo{s.Name, s.Label} }

// Names of subjects that are more than one of many.
const (
	QuicpeerName      = "quicpeer"
	quicpeerBatchName = "quicpeer-batch"
	quicGoName        = "quicgo"
	quicGoStreamName  = "quicgo-stream"
	udpName           = "udp"
)

// labels are the names for people of what is known. Any other folder of baselines
// is shown by its own name.
var labels = map[string]string{
	QuicpeerName:      "quicpeer",
	quicpeerBatchName: "quicpeer batches",
	quicGoName:        "quic-go datagrams",
	quicGoStreamName:  "quic-go stream",
	udpName:           "plain UDP",
	"quinn":           "quinn",
	"s2n":             "s2n-quic",
	"msquic":          "MsQuic",
}

// order is that in which the known are shown. Others come behind.
var order = []string{QuicpeerName, quicpeerBatchName, quicGoName, quicGoStreamName, udpName, "quinn", "s2n", "msquic"}

func labelOf(name string) string {
	if l := labels[name]; l != "" {
		return l
	}
	return name
}

func place(name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

func compareNames(a, b string) int { return cmp.Or(place(a)-place(b), cmp.Compare(a, b)) }

// Quicpeer is the library itself, by a program that speaks its lines.
func Quicpeer(command ...string) Subject {
	return Subject{Name: QuicpeerName, Label: labelOf(QuicpeerName), Command: command, Flood: "flood", Can: Measures}
}

// QuicpeerBatch is the library by its calls for several messages at once.
func QuicpeerBatch(command ...string) Subject {
	return Subject{
		Name: quicpeerBatchName, Label: labelOf(quicpeerBatchName), Command: command, Flood: "flood-batch",
		Can: []Measure{Throughput},
	}
}

// baseline returns the subjects that a built program of a folder is good for.
func baseline(name, program string) []Subject {
	s := Subject{
		Name: name, Label: labelOf(name), Command: []string{program}, Flood: "flood",
		Can: []Measure{Throughput, Latency},
	}
	if name != quicGoName {
		return []Subject{s}
	}
	s.Can = Measures // what sessions are compared to
	stream := Subject{
		Name: quicGoStreamName, Label: labelOf(quicGoStreamName), Command: s.Command, Flood: "flood-stream",
		Can: []Measure{Throughput},
	}
	return []Subject{s, stream}
}
