package partitioned

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// part is a stretch of the key space that is imaged as a whole. Parts tile it from the first key up to the last sparse one.
type part struct {
	keys page.Range
	cost int64 // bytes of an image
	// live says that the cost is of live pages, and not guessed for metadata
	live bool
}

// sparse is the range of metadata keys.
var sparse = page.Range{Start: page.Key{F1: 0x60}, End: page.Key{F1: 0x7F}}

// entryBytes is what a page costs in an image beside its content: its index entry.
const entryBytes = 24

// partsOf divides the key space.
func partsOf(s *compaction.Snapshot, o compaction.Options) []part {
	ps := compaction.Partition(s.Live, o.CompactionTargetSize/pageSize)
	parts := make([]part, 0, len(ps)+1)
	for i := range ps {
		parts = append(parts, part{ps[i].Keys, ps[i].Pages * (pageSize + entryBytes), true})
	}
	metadata := part{keys: sparse, cost: sparseCost(s)}
	switch n := len(parts); {
	case n == 0:
		metadata.keys.Start = page.MinKey
	case parts[n-1].keys.End.Less(sparse.Start):
		parts[n-1].keys.End = sparse.Start // relations that grow do so behind what is live by now
	}
	return append(parts, metadata)
}

const pageSize = 8192

// sparseCost guesses what an image of the metadata takes: what the newest one took, or else a part of the deltas that lie in
// their range alone.
func sparseCost(s *compaction.Snapshot) int64 {
	var newest *compaction.Layer
	var deltas int64
	for i := range s.Layers {
		l := &s.Layers[i]
		switch {
		case !l.Keys.Overlaps(sparse):
		case !l.Image:
			if sparse.Covers(l.Keys) {
				deltas += l.Size
			}
		case l.Keys.Start.Less(sparse.Start) && !s.Live.Empty(): // most of it are pages
		case newest == nil || newest.LSNs.Start < l.LSNs.Start || newest.LSNs.Start == l.LSNs.Start && newest.Size < l.Size:
			newest = l
		}
	}
	if newest != nil {
		return newest.Size
	}
	return max(deltas/8, minSparseCost)
}

// minSparseCost is what metadata of a new cluster take, roughly.
const minSparseCost = 256 << 10

// partsIn gives the index range of the parts that overlap keys.
func partsIn(parts []part, keys page.Range) (from, to int) {
	from, _ = slices.BinarySearchFunc(parts, keys.Start, func(p part, k page.Key) int {
		if k.Less(p.keys.End) {
			return 1
		}
		return -1
	})
	for to = from; to < len(parts) && parts[to].keys.Start.Less(keys.End); to++ {
	}
	return from, to
}
