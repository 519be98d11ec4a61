package sizemodel

import (
	"bytes"
	"fmt"

	"github.com/stratapg/strata/page"
)

// Geometry of a drawing, in pixels.
const (
	svgWidth, svgHeight = 500, 300
	firstRow, rowStep   = 120, 40
	margin              = 10
	leaseDash           = 20
)

// SVG draws a model: a row for each timeline, WAL that is kept as thick lines, snapshots as circles.
func (m *Model) SVG(r Result) []byte {
	first, last, rows := page.MaxLSN, page.LSN(0), 0
	for _, p := range m.Points {
		first, last, rows = min(first, p.LSN), max(last, p.LSN), max(rows, p.Timeline+1)
	}
	scale := uint64(1) // bytes a pixel
	for len(m.Points) > 0 && uint64(last-first)/scale > svgWidth-2*margin {
		scale *= 2
	}
	x := func(lsn page.LSN) uint64 { return margin + uint64(lsn-first)/scale }
	y := func(p *Point) int { return firstRow + p.Timeline*rowStep }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", svgWidth, max(svgHeight, firstRow+rows*rowStep))
	for i := range m.Points {
		p := &m.Points[i]
		m.line(&b, p, r.Segments[i], i, x, y)
	}
	for i := range m.Points {
		if p := &m.Points[i]; r.Segments[i].Method == Snapshot {
			fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="5" fill="red"><title>snapshot of %d bytes at %s</title></circle>`+"\n", x(p.LSN), y(p), p.Bytes, p.LSN)
		}
	}
	for i, legend := range []string{fmt.Sprintf("%d bytes in all; a pixel is %d bytes of WAL", r.Bytes, scale),
		"red circle: snapshot", "thick line: WAL that is kept; thin: none of it need be", "blue: lease"} {
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", margin, 20+i*16, legend)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// line draws how the history comes to a point.
func (m *Model) line(b *bytes.Buffer, p *Point, c Choice, i int, x func(page.LSN) uint64, y func(*Point) int) {
	if p.Parent < 0 {
		fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="gray"/>`+"\n", max(x(p.LSN), margin)-margin, y(p), x(p.LSN), y(p))
		return
	}
	from := &m.Points[p.Parent]
	wal := uint64(p.LSN - from.LSN)
	width, color := 1, "gray"
	if c.Method == WAL {
		width, color = 3, "black"
		if p.Needed && wal > 0 {
			width = 6
		}
	}
	x1, y1, x2, y2 := x(from.LSN), y(from), x(p.LSN), y(p)
	if p.Kind == LeaseStart || p.Kind == LeaseEnd {
		color, y2 = "blue", y1+leaseDash
	}
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="%d"><title>%d bytes of WAL (seg %d)</title></line>`+"\n",
		x1, y1, x2, y2, color, width, wal, i)
}
