package draw

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var pageText string

// pageData is what the page's script reads.
type pageData struct {
	Keys    uint32       `json:"keys"`
	Low     uint64       `json:"from"`
	High    uint64       `json:"to"`
	Layers  []pageLayer  `json:"layers"`
	Events  []pageEvent  `json:"events"`
	Reads   []pageSample `json:"reads"`
	Dropped int          `json:"dropped"`
}

// pageSample are reads as [key, LSN].
type pageSample struct {
	Event int         `json:"e"`
	Reads [][2]uint64 `json:"r"`
}

type pageLayer struct {
	Layer
	Class string `json:"c"`
	From  uint64 `json:"f"` // numbers, not text
	To    uint64 `json:"t"`
}

// pageEvent is [seconds, what, layer, LSN].
type pageEvent struct{ event }

// MarshalJSON gives the event as an array, since there are many.
func (e pageEvent) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%.3f,%q,%d,%d]", e.at.Seconds(), e.what, e.layer, uint64(e.lsn)), nil
}

// Page writes an interactive page of all states.
func (r *Recorder) Page(w io.Writer, t Title) error {
	d := pageData{Dropped: r.dropped, Layers: []pageLayer{}, Events: []pageEvent{}, Reads: []pageSample{}}
	keys, from, to := r.bounds()
	d.Keys, d.Low, d.High = keys, uint64(from), uint64(to)
	for i := range r.layers {
		l := &r.layers[i]
		d.Layers = append(d.Layers, pageLayer{Layer: *l, Class: class(l), From: uint64(l.From), To: uint64(l.To)})
	}
	for _, e := range r.events {
		d.Events = append(d.Events, pageEvent{e})
	}
	for _, x := range r.reads {
		s := pageSample{Event: x.event}
		for _, y := range x.reads {
			s.Reads = append(s.Reads, [2]uint64{uint64(y.Key), uint64(y.LSN)})
		}
		d.Reads = append(d.Reads, s)
	}
	data, err := json.Marshal(&d)
	if err != nil {
		return err
	}
	// Neither a style nor a script in JSON is text of HTML; json.Marshal leaves no "<" in what it gives.
	text := strings.NewReplacer(
		"{{.Title}}", template.HTMLEscapeString(fmt.Sprintf("%s, %s, seed %d", t.Scenario, t.Strategy, t.Seed)),
		"{{.Style}}", Style,
		"{{.Data}}", string(data),
	).Replace(pageText)
	_, err = io.WriteString(w, text)
	return err
}
