package legacy

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// history is what lies below the cutoff, by what folding could do for it. What is folded already has over each key an image at
// the bottom and one delta above it, at most: that is how Fold leaves it. What lies above these is to be
// folded. Deltas of one key alone are what is left of keys that have too much for one delta: they are folded with the rest.
type history struct {
	below  []int              // all layers that end at the cutoff or below, L0s apart, older ones first
	isNew  []bool             // by layer
	added  []compaction.Layer // the new ones of below
	toFold int64              // bytes of them
	folded int64              // and of the others
}

func findHistory(s *compaction.Snapshot) *history {
	h := &history{}
	for i := range s.Layers {
		if l := &s.Layers[i]; !l.L0() && l.Last() <= s.Cutoff {
			h.below = append(h.below, i)
		}
	}
	slices.SortFunc(h.below, func(a, b int) int { return byEnd(&s.Layers[a], &s.Layers[b]) })
	h.isNew = make([]bool, len(s.Layers))
	c := cellsOf(s.Layers, h.below)
	any, deltas := newPainted(len(c)), newPainted(len(c))
	for _, i := range h.below {
		l := &s.Layers[i]
		single := !l.Image && l.Keys.Start.Next() == l.Keys.End
		for _, keys := range l.Rest().Ranges() {
			from, to := c.of(keys)
			if l.Image && any.any(from, to) || !l.Image && !single && deltas.any(from, to) {
				h.isNew[i] = true
			}
		}
		for _, keys := range l.Rest().Ranges() {
			from, to := c.of(keys)
			if !single {
				any.add(from, to)
			}
			if !single && !l.Image {
				deltas.add(from, to)
			}
		}
		if h.isNew[i] {
			h.added, h.toFold = append(h.added, *l), h.toFold+l.Size
		} else {
			h.folded += l.Size
		}
	}
	return h
}

// byEnd orders layers by where they end; an image comes behind what it holds.
func byEnd(a, b *compaction.Layer) int {
	if a.LSNs.End != b.LSNs.End {
		if a.LSNs.End < b.LSNs.End {
			return -1
		}
		return 1
	}
	if a.Image != b.Image {
		if a.Image {
			return 1
		}
		return -1
	}
	return a.ID.Compare(b.ID)
}

// spread sums up layers by the keys that they overlap.
type spread struct {
	starts, ends []page.Key
	from, until  []int64 // bytes of the layers whose keys start, and end, before that of the same index
}

func newSpread(layers []compaction.Layer) *spread {
	type end struct {
		key  page.Key
		size int64
	}
	starts, ends := make([]end, 0, len(layers)), make([]end, 0, len(layers))
	for i := range layers {
		l := &layers[i]
		rest := l.Rest().Ranges()
		for _, keys := range rest {
			size := l.Size / int64(len(rest))
			starts, ends = append(starts, end{keys.Start, size}), append(ends, end{keys.End, size})
		}
	}
	sums := func(es []end) (keys []page.Key, sum []int64) {
		slices.SortFunc(es, func(a, b end) int { return a.key.Compare(b.key) })
		keys, sum = make([]page.Key, len(es)), make([]int64, len(es)+1)
		for i, e := range es {
			keys[i], sum[i+1] = e.key, sum[i]+e.size
		}
		return keys, sum
	}
	s := &spread{}
	s.starts, s.from = sums(starts)
	s.ends, s.until = sums(ends)
	return s
}

// over gives how many layers overlap keys, and their bytes.
func (s *spread) over(keys page.Range) (n int, bytes int64) {
	started, _ := slices.BinarySearchFunc(s.starts, keys.End, page.Key.Compare)
	ended := s.endedBy(keys.Start)
	return started - ended, s.from[started] - s.until[ended]
}

// endedBy counts the layers whose keys end at k or before.
func (s *spread) endedBy(k page.Key) int {
	n, _ := slices.BinarySearchFunc(s.ends, k, func(e, k page.Key) int {
		if k.Less(e) {
			return 1
		}
		return -1
	})
	return n
}
