package statuspage

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stratapg/strata/pageserver/tally"
)

// meter keeps earlier readings of what a service counts, so that there is something to compare with. It reads when it is looked
// at, and has nothing to do otherwise.
type meter struct {
	name   string
	counts *tally.Counts

	mu       sync.Mutex
	readings []timed // oldest first
}

// timed is a reading and its time.
type timed struct {
	at time.Time
	tally.Reading
}

const (
	window   = 10 * time.Second // what is shown is of so long
	readings = 16               // so many are kept
	apart    = time.Second      // and so far apart
)

func newMeter(name string, c *tally.Counts) *meter {
	return &meter{name: name, counts: c, readings: []timed{{time.Now(), c.Read()}}}
}

func sortMeters(ms []*meter) {
	slices.SortFunc(ms, func(a, b *meter) int { return cmp.Compare(a.name, b.name) })
}

// between gives what is counted now, and the reading to compare it with: of the beginning of the window, or the first one after
// a while in which nobody looked.
func (m *meter) between(now time.Time) (before, after timed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	after = timed{now, m.counts.Read()}
	for len(m.readings) > 1 && now.Sub(m.readings[1].at) >= window {
		m.readings = m.readings[1:]
	}
	before = m.readings[0]
	if last := m.readings[len(m.readings)-1]; now.Sub(last.at) >= apart && len(m.readings) < readings {
		m.readings = append(m.readings, after)
	}
	return before, after
}

// traffic is what was asked for by one protocol, of one kind.
type traffic struct {
	Protocol, Kind   string
	Requests, Failed int64 // in all
	Rate             string
	Mean, P50, P99   string
}

// traffic lists what was ever asked for.
func (p *Page) traffic(now time.Time) (rows []traffic) {
	for _, m := range p.meters {
		before, after := m.between(now)
		for k := range tally.Kinds {
			all := after.Of[k]
			if all.Requests == 0 {
				continue
			}
			lately := all.Since(before.Of[k])
			row := traffic{Protocol: m.name, Kind: k.String(), Requests: all.Requests, Failed: all.Failed, Rate: "0", Mean: "–", P50: "–", P99: "–"}
			if lately.Requests > 0 && after.at.After(before.at) {
				row.Rate = fmt.Sprintf("%.1f", float64(lately.Requests)/after.at.Sub(before.at).Seconds())
				row.Mean = timeText(lately.Took / time.Duration(lately.Requests))
				row.P50, row.P99 = timeText(lately.Quantile(0.5)), timeText(lately.Quantile(0.99))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// timeText gives a time in three digits or so.
func timeText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
