package compaction

import (
	"math"

	"github.com/stratapg/strata/page"
)

// SparseKeys are the keys of metadata: most of them do not exist, and none is counted among the live keys
// of a Snapshot.
var SparseKeys = page.Range{Start: page.Key{F1: 0x60}, End: page.Key{F1: 0x7F}}

// Pages is the size of a key range in pages, as Neon weighs it: the distance of its ends if these differ in
// their last two fields only, and math.MaxUint32 at most.
func Pages(r page.Range) int64 {
	a, b := r.Start, r.End
	if r.Empty() {
		return 0
	}
	if a.F1 != b.F1 || a.F2 != b.F2 || a.F3 != b.F3 || a.F4 != b.F4 {
		return math.MaxUint32
	}
	from, to := int64(a.F5)<<32|int64(a.F6), int64(b.F5)<<32|int64(b.F6)
	return min(to-from, math.MaxUint32)
}

// SetPages is the sum of Pages over the ranges of s.
func SetPages(s page.Set) int64 {
	var n int64
	for _, r := range s.Ranges() {
		n += Pages(r)
	}
	return n
}

// Part is one piece of the key space, of about the size of an image layer.
type Part struct {
	// Keys run from the end of the part before, so that parts leave no hole: images of two neighbours cover
	// what lies between their live keys too, and deltas that reach over it can be collected.
	Keys page.Range
	// Live are the keys of it that exist, Pages how many.
	Live  page.Set
	Pages int64
}

// Partition cuts live keys greedily into parts of at most targetPages each, in order: a part ends before the
// range, or the piece of targetPages of a longer range, that would make it larger. Parts tile what lies
// from page.MinKey to the end of the last live key.
func Partition(live page.Set, targetPages int64) []Part {
	targetPages = min(max(targetPages, 1), math.MaxUint32-1)
	var parts []Part
	var ranges []page.Range
	var pages int64
	start := page.MinKey
	cut := func() {
		end := ranges[len(ranges)-1].End
		parts = append(parts, Part{page.Range{Start: start, End: end}, page.NewSet(ranges...), pages})
		start, ranges, pages = end, nil, 0
	}
	for _, r := range live.Ranges() {
		for !r.Empty() {
			piece := r
			size := Pages(r)
			if size > targetPages && size < math.MaxUint32 {
				piece.End, size = r.Start.Add(uint32(targetPages)), targetPages
			}
			if pages > 0 && pages+size > targetPages {
				cut()
			}
			ranges, pages = append(ranges, piece), pages+size
			r.Start = piece.End
		}
	}
	if len(ranges) > 0 {
		cut()
	}
	return parts
}

// SparsePart is the part of the metadata that follows parts: it begins where they end, and its live keys are
// unknown.
func SparsePart(parts []Part) Part {
	p := Part{Keys: SparseKeys}
	if n := len(parts); n > 0 {
		p.Keys.Start = parts[n-1].Keys.End
	} else {
		p.Keys.Start = page.MinKey
	}
	return p
}

// Boundary is the LSN at which images are made that look at L1 only: the newest LSN in a layer that is no
// L0, but not below the cutoff. Where that is nothing above the timeline's beginning it is
// DiskConsistentLSN, and it is never above that, so that no image holds what a crash would lose.
func Boundary(s *Snapshot) page.LSN {
	at := s.Cutoff
	for i := range s.Layers {
		if l := &s.Layers[i]; !l.L0() {
			at = max(at, l.Last())
		}
	}
	if at <= max(s.InitialLSN, s.AncestorLSN) {
		at = s.DiskConsistentLSN
	}
	return min(at, s.DiskConsistentLSN)
}
