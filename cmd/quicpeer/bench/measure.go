package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// How long a flood runs before it is measured: until queues are full and windows
// open.
const (
	warmUp      = 300 * time.Millisecond
	quickWarmUp = 100 * time.Millisecond
)

// flood measures a flood of messages of one size.
func (s *step) flood(ctx context.Context) ([]Measurement, error) {
	var v Values
	err := withPair(ctx, s.subject, s.environment, func(p pair) error {
		if err := p.begin(); err != nil {
			return err
		}
		warm := warmUp
		if s.settings.Quick {
			warm = quickWarmUp
		}
		if err := p.wait(warm); err != nil {
			return err
		}
		before, err := p.count()
		if err != nil {
			return err
		}
		if err := p.wait(s.settings.duration()); err != nil {
			return err
		}
		after, err := p.count()
		if err != nil {
			return err
		}
		p.client.tell("stop")
		sent, err := p.client.want(patience, "sent", 2)
		if err != nil {
			return err
		}
		end, err := p.settled()
		if err != nil {
			return err
		}
		seconds := (after.at - before.at).Seconds()
		if seconds <= 0 || sent[1] <= 0 {
			return fmt.Errorf("%s: counted %v bytes in %v s, of %v sent", s, after.bytes-before.bytes, seconds, sent[1])
		}
		// Also of messages that were cut into pieces.
		v = Throughputs((after.bytes-before.bytes)/float64(s.size)/seconds, s.size, 100*(1-end.bytes/sent[1]))
		return nil
	}, s.subject.Flood, strconv.Itoa(s.size))
	return []Measurement{s.measurement("", v, nil)}, err
}

// answerTime is how long a program waits for an answer before it counts a message
// as lost.
const answerTime = 200 * time.Millisecond

// ping measures round trips of a lone message.
func (s *step) ping(ctx context.Context) ([]Measurement, error) {
	var v Values
	var took []float64
	err := withPair(ctx, s.subject, s.environment, func(p pair) error {
		if err := p.begin(); err != nil {
			return err
		}
		within := patience + time.Duration(s.settings.Pings)*answerTime // the first line comes last
		for range s.settings.Pings {
			fields, err := p.client.next(within)
			if err != nil {
				return err
			}
			if len(fields) == 2 && fields[0] == "rtt" && fields[1] == "lost" {
				continue
			}
			ns, err := p.client.parse(fields, "rtt", 1)
			if err != nil {
				return err
			}
			took = append(took, ns[0])
		}
		v = Latencies(took, s.settings.Pings)
		_, err := p.client.want(patience, "done", 0)
		return err
	}, "ping", strconv.Itoa(s.size), strconv.Itoa(s.settings.Pings))
	return []Measurement{s.measurement("", v, took)}, err
}

// timed runs a mode that prints lines NAME NANOSECONDS until it is done, and
// returns the measurements of each name.
func (s *step) timed(ctx context.Context, names []string, mode string, args ...int) ([]Measurement, error) {
	took := make(map[string][]float64)
	var words []string
	for _, a := range args {
		words = append(words, strconv.Itoa(a))
	}
	err := withPair(ctx, s.subject, s.environment, func(p pair) error {
		if err := p.begin(); err != nil {
			return err
		}
		for {
			fields, err := p.client.next(patience)
			if err != nil {
				return err
			}
			if len(fields) == 1 && fields[0] == "done" {
				return nil
			}
			if len(fields) == 0 {
				return p.client.failure("wrote an empty line")
			}
			ns, err := p.client.parse(fields, fields[0], 1)
			if err != nil {
				return err
			}
			took[fields[0]] = append(took[fields[0]], ns[0])
		}
	}, mode, words...)
	if err != nil {
		return nil, err
	}
	var all []Measurement
	for _, name := range names {
		if len(took[name]) > 0 {
			all = append(all, s.measurement(name, times(took[name]), nil))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %s %s printed none of %q", s, s.subject.Name, mode, names)
	}
	return all, nil
}

// control measures what is not a message while messages saturate the link.
func (s *step) control(ctx context.Context) ([]Measurement, error) {
	return s.timed(ctx, []string{CasePing, CaseSignal, CaseOpen, CaseClose}, "busy", controlSize, senders, s.settings.work().controls)
}

// sessions measures how fast sessions, or streams, open.
func (s *step) sessions(ctx context.Context) ([]Measurement, error) {
	w := s.settings.work()
	all, err := s.timed(ctx, []string{CaseOpen}, "open", w.opens)
	if err != nil {
		return nil, err
	}
	err = withPair(ctx, s.subject, s.environment, func(p pair) error {
		if err := p.begin(); err != nil {
			return err
		}
		n, err := p.client.want(patience+time.Duration(w.parallel)*openTime, "opened", 2)
		if err != nil {
			return err
		}
		if n[1] <= 0 {
			return p.client.failure("opened in no time")
		}
		all[0].Values[opensPerSecond] = n[0] / n[1] * float64(time.Second)
		return nil
	}, "opens", strconv.Itoa(Openers), strconv.Itoa(w.parallel))
	return all, err
}

// openTime is far more than one of many opens takes.
const openTime = 10 * time.Millisecond

// memory measures what idle sessions, or streams, and what idle links cost.
func (s *step) memory(ctx context.Context) ([]Measurement, error) {
	w := s.settings.work()
	var all []Measurement
	for _, m := range []struct {
		mode    string
		n       int
		dialing string
		serving string
	}{
		{"idle", w.sessions, CaseSessionDialing, CaseSessionServing},
		{"links", w.links, CaseLinkDialing, CaseLinkServing},
	} {
		err := withPair(ctx, s.subject, s.environment, func(p pair) error {
			before, err := p.memory()
			if err != nil {
				return err
			}
			p.client.tell("go")
			after, err := p.memory()
			if err != nil {
				return err
			}
			each := func(side int) Values { return Values{eachBytes: (after[side] - before[side]) / float64(m.n)} }
			all = append(all, s.measurement(m.dialing, each(0), nil), s.measurement(m.serving, each(1), nil))
			return nil
		}, m.mode, strconv.Itoa(m.n))
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// memory returns the memory in use of the client, once it says so, and of the
// server.
func (p pair) memory() ([2]float64, error) {
	c, err := p.client.want(2*patience, "memory", 1)
	if err != nil {
		return [2]float64{}, err
	}
	p.server.tell("memory")
	s, err := p.server.want(patience, "memory", 1)
	if err != nil {
		return [2]float64{}, err
	}
	return [2]float64{c[0], s[0]}, nil
}

// Cases of a measure.
const (
	CasePing   = "ping"
	CaseSignal = "signal"
	CaseOpen   = "open"
	CaseClose  = "close"

	CaseSessionDialing = "session, dialing side"
	CaseSessionServing = "session, serving side"
	CaseLinkDialing    = "link, dialing side"
	CaseLinkServing    = "link, serving side"
)
