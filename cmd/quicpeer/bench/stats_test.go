package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{100, 1, 3}, 3},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		got, ok := Median(c.of)
		require.True(t, ok)
		require.Equal(t, c.want, got, c.of)
	}
	_, ok := Median(nil)
	require.False(t, ok)
	unsorted := []float64{3, 1, 2}
	Median(unsorted)
	require.Equal(t, []float64{3, 1, 2}, unsorted, "left as it was")
}

func TestPercentile(t *testing.T) {
	var sorted []float64
	for i := range 1000 {
		sorted = append(sorted, float64(i+1))
	}
	for q, want := range map[float64]float64{0: 1, .5: 500, .9: 900, .99: 990, .999: 999, .9995: 1000, 1: 1000} {
		require.Equal(t, want, Percentile(sorted, q), q)
	}
	require.Equal(t, 5.0, Percentile([]float64{5}, .5))
	require.Equal(t, 1.0, Percentile([]float64{1, 2}, .5))
}

func TestRatiosAreMediansOfRatios(t *testing.T) {
	// The machine is twice as fast in the last round: ratios do not see it.
	mine := []Values{{"x": 10, "y": 1}, {"x": 30}, {"x": 40}, nil}
	other := []Values{{"x": 5, "y": 0}, {"x": 10}, {"x": 10, "z": 1}, {"x": 1}}
	require.Equal(t, Values{"x": 3}, ratios(mine, other), "2, 3 and 4; nothing is divided by 0")
	require.Empty(t, ratios(mine, nil))
	require.Equal(t, Values{"x": 30, "y": 1}, medians(mine), "a round that failed does not count")

	v, ok := spread(mine, "x")
	require.True(t, ok)
	require.Equal(t, 100.0, v)
	_, ok = spread(mine, "y")
	require.False(t, ok, "one round has no spread")
}

func TestDistributionKeepsTheEnds(t *testing.T) {
	var samples []float64
	for i := range 10_000 {
		samples = append(samples, float64(10_000-i))
	}
	points := distribution(samples)
	require.Equal(t, Point{0, 1}, points[0])
	require.Equal(t, Point{1, 10_000}, points[len(points)-1])
	require.Less(t, len(points), 250)
	for i := 1; i < len(points); i++ {
		require.Greater(t, points[i].Share, points[i-1].Share)
		require.GreaterOrEqual(t, points[i].Ns, points[i-1].Ns)
	}
	require.Contains(t, points, Point{.5, 5000}, "the median has a point")
	require.Empty(t, distribution(nil))
}

func TestFiguresForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"0 ns":      formatTime(0),
		"950 ns":    formatTime(950),
		"1.00 ms":   formatTime(999_900),
		"251 µs":    formatTime(251_234),
		"1.67 M":    formatRate(1_666_666),
		"12.0":      significant(12),
		"0.0123":    significant(0.0123456),
		"1230":      significant(1234),
		"4.50 KB":   formatBytes(4500),
		"-2.00 KB":  formatBytes(-2000),
		"189":       formatMBps(189e6),
		"0.00 %":    formatLost(0),
		"<0.01 %":   formatLost(1e-9),
		"50.00 %":   formatLost(50),
		"0.500×":    formatRatio(.5),
		"0":         significant(0),
		"9.00 s":    formatTime(9e9),
		"100 MB":    formatBytes(1e8),
		"10.0 k":    formatRate(9999),
		"a b\n  c":  wrap("a b c", 4, "  "),
		"a\n  b cd": wrap("a\nb  cd\n", 80, "  "),
	} {
		require.Equal(t, want, got)
	}
}

func TestSettings(t *testing.T) {
	good := QuickSettings()
	require.NoError(t, good.Check())
	for want, spoil := range map[string]func(*Settings){
		"--rounds":          func(s *Settings) { s.Rounds = 0 },
		"--seconds":         func(s *Settings) { s.Seconds = -1 },
		"--pings":           func(s *Settings) { s.Pings = 0 },
		"--sizes: at least": func(s *Settings) { s.Sizes = nil },
		"--sizes: 65537":    func(s *Settings) { s.Sizes = []int{64, 65537} },
		"--sizes: 0":        func(s *Settings) { s.Sizes = []int{0} },
		"--only: at least":  func(s *Settings) { s.Only = nil },
		`"speed"`:           func(s *Settings) { s.Only = []Measure{"speed"} },
	} {
		s := good
		spoil(&s)
		require.ErrorContains(t, s.Check(), want)
	}
}

// Every known subject has a look of its own, and one is left for all others.
func TestLooks(t *testing.T) {
	require.Len(t, looks, len(order)+1)
	require.Equal(t, looks[len(looks)-1], lookOf("a baseline of your own"))
}
