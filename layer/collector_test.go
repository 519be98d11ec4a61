package layer

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// Layers that overlap give one unbroken chain, in whatever order they are asked: each gives what it has from the newest
// LSN down to the first value that initializes, and compaction has put images in the place of records in some of them. The
// lowest of them may be the only one that holds what is oldest.
func TestCollectorOfOverlappingLayers(t *testing.T) {
	type version struct {
		lsn  page.LSN
		init bool
	}
	rapid.Check(t, func(t *rapid.T) {
		top := page.LSN(rapid.IntRange(2, 12).Draw(t, "versions"))
		var layers [][]version // each newest first
		// One layer has all versions, others some of them once more.
		for n := range rapid.IntRange(1, 4).Draw(t, "layers") {
			from, to := page.LSN(1), top
			if n > 0 {
				from = page.LSN(rapid.IntRange(1, int(top)).Draw(t, "from"))
				to = page.LSN(rapid.IntRange(int(from), int(top)).Draw(t, "to"))
			}
			var l []version
			for lsn := to; lsn >= from; lsn-- {
				l = append(l, version{lsn, lsn == 1 || rapid.IntRange(0, 4).Draw(t, "image") == 0})
			}
			layers = append(layers, l)
		}
		c := NewCollector(page.SetOfKeys(modelKey(1)), top)
		defer c.Release()
		for _, n := range rapid.Permutation(seq(len(layers))).Draw(t, "order") {
			for _, v := range layers[n] {
				value := []byte("record")
				if v.init {
					value = []byte("image")
				}
				if c.Add(modelKey(1), v.lsn, false, v.init, value); v.init {
					break
				}
			}
		}
		require.True(t, c.Open().Empty())
		for _, found := range c.Results() {
			for i, f := range found {
				require.Equal(t, top-page.LSN(i), f.LSN, "a version is left out")
				require.Equal(t, i == len(found)-1, string(f.Value) == "image", "the chain ends with its first image")
			}
		}
	})
}

func seq(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}
