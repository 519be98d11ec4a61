package layer

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// TestLimitGivesTheSameInSteps reads a range in windows of any size, with layers that give their values in
// any order of keys, and compares with a read without a limit.
func TestLimitGivesTheSameInSteps(t *testing.T) {
	type value struct {
		key  page.Key
		lsn  page.LSN
		init bool
		size int
	}
	rapid.Check(t, func(t *rapid.T) {
		var layers [][]value // newest first
		for l := range rapid.IntRange(1, 4).Draw(t, "layers") {
			var vs []value
			for k := range uint32(20) {
				for v := range rapid.IntRange(0, 3).Draw(t, "values") {
					vs = append(vs, value{page.Key{F6: k}, page.LSN(1000 - l*10 - v), rapid.Bool().Draw(t, "init"), rapid.IntRange(0, 300).Draw(t, "size")})
				}
			}
			if rapid.Bool().Draw(t, "shuffle") {
				vs = rapid.Permutation(vs).Draw(t, "order")
			}
			layers = append(layers, vs)
		}
		read := func(keys page.Set, limit, perKey int) (map[page.Key][]page.LSN, page.Key, int) {
			c := NewCollector(keys, 1000)
			defer c.Release()
			c.Limit(limit, perKey)
			for _, vs := range layers {
				open := c.Open()
				for _, v := range vs {
					if open.Contains(v.key) {
						c.Add(v.key, v.lsn, false, v.init, make([]byte, v.size))
					}
				}
			}
			out := map[page.Key][]page.LSN{}
			for k, found := range c.Results() {
				require.True(t, k.Less(c.Bound()))
				for _, f := range found {
					out[k] = append(out[k], f.LSN)
				}
			}
			return out, c.Bound(), c.Len()
		}
		all := page.NewSet(page.Range{Start: page.Key{}, End: page.Key{F6: 20}})
		want, bound, _ := read(all, 0, 0)
		require.Equal(t, page.MaxKey, bound)
		limit := rapid.IntRange(1, 4000).Draw(t, "limit")
		perKey := rapid.IntRange(0, 500).Draw(t, "perKey")
		got := map[page.Key][]page.LSN{}
		for rest := all; !rest.Empty(); {
			part, bound, n := read(rest, limit, perKey)
			for k, v := range part {
				require.NotContains(t, got, k)
				got[k] = v
			}
			require.True(t, n > 0 || bound == page.MaxKey, "a step that gets nowhere")
			rest = rest.Intersect(page.Range{Start: bound, End: page.MaxKey})
		}
		require.Equal(t, want, got)
	})
}
