package bench

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Measures of a plot. A panel is wide enough for the labels of eight sizes.
const (
	panelWidth  = 480 * vg.Length(1)
	plotHeight  = 430 * vg.Length(1)
	margin      = 16 * vg.Length(1)
	headHeight  = 30 * vg.Length(1)
	titleHeight = 26 * vg.Length(1)
	labelHeight = 22 * vg.Length(1)
	legendRow   = 22 * vg.Length(1)
	swatchWidth = 34 * vg.Length(1)
	swatchGap   = 6 * vg.Length(1)
	legendGap   = 22 * vg.Length(1)
	pngDPI      = 160 // readable on screens of high resolution
)

// CheckPlotFile finds names of files that WritePlot does not know the format of.
func CheckPlotFile(name string) error {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".svg", ".png":
		return nil
	}
	return fmt.Errorf("%q ends neither in .svg nor in .png", name)
}

// WritePlot draws throughput and latency side by side, as SVG if that is how name
// ends, else as PNG.
func (r *Report) WritePlot(w io.Writer, name string) error {
	if err := CheckPlotFile(name); err != nil {
		return err
	}
	var panels []*panel
	for _, draw := range []func() (*panel, error){r.plotThroughput, r.plotLatency} {
		p, err := draw()
		if err != nil {
			return err
		}
		if p != nil {
			panels = append(panels, p)
		}
	}
	if len(panels) == 0 {
		return errors.New("nothing was measured that a plot shows: throughput or latency")
	}
	width := panelWidth * vg.Length(len(panels))
	var canvas interface {
		vg.CanvasSizer
		io.WriterTo
	}
	if strings.ToLower(filepath.Ext(name)) == ".svg" {
		canvas = vgsvg.New(width, plotHeight)
	} else {
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, plotHeight), vgimg.UseDPI(pngDPI))}
	}
	r.draw(draw.New(canvas), panels)
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	// The font is not on every machine that shows an SVG; these have its metrics.
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")))
	return err
}

// draw draws the panels between a line about where it was measured and the legend.
func (r *Report) draw(c draw.Canvas, panels []*panel) {
	c.FillPolygon(color.White, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
	small := textStyle(9, gray)
	small.YAlign = draw.YCenter
	e := r.Environment
	where := fmt.Sprintf("%d CPUs, %s/%s, %s, quic-go %s; medians of %s", e.CPUs, e.OS, e.Arch, e.Go, e.QUICGo, plural(r.Settings.Rounds, "round"))
	if r.Settings.Quick {
		where += "; A QUICK RUN, no more than a hint"
	}
	c.FillText(small, vg.Point{X: c.Min.X + margin, Y: c.Max.Y - headHeight/2}, where)

	entry := textStyle(11, color.Black)
	entry.YAlign = draw.YCenter
	rows := legendRows(r.plotted(), entry, c.Max.X-c.Min.X-2*margin)
	bottom := legendRow*vg.Length(len(rows)) + margin/2
	for i, row := range rows {
		y := c.Min.Y + bottom - legendRow*(vg.Length(i)+0.5)
		x := c.Center().X - row.width/2
		for _, s := range row.subjects {
			l := lookOf(s.Name)
			c.StrokeLine2(l.line, x, y, x+swatchWidth, y)
			c.DrawGlyph(l.glyph, vg.Point{X: x + swatchWidth/2, Y: y})
			c.FillText(entry, vg.Point{X: x + swatchWidth + swatchGap, Y: y}, s.Label)
			x += swatchWidth + swatchGap + entry.Width(s.Label) + legendGap
		}
	}
	tiles := draw.Tiles{
		Rows: 1, Cols: len(panels), PadX: 2 * margin,
		PadLeft: margin, PadRight: margin, PadTop: headHeight, PadBottom: bottom + margin/2,
	}
	title, label := textStyle(13, color.Black), textStyle(11, color.Black)
	for _, style := range []*text.Style{&title, &label} {
		style.XAlign, style.YAlign = draw.XCenter, draw.YCenter
	}
	upright := label
	upright.Rotation = math.Pi / 2
	for i, p := range panels {
		tile := tiles.At(c, i, 0)
		inner := draw.Crop(tile, labelHeight, 0, labelHeight, -titleHeight)
		data := p.DataCanvas(inner)
		c.FillText(title, vg.Point{X: data.Center().X, Y: tile.Max.Y - titleHeight/2}, p.title)
		c.FillText(label, vg.Point{X: data.Center().X, Y: tile.Min.Y + labelHeight/2}, p.x)
		c.FillText(upright, vg.Point{X: tile.Min.X + labelHeight/2, Y: data.Center().Y}, p.y)
		p.Draw(inner)
	}
}

// plotted are the subjects that a panel shows.
func (r *Report) plotted() []SubjectInfo {
	var shown []SubjectInfo
	for _, s := range r.Subjects {
		if s.Name == quicGoStreamName {
			continue // another service: reliable
		}
		for _, series := range r.Series {
			if series.Subject == s.Name && (series.Measure == Throughput || series.Measure == Latency) {
				shown = append(shown, s)
				break
			}
		}
	}
	return shown
}

type row struct {
	subjects []SubjectInfo
	width    vg.Length
}

// legendRows breaks the legend into lines of a width.
func legendRows(subjects []SubjectInfo, style text.Style, width vg.Length) []row {
	var rows []row
	for _, s := range subjects {
		w := swatchWidth + swatchGap + style.Width(s.Label)
		if n := len(rows); n > 0 && rows[n-1].width+legendGap+w <= width {
			rows[n-1].subjects = append(rows[n-1].subjects, s)
			rows[n-1].width += legendGap + w
			continue
		}
		rows = append(rows, row{[]SubjectInfo{s}, w})
	}
	return rows
}

var (
	gray  = color.Gray{Y: 96}
	faint = color.Gray{Y: 222}
)

func textStyle(size vg.Length, c color.Color) text.Style {
	s := plot.New().X.Label.TextStyle // has what handles text
	s.Font.Variant = "Sans"
	s.Font.Size = size
	s.Color = c
	s.XAlign = draw.XLeft
	return s
}

// panel is a plot with texts that are drawn around it: the plot would make room
// for them as if its axes were linear.
type panel struct {
	*plot.Plot
	title, x, y string
}

// newPanel is an empty plot in the style of all.
func newPanel(title, x, y string) *panel {
	p := &panel{plot.New(), title, x, y}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Tick.Label.Font.Variant, a.Tick.Label.Font.Size = "Sans", 10
		a.LineStyle.Color, a.Tick.LineStyle.Color = gray, gray
		a.Padding = 0
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = faint, faint
	p.Add(grid)
	return p
}
