package suite

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"

	"github.com/stratapg/strata/simulator/draw"
	"github.com/stratapg/strata/simulator/stats"
)

//go:embed index.html
var indexText string

// ResultsFile is the name of the JSON in a results folder.
const ResultsFile = "results.json"

// Write makes a results folder's index.html and tables; pictures are there already.
func Write(dir string, results []*stats.Result) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ResultsFile), raw, 0o666); err != nil {
		return err
	}
	t, err := template.New("index").Funcs(template.FuncMap{"label": label, "file": func(r *stats.Result) string { return r.Scenario + "/" + fileName(r.Strategy) }}).Parse(indexText)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "index.html"))
	if err != nil {
		return err
	}
	names, rows := Table(results)
	data := struct {
		Style  template.CSS
		Names  []string
		Rows   []Row
		Charts []chartGroup
	}{template.CSS(draw.Style), names, rows, charts(results)}
	if err := t.Execute(f, data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Read gives the results of a folder.
func Read(dir string) ([]*stats.Result, error) {
	raw, err := os.ReadFile(filepath.Join(dir, ResultsFile))
	if err != nil {
		return nil, err
	}
	var out []*stats.Result
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("%s is no results folder: %w", dir, err)
	}
	return out, nil
}

// chartGroup is a scenario with its charts over time.
type chartGroup struct {
	Scenario string
	Names    []string // of the lines, as many as there are colours
	Charts   []template.HTML
}

// measure is what a chart shows.
type measure struct {
	name string
	of   func(*stats.Point) float64
}

var measures = []measure{
	{"write amplification", func(p *stats.Point) float64 { return p.WriteAmp }},
	{"deltas per read, mean", func(p *stats.Point) float64 { return p.ReadMean }},
	{"deltas per read, worst", func(p *stats.Point) float64 { return float64(p.ReadMax) }},
	{"layers", func(p *stats.Point) float64 { return float64(p.L0 + p.Deltas + p.Images) }},
	{"MB kept", func(p *stats.Point) float64 { return float64(p.LiveMB) }},
	{"seconds stalled", func(p *stats.Point) float64 { return p.Stall }},
}

func charts(results []*stats.Result) []chartGroup {
	var out []chartGroup
	for i := 0; i < len(results); {
		n := i
		for n < len(results) && results[n].Scenario == results[i].Scenario {
			n++
		}
		g := chartGroup{Scenario: results[i].Scenario}
		for _, r := range results[i:min(n, i+colours)] {
			g.Names = append(g.Names, label(r))
		}
		for _, m := range measures {
			g.Charts = append(g.Charts, chart(m, results[i:n]))
		}
		out = append(out, g)
		i = n
	}
	return out
}

const chartWidth, chartHeight, chartTop, chartFoot = 300, 120, 18, 16

// colours is how many lines of a chart can be told apart.
const colours = 5

// chart draws a measure of several runs over the time of the run.
func chart(m measure, results []*stats.Result) template.HTML {
	const tiny = 1e-9
	maxX, maxY := tiny, tiny
	for _, r := range results {
		for i := range r.Series {
			maxX, maxY = max(maxX, r.Series[i].Seconds), max(maxY, m.of(&r.Series[i]))
		}
	}
	var b strings.Builder
	top := "0 all the time"
	if maxY > tiny {
		top = fmt.Sprintf("up to %.4g", maxY)
	}
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d"><text x="2" y="12">%s, %s</text><rect class="frame" x="0" y="%d" width="%d" height="%d"/>`,
		chartWidth, chartHeight+chartTop+chartFoot, m.name, top, chartTop, chartWidth, chartHeight)
	fmt.Fprintf(&b, `<text x="2" y="%d">0 s</text><text x="%d" y="%d" text-anchor="end">%.0f s</text>`, chartHeight+chartTop+12, chartWidth-2, chartHeight+chartTop+12, maxX)
	for i, r := range results {
		fmt.Fprintf(&b, `<polyline class="s%d" points="`, i%colours)
		for k := range r.Series {
			p := &r.Series[k]
			fmt.Fprintf(&b, "%.1f,%.1f ", p.Seconds/maxX*chartWidth, chartTop+chartHeight-m.of(p)/maxY*chartHeight)
		}
		fmt.Fprintf(&b, `"><title>%s</title></polyline>`, template.HTMLEscapeString(label(r)))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}
