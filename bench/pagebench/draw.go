package pagebench

import (
	"math"
	"strconv"

	"github.com/stratapg/strata/bench/plot"
)

// Draw gives an SVG of latency by percentile, on the usual scale on which each nine takes as much room as the one before, and of
// throughput over time.
func (r *Result) Draw(title string) []byte {
	latency := plot.Chart{Title: title + ": latency by percentile", X: "percentile", Y: "milliseconds"}
	var line plot.Line
	count := max(r.Total.h.TotalCount(), 1)
	for _, b := range r.Total.h.CumulativeDistribution() {
		above := max(1-b.Quantile/100, 1/float64(count)) // what lies beyond one in all has no place
		line.Points = append(line.Points, plot.Point{X: -math.Log10(above), Y: float64(b.ValueAt) / 1000})
	}
	line.Name = "requests"
	latency.Lines = []plot.Line{line}
	for nines, text := 0, "0"; nines == 0 || math.Pow10(nines) <= float64(count)*10; nines++ {
		if nines > 0 {
			text = strconv.FormatFloat(100-100*math.Pow10(-nines), 'f', max(nines-2, 0), 64)
		}
		latency.Ticks = append(latency.Ticks, plot.Tick{At: float64(nines), Text: text + " %"})
	}
	over := plot.Chart{Title: title + ": throughput", X: "seconds, with the warm-up", Y: "requests per second"}
	ended, missed := plot.Line{Name: "requests"}, plot.Line{Name: "missed"}
	for _, m := range r.Series {
		ended.Points = append(ended.Points, plot.Point{X: m.Until.Seconds(), Y: m.Requests})
		missed.Points = append(missed.Points, plot.Point{X: m.Until.Seconds(), Y: m.Missed})
	}
	over.Lines = []plot.Line{ended}
	if r.Missed > 0 {
		over.Lines = append(over.Lines, missed)
	}
	return plot.SVG(latency, over)
}
