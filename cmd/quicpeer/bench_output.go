package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench"
)

// benchProgress shows how far a bench is, if anybody looks. It is used by one
// goroutine.
type benchProgress struct {
	w   io.Writer // nil: nobody does
	bar *progressbar.ProgressBar
}

func newBenchProgress(w io.Writer) *benchProgress {
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		return &benchProgress{w: w}
	}
	return &benchProgress{}
}

// say tells what is done before the steps are known.
func (p *benchProgress) say(what string) {
	if p.w != nil {
		fmt.Fprint(p.w, erase+what)
	}
}

// barWidth leaves room for what is measured next.
const barWidth = 24

// step tells how many steps of all are done, and what comes next.
func (p *benchProgress) step(done, all int, next string) {
	if p.w == nil {
		return
	}
	if p.bar == nil {
		fmt.Fprint(p.w, erase)
		p.bar = progressbar.NewOptions(all,
			progressbar.OptionSetWriter(p.w),
			progressbar.OptionSetWidth(barWidth),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(),
		)
	}
	p.bar.Describe(fmt.Sprintf("%-34.34s", next))
	_ = p.bar.Set(done)
}

// end leaves nothing of it on the screen.
func (p *benchProgress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	p.say("")
}

// writeReport writes the result to where the flags say.
func writeReport(std stdio, f benchFlags, report *bench.Report) error {
	write := report.WriteTable
	if f.json == "-" {
		write = report.WriteJSON
	}
	if err := write(std.out); err != nil {
		return err
	}
	if f.json != "" && f.json != "-" {
		if err := writeFile(f.json, report.WriteJSON); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	for _, name := range f.plots {
		if err := writeFile(name, func(w io.Writer) error { return report.WritePlot(w, name) }); err != nil {
			return fmt.Errorf("--plot: %w", err)
		}
	}
	return nil
}

// writeFile writes a file once all that goes into it is there.
func writeFile(name string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o666)
}
