// Package plot draws charts as SVG, for what benchmarks measured. The same charts give the same bytes.
package plot

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Point is one of a line.
type Point struct{ X, Y float64 }

// Line is one of a chart.
type Line struct {
	Name   string
	Points []Point
}

// Tick is a place on an axis that is written there.
type Tick struct {
	At   float64
	Text string
}

// Chart is lines over two axes that begin at 0.
type Chart struct {
	Title, X, Y string
	Lines       []Line
	// Ticks are those of the axis X; without them some are chosen.
	Ticks []Tick
}

// Sizes of a chart and its margins, in pixels; bars' too.
const (
	width, height            = 760, 320
	left, right, top, bottom = 80, 150, 40, 50
	barHeight                = 22
	nameWidth                = 330
)

// colours of lines are told apart by the colour-blind as well.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// SVG draws charts below each other.
func SVG(charts ...Chart) []byte {
	var b bytes.Buffer
	begin(&b, width, height*len(charts))
	for i := range charts {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*height)
		charts[i].draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func begin(b *bytes.Buffer, w, h int) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", w, h)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
}

// scale maps values from 0 to most onto pixels.
type scale struct{ most, from, to float64 }

func (s scale) at(v float64) string { return num(s.from + (s.to-s.from)*v/s.most) }

func num(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

func (c *Chart) draw(b *bytes.Buffer) {
	x, y := scale{1e-9, left, width - right}, scale{1e-9, height - bottom, top}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			x.most, y.most = max(x.most, p.X), max(y.most, p.Y)
		}
	}
	ticks := c.Ticks
	if ticks == nil {
		ticks = ticksTo(x.most)
	}
	for _, t := range ticks {
		x.most = max(x.most, t.At)
	}
	up := ticksTo(y.most)
	y.most = max(y.most, up[len(up)-1].At)
	text(b, left, 22, "start", c.Title, ` font-weight="bold"`)
	for _, t := range up {
		fmt.Fprintf(b, `<path d="M%d %sH%d" stroke="#ddd"/>`+"\n", left, y.at(t.At), width-right)
		fmt.Fprintf(b, `<text x="%d" y="%s" dy="4" text-anchor="end">%s</text>`+"\n", left-6, y.at(t.At), escape(t.Text))
	}
	for _, t := range ticks {
		fmt.Fprintf(b, `<path d="M%s %dV%d" stroke="#ddd"/>`+"\n", x.at(t.At), top, height-bottom)
		fmt.Fprintf(b, `<text x="%s" y="%d" text-anchor="middle">%s</text>`+"\n", x.at(t.At), height-bottom+16, escape(t.Text))
	}
	text(b, (left+width-right)/2, height-bottom+36, "middle", c.X, "")
	fmt.Fprintf(b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, escape(c.Y))
	for i, l := range c.Lines {
		colour := colours[i%len(colours)]
		var d strings.Builder
		for n, p := range l.Points {
			d.WriteString(map[bool]string{true: "M", false: "L"}[n == 0] + x.at(p.X) + " " + y.at(p.Y))
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", d.String(), colour)
		fmt.Fprintf(b, `<path d="M%d %dh20" stroke="%s" stroke-width="3"/>`+"\n", width-right+12, top+8+18*i, colour)
		text(b, width-right+38, top+12+18*i, "start", l.Name, "")
	}
}

func text(b *bytes.Buffer, x, y int, anchor, s, more string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, escape(s))
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes all
	return b.String()
}

// ticksTo gives about five round values from 0 on, of which the last is not below most.
func ticksTo(most float64) (out []Tick) {
	unit := math.Pow(10, math.Floor(math.Log10(most/4)))
	step := unit
	for _, f := range []float64{1, 2, 5, 10} {
		if step = unit * f; step*4 >= most {
			break
		}
	}
	for v := 0.0; ; v += step {
		out = append(out, Tick{v, Short(v)})
		if v >= most {
			return out
		}
	}
}

// Short writes a value with three digits, of thousands four, and a letter where there are more of them.
func Short(v float64) string {
	if v >= 999.5 && v < 9999.5 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	unit := cmp.Or(map[bool]string{true: "M"}[v >= 1e6], map[bool]string{true: "k"}[v >= 9999.5])
	switch unit {
	case "M":
		v /= 1e6
	case "k":
		v /= 1e3
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + unit
}

// Bar is a ratio with the range in which it lies.
type Bar struct {
	Name          string
	Low, At, High float64
	// Better says what colour it has: 1 is better, -1 worse, 0 neither.
	Better int
}

// Bars draws ratios about 1, each with its range.
func Bars(title string, bars []Bar) []byte {
	least, most := 0.5, 2.0
	for _, r := range bars {
		least, most = min(least, r.Low), max(most, r.High)
	}
	least, most = max(least, 1.0/20), min(most, 20) // what lies beyond is drawn at the edge
	const inner = width - nameWidth - 40
	at := func(v float64) string {
		v = min(max(v, least), most)
		return num(nameWidth + inner*math.Log(v/least)/math.Log(most/least))
	}
	var b bytes.Buffer
	h := top + barHeight*len(bars) + bottom
	begin(&b, width, h)
	text(&b, 12, 22, "start", title, ` font-weight="bold"`)
	for _, v := range []float64{0.1, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 10} {
		if v < least || v > most {
			continue
		}
		stroke := map[bool]string{true: "#555", false: "#ddd"}[v == 1]
		fmt.Fprintf(&b, `<path d="M%s %dV%d" stroke="%s"/>`+"\n", at(v), top, h-bottom, stroke)
		fmt.Fprintf(&b, `<text x="%s" y="%d" text-anchor="middle">%s</text>`+"\n", at(v), h-bottom+16, Short(v))
	}
	for i, r := range bars {
		y := top + barHeight*i + barHeight/2
		colour := map[int]string{1: "#009e73", 0: "#777", -1: "#d55e00"}[r.Better]
		text(&b, nameWidth-10, y+4, "end", r.Name, "")
		fmt.Fprintf(&b, `<path d="M%s %dH%s" stroke="%s" stroke-width="6" stroke-opacity="0.4"/>`+"\n", at(r.Low), y, at(r.High), colour)
		fmt.Fprintf(&b, `<circle cx="%s" cy="%d" r="4" fill="%s"/>`+"\n", at(r.At), y, colour)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
