// Package draw makes an SVG picture of a timeline's layers: keys run to the right, LSNs upward, one
// rectangle per delta layer and one line per image layer. Keys are drawn by rank, not by value: every
// distinct key bound gets one step, since the key space is far too sparse to be drawn to scale.
//
// The output depends on the input alone: layers are sorted, numbers have a fixed format.
package draw

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"slices"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Picture is what to draw.
type Picture struct {
	Title  string
	Layers []layer.Desc
	// Marks are LSNs worth a line of their own (branch points, LSNs read), with a label each.
	Marks []Mark
}

// Mark is a labelled LSN.
type Mark struct {
	LSN   page.LSN
	Label string
}

// The sheet, in pixels.
const (
	width, height           = 960, 560
	left, right, top, below = 110, 24, 56, 64
	minBar                  = 1.5 // what is thinner would not be seen
)

const style = `<style>
text{font:12px system-ui,sans-serif;fill:#1f2933} .title{font-size:16px;font-weight:600} .axis{fill:#52606d;font-size:11px}
.l0{fill:#f0b429;stroke:#8d5b00} .delta{fill:#2bb0ed;stroke:#035388} .image{stroke:#ab091e;stroke-width:3}
.l0,.delta{fill-opacity:.45;stroke-width:.6} .mark{stroke:#52606d;stroke-dasharray:4 3} .frame{fill:#f5f7fa;stroke:#9aa5b1}
</style>`

// SVG writes the picture.
func (p Picture) SVG(w io.Writer) error {
	b := bufio.NewWriter(w)
	s := newScale(p.Layers, p.Marks)
	fmt.Fprintf(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n%s\n", width, height, style)
	fmt.Fprintf(b, "<title>%s</title>\n<text class=\"title\" x=\"%d\" y=\"24\">%s</text>\n", html.EscapeString(p.Title), left, html.EscapeString(p.Title))
	panel(b, s, p.Layers, p.Marks, func(layer.Desc) string { return "" })
	fmt.Fprintln(b, "</svg>")
	return b.Flush()
}

// panel draws layers; more gives classes beside the one of a layer's kind.
func panel(b io.Writer, s scale, layers []layer.Desc, marks []Mark, more func(layer.Desc) string) {
	fmt.Fprintf(b, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", left, top, width-left-right, height-top-below)
	legend(b, layers)
	for _, d := range sorted(layers) {
		drawLayer(b, s, d, more(d))
	}
	for _, m := range marks {
		y := s.y(m.LSN)
		fmt.Fprintf(b, "<line class=\"mark\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", left, width-right, y, y)
		fmt.Fprintf(b, "<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", width-right-4, y-3, html.EscapeString(m.Label))
	}
	axes(b, s)
}

// sorted puts large deltas first, so that small ones and images are drawn on top of them.
func sorted(layers []layer.Desc) []layer.Desc {
	out := slices.Clone(layers)
	rank := func(d layer.Desc) int {
		switch {
		case d.Image:
			return 2
		case d.IsL0():
			return 0
		}
		return 1
	}
	slices.SortFunc(out, func(a, b layer.Desc) int {
		if c := rank(a) - rank(b); c != 0 {
			return c
		}
		if c := a.Keys.Start.Compare(b.Keys.Start); c != 0 {
			return c
		}
		if a.LSNs.Start != b.LSNs.Start {
			if a.LSNs.Start < b.LSNs.Start {
				return -1
			}
			return 1
		}
		return a.Keys.End.Compare(b.Keys.End)
	})
	return out
}

func drawLayer(w io.Writer, s scale, d layer.Desc, more string) {
	x1, x2 := s.x(d.Keys.Start), s.x(d.Keys.End)
	about := html.EscapeString(fmt.Sprintf("%s, %d bytes", d.Name(), d.Size))
	if d.Image {
		y := s.y(d.LSNs.Start)
		fmt.Fprintf(w, "<line class=\"image%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"><title>%s</title></line>\n", more, x1, x2, y, y, about)
		return
	}
	class := "delta"
	if d.IsL0() {
		class = "l0"
	}
	y1, y2 := s.y(d.LSNs.End), s.y(d.LSNs.Start)
	fmt.Fprintf(w, "<rect class=\"%s%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s</title></rect>\n",
		class, more, x1, y1, max(x2-x1, minBar), max(y2-y1, minBar), about)
}

func legend(w io.Writer, layers []layer.Desc) {
	var l0, deltas, images int
	for _, d := range layers {
		switch {
		case d.Image:
			images++
		case d.IsL0():
			l0++
		default:
			deltas++
		}
	}
	x := left
	entry := func(class, text string, line bool) {
		if line {
			fmt.Fprintf(w, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"41\" y2=\"41\"/>\n", class, x, x+14)
		} else {
			fmt.Fprintf(w, "<rect class=\"%s\" x=\"%d\" y=\"35\" width=\"14\" height=\"12\"/>\n", class, x)
		}
		fmt.Fprintf(w, "<text class=\"axis\" x=\"%d\" y=\"45\">%s</text>\n", x+20, text)
		x += 130
	}
	entry("l0", fmt.Sprintf("L0 delta (%d)", l0), false)
	entry("delta", fmt.Sprintf("delta (%d)", deltas), false)
	entry("image", fmt.Sprintf("image (%d)", images), true)
}

func axes(w io.Writer, s scale) {
	const ticks = 5
	for i := range ticks + 1 {
		lsn := s.lo + page.LSN(uint64(s.hi-s.lo)/ticks*uint64(i))
		y := s.y(lsn)
		fmt.Fprintf(w, "<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", left-6, y+4, lsn)
	}
	fmt.Fprintf(w, "<text class=\"axis\" x=\"%d\" y=\"%d\">keys in order, %d distinct bounds →</text>\n", left, height-below+20, len(s.keys))
	fmt.Fprintf(w, "<text class=\"axis\" x=\"12\" y=\"%d\">LSN ↑</text>\n", top-8)
}

// scale maps keys by rank and LSNs linearly onto the sheet.
type scale struct {
	keys   []page.Key
	lo, hi page.LSN
}

func newScale(layers []layer.Desc, marks []Mark) scale {
	s := scale{lo: page.MaxLSN}
	for _, d := range layers {
		s.keys = append(s.keys, d.Keys.Start, d.Keys.End)
		s.lo, s.hi = min(s.lo, d.LSNs.Start), max(s.hi, d.LSNs.End)
	}
	for _, m := range marks {
		s.lo, s.hi = min(s.lo, m.LSN), max(s.hi, m.LSN)
	}
	slices.SortFunc(s.keys, page.Key.Compare)
	s.keys = slices.Compact(s.keys)
	if s.lo >= s.hi {
		s.lo, s.hi = min(s.lo, s.hi), s.hi+1
	}
	return s
}

func (s scale) x(k page.Key) float64 {
	i, _ := slices.BinarySearchFunc(s.keys, k, page.Key.Compare)
	return left + float64(width-left-right)*float64(i)/float64(max(len(s.keys)-1, 1))
}

func (s scale) y(l page.LSN) float64 {
	share := float64(l-s.lo) / float64(s.hi-s.lo)
	return float64(height-below) - share*float64(height-top-below)
}
