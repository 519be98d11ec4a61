package pagebench

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies counts how long requests took. It belongs to one goroutine at a time.
type Latencies struct{ h *hdrhistogram.Histogram }

// Bounds of a histogram, in microseconds.
const (
	leastMicros = 1
	mostMicros  = 1_000_000_000
	digits      = 3
)

func newLatencies() Latencies { return Latencies{hdrhistogram.New(leastMicros, mostMicros, digits)} }

// add counts one. What takes longer than the histogram goes counts as its end.
func (l Latencies) add(d time.Duration) {
	_ = l.h.RecordValue(min(max(d.Microseconds(), leastMicros), mostMicros)) // within the bounds it cannot fail
}

// Count is the number of requests, Mean and Percentile how long they took.
func (l Latencies) Count() int64        { return l.h.TotalCount() }
func (l Latencies) Mean() time.Duration { return micros(int64(l.h.Mean())) }

// Percentile gives what so many percent took at most.
func (l Latencies) Percentile(p float64) time.Duration { return micros(l.h.ValueAtPercentile(p)) }

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// percentiles are those that Neon's pagebench prints.
var percentiles = []float64{95, 99, 99.9, 99.99}

// MarshalJSON gives the form of Neon's pagebench: durations as humantime writes them.
func (l Latencies) MarshalJSON() ([]byte, error) {
	ps := map[string]string{}
	for _, p := range percentiles {
		ps["p"+strconv.FormatFloat(p, 'f', -1, 64)] = HumanTime(l.Percentile(p))
	}
	return json.Marshal(struct {
		Count       int64             `json:"request_count"`
		Mean        string            `json:"latency_mean"`
		Percentiles map[string]string `json:"latency_percentiles"`
	}{l.Count(), HumanTime(l.Mean()), ps})
}

// HumanTime writes a duration as the Rust crate humantime does: "1m 2s 345ms 6us", "0s".
func HumanTime(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var parts []string
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"}, {1, "ns"}} {
		n := d / u.unit
		if n == 0 {
			continue
		}
		d -= n * u.unit
		if u.name == "day" && n > 1 {
			u.name = "days"
		}
		parts = append(parts, fmt.Sprintf("%d%s", n, u.name))
	}
	return strings.Join(parts, " ")
}

// Result is what a run measured.
type Result struct {
	Total Latencies `json:"total"`
	// Missed counts the requests that were not begun in time, as the queue was full.
	Missed int64 `json:"-"`
	// Elapsed is how long requests were counted.
	Elapsed time.Duration `json:"-"`
	// Series is how many ended over time, from the start of the warm-up.
	Series []Moment `json:"-"`
}

// Moment is a short time of a run: until when since its start, and how many requests ended and were missed in a second.
type Moment struct {
	Until            time.Duration
	Requests, Missed float64
}

// since gives rates, where both moments have counts.
func (m Moment) since(last Moment) Moment {
	s := (m.Until - last.Until).Seconds()
	return Moment{m.Until, (m.Requests - last.Requests) / s, (m.Missed - last.Missed) / s}
}
