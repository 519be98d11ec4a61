package stats

import (
	"maps"
	"slices"
)

// Histogram counts numbers exactly.
type Histogram struct {
	counts map[int]int64
	n, sum int64
	max    int
}

// Add counts v once.
func (h *Histogram) Add(v int) {
	if h.counts == nil {
		h.counts = make(map[int]int64)
	}
	h.counts[v]++
	h.n++
	h.sum += int64(v)
	h.max = max(h.max, v)
}

// Spread sums a histogram up.
type Spread struct {
	Mean float64 `json:"mean"`
	P50  int     `json:"p50"`
	P99  int     `json:"p99"`
	Max  int     `json:"max"`
}

// Spread gives mean, quantiles and maximum.
func (h *Histogram) Spread() Spread {
	if h.n == 0 {
		return Spread{}
	}
	s := Spread{Mean: float64(h.sum) / float64(h.n), Max: h.max}
	seen, values := int64(0), slices.Sorted(maps.Keys(h.counts))
	half := false
	for _, v := range values {
		seen += h.counts[v]
		if !half && 2*seen >= h.n {
			s.P50, half = v, true
		}
		if 100*seen >= 99*h.n {
			s.P99 = v
			break
		}
	}
	return s
}
