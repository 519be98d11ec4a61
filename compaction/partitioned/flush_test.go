package partitioned

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// TestFlushTiles: dense parts get deltas of their own, if these are not too small; the delta of the rest ends behind the
// last page where there are no metadata, or a dense part has been cut out.
func TestFlushTiles(t *testing.T) {
	const cost, visits, dense = 1600, 4, 300 // a part is dense from three quarters of its cost, over the visits, on
	metadata := page.Key{F1: 0x62}
	parts := []part{
		{page.Range{Start: page.MinKey, End: block(1, 100)}, cost, true},
		{page.Range{Start: block(1, 100), End: block(1, 200)}, cost, true},
		{page.Range{Start: block(1, 200), End: block(1, 300)}, 1 << 30, true},
		{page.Range{Start: block(1, 300), End: sparse.Start}, cost, true},
		{sparse, cost, false},
	}
	type entry struct {
		key  page.Key
		size int64
	}
	for _, c := range []struct {
		name    string
		entries []entry
		borders []page.Key // between the deltas
	}{
		{"nothing is dense", []entry{{block(1, 5), 10}, {block(1, 150), dense - 1}}, []page.Key{block(1, 151)}},
		{"nothing is dense, and there are metadata", []entry{{block(1, 150), dense - 1}, {metadata, 10}}, nil},
		{"metadata alone", []entry{{metadata, 10}}, nil},
		{"a dense part", []entry{{block(1, 5), 10}, {block(1, 150), dense}, {block(1, 250), 10}}, []page.Key{block(1, 100), block(1, 200), block(1, 251)}},
		{"a dense part, and there are metadata", []entry{{block(1, 150), dense}, {block(1, 250), 10}, {metadata, 10}}, []page.Key{block(1, 100), block(1, 200), block(1, 251)}},
		{"two dense parts beside each other are one delta", []entry{{block(1, 5), dense}, {block(1, 150), dense}, {block(1, 250), 10}}, []page.Key{block(1, 200), block(1, 251)}},
		{"the last of the pages: what grows behind is not cut off", []entry{{block(1, 250), 10}, {block(1, 350), dense}}, []page.Key{block(1, 300), block(1, 351)}},
		{"metadata are dense", []entry{{block(1, 250), 10}, {metadata, dense}}, []page.Key{sparse.Start, sparse.End}},
		{"behind metadata too", []entry{{block(1, 250), 10}, {page.Key{F1: 0x80}, dense}}, []page.Key{sparse.Start, sparse.End}},
		{"a sixteenth of the bytes", []entry{{block(1, 150), dense}, {block(1, 250), 15 * dense}}, []page.Key{block(1, 100), block(1, 200), block(1, 251)}},
		{"less than that", []entry{{block(1, 150), dense}, {block(1, 250), 15*dense + 1}}, []page.Key{block(1, 251)}},
	} {
		lsns := page.LSNRange{Start: 5, End: 9}
		cutter := &tiles{parts: parts, bytes: make([]int64, len(parts)), lsns: lsns, visits: visits}
		var entries []compaction.Entry
		for _, e := range c.entries {
			entries = append(entries, compaction.Entry{Key: e.key, LSN: 5, Size: e.size})
		}
		var want []compaction.Rect
		from := page.MinKey
		for _, k := range append(c.borders, page.MaxKey) {
			want = append(want, compaction.Rect{Keys: page.Range{Start: from, End: k}, LSNs: lsns})
			from = k
		}
		require.Equal(t, want, cutAll(cutter, entries), c.name)
	}
}

// TestFiguresOfTheDesign are those that the design note gives.
func TestFiguresOfTheDesign(t *testing.T) {
	require.Equal(t, []int{14, 10, 3, 2, 2}, []int{trigger(16), trigger(12), trigger(4), trigger(3), trigger(1)}, "a sixth of the visits is left, at least one")
	require.Equal(t, []int{64, 16, 1, 1}, []int{perLayer(256), perLayer(64), perLayer(4), perLayer(1)}, "a quarter of the records in each layer")
	require.Equal(t, []int{160, 40, 1}, []int{recordsTrigger(256), recordsTrigger(64), recordsTrigger(1)}, "images at five eighths")
}
