package partitioned

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// The index gives what a look at all layers does.
func TestByRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := func() page.Range {
			a := rapid.IntRange(0, 20).Draw(t, "from")
			return page.Range{Start: block(1, uint32(a)), End: block(1, uint32(rapid.IntRange(a+1, 21).Draw(t, "to")))}
		}
		lsns := func() page.LSNRange {
			a := rapid.Uint64Range(1, 9).Draw(t, "since")
			return page.LSNRange{Start: page.LSN(a), End: page.LSN(rapid.Uint64Range(a+1, 10).Draw(t, "until"))}
		}
		s := &compaction.Snapshot{}
		for range rapid.IntRange(0, 40).Draw(t, "layers") {
			s.Layers = append(s.Layers, compaction.Layer{ID: compaction.ID{Keys: keys(), LSNs: lsns(), Image: rapid.Bool().Draw(t, "image")}})
		}
		asked := compaction.Rect{Keys: keys(), LSNs: lsns()}
		var want, got []int
		for i := range s.Layers {
			if l := &s.Layers[i]; !l.Image && l.Rect().Overlaps(asked) {
				want = append(want, i)
			}
		}
		newByRange(s).overlapping(asked, func(i int) { got = append(got, i) })
		slices.Sort(got)
		require.Equal(t, want, got)
	})
}
