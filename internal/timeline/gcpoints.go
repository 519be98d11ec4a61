package timeline

import (
	"cmp"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// addChild notes a branch. It stays noted when it is closed: its manifest is still there.
func (t *Timeline) addChild(c *Timeline) {
	t.kept.mu.Lock()
	defer t.kept.mu.Unlock()
	if !slices.Contains(t.kept.mu.children, c) {
		t.kept.mu.children = append(t.kept.mu.children, c)
	}
}

func (t *Timeline) branches() []*Timeline {
	t.kept.mu.Lock()
	defer t.kept.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.kept.mu.children), func(c *Timeline) bool { return c.ancestor() != t })
}

// readPoints gives the LSNs, in ascending order and each once, at which reads are served even below the cutoff: of
// leases, of work that runs, and of branches. What can be held or branched off later lies at the cutoff or above. So
// a plan made of a cutoff and the points that were asked for after it stays right.
func (t *Timeline) readPoints() []compaction.ReadPoint {
	released := map[page.LSN]page.Set{}
	for _, lsn := range t.heldLSNs() {
		released[lsn] = page.Set{}
	}
	for _, lsn := range t.absent() {
		released[lsn] = page.Set{}
	}
	for _, c := range t.branches() {
		c.addPointsBelow(c.from().lsn, released)
	}
	out := make([]compaction.ReadPoint, 0, len(released))
	for lsn, keys := range released {
		out = append(out, compaction.ReadPoint{LSN: lsn, Released: keys.Ranges()})
	}
	slices.SortFunc(out, func(a, b compaction.ReadPoint) int { return cmp.Compare(a.LSN, b.LSN) })
	return out
}

// addPointsBelow adds what a branch needs of the ancestor at lsn, and what those need that come to the ancestor below it:
// what branched from the branch, or from a branch of it and so on, at an LSN below the beginnings of all between.
// A key counts as released at an LSN only if nobody there needs it.
func (t *Timeline) addPointsBelow(lsn page.LSN, released map[page.LSN]page.Set) {
	keys := t.covered()
	if other, there := released[lsn]; there {
		keys = intersect(keys, other)
	}
	released[lsn] = keys
	t.addBranchesBelow(lsn, released)
}

// addBranchesBelow adds the points below lsn of a branch's branches. One that begins at lsn or above is passed over, but
// not what branched from it: that may begin below.
func (t *Timeline) addBranchesBelow(lsn page.LSN, released map[page.LSN]page.Set) {
	for _, c := range t.branches() {
		if at := c.from().lsn; at < lsn {
			c.addPointsBelow(at, released)
		} else {
			c.addBranchesBelow(lsn, released)
		}
	}
}

// covered gives the keys for which no read of a branch, now or later, comes to its ancestor at the branch LSN: those
// that branches do not inherit, and those of its images at or below all that can be read of its own history, also once the
// local disk is lost and remote storage has to do. An image layer tells of every key in its range, of absent ones too. What
// the view has is durable.
func (t *Timeline) covered() page.Set {
	lowest := t.surelyFrom()
	for _, p := range t.readPoints() {
		if p.LSN >= t.from().initial && !releasedAll(p) {
			lowest = min(lowest, p.LSN)
		}
	}
	ranges := []page.Range{page.NotInherited}
	for _, run := range t.view.Load().layers.ImageCoverage(page.FullRange, lowest+1) {
		if !run.Image.None() && t.surely(run.Image.Desc()) {
			ranges = append(ranges, run.Keys)
		}
	}
	return page.NewSet(ranges...)
}

// intersect gives the keys in both.
func intersect(a, b page.Set) page.Set {
	var out []page.Range
	x, y := a.Ranges(), b.Ranges()
	for len(x) > 0 && len(y) > 0 {
		if r := x[0].Intersect(y[0]); !r.Empty() {
			out = append(out, r)
		}
		if x[0].End.Less(y[0].End) {
			x = x[1:]
		} else {
			y = y[1:]
		}
	}
	return page.NewSet(out...)
}

// releasedAll reports whether nobody reads any key at a point.
func releasedAll(p compaction.ReadPoint) bool {
	return len(p.Released) == 1 && p.Released[0].Covers(page.FullRange)
}
