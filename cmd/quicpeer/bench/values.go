package bench

import "slices"

// Values are figures by their names. The end of a name is its unit: _ns, _bytes,
// _percent, _per_second. A figure that there is none of is not in the map.
type Values map[string]float64

// Names of figures.
const (
	p50               = "p50_ns"
	p90               = "p90_ns"
	p99               = "p99_ns"
	p999              = "p99.9_ns"
	lost              = "lost_percent"
	messagesPerSecond = "messages_per_second"
	bytesPerSecond    = "bytes_per_second"
	opensPerSecond    = "opens_per_second"
	eachBytes         = "each_bytes"
)

// Throughputs are the figures of a flood of messages of one size.
func Throughputs(perSecond float64, size int, lostPercent float64) Values {
	return Values{messagesPerSecond: perSecond, bytesPerSecond: perSecond * float64(size), lost: lostPercent}
}

// Latencies are the figures of so many round trips, of which those that were
// answered took so many nanoseconds.
func Latencies(took []float64, asked int) Values {
	v := times(took)
	v[lost] = 100 * (1 - float64(len(took))/float64(asked))
	return v
}

// Openings are the figures of opening sessions: how many nanoseconds each took,
// alone, and how many opened in a second, many at once.
func Openings(took []float64, perSecond float64) Values {
	v := times(took)
	v[opensPerSecond] = perSecond
	return v
}

// times sums up durations.
func times(took []float64) Values {
	v := Values{}
	if len(took) == 0 {
		return v
	}
	sorted := slices.Sorted(slices.Values(took))
	for name, q := range map[string]float64{p50: .5, p90: .9, p99: .99, p999: .999} {
		v[name] = Percentile(sorted, q)
	}
	return v
}
