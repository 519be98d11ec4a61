package draw

import (
	"bufio"
	"fmt"
	"html"
	"io"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Change is a picture of a timeline's layers before and after they were made over or collected, one above the other on the same
// scale. What goes is pale in the first, what has come has a thick border in the second.
type Change struct {
	Title         string
	Before, After []layer.Desc
	// Planned are outlines of what is still to come, drawn with what comes after.
	Planned []Outline
	Marks   []Mark
}

// Outline is a labelled rectangle.
type Outline struct {
	Keys  page.Range
	LSNs  page.LSNRange
	Label string
}

const changeStyle = `<style>.gone{fill-opacity:.12;stroke-opacity:.45;stroke-dasharray:3 2} .new{stroke-width:2.4} .image.new{stroke-width:4}
.planned{fill:none;stroke:#0b7a43;stroke-width:2;stroke-dasharray:6 3}</style>`

// SVG writes the picture.
func (c Change) SVG(w io.Writer) error {
	b := bufio.NewWriter(w)
	all := append(append([]layer.Desc(nil), c.Before...), c.After...)
	for _, o := range c.Planned {
		all = append(all, layer.Desc{Keys: o.Keys, LSNs: o.LSNs})
	}
	s := newScale(all, c.Marks)
	before, after := names(c.Before), names(c.After)
	fmt.Fprintf(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n%s\n%s\n", width, 2*height, style, changeStyle)
	fmt.Fprintf(b, "<title>%s</title>\n", html.EscapeString(c.Title))
	heading := func(what string) {
		fmt.Fprintf(b, "<text class=\"title\" x=\"%d\" y=\"24\">%s: %s</text>\n", left, html.EscapeString(c.Title), what)
	}
	heading("before")
	panel(b, s, c.Before, c.Marks, unless(after, " gone"))
	fmt.Fprintf(b, "<g transform=\"translate(0 %d)\">\n", height)
	heading("after")
	panel(b, s, c.After, c.Marks, unless(before, " new"))
	for _, o := range c.Planned {
		x, y := s.x(o.Keys.Start), s.y(o.LSNs.End)
		fmt.Fprintf(b, "<rect class=\"planned\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s</title></rect>\n",
			x, y, max(s.x(o.Keys.End)-x, minBar), max(s.y(o.LSNs.Start)-y, minBar), html.EscapeString(o.Label))
	}
	fmt.Fprintln(b, "</g>\n</svg>")
	return b.Flush()
}

// names are those of layers.
func names(layers []layer.Desc) map[string]bool {
	out := make(map[string]bool, len(layers))
	for i := range layers {
		out[layers[i].Name()] = true
	}
	return out
}

// unless gives a class to layers that are not among some.
func unless(some map[string]bool, class string) func(layer.Desc) string {
	return func(d layer.Desc) string {
		if some[d.Name()] {
			return ""
		}
		return class
	}
}
