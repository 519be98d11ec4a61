package timeline

import (
	"maps"
	"slices"
	"sync"
)

// heights are those of the L0 stacks of all timelines that are open.
type heights struct {
	mu struct {
		sync.Mutex
		of map[*Timeline]int
	}
}

// set notes a timeline's height.
func (h *heights) set(t *Timeline, height int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.of == nil {
		h.mu.of = map[*Timeline]int{}
	}
	h.mu.of[t] = height
}

// drop forgets a timeline that is closed.
func (h *heights) drop(t *Timeline) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.of, t)
}

// get gives the greatest, and the sum.
func (h *heights) get() (most, sum int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.mu.of {
		most, sum = max(most, int64(n)), sum+int64(n)
	}
	return most, sum
}

// timelines lists those that are open.
func (h *heights) timelines() []*Timeline {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.mu.of))
}
