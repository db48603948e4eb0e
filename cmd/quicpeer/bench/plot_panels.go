package bench

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// plotThroughput draws what is delivered against the size of a message, or
// returns nil if it was not measured.
func (r *Report) plotThroughput() (*panel, error) {
	bySubject := make(map[string]plotter.XYs)
	var first []*Series // of each subject
	low, high := math.Inf(1), math.Inf(-1)
	sizes := make(map[int]bool)
	for _, s := range r.of(Throughput) {
		v := s.Median[bytesPerSecond] / 1e6
		if s.Subject == quicGoStreamName || v <= 0 { // a logarithm cannot show nothing
			continue
		}
		if bySubject[s.Subject] == nil {
			first = append(first, s)
		}
		bySubject[s.Subject] = append(bySubject[s.Subject], plotter.XY{X: float64(s.Size), Y: v})
		low, high = min(low, v), max(high, v)
		sizes[s.Size] = true
	}
	if len(first) == 0 {
		return nil, nil
	}
	p := newPanel("Delivered of a flood of messages", "size of a message (bytes)", "delivered to the application (MB/s)")
	for _, s := range drawn(first) {
		l := lookOf(s.Subject)
		line, points, err := plotter.NewLinePoints(bySubject[s.Subject])
		if err != nil {
			return nil, err
		}
		line.LineStyle, points.GlyphStyle = l.line, l.glyph
		p.Add(line, points)
	}
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Min, p.X.Max = widen(p.X.Min, p.X.Max, 1.2)
	p.Y.Min, p.Y.Max = widen(low, high, 1.3)
	p.X.Tick.Marker = sizeTicks(sizes)
	p.Y.Tick.Marker = decades{}
	return p, nil
}

// plotLatency draws which share of lone messages was answered in which time, or
// returns nil if it was not measured.
func (r *Report) plotLatency() (*panel, error) {
	series := r.of(Latency)
	low, high := math.Inf(1), math.Inf(-1)
	p := newPanel("Round trip of a lone message, 64 bytes", "round trip (µs)", "answered within that time (%)")
	shown := 0
	for _, s := range drawn(series) {
		var xys plotter.XYs
		var median float64
		for _, d := range s.Distribution {
			if d.Ns <= 0 {
				continue
			}
			xys = append(xys, plotter.XY{X: d.Ns / 1e3, Y: 100 * d.Share})
			if d.Share == 0.5 {
				median = d.Ns / 1e3
			}
			// The slowest of all would take most of the room.
			if d.Share <= 0.995 {
				low, high = min(low, d.Ns/1e3), max(high, d.Ns/1e3)
			}
		}
		if len(xys) == 0 {
			continue
		}
		shown++
		line, err := plotter.NewLine(xys)
		if err != nil {
			return nil, err
		}
		l := lookOf(s.Subject)
		line.LineStyle = l.line
		point, err := plotter.NewScatter(plotter.XYs{{X: median, Y: 50}})
		if err != nil {
			return nil, err
		}
		point.GlyphStyle = l.glyph
		p.Add(line, point)
	}
	if shown == 0 {
		return nil, nil
	}
	p.X.Scale = plot.LogScale{}
	p.X.Min, p.X.Max = widen(low, high, 1.05)
	p.Y.Min, p.Y.Max = 0, 100
	p.X.Tick.Marker = decades{}
	p.Y.Tick.Marker = percents{}
	return p, nil
}

// widen makes room at both ends of a logarithmic axis.
func widen(low, high, by float64) (float64, float64) { return low / by, high * by }

// decades are ticks for a logarithmic axis: at 1, 2 and 5 of each power of ten with
// labels, at the rest without.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
		for n := 1.0; n < 10; n++ {
			v := n * math.Pow(10, e)
			if v < low || v > high {
				continue
			}
			t := plot.Tick{Value: v}
			if n == 1 || n == 2 || n == 5 {
				t.Label = strconv.FormatFloat(v, 'g', 6, 64)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// percents are ticks for shares.
type percents struct{}

// Ticks implements plot.Ticker.
func (percents) Ticks(float64, float64) []plot.Tick {
	var ticks []plot.Tick
	for v := 0; v <= 100; v += 10 {
		t := plot.Tick{Value: float64(v)}
		if v%20 == 0 || v == 50 {
			t.Label = strconv.Itoa(v)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// sizeTicks are ticks at the sizes that were measured, with labels where there is
// room.
type sizeTicks map[int]bool

// labelRoom is how many times larger the next size with a label must be.
const labelRoom = 1.7

// Ticks implements plot.Ticker.
func (s sizeTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	last := 0.0
	for _, size := range slices.Sorted(maps.Keys(s)) {
		v := float64(size)
		if v < low || v > high {
			continue
		}
		t := plot.Tick{Value: v}
		if v >= last*labelRoom {
			t.Label, last = strconv.Itoa(size), v
		}
		ticks = append(ticks, t)
	}
	return ticks
}
