package suite

import (
	"fmt"
	"io"
	"strings"

	"github.com/stratapg/strata/simulator/stats"
)

// Matched writes, as Markdown, what a strategy that keeps a bound on reads writes with the bounds that others came to, beside
// what they write; and where it loses. It gives the number of comparisons and of losses.
func Matched(w io.Writer, results []*stats.Result) (n, lost int, err error) {
	type name struct{ scenario, strategy string }
	by := map[name]*stats.Result{}
	for _, r := range results {
		by[name{r.Scenario, r.Strategy}] = r
	}
	var b strings.Builder
	b.WriteString("| scenario | against | bound: its p99 | write amp | its | p99 | max | its max | records p99 | its | stall s | its | |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n")
	for _, r := range results {
		_, other, ok := strings.Cut(r.Strategy, "@")
		o := by[name{r.Scenario, other}]
		if !ok || o == nil {
			continue
		}
		n++
		verdict := "less"
		switch mine, its := two(r.WriteAmp), two(o.WriteAmp); {
		case r.Error != "" || o.Error != "":
			verdict = "**failed**"
			lost++
		case mine == its:
			verdict = "the same"
		case r.WriteAmp > o.WriteAmp:
			verdict = "**more**"
			lost++
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %.2f | %.2f | %d | %d | %d | %d | %d | %.1f | %.1f | %s |\n", r.Scenario, other, r.Bound, r.WriteAmp, o.WriteAmp,
			r.ReadAmpP99, r.ReadAmpMax, o.ReadAmpMax, r.RecordsP99, o.RecordsP99, r.StallSeconds, o.StallSeconds, verdict)
	}
	if u, h := by[name{"uniform", bounded}], by[name{"hot-cold", bounded}]; u != nil && h != nil && u.WriteAmp > 0 {
		fmt.Fprintf(&b, "\nhot-cold costs %.0f %% of uniform: write amp %.2f and %.2f, both with the default bound.\n", 100*h.WriteAmp/u.WriteAmp, h.WriteAmp, u.WriteAmp)
	}
	_, err = io.WriteString(w, b.String())
	return n, lost, err
}

// bounded is the strategy that keeps a bound.
const bounded = "partitioned"
