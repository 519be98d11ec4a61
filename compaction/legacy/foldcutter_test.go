package legacy

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// simpleFoldCuts is the rule with all entries at hand, where no name is taken.
func simpleFoldCuts(all []compaction.Entry, rect compaction.Rect, points []page.LSN, target int64) (out []compaction.Rect) {
	var size int64
	from := rect.Keys.Start
	for i := 0; i < len(all); {
		k := all[i].Key
		if i > 0 && size >= target {
			out = append(out, compaction.Rect{Keys: page.Range{Start: from, End: k}, LSNs: rect.LSNs})
			from, size = k, 0
		}
		sums := make([]int64, len(points)) // up to each point, and with the last all above
		for ; i < len(all) && all[i].Key == k; i++ {
			at := 0
			for at < len(points)-1 && points[at] < all[i].LSN {
				at++
			}
			sums[at] += all[i].Size
		}
		first := true
		for _, sum := range sums {
			switch {
			case sum == 0:
			case first && !k.Sparse():
				size += pageBytes
				first = false
			default:
				size += min(sum, pageBytes)
				first = false
			}
		}
	}
	if len(all) > 0 {
		out = append(out, compaction.Rect{Keys: page.Range{Start: from, End: rect.Keys.End}, LSNs: rect.LSNs})
	}
	return out
}

// TestFoldCutter compares the stream with the rule. Where outputs would have the names of layers that are there, or wait for their
// deletion, others tile the keys in their place, none of which has such a name; names of another generation stand in nobody's way.
func TestFoldCutter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawEntries(t)
		rect := compaction.Rect{Keys: page.Range{Start: key(0), End: key(9000)}, LSNs: testLSNs}
		if rapid.Bool().Draw(t, "metadata") {
			rect.Keys = page.Range{Start: page.Key{F1: 0x62}, End: page.Key{F1: 0x62, F6: 9000}}
			for i := range all {
				all[i].Key.F1 = 0x62
			}
		}
		for i := range all {
			all[i].Size *= 300
		}
		spec := &compaction.FoldSpec{Horizon: 60}
		for lsn := page.LSN(10); lsn < 60; lsn += page.LSN(rapid.IntRange(1, 60).Draw(t, "gap")) {
			spec.Retain = append(spec.Retain, lsn)
		}
		points := append(append([]page.LSN{}, spec.Retain...), spec.Horizon)
		target := int64(rapid.IntRange(1, 12).Draw(t, "target")) * pageBytes
		s := &compaction.Snapshot{Generation: 3}
		cut := func() []compaction.Rect { return runCutter(newFoldCutter(s, rect, spec, target), all) }
		usual := cut()
		require.Equal(t, simpleFoldCuts(all, rect, points, target), usual)

		taken := map[page.Range]bool{}
		take := func(r compaction.Rect, generation uint32) {
			id := compaction.ID{Keys: r.Keys, LSNs: page.LSNRange{Start: points[0] + 1, End: r.LSNs.End}, Generation: generation}
			if rapid.Bool().Draw(t, "image") {
				id.Image, id.LSNs = true, page.LSNRange{Start: points[0], End: points[0] + 1}
			}
			if rapid.Bool().Draw(t, "doomed") {
				s.Doomed = append(s.Doomed, id)
			} else {
				s.Layers = append(s.Layers, compaction.Layer{ID: id})
			}
		}
		for _, r := range usual {
			take(r, 2)
		}
		require.Equal(t, usual, cut(), "another generation's")
		for range 3 {
			for _, r := range cut() {
				if rapid.Bool().Draw(t, "take") {
					take(r, s.Generation)
					taken[r.Keys] = true
				}
			}
			at := rect.Keys.Start
			for _, r := range cut() {
				require.False(t, taken[r.Keys], "%s is taken", r.Keys)
				require.Equal(t, at, r.Keys.Start)
				require.Equal(t, rect.LSNs, r.LSNs)
				require.False(t, r.Keys.Empty())
				at = r.Keys.End
			}
			if len(all) > 0 {
				require.Equal(t, rect.Keys.End, at)
			}
		}
	})
}
