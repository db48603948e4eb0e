package bench

import (
	"cmp"
	"slices"
)

// Series is one measurement of one subject, in all rounds.
type Series struct {
	Measure Measure `json:"measure"`
	Subject string  `json:"subject"`
	Case    string  `json:"case,omitempty"`       // what was timed, or weighed
	Size    int     `json:"size_bytes,omitempty"` // of a message
	// Rounds has an entry for each round; it is null if the measurement failed.
	Rounds []Values `json:"rounds"`
	Median Values   `json:"median"`
	// Against holds the ratios to other subjects, by their names.
	Against map[string]Values `json:"against,omitempty"`
	// Distribution is that of all rounds together.
	Distribution []Point `json:"distribution,omitempty"`

	samples []float64
}

// key tells series of one report apart.
type key struct {
	measure Measure
	subject string
	what    string
	size    int
}

// Measurement is what one round has measured of one subject.
type Measurement struct {
	Measure Measure
	Subject string
	Case    string
	Size    int
	Values  Values
	Samples []float64 // in nanoseconds, for a distribution; may be nil
}

func (m *Measurement) key() key { return key{m.Measure, m.Subject, m.Case, m.Size} }

func (s *Series) key() key { return key{s.Measure, s.Subject, s.Case, s.Size} }

// compared are the subjects to which all others are compared.
var compared = []string{quicGoName, udpName}

// Add takes in a measurement of a round, counted from 0.
func (r *Report) Add(round int, m Measurement) {
	var s *Series
	for _, known := range r.Series {
		if known.key() == m.key() {
			s = known
		}
	}
	if s == nil {
		s = &Series{
			Measure: m.Measure, Subject: m.Subject, Case: m.Case, Size: m.Size,
			Rounds: make([]Values, r.Settings.Rounds),
		}
		r.Series = append(r.Series, s)
	}
	s.Rounds[round] = m.Values
	s.samples = append(s.samples, m.Samples...)
}

// Fail notes that a measurement of a round, counted from 0, has failed.
func (r *Report) Fail(round int, step string, err error) {
	r.Failures = append(r.Failures, Failure{Step: step, Round: round + 1, Error: err.Error()})
}

// weighed is the place of what is weighed, 0 of anything else.
func weighed(s *Series) int {
	return 1 + slices.Index([]string{CaseSessionDialing, CaseSessionServing, CaseLinkDialing, CaseLinkServing}, s.Case)
}

// Finish sorts the series, and computes what follows from the rounds.
func (r *Report) Finish() {
	slices.SortStableFunc(r.Series, func(a, b *Series) int {
		return cmp.Or(
			slices.Index(Measures, a.Measure)-slices.Index(Measures, b.Measure),
			a.Size-b.Size,
			weighed(a)-weighed(b), // what is weighed is compared side by side
			compareNames(a.Subject, b.Subject),
		)
	})
	byKey := make(map[key]*Series, len(r.Series))
	for _, s := range r.Series {
		byKey[s.key()] = s
	}
	for _, s := range r.Series {
		s.Median = medians(s.Rounds)
		s.Distribution = distribution(s.samples)
		for _, base := range compared {
			k := s.key()
			k.subject = base
			b := byKey[k]
			if b == nil || b == s {
				continue
			}
			if against := ratios(s.Rounds, b.Rounds); len(against) > 0 {
				if s.Against == nil {
					s.Against = make(map[string]Values)
				}
				s.Against[base] = against
			}
		}
	}
}
