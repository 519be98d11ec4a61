package layer

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// clustered draws where most layers lie close together, and some far from them: nodes then keep these outside their digits.
func clustered(t *rapid.T) (near, far []Desc) {
	desc := func(rel uint32, block int, n int) Desc {
		k := page.RelTag{Spc: 1663, DB: 5, Rel: rel}.Block(uint32(block))
		return Desc{Keys: page.Range{Start: k, End: k.Next()}, LSNs: page.LSNRange{Start: page.LSN(8 * (n + 1)), End: page.LSN(8 * (n + 2))}, Size: 1}
	}
	for i := range rapid.IntRange(2*maxBucket, 6*maxBucket).Draw(t, "near") {
		near = append(near, desc(7, i, i%3))
	}
	for i := range rapid.IntRange(1, maxOutside+4).Draw(t, "far") {
		far = append(far, desc(1000+uint32(i)*70000, i, i%5))
	}
	return near, far
}

// TestMapsWithoutWhatWasNear removes what most of a map was about, in one step or in several: what is left is that of which
// nodes had taken little notice.
func TestMapsWithoutWhatWasNear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		near, far := clustered(t)
		m, err := NewMap(append(append([]Desc{}, near...), far...))
		require.NoError(t, err)
		for left := near; len(left) > 0; {
			n := rapid.SampledFrom([]int{len(left), len(left), 1 + len(left)/2}).Draw(t, "removed")
			m, err = m.Apply(nil, left[:n])
			require.NoError(t, err)
			left = left[n:]
			require.Equal(t, len(far)+len(left), m.Len())
			for _, d := range near[:len(near)-len(left)] {
				_, found := m.Find(d)
				require.False(t, found)
			}
			for _, d := range append(left, far...) {
				_, found := m.Find(d)
				require.True(t, found)
				hit, found := m.Search(d.Keys.Start, d.LSNs.End)
				require.True(t, found)
				require.Equal(t, d, hit.Desc())
			}
		}
		m, err = m.Apply(near, nil)
		require.NoError(t, err)
		require.Equal(t, len(far)+len(near), m.Len())
	})
}
