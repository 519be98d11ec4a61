package compaction

import (
	"testing"

	"github.com/stratapg/strata/page"
	"github.com/stretchr/testify/require"
)

// TestImagesLeaveNoHole: an image begins where the one before it ended within the same stretch without live keys, and where no image or only
// one of live keys ended before, where it is wanted.
func TestImagesLeaveNoHole(t *testing.T) {
	between := func(a, b uint32) page.Range { return page.Range{Start: page.Key{F6: a}, End: page.Key{F6: b}} }
	live := page.NewSet(between(10, 20), between(30, 40))
	beyond := page.Key{F1: SparseKeys.End.F1 + 1}
	for _, c := range []struct {
		says        string
		images      []page.Range
		start, want page.Key
	}{
		{"no image ended", nil, page.Key{F6: 30}, page.Key{F6: 30}},
		{"one ended with the live keys", []page.Range{between(10, 20)}, page.Key{F6: 30}, page.Key{F6: 20}},
		{"one ended behind them", []page.Range{between(10, 25)}, page.Key{F6: 30}, page.Key{F6: 25}},
		{"one ended among them", []page.Range{between(10, 15)}, page.Key{F6: 30}, page.Key{F6: 30}},
		{"one goes as far", []page.Range{between(10, 30)}, page.Key{F6: 30}, page.Key{F6: 30}},
		{"others go as far together", []page.Range{between(10, 25), between(24, 30)}, page.Key{F6: 30}, page.Key{F6: 30}},
		{"an image lies within", []page.Range{between(10, 20), between(22, 24)}, page.Key{F6: 28}, page.Key{F6: 20}},
		{"begin of the key space", nil, page.Key{F6: 5}, page.MinKey},
		{"among live keys", []page.Range{between(10, 12)}, page.Key{F6: 15}, page.Key{F6: 15}},
		{"at their end", []page.Range{between(10, 15)}, page.Key{F6: 20}, page.Key{F6: 20}},
		{"behind metadata", []page.Range{{Start: SparseKeys.Start, End: SparseKeys.End}}, beyond, SparseKeys.End},
		{"behind metadata without an image", nil, beyond, beyond},
	} {
		s := &Snapshot{Live: live, DiskConsistentLSN: 100}
		for _, keys := range c.images {
			s.Layers = append(s.Layers, Layer{ID: ID{Keys: keys, LSNs: page.LSNRange{Start: 8, End: 9}, Image: true}})
			// A delta closes no hole.
			s.Layers = append(s.Layers, Layer{ID: ID{Keys: page.FullRange, LSNs: page.LSNRange{Start: 9, End: 17}}})
		}
		require.Equal(t, c.want, ImageStart(s, c.start), c.says)
		err := CheckJob(s, &Job{Kind: Image, Rect: Rect{Keys: page.Range{Start: c.start, End: page.MaxKey}, LSNs: page.LSNRange{Start: 16, End: 17}}})
		if c.want == c.start {
			require.NoError(t, err, c.says)
		} else {
			require.ErrorContains(t, err, "hole", c.says)
		}
	}
}
