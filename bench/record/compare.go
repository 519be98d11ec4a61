package record

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"

	"github.com/stratapg/strata/bench/plot"
)

// Ratio is one metric of a workload in a new file to that in an old one.
type Ratio struct {
	Name, Unit string
	Old, New   float64
	// At is New/Old; with confidence it lies between Low and High, the ends of the medians' intervals divided.
	At, Low, High float64
	// P is how likely such a difference is by chance, by the Mann-Whitney U test. Better is 1 or -1 where that is less than 5 %.
	P        float64
	Better   int
	Warnings []string
}

// confidence is that of the intervals.
const confidence = 0.95

// Compare gives the ratios of what two files have both.
func Compare(old, new []Line) (out []Ratio) {
	for _, n := range new {
		for _, o := range old {
			if o.Name != n.Name {
				continue
			}
			for i := range min(len(o.Metrics), len(n.Metrics)) {
				a, b := &o.Metrics[i], &n.Metrics[i]
				if a.Unit == b.Unit && len(a.Values) > 0 && len(b.Values) > 0 {
					r := ratio(n.Name, a, b)
					if o.Check != n.Check {
						r.Warnings = append(r.Warnings, "the data differ")
					}
					out = append(out, r)
				}
			}
		}
	}
	return out
}

func ratio(name string, old, new *Metric) Ratio {
	a, b := benchmath.NewSample(old.Values, &benchmath.DefaultThresholds), benchmath.NewSample(new.Values, &benchmath.DefaultThresholds)
	rules := benchmath.AssumeNothing
	x, y, c := rules.Summary(a, confidence), rules.Summary(b, confidence), rules.Compare(a, b)
	r := Ratio{Name: name, Unit: old.Unit, Old: x.Center, New: y.Center, P: c.P}
	r.At, r.Low, r.High = over(y.Center, x.Center, 1), over(y.Lo, x.Hi, 0), over(y.Hi, x.Lo, math.MaxFloat64) // few rounds bound nothing
	r.Low = max(r.Low, 0)
	for _, w := range append(append(x.Warnings, y.Warnings...), c.Warnings...) {
		r.Warnings = append(r.Warnings, w.Error())
	}
	if c.P < c.Alpha && r.At != 1 {
		r.Better = -1
		if (r.At > 1) == old.More {
			r.Better = 1
		}
	}
	return r
}

// over is a ratio, or what is given where there is none.
func over(a, b, otherwise float64) float64 {
	if v := a / b; !math.IsInf(a, 0) && !math.IsInf(b, 0) && !math.IsInf(v, 0) && !math.IsNaN(v) {
		return v
	}
	return otherwise
}

// WriteTable writes ratios for people.
func WriteTable(w io.Writer, all []Ratio) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "workload\tmetric\told\tnew\tratio\t95 %\tp\t")
	for _, r := range all {
		verdict := map[int]string{1: "better", -1: "worse", 0: "~"}[r.Better]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.3f\t%.3f–%s\t%.3f\t%s", r.Name, r.Unit, plot.Short(r.Old), plot.Short(r.New), r.At, r.Low, high(r.High), r.P, verdict)
		for _, text := range r.Warnings {
			fmt.Fprintf(t, " (%s)", text)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func high(v float64) string {
	if v == math.MaxFloat64 {
		return "∞"
	}
	return fmt.Sprintf("%.3f", v)
}

// Draw draws ratios as SVG.
func Draw(title string, all []Ratio) []byte {
	var bars []plot.Bar
	for _, r := range all {
		bars = append(bars, plot.Bar{Name: r.Name + " " + r.Unit, Low: r.Low, At: r.At, High: r.High, Better: r.Better})
	}
	return plot.Bars(title, bars)
}
