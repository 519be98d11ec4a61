package layer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

// TestMapsCanBeEmptied removes all layers of a map in one step, and adds some again.
func TestMapsCanBeEmptied(t *testing.T) {
	for _, keys := range []page.Range{page.FullRange, {Start: page.MinKey, End: flatKey(7)}} {
		for _, n := range []int{1, maxLeaf, maxLeaf + 1, maxLeaf*maxKids + 1} {
			var ds []Desc
			for i := range n {
				lsns := page.LSNRange{Start: page.LSN(8 * (i + 1)), End: page.LSN(8 * (i + 2))}
				ds = append(ds, Desc{Keys: keys, LSNs: lsns, Size: 1})
			}
			m, err := NewMap(ds)
			require.NoError(t, err)
			m, err = m.Apply(nil, ds)
			require.NoError(t, err)
			require.Zero(t, m.Len())
			_, found := m.Find(ds[0])
			require.False(t, found)
			_, found = m.Search(page.MinKey, page.MaxLSN)
			require.False(t, found)
			m, err = m.Apply(ds, nil)
			require.NoError(t, err)
			require.Equal(t, n, m.Len())
		}
	}
}
