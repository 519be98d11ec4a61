package layer

import (
	"fmt"
	"iter"

	"github.com/stratapg/strata/page"
)

// L0Stack is the deltas of one version of a map that span all keys, as they come from memory: ordered by
// LSN, immutable, cheap to append to. Every read above the images meets them all, so their Height is what
// compaction and back-pressure look at.
//
// A timeline writes them one upon another: each begins where the one below ends. The stack holds any set,
// since a read is right whatever they are and a timeline that comes from elsewhere must open, but Faults tells
// whoever opens a timeline where that order is broken. Overlaps come from a writer that was replaced and wrote
// WAL again; a gap, from a layer that was lost or compacted out of turn.
type L0Stack struct{ s stack }

// l0 reports whether the layer is a delta that spans all keys.
func (e *packed) l0() bool {
	return !e.image() && e.start() == mapKey{} && e.end() == packKey(page.MaxKey)
}

// Height gives the number of layers.
func (s L0Stack) Height() int { return int(s.s.n) }

// LSNs gives the span from the lowest start to the highest end; it is empty if the stack is.
func (s L0Stack) LSNs() page.LSNRange { return s.s.lsns() }

// Bytes gives the size of all files.
func (s L0Stack) Bytes() (n int64) {
	for e := range s.s.all() {
		n += int64(e.size & maxPackedSize)
	}
	return n
}

// All gives the layers newest first.
func (s L0Stack) All() iter.Seq[Desc] {
	return func(yield func(Desc) bool) {
		for e := range s.s.all() {
			if !yield(e.desc()) {
				return
			}
		}
	}
}

// Search gives the newest layer that starts below the exclusive LSN end.
func (s L0Stack) Search(end page.LSN) (Desc, bool) {
	if e := s.newest(end); e != nil {
		return e.desc(), true
	}
	return Desc{}, false
}

// newest is Search for any key but the highest, which is in no range.
func (s *L0Stack) newest(end page.LSN) *packed {
	if s.s.lo >= end {
		return nil
	}
	return s.s.newest(&mapKey{}, end, 0)
}

// L0Fault is a place where the stack is not contiguous.
type L0Fault struct {
	Below, Above Desc
	// LSNs are those that lie in both layers, or, of a gap, in neither.
	LSNs    page.LSNRange
	Overlap bool
}

// String says what is wrong.
func (f L0Fault) String() string {
	what := "leave out"
	if f.Overlap {
		what = "share"
	}
	return fmt.Sprintf("L0 layers %s and %s %s LSNs %s", f.Below, f.Above, what, f.LSNs)
}

// Faults gives, newest first, where two layers that follow each other overlap or leave a gap.
func (s L0Stack) Faults() (out []L0Fault) {
	var above *packed
	for e := range s.s.all() {
		if above != nil && e.hi != above.lo {
			f := L0Fault{Below: e.desc(), Above: above.desc(), LSNs: page.LSNRange{Start: e.hi, End: above.lo}}
			if f.LSNs.Empty() {
				f.Overlap = true
				f.LSNs = page.LSNRange{Start: max(e.lo, above.lo), End: e.hi}
			}
			out = append(out, f)
		}
		above = e
	}
	return out
}
