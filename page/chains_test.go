package page_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// TestChains compares with the keys themselves: no key is said to have fewer records than it has, none that is far from any
// long one more, and there are never too many stretches.
func TestChains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c page.ChainCounter
		had := map[page.Key]int{}
		k := page.Key{F4: 1}
		most := 0
		for range rapid.IntRange(0, 400).Draw(t, "keys") {
			if rapid.IntRange(0, 20).Draw(t, "relation") == 0 {
				k.F4, k.F6 = k.F4+1, 0
			}
			k.F6 += uint32(rapid.SampledFrom([]int{1, 1, 2, 1000}).Draw(t, "gap"))
			n := rapid.SampledFrom([]int{0, 1, 1, 2, 3, 16, 5000}).Draw(t, "records")
			c.Add(k, n)
			had[k] = n
			most = max(most, n)
		}
		got := c.Chains()
		require.LessOrEqual(t, len(got.Long), page.MaxChains)
		require.Equal(t, most, got.Most(), "nothing is longer than the longest")
		for i, x := range got.Long {
			require.False(t, x.Keys.Empty())
			require.True(t, i == 0 || !x.Keys.Start.Less(got.Long[i-1].Keys.End))
		}
		longs := 0
		for k, n := range had {
			told := got.Rest
			for _, x := range got.Long {
				if x.Keys.Contains(k) {
					told = x.Records
				}
			}
			require.LessOrEqual(t, n, told, "%s", k)
			if n > 1 {
				longs++
			}
		}
		if longs <= page.MaxChains { // nothing had to be joined
			require.LessOrEqual(t, got.Rest, 1)
			for _, x := range got.Long {
				require.Equal(t, x.Records, had[x.Keys.Start])
			}
		}
	})
}
