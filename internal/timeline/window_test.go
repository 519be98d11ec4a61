package timeline

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// TestCutterGivesEveryKeyOnce cuts any set of ranges, of blocks and of other keys, and puts it together again.
func TestCutterGivesEveryKeyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
		block := rapid.OneOf(rapid.Uint32Range(0, 2000), rapid.Uint32Range(math.MaxUint32-2000, math.MaxUint32))
		var ranges []page.Range
		for range rapid.IntRange(0, 20).Draw(t, "ranges") {
			r := rel
			r.Rel += rapid.Uint32Range(0, 3).Draw(t, "rel")
			a := r.Block(block.Draw(t, "start"))
			b := a.Next()
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				b = r.Block(block.Draw(t, "end"))
			case 1:
				b = r.Block(math.MaxUint32).Next()
			case 2:
				r.Rel++
				b = r.Block(block.Draw(t, "end"))
			}
			ranges = append(ranges, page.Range{Start: a, End: b})
		}
		set := page.NewSet(ranges...)
		before := set.String()
		c := cutter{ranges: set.Ranges(), keys: rapid.Uint64Range(1, 3000).Draw(t, "keys")}
		var got []page.Range
		last := page.MinKey
		for !c.empty() {
			part := c.next().Ranges()
			require.NotEmpty(t, part)
			total := uint64(0)
			for _, r := range part {
				require.False(t, r.Start.Less(last), "%s after %s", r, last)
				last = r.End
				n, ok := count(r)
				require.True(t, ok || len(part) == 1)
				total += n
			}
			require.LessOrEqual(t, total, c.keys)
			got = append(got, part...)
			c.keys = rapid.Uint64Range(1, 1<<33).Draw(t, "next keys")
		}
		require.Equal(t, before, page.NewSet(got...).String())
		require.Equal(t, before, set.String(), "the set was changed")
	})
}

func TestCount(t *testing.T) {
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	vm := rel.WithFork(page.ForkVM)
	for _, c := range []struct {
		r    page.Range
		want uint64
		ok   bool
	}{
		{page.Range{Start: rel.Block(3), End: rel.Block(10)}, 7, true},
		{page.Range{Start: rel.Block(0), End: rel.SizeKey()}, math.MaxUint32, true},
		{page.Range{Start: rel.Block(0), End: rel.SizeKey().Next()}, 1 << 32, true},
		{page.Range{Start: rel.Block(0), End: vm.Block(0)}, 0, false}, // the free space map lies between
		{page.Range{Start: rel.Block(0), End: page.MaxKey}, 0, false},
		{page.AuxRange, 0, false},
		{page.FullRange, 0, false},
	} {
		n, ok := count(c.r)
		require.Equal(t, c.ok, ok, c.r)
		if ok && c.want > 0 {
			require.Equal(t, c.want, n, c.r)
		}
	}
}
