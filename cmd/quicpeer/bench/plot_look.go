package bench

import (
	"image/color"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// look is how a subject is drawn, in both panels and in the legend.
type look struct {
	line  draw.LineStyle
	glyph draw.GlyphStyle
}

// Colors that people with any common color vision tell apart (Okabe and Ito,
// "Color Universal Design", 2008). Dashes and shapes tell the same once more.
var (
	vermilion = color.NRGBA{R: 213, G: 94, A: 255}
	blue      = color.NRGBA{G: 114, B: 178, A: 255}
	black     = color.NRGBA{A: 255}
	green     = color.NRGBA{G: 158, B: 115, A: 255}
	purple    = color.NRGBA{R: 204, G: 121, B: 167, A: 255}
	orange    = color.NRGBA{R: 230, G: 159, A: 255}
	sky       = color.NRGBA{R: 86, G: 180, B: 233, A: 255}
)

// known looks by the subjects' places in the order in which they are shown.
var looks = []look{
	newLook(vermilion, 2.6, draw.CircleGlyph{}),
	newLook(vermilion, 1.2, draw.RingGlyph{}, 4, 2),
	newLook(blue, 1.6, draw.SquareGlyph{}, 7, 3),
	newLook(sky, 1.6, draw.RingGlyph{}, 2, 3), // of the stream: not plotted
	newLook(black, 1.6, draw.TriangleGlyph{}, 2, 2.5),
	newLook(green, 1.6, draw.PyramidGlyph{}, 9, 3, 2, 3),
	newLook(purple, 1.6, draw.BoxGlyph{}),
	newLook(orange, 1.6, draw.CrossGlyph{}, 5, 2),
	newLook(sky, 1.6, draw.RingGlyph{}, 3, 2), // of all others
}

func newLook(c color.Color, width vg.Length, shape draw.GlyphDrawer, dashes ...vg.Length) look {
	return look{
		draw.LineStyle{Color: c, Width: width, Dashes: dashes},
		draw.GlyphStyle{Color: c, Radius: width + 1.6, Shape: shape},
	}
}

func lookOf(name string) look { return looks[place(name)] }

// drawn returns series so that the library's own comes last, on top of others.
func drawn(series []*Series) []*Series {
	sorted := slices.Clone(series)
	slices.SortStableFunc(sorted, func(a, b *Series) int { return compareNames(b.Subject, a.Subject) })
	return sorted
}
