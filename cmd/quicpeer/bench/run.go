package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench/lines"
)

// Options are what Run measures, and how.
type Options struct {
	Settings Settings
	Subjects []Subject
	Missing  []Missing
	// Profiles, if not empty, is a folder into which the processes of quicpeer
	// write CPU profiles, one for each mode, in a folder for each measurement.
	// Those of a round replace those of the one before.
	Profiles string
	// Progress, if not nil, is told before each step how many of all are done.
	Progress func(done, all int, next string)
}

// step is one measurement of one subject in one round.
type step struct {
	measure     Measure
	subject     Subject
	size        int
	settings    Settings
	environment []string
	run         func(context.Context) ([]Measurement, error)
}

func (s *step) String() string {
	if s.measure == Throughput {
		return fmt.Sprintf("%s %d B, %s", s.measure, s.size, s.subject.Label)
	}
	return fmt.Sprintf("%s, %s", s.measure, s.subject.Label)
}

func (s *step) measurement(what string, v Values, samples []float64) Measurement {
	return Measurement{s.measure, s.subject.Name, what, s.size, v, samples}
}

// Run measures. What fails is in the report; an error is returned only if ctx
// ends, or nothing can be measured at all. No process is left when it returns.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Settings.Check(); err != nil {
		return nil, err
	}
	report := &Report{Version: 1, Environment: CurrentEnvironment(), Settings: o.Settings, Missing: o.Missing}
	for _, s := range o.Subjects {
		report.Subjects = append(report.Subjects, s.Info())
	}
	groups, err := o.groups()
	if err != nil {
		return nil, err
	}
	all, done := 0, 0
	for _, g := range groups {
		all += len(g) * o.Settings.Rounds
	}
	progress := o.Progress
	if progress == nil {
		progress = func(int, int, string) {}
	}
	failed := make(map[*step]bool)
	for round := range o.Settings.Rounds {
		for _, g := range groups {
			for i := range g {
				s := g[(i+round)%len(g)]
				progress(done, all, s.String())
				done++
				if failed[s] {
					continue // it may have taken long enough
				}
				measured, err := s.run(ctx)
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				if err != nil {
					failed[s] = true
					report.Fail(round, s.String(), err)
					continue
				}
				for _, m := range measured {
					report.Add(round, m)
				}
			}
		}
	}
	progress(done, all, "")
	report.Finish()
	return report, nil
}

// groups are the steps of a round. The subjects of a group take turns.
func (o Options) groups() ([][]*step, error) {
	var groups [][]*step
	for _, m := range Measures {
		if !slices.Contains(o.Settings.Only, m) {
			continue
		}
		sizes := []int{0}
		switch m {
		case Throughput:
			sizes = o.Settings.Sizes
		case Latency:
			sizes = []int{PingSize}
		}
		for _, size := range sizes {
			g, err := o.group(m, size)
			if err != nil {
				return nil, err
			}
			if len(g) > 0 {
				groups = append(groups, g)
			}
		}
	}
	return groups, nil
}

func (o Options) group(m Measure, size int) ([]*step, error) {
	var g []*step
	for _, subject := range o.Subjects {
		if !subject.can(m) {
			continue
		}
		s := &step{measure: m, subject: subject, size: size, settings: o.Settings}
		switch m {
		case Throughput:
			s.run = s.flood
		case Latency:
			s.run = s.ping
		case Control:
			s.run = s.control
		case Sessions:
			s.run = s.sessions
		case Memory:
			s.run = s.memory
		}
		if o.Profiles != "" && subject.Name == QuicpeerName {
			dir := string(m)
			if m == Throughput {
				dir = fmt.Sprintf("%s-%d", m, size)
			}
			variable, err := profileVariable(filepath.Join(o.Profiles, dir))
			if err != nil {
				return nil, err
			}
			s.environment = []string{variable}
		}
		g = append(g, s)
	}
	return g, nil
}

// profileVariable makes a folder, and returns what makes a program write its
// profiles into it.
func profileVariable(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return lines.ProfileVariable + "=" + dir, os.MkdirAll(dir, 0o777)
}
