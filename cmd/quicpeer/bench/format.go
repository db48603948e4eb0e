package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// significant formats a figure with three digits that mean something, without an
// exponent.
func significant(v float64) string {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	// Rounded first: 9.999 has one digit more before the point than it seems.
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', max(digits, 0), 64)
}

// scaled formats a figure with the largest of the units, each so many times
// larger than the one before, that leaves it at 1 or more.
func scaled(v, step float64, units ...string) string {
	i := 0
	// What would be rounded up to the next unit is in that unit.
	for i < len(units)-1 && math.Abs(v) >= step*0.9995 {
		v /= step
		i++
	}
	return strings.TrimSpace(significant(v) + " " + units[i])
}

func formatRate(v float64) string   { return scaled(v, 1000, "", "k", "M", "G") }
func formatTime(ns float64) string  { return scaled(ns, 1000, "ns", "µs", "ms", "s") }
func formatBytes(v float64) string  { return scaled(v, 1000, "B", "KB", "MB", "GB") }
func formatMBps(v float64) string   { return significant(v / 1e6) }
func formatRatio(v float64) string  { return significant(v) + "×" }
func formatSpread(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + " %" }

// formatLost shows that something was lost if anything was.
func formatLost(v float64) string {
	if v > 0 && v < 0.01 {
		return "<0.01 %"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + " %"
}

// formatSize is for sizes of messages, which people give exactly.
func formatSize(n int) string { return fmt.Sprintf("%d B", n) }

// wrap breaks text into lines that fit a width, if its words do. Lines behind the
// first are indented; line ends stay.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		column := 0
		if i > 0 {
			b.WriteString("\n" + indent)
			column = len(indent)
		}
		for j, word := range strings.Fields(line) {
			n := len([]rune(word))
			switch {
			case j > 0 && column+1+n > width:
				b.WriteString("\n" + indent)
				column = len(indent)
			case j > 0:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += n
		}
	}
	return b.String()
}
