package bench

import (
	"math"
	"slices"
)

// Median returns the middle of figures, the mean of the two in the middle if
// their number is even; false if there are none.
func Median(figures []float64) (float64, bool) {
	n := len(figures)
	if n == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(figures))
	if n%2 == 1 {
		return sorted[n/2], true
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2, true
}

// Percentile returns the smallest of sorted figures that at least the fraction q
// of them does not exceed (nearest rank). There must be one figure at least.
func Percentile(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// medians returns the median of each figure over the rounds. Rounds without it do
// not count.
func medians(rounds []Values) Values {
	m := Values{}
	for name, figures := range columns(rounds) {
		m[name], _ = Median(figures)
	}
	return m
}

// ratios returns, for each figure that both have, the median over the rounds of
// its ratio to that of the other in the same round.
func ratios(rounds, to []Values) Values {
	var each []Values
	for i := range min(len(rounds), len(to)) {
		r := Values{}
		for name, v := range rounds[i] {
			if base := to[i][name]; base != 0 { // also if there is none
				r[name] = v / base
			}
		}
		each = append(each, r)
	}
	return medians(each)
}

// spread returns how far the rounds are apart: the difference of the largest and
// the smallest, in percent of the median.
func spread(rounds []Values, name string) (float64, bool) {
	figures := columns(rounds)[name]
	m, ok := Median(figures)
	if !ok || m == 0 || len(figures) < 2 {
		return 0, false
	}
	return 100 * (slices.Max(figures) - slices.Min(figures)) / m, true
}

func columns(rounds []Values) map[string][]float64 {
	c := make(map[string][]float64)
	for _, r := range rounds {
		for name, v := range r {
			c[name] = append(c[name], v)
		}
	}
	return c
}

// Point is a point of a distribution: the fraction Share of all took at most Ns
// nanoseconds.
type Point struct {
	Share float64 `json:"share"`
	Ns    float64 `json:"ns"`
}

// distribution thins out samples to the points that a plot needs. Of the upper
// end, where the interest is, it keeps more.
func distribution(samples []float64) []Point {
	if len(samples) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(samples))
	var points []Point
	add := func(share float64) { points = append(points, Point{share, Percentile(sorted, share)}) }
	for i := range 198 {
		add(float64(i) / 200)
	}
	for i := 990; i < 1000; i++ {
		add(float64(i) / 1000)
	}
	add(0.9995)
	add(1)
	return points
}
