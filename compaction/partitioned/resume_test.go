package partitioned

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

func blocks(from, to uint32) page.Range { return page.Range{Start: block(1, from), End: block(1, to)} }

func delta(keys page.Range, from, to page.LSN, moved ...page.Range) compaction.Layer {
	return compaction.Layer{ID: compaction.ID{Keys: keys, LSNs: page.LSNRange{Start: from, End: to}, Generation: 1}, Size: 1000, Moved: moved}
}

// TestFinishesWhatOthersBegan: two merges were broken off at different heights, and other layers lie across what is left of
// them. Each is finished, with whatever would be in its way.
func TestFinishesWhatOthersBegan(t *testing.T) {
	rest := func(end uint32) []page.Range { return []page.Range{{Start: page.MinKey, End: block(1, end)}} }
	s := compaction.Snapshot{
		Generation: 1, InitialLSN: 1, Cutoff: 1, LastRecordLSN: 1000, DiskConsistentLSN: 999, LiveLSN: 1, Live: page.NewSet(blocks(0, 20)),
		Layers: []compaction.Layer{
			delta(page.FullRange, 100, 150, rest(5)...), delta(page.FullRange, 150, 200, rest(5)...), delta(blocks(0, 5), 100, 200), // of one
			delta(blocks(2, 9), 300, 400, blocks(2, 4)), delta(blocks(2, 4), 300, 400), // of another
			delta(blocks(5, 9), 200, 300), delta(blocks(4, 12), 390, 450), delta(blocks(0, 3), 200, 300),
		},
	}
	plan := New().Plan(&s)
	require.NoError(t, compaction.CheckPlan(&s, &plan))
	require.Len(t, plan.Jobs, 2)
	require.Equal(t, compaction.Rect{Keys: page.Range{Start: block(1, 5), End: page.MaxKey}, LSNs: page.LSNRange{Start: 100, End: 200}}, plan.Jobs[0].Rect)
	require.Equal(t, []int{0, 1}, plan.Jobs[0].Inputs)
	require.Equal(t, compaction.Rect{Keys: blocks(4, 9), LSNs: page.LSNRange{Start: 300, End: 450}}, plan.Jobs[1].Rect)
	require.Equal(t, []int{3, 6}, plan.Jobs[1].Inputs)
}

// TestImagesOfMetadataLeaveNoHole: another strategy's image ended with the live pages, and deltas of metadata are stacked
// high.
func TestImagesOfMetadataLeaveNoHole(t *testing.T) {
	s := compaction.Snapshot{
		Generation: 1, InitialLSN: 1, Cutoff: 1, LastRecordLSN: 1000, DiskConsistentLSN: 999, LiveLSN: 900, Live: page.NewSet(blocks(0, 20)),
		Options: compaction.Options{MaxVisits: 3},
		Layers:  []compaction.Layer{{ID: compaction.ID{Keys: page.Range{Start: page.MinKey, End: block(1, 20)}, LSNs: page.LSNRange{Start: 50, End: 51}, Image: true, Generation: 1}, Size: 1000}},
	}
	for i := range page.LSN(3) {
		l := delta(compaction.SparseKeys, 100*(i+1), 100*(i+2))
		l.Size = 1 << 30
		s.Layers = append(s.Layers, l)
	}
	plan := New().Plan(&s)
	require.NoError(t, compaction.CheckPlan(&s, &plan))
	require.NotEmpty(t, plan.Jobs)
	require.Equal(t, compaction.Image, plan.Jobs[0].Kind)
	require.Equal(t, block(1, 20), plan.Jobs[0].Rect.Keys.Start)
}
