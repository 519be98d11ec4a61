package draw

import (
	"bufio"
	"fmt"
	"html"
	"io"

	"github.com/stratapg/strata/page"
)

// The sheet of SVG, in pixels: three panels side by side.
const (
	panelWidth, panelHeight = 380, 300
	gap, headHeight         = 20, 56
	footHeight              = 34
	sheetWidth              = 3*panelWidth + 4*gap
	sheetHeight             = headHeight + panelHeight + footHeight
	minBar                  = 1.2 // what is thinner would not be seen
	sizeUnit                = 1 << 20

	// manyBranches would hide the layers: of more there are ticks at the edge instead of lines.
	manyBranches, tick = 24, 8
)

// Style is that of pictures and of the page, for light and for dark.
const Style = `:root{--paper:#fcfcfb;--ink:#1f2933;--dim:#616e7c;--frame:#cbd2d9;--l0:#f0b429;--flush:#f7c948;--retile:#2bb0ed;--deep:#1c7ab8;--fold:#27ab83;--image:#ab091e;--mark:#7b3fb8;--cut:#d64545}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e4e7eb;--dim:#9aa5b1;--frame:#3e4c59;--l0:#de911d;--flush:#b6780f;--retile:#1992d4;--deep:#5ab6f0;--fold:#3ebd93;--image:#ff6b7f;--mark:#b990f0;--cut:#f29b9b}}
.l0{fill:var(--l0);stroke:var(--l0)}.flush{fill:var(--flush);stroke:var(--l0)}.retile{fill:var(--retile);stroke:var(--deep)}.fold{fill:var(--fold);stroke:var(--fold)}
.delta{fill-opacity:.42;stroke-width:.6;vector-effect:non-scaling-stroke}.deep{fill:var(--deep)}.image{fill:var(--image)}.read{fill:var(--ink);fill-opacity:.55}
.branch{stroke:var(--mark);stroke-dasharray:5 3}.branch.tick{stroke-dasharray:none}.cutoff{stroke:var(--cut);stroke-dasharray:2 2;stroke-width:1.4}`

const sheetStyle = `text{font:11px system-ui,sans-serif;fill:var(--dim)}.t{font-size:15px;font-weight:600;fill:var(--ink)}.bg{fill:var(--paper)}.frame{fill:none;stroke:var(--frame)}`

// SVG writes a picture of the first, the middle and the last state.
func (r *Recorder) SVG(w io.Writer, t Title) error {
	b := bufio.NewWriter(w)
	title := html.EscapeString(fmt.Sprintf("%s, %s, seed %d", t.Scenario, t.Strategy, t.Seed))
	fmt.Fprintf(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", sheetWidth, sheetHeight, sheetWidth, sheetHeight)
	fmt.Fprintf(b, "<title>%s</title>\n<style>%s\n%s</style>\n<rect class=\"bg\" width=\"100%%\" height=\"100%%\"/>\n<text class=\"t\" x=\"%d\" y=\"22\">%s</text>\n", title, Style, sheetStyle, gap, title)
	legend(b)
	for i, n := range r.moments() {
		r.panel(b, gap+i*(panelWidth+gap), n)
	}
	fmt.Fprintln(b, "</svg>")
	return b.Flush()
}

// moments are the events after which pictures are made: the end of the first job that took layers away, half of all, all.
func (r *Recorder) moments() [3]int {
	n := len(r.events)
	first := 0
	for first < n && r.events[first].what != "gone" {
		first++
	}
	for first < n && r.events[first].what == "gone" {
		first++
	}
	return [3]int{min(first, n/2), n / 2, n}
}

func legend(b *bufio.Writer) {
	x := gap
	for _, k := range []struct {
		class, label string
		height       int
	}{
		{"delta l0", "L0", 10}, {"delta flush", "flushed in parts", 10}, {"delta retile", "retiled", 10}, {"delta retile deep", "deeper level", 10},
		{"delta fold", "folded", 10}, {"image", "image", 4},
	} {
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"14\" height=\"%d\"/><text x=\"%d\" y=\"41\">%s</text>\n", k.class, x, 37-k.height/2, k.height, x+19, k.label)
		x += 36 + 6*len(k.label)
	}
	for _, k := range []struct{ class, label string }{{"branch", "branch"}, {"cutoff", "cutoff"}} {
		fmt.Fprintf(b, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"37\" y2=\"37\"/><text x=\"%d\" y=\"41\">%s</text>\n", k.class, x, x+18, x+23, k.label)
		x += 40 + 6*len(k.label)
	}
	fmt.Fprintf(b, "<circle class=\"read\" cx=\"%d\" cy=\"37\" r=\"2\"/><text x=\"%d\" y=\"41\">read</text>\n", x+4, x+12)
	fmt.Fprintf(b, "<text x=\"%d\" y=\"41\" text-anchor=\"end\">keys to the right, LSNs upward</text>\n", sheetWidth-gap)
}

// panel draws the state after n events.
func (r *Recorder) panel(b *bufio.Writer, left, n int) {
	keys, from, to := r.bounds()
	x := func(k uint32) float64 { return float64(left) + float64(float64(k)*panelWidth)/float64(keys) }
	y := func(l page.LSN) float64 {
		return headHeight + panelHeight - float64(float64(l-from)*panelHeight)/float64(to-from)
	}
	s := r.At(n)
	bytes := int64(0)
	for _, pass := range []bool{false, true} { // images on top
		for _, i := range s.Live {
			l := &r.layers[i]
			if l.Image != pass {
				continue
			}
			bytes += l.Size
			w, h := max(x(l.Hi)-x(l.Lo), minBar), max(y(l.From)-y(l.To), minBar)
			fmt.Fprintf(b, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", class(l), x(l.Lo), y(l.From)-h, w, h)
		}
	}
	kind, width := "branch", panelWidth
	if len(s.Branches) > manyBranches {
		kind, width = "branch tick", tick
	}
	for _, l := range s.Branches {
		fmt.Fprintf(b, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", kind, left, left+width, y(l), y(l))
	}
	if s.Cutoff > from {
		fmt.Fprintf(b, "<line class=\"cutoff\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", left, left+panelWidth, y(s.Cutoff), y(s.Cutoff))
	}
	for _, d := range s.Reads {
		fmt.Fprintf(b, "<circle class=\"read\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>\n", x(d.Key), y(min(d.LSN, to)))
	}
	at := 0.0
	if n > 0 {
		at = r.events[n-1].at.Seconds()
	}
	fmt.Fprintf(b, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", left, headHeight, panelWidth, panelHeight)
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">event %d of %d, %.1f s: %d layers, %d MiB</text>\n", left, headHeight+panelHeight+16, n, len(r.events), at, len(s.Live), bytes/sizeUnit)
}

// class is that of a layer's shape.
func class(l *Layer) string {
	switch {
	case l.Image:
		return "image"
	case l.L0:
		return "delta l0"
	case l.Level > 1 && l.Kind == "retile":
		return "delta retile deep"
	}
	return "delta " + l.Kind
}
