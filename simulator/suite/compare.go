package suite

import (
	"fmt"
	"io"

	"github.com/stratapg/strata/simulator/stats"
)

// Compare prints what differs between two sets of results and gives the number of runs that do.
func Compare(w io.Writer, before, after []*stats.Result) (int, error) {
	type name struct{ scenario, strategy string }
	old := map[name]*stats.Result{}
	for _, r := range before {
		old[name{r.Scenario, r.Strategy}] = r
	}
	differ := 0
	for _, r := range after {
		n := name{r.Scenario, r.Strategy}
		o := old[n]
		delete(old, n)
		if o != nil && o.Hash == r.Hash && o.Error == r.Error {
			continue
		}
		differ++
		if _, err := fmt.Fprintf(w, "%s, %s:%s\n", r.Scenario, label(r), difference(o, r)); err != nil {
			return differ, err
		}
	}
	for _, r := range before {
		if old[name{r.Scenario, r.Strategy}] != nil {
			differ++
			if _, err := fmt.Fprintf(w, "%s, %s: no longer there\n", r.Scenario, label(r)); err != nil {
				return differ, err
			}
		}
	}
	return differ, nil
}

// difference says which measures changed.
func difference(o, r *stats.Result) string {
	switch {
	case o == nil:
		return " new"
	case r.Error != "":
		return " fails now: " + r.Error
	case o.Error != "":
		return " no longer fails"
	}
	text := ""
	for _, c := range columns {
		if a, b := c.Print(c.Of(o)), c.Print(c.Of(r)); a != b && c.Name != "s" {
			text += fmt.Sprintf(" %s %s → %s;", c.Name, a, b)
		}
	}
	if text == "" {
		return " other layers, same figures"
	}
	return text
}
