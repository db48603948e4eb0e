package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A sample is what a process holds at one time, and its totals so far.
type sample struct {
	At         time.Duration
	Goroutines int
	Files      int
	Heap       int64 // bytes in use after a collection, stacks included
	RSS        int64 // bytes; 0 where the system does not tell
	Sessions   int
	Links      int

	Opened, Accepted, Failed, Closed, Torn, Sent, Received, Lost, Dropped, Signals uint64
}

// sample measures the process.
func (l *load) sample(at time.Duration) sample {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	links := l.e.Links()
	for _, wrong := range linksWrong(links) {
		l.complain(wrong)
	}
	c := &l.counts
	return sample{
		At: at, Goroutines: runtime.NumGoroutine(), Files: openFiles(), Heap: int64(m.HeapAlloc + m.StackInuse), RSS: residentSize(),
		Sessions: len(l.e.Sessions()), Links: len(links),
		Opened: c.Opened.Load(), Accepted: c.Accepted.Load(), Failed: c.Failed.Load(), Closed: c.Closed.Load(), Torn: c.Torn.Load(),
		Sent: c.Sent.Load(), Received: c.Received.Load(), Lost: c.Lost.Load(), Dropped: c.Dropped.Load(), Signals: c.Signals.Load(),
	}
}

// residentSize returns the memory of the process that is in RAM.
func residentSize() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// A course is how one figure went in the samples.
type course struct {
	what        string
	unit        int64 // it is printed in
	first, last int64 // medians of the first and the last tenth
	trend       int64 // by linear regression: how much it grew from beginning to end
	least, most int64
	allowed     int64 // how much it may grow
}

// courses follows the figures that must be flat under a steady load. What they
// may grow is what the load itself makes them swing, and for memory the caches
// that fill late.
func courses(samples []sample) []course {
	const mib = 1 << 20
	return []course{
		follow(samples, "goroutines", 1, 0.25, 20, func(s sample) int64 { return int64(s.Goroutines) }),
		follow(samples, "files", 1, 0, 0, func(s sample) int64 { return int64(s.Files) }),
		follow(samples, "heap, KiB", 1<<10, 0.25, 2*mib, func(s sample) int64 { return s.Heap }),
		follow(samples, "resident, KiB", 1<<10, 0.25, 16*mib, func(s sample) int64 { return s.RSS }),
		follow(samples, "sessions", 1, 0.25, 20, func(s sample) int64 { return int64(s.Sessions) }),
		follow(samples, "links", 1, 0.25, 4, func(s sample) int64 { return int64(s.Links) }),
	}
}

func follow(samples []sample, what string, unit int64, part float64, more int64, of func(sample) int64) course {
	values := make([]int64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	c := course{what: what, unit: unit, least: slices.Min(values), most: slices.Max(values)}
	tenth := max(1, len(values)/10)
	c.first, c.last = median(values[:tenth]), median(values[len(values)-tenth:])
	c.trend = trend(values)
	c.allowed = int64(part*float64(c.first)) + more
	return c
}

// flat reports whether the figure has not grown, by the medians at both ends
// and by the trend of all.
func (c course) flat() bool { return c.last-c.first <= c.allowed && c.trend <= c.allowed }

func (c course) String() string {
	verdict := "flat"
	if !c.flat() {
		verdict = "GROWN"
	}
	return fmt.Sprintf("%-14s%10d%10d%10d%+10d%10d%10d  %s", c.what, c.least/c.unit, c.most/c.unit, c.first/c.unit, (c.last-c.first)/c.unit, c.trend/c.unit, c.allowed/c.unit, verdict)
}

func median(values []int64) int64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}

// trend returns how much values grow from the first to the last, by the line
// that fits them best.
func trend(values []int64) int64 {
	n := float64(len(values))
	if n < 2 {
		return 0
	}
	var sx, sy, sxx, sxy float64
	for i, v := range values {
		x, y := float64(i), float64(v)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return int64((n*sxy - sx*sy) / (n*sxx - sx*sx) * (n - 1))
}
