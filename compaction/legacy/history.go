package legacy

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

// history is what lies below the cutoff, by what folding could do for it. What is folded already has over each key an image at
// the bottom and one delta above it, at most: that is how Fold leaves it. What lies above these is to be
// folded. Deltas of one key alone are what is left of keys that have too much for one delta: they are folded with the rest.
type history struct {
	below   []int // all layers that end at the cutoff or below, L0s apart, those that end first before others
	pieces  []rest
	borders *stack.Borders // of pieces
	isNew   []bool         // by layer
	toFold  int64          // bytes of the new ones
	folded  int64          // and of the others
}

// rest is a stretch of keys that has not moved from a layer.
type rest struct {
	keys  page.Range
	layer int
}

func findHistory(s *compaction.Snapshot) *history {
	h := &history{isNew: make([]bool, len(s.Layers))}
	for i := range s.Layers {
		if l := &s.Layers[i]; !l.L0() && l.Last() <= s.Cutoff {
			h.below = append(h.below, i)
		}
	}
	slices.SortFunc(h.below, func(a, b int) int { return byEnd(&s.Layers[a], &s.Layers[b]) })
	for _, i := range h.below {
		l := &s.Layers[i]
		if len(l.Moved) == 0 {
			h.pieces = append(h.pieces, rest{l.Keys, i})
			continue
		}
		for _, keys := range l.Rest().Ranges() {
			h.pieces = append(h.pieces, rest{keys, i})
		}
	}
	h.borders = stack.NewBorders(len(h.pieces), func(i int) page.Range { return h.pieces[i].keys })
	h.tell(s)
	return h
}

// tell finds out which layers are new.
func (h *history) tell(s *compaction.Snapshot) {
	some, deltas := newPainted(len(h.borders.Keys)), newPainted(len(h.borders.Keys))
	for n, from := 0, 0; n < len(h.pieces); from = n {
		i := h.pieces[n].layer
		l := &s.Layers[i]
		single := !l.Image && l.Keys.Start.Next() == l.Keys.End
		for ; n < len(h.pieces) && h.pieces[n].layer == i; n++ {
			a, b := int(h.borders.From[n]), int(h.borders.To[n])
			if l.Image && some.any(a, b) || !l.Image && !single && deltas.any(a, b) {
				h.isNew[i] = true
			}
		}
		for k := from; k < n && !single; k++ {
			a, b := int(h.borders.From[k]), int(h.borders.To[k])
			some.add(a, b)
			if !l.Image {
				deltas.add(a, b)
			}
		}
		if h.isNew[i] {
			h.toFold += l.Size
		} else {
			h.folded += l.Size
		}
	}
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

// spread sums up pieces of layers by the borders at which they begin and end.
type spread struct {
	borders *stack.Borders
	// began and ended are those of the pieces at the borders before the one of the same index.
	began, ended []sum
}

type sum struct {
	n     int
	bytes int64
}

// spread sums up the pieces of the layers that are new, or of all.
func (h *history) spread(layers []compaction.Layer, newOnly bool) *spread {
	s := &spread{h.borders, make([]sum, len(h.borders.Keys)+1), make([]sum, len(h.borders.Keys)+1)}
	note := func(sums []sum, at int32, bytes int64) {
		sums[at+1].n++
		sums[at+1].bytes += bytes
	}
	for n, p := range h.pieces {
		if !newOnly || h.isNew[p.layer] {
			note(s.began, h.borders.From[n], layers[p.layer].Size)
			note(s.ended, h.borders.To[n], layers[p.layer].Size)
		}
	}
	for _, sums := range [][]sum{s.began, s.ended} {
		for i := range len(sums) - 1 {
			sums[i+1].n += sums[i].n
			sums[i+1].bytes += sums[i].bytes
		}
	}
	return s
}

// over gives how many pieces overlap keys, and their layers' bytes.
func (s *spread) over(keys page.Range) (n int, bytes int64) {
	began, ended := s.began[s.borders.Below(keys.End)], s.endedBy(keys.Start)
	return began.n - ended.n, began.bytes - ended.bytes
}

// endedBy sums up the pieces whose keys end at k or before.
func (s *spread) endedBy(k page.Key) sum { return s.ended[s.borders.Below(k.Next())] }
