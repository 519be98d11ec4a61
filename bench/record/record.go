// Package record is what a run of benchmarks leaves behind: one line of JSON for each workload, with the values of all rounds and
// the machine they are of; and the comparison of two such files.
package record

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Version is that of the lines.
const Version = 1

// Line is what one workload gave.
type Line struct {
	Version  int      `json:"version"`
	Name     string   `json:"name"`
	Check    string   `json:"checksum"`
	Commit   string   `json:"commit"`
	Flags    []string `json:"flags"`
	Machine  Machine  `json:"machine"`
	Metrics  []Metric `json:"metrics"`
	Warnings []string `json:"warnings,omitempty"`
}

// Metric is one of a workload, with a value for each round, in their order.
type Metric struct {
	Unit   string    `json:"unit"`
	More   bool      `json:"more_is_better"`
	Values []float64 `json:"values"`
}

// Quartiles give the middle of a metric's values, and how far apart the middle half of them lies as a part of that: the noise.
func (m *Metric) Quartiles() (median, noise float64) {
	v := slices.Sorted(slices.Values(m.Values))
	if len(v) == 0 {
		return 0, 0
	}
	median = v[len(v)/2]
	if median != 0 {
		noise = (v[len(v)*3/4] - v[len(v)/4]) / median
	}
	return median, noise
}

// Write writes a line, values with six digits.
func (l *Line) Write(w io.Writer) error {
	l.Version = Version
	for i := range l.Metrics {
		for n, v := range l.Metrics[i].Values {
			if short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64); err == nil {
				l.Metrics[i].Values[n] = short
			}
		}
	}
	return json.NewEncoder(w).Encode(l)
}

// maxLine bounds a line: some hundred thousand values.
const maxLine = 16 << 20

// Read reads lines. Further ones of the same name add their values.
func Read(r io.Reader) (out []Line, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if l.Version != Version {
			return nil, fmt.Errorf("line %d has version %d, not %d", n, l.Version, Version)
		}
		i := slices.IndexFunc(out, func(o Line) bool { return o.Name == l.Name })
		if i < 0 {
			out = append(out, l)
			continue
		}
		if err := out[i].add(&l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return out, lines.Err()
}

func (l *Line) add(more *Line) error {
	for i := range more.Metrics {
		if i >= len(l.Metrics) || l.Metrics[i].Unit != more.Metrics[i].Unit {
			return fmt.Errorf("%s has other metrics than above", l.Name)
		}
		l.Metrics[i].Values = append(l.Metrics[i].Values, more.Metrics[i].Values...)
	}
	l.Warnings = append(l.Warnings, more.Warnings...)
	return nil
}
