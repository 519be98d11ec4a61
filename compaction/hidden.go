package compaction

import (
	"cmp"
	"slices"

	"github.com/stratapg/strata/page"
)

// question asks whether images of at least a rank cover keys when reads at an LSN look for them.
type question struct {
	layer int // index of the candidate
	at    page.LSN
	keys  page.Range
	rank  int32
}

// hiding decides which layers images hide from all reads, for many at once: O(n log n) of layers, questions and moved ranges.
type hiding struct {
	points    []point
	images    []*Layer // by rank - 1
	ranks     map[*Layer]int32
	questions []question
}

// hiddenBy reports for each candidate (an index of layers) whether images hide it from reads at all points. The images may be among the
// candidates: an image is hidden by newer ones, and by those of the same LSN that come before it in the order of
// IDs (so that of twins with different keys one more may be left than must be). So whatever of the candidates is hidden may go at once: the newest image that a read finds at a key never is.
func hiddenBy(points []point, images []*Layer, layers []Layer, candidates []int) []bool {
	slices.SortFunc(images, func(a, b *Layer) int {
		return cmp.Or(cmp.Compare(a.LSNs.Start, b.LSNs.Start), b.Compare(a.ID))
	})
	h := &hiding{points: points, images: images, ranks: make(map[*Layer]int32, len(images))}
	for i, l := range images {
		h.ranks[l] = int32(i + 1)
	}
	hidden := make([]bool, len(candidates))
	for n, i := range candidates {
		hidden[n] = h.ask(n, &layers[i])
	}
	slices.SortFunc(h.questions, func(a, b question) int { return cmp.Compare(a.at, b.at) })
	c := newCoverage(images)
	for _, q := range h.questions {
		if hidden[q.layer] {
			c.rise(q.at)
			hidden[q.layer] = c.newest(q.keys) >= q.rank
		}
	}
	return hidden
}

// ask notes the questions that decide whether a layer is hidden. False says that it is not, whatever the answers.
func (h *hiding) ask(n int, l *Layer) bool {
	rest := l.Rest()
	below := rest // keys for which no point at or above all of the layer has been asked yet
	last := l.Last()
	for _, p := range seeing(h.points, l) {
		switch {
		case below.Empty():
			return true
		case p.lsn < last && (p.above || !h.imageAt(p.lsn)):
			if p.above || !rest.Subtract(p.released).Empty() {
				return false
			}
		case p.lsn < last:
			h.note(n, l, p.lsn, p.lsn, rest.Subtract(p.released))
		default:
			// An image between the layer and this point is also one between it and each point above.
			h.note(n, l, p.lsn, last, below.Subtract(p.released))
			below = below.Subtract(below.Subtract(p.released))
		}
	}
	return true
}

// note asks for images of at least an LSN, found by reads at another.
func (h *hiding) note(n int, l *Layer, at, least page.LSN, keys page.Set) {
	rank, own := h.ranks[l]
	if own {
		rank++
	} else {
		i, _ := slices.BinarySearchFunc(h.images, least, func(l *Layer, lsn page.LSN) int { return cmp.Compare(l.LSNs.Start, lsn) })
		rank = int32(i + 1)
	}
	for _, r := range keys.Ranges() {
		h.questions = append(h.questions, question{n, at, r, rank})
	}
}

// imageAt reports whether there is an image of exactly this LSN.
func (h *hiding) imageAt(lsn page.LSN) bool {
	_, found := slices.BinarySearchFunc(h.images, lsn, func(l *Layer, lsn page.LSN) int { return cmp.Compare(l.LSNs.Start, lsn) })
	return found
}
