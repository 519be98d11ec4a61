package suite

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"github.com/stratapg/strata/simulator/stats"
)

// column is one measure of the table.
type column struct {
	Name  string
	Of    func(*stats.Result) float64
	Print func(float64) string
	// Compare marks the best value among the strategies of a scenario: the lowest.
	Compare bool
}

func two(v float64) string   { return fmt.Sprintf("%.2f", v) }
func one(v float64) string   { return fmt.Sprintf("%.1f", v) }
func whole(v float64) string { return fmt.Sprintf("%.0f", v) }

// columns are the measures shown.
var columns = []column{
	{"write amp", func(r *stats.Result) float64 { return r.WriteAmp }, two, true},
	{"storage amp", func(r *stats.Result) float64 { return r.StorageAmp }, two, true},
	{"deltas mean", func(r *stats.Result) float64 { return r.ReadDeltas.Mean }, one, true},
	{"p99", func(r *stats.Result) float64 { return float64(r.ReadDeltas.P99) }, whole, true},
	{"max", func(r *stats.Result) float64 { return float64(r.ReadDeltas.Max) }, whole, true},
	{"layers p99", func(r *stats.Result) float64 { return float64(r.ReadLayers.P99) }, whole, false},
	{"records p99", func(r *stats.Result) float64 { return float64(r.ReadRecords.P99) }, whole, true},
	{"stall s", func(r *stats.Result) float64 { return r.StallSeconds }, one, true},
	{"WAL MB", func(r *stats.Result) float64 { return float64(r.WALMB) }, whole, false},
	{"created MB", func(r *stats.Result) float64 { return float64(r.CreatedMB) }, whole, false},
	{"files", func(r *stats.Result) float64 { return float64(r.FilesCreated) }, whole, false},
	{"layers max", func(r *stats.Result) float64 { return float64(r.MaxLayers) }, whole, false},
	{"s", func(r *stats.Result) float64 { return r.Seconds }, one, false},
}

// Row is a line of the table.
type Row struct {
	Result *stats.Result
	Cells  []Cell
}

// Cell is a value; Best says that no other strategy has a lower one in this scenario.
type Cell struct {
	Text string
	Best bool
}

// Table makes rows of results that are in order.
func Table(results []*stats.Result) (names []string, rows []Row) {
	for _, c := range columns {
		names = append(names, c.Name)
	}
	for _, r := range results {
		row := Row{Result: r}
		for _, c := range columns {
			row.Cells = append(row.Cells, Cell{c.Print(c.Of(r)), c.Compare && best(r, c, results)})
		}
		rows = append(rows, row)
	}
	return names, rows
}

// best reports whether r has the lowest value of its scenario, to the digits printed, and not all have it.
func best(r *stats.Result, c column, all []*stats.Result) bool {
	mine, differs := c.Of(r), false
	for _, o := range all {
		if o.Scenario != r.Scenario || o.Error != "" {
			continue
		}
		if c.Print(c.Of(o)) != c.Print(mine) {
			if c.Of(o) < mine {
				return false
			}
			differs = true
		}
	}
	return differs && r.Error == ""
}

// Text writes a table of columns that line up; best values have a star.
func Text(w io.Writer, results []*stats.Result) error {
	names, rows := Table(results)
	lines := [][]string{append([]string{"scenario", "strategy"}, names...)}
	for i, r := range rows {
		line := []string{r.Result.Scenario, label(r.Result)}
		if i > 0 && rows[i-1].Result.Scenario == r.Result.Scenario {
			line[0] = ""
		}
		for _, c := range r.Cells {
			if c.Best {
				c.Text += "*"
			} else {
				c.Text += " "
			}
			line = append(line, c.Text)
		}
		if r.Result.Error != "" {
			line = append(line[:2], "FAILED: "+r.Result.Error)
		}
		lines = append(lines, line)
	}
	width := make([]int, len(names)+2)
	for _, l := range lines {
		for i, s := range l {
			if len(l) == len(width) {
				width[i] = max(width[i], len(s))
			}
		}
	}
	for _, l := range lines {
		var b strings.Builder
		for i, s := range l {
			if i < 2 {
				fmt.Fprintf(&b, "%-*s  ", width[i], s)
			} else {
				fmt.Fprintf(&b, "%*s  ", width[i], s)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// label names the strategy, with the bound that it was given.
func label(r *stats.Result) string {
	if r.Bound > 0 && strings.Contains(r.Strategy, "@") {
		return fmt.Sprintf("%s=%d", r.Strategy, r.Bound)
	}
	return r.Strategy
}

// Markdown writes the table as Markdown; best values are bold.
func Markdown(w io.Writer, results []*stats.Result) error {
	names, rows := Table(results)
	if _, err := fmt.Fprintf(w, "| scenario | strategy | %s |\n|---|---%s|\n", strings.Join(names, " | "), strings.Repeat("|---:", len(names))); err != nil {
		return err
	}
	for _, r := range rows {
		cells := []string{r.Result.Scenario, label(r.Result)}
		for _, c := range r.Cells {
			if c.Best {
				c.Text = "**" + c.Text + "**"
			}
			cells = append(cells, c.Text)
		}
		if r.Result.Error != "" {
			cells = append(cells[:2], "failed: "+strings.ReplaceAll(r.Result.Error, "|", "\\|"))
		}
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")); err != nil {
			return err
		}
	}
	return nil
}

// CSV writes the table for spreadsheets.
func CSV(w io.Writer, results []*stats.Result) error {
	names, rows := Table(results)
	out := csv.NewWriter(w)
	if err := out.Write(append(append([]string{"scenario", "strategy", "bound", "seed"}, names...), "error")); err != nil {
		return err
	}
	for _, r := range rows {
		line := []string{r.Result.Scenario, r.Result.Strategy, fmt.Sprint(r.Result.Bound), fmt.Sprint(r.Result.Seed)}
		for _, c := range r.Cells {
			line = append(line, c.Text)
		}
		if err := out.Write(append(line, r.Result.Error)); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
