package bench

import (
	"encoding/json"
	"io"
)

// Measure is a kind of measurement.
type Measure string

const (
	Throughput Measure = "throughput"
	Latency    Measure = "latency"
	Control    Measure = "control"
	Sessions   Measure = "sessions"
	Memory     Measure = "memory"
)

// Measures are all of them, in the order in which they are made and shown.
var Measures = []Measure{Throughput, Latency, Control, Sessions, Memory}

// Report is the result of a bench. As JSON it has everything that was measured.
type Report struct {
	Version     int         `json:"version"` // of this format: 1
	Environment Environment `json:"environment"`
	Settings    Settings    `json:"settings"`
	// Subjects were measured, in the order in which they are shown.
	Subjects []SubjectInfo `json:"subjects"`
	// Missing are the baselines that were not, and why.
	Missing []Missing `json:"missing,omitempty"`
	Series  []*Series `json:"series"`
	// Failures are the measurements that failed, and how.
	Failures []Failure `json:"failures,omitempty"`
}

// SubjectInfo names a subject.
type SubjectInfo struct {
	Name  string `json:"name"`
	Label string `json:"label"` // for people
}

// Missing is a baseline that could not be measured.
type Missing struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Failure is a measurement that failed.
type Failure struct {
	Step  string `json:"step"`
	Round int    `json:"round"` // from 1
	Error string `json:"error"`
}

// Settings are what was asked for.
type Settings struct {
	Rounds  int       `json:"rounds"`
	Quick   bool      `json:"quick"`
	Only    []Measure `json:"only"`
	Sizes   []int     `json:"sizes_bytes"`
	Seconds float64   `json:"seconds"`
	Pings   int       `json:"pings"`
	// Remote is the address of the peer, if it was measured over a network.
	Remote string `json:"remote,omitempty"`
}

// of returns the series of one measure, in the order of the report.
func (r *Report) of(m Measure) []*Series {
	var all []*Series
	for _, s := range r.Series {
		if s.Measure == m {
			all = append(all, s)
		}
	}
	return all
}

// label returns a subject's name for people.
func (r *Report) label(name string) string {
	for _, s := range r.Subjects {
		if s.Name == name {
			return s.Label
		}
	}
	return name
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
