package legacy

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// TestCutterCoarse: told of small stretches at once, the cutter gives outputs in which every entry lies, a key's in one or in
// several of that key alone; they are as large as they may be, give or take a grain, and end before the same holes.
func TestCutterCoarse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, h := drawEntries(t), drawHoles(t)
		c := newCutter(testLSNs, testTarget, h)
		var out []compaction.Rect
		emit := func(r compaction.Rect) { out = append(out, r) }
		coarse := false
		for i := 0; i < len(all); {
			keys, size, n := page.Range{Start: all[i].Key, End: all[i].Key.Next()}, int64(0), i
			limit := i + rapid.IntRange(0, 20).Draw(t, "entries at once")
			for ; n < len(all) && (n < limit || n > i && all[n-1].Key == all[n].Key); n++ {
				size += all[n].Size
				keys.End = all[n].Key.Next()
			}
			if limit > i && size <= c.Grain()*10 && c.Whole(keys) {
				c.AddWhole(keys, size, emit)
				coarse, i = true, n
				continue
			}
			k := all[i].Key
			for ; i < len(all) && all[i].Key == k; i++ {
				c.Add(all[i], emit)
			}
		}
		c.Finish(emit)
		if !coarse {
			require.Equal(t, simpleCuts(all, h), out)
			return
		}
		requireHeld(t, all, out)
	})
}

// requireHeld demands that outputs are in order and that each entry lies in one.
func requireHeld(t *rapid.T, all []compaction.Entry, out []compaction.Rect) {
	for i := 1; i < len(out); i++ {
		a, b := out[i-1], out[i]
		ordered := !b.Keys.Start.Less(a.Keys.End) || a.Keys == b.Keys && a.Keys.Start.Next() == a.Keys.End && a.LSNs.End == b.LSNs.Start
		require.True(t, ordered, "%s, then %s", a, b)
	}
	sizes, entries := make([]int64, len(out)), make([]int, len(out))
	for _, e := range all {
		n := 0
		for i, r := range out {
			if r.Keys.Contains(e.Key) && r.LSNs.Contains(e.LSN) {
				sizes[i] += e.Size
				entries[i]++
				n++
			}
		}
		require.Equal(t, 1, n, "%s at %s", e.Key, e.LSN)
	}
	for i := range sizes {
		require.True(t, sizes[i] <= testTarget || entries[i] == 1, "what is told at once counts as it is")
		require.Positive(t, entries[i])
	}
}

// TestWholeHoles: keys with a hole that is worth a cut have to be looked at.
func TestWholeHoles(t *testing.T) {
	h := holes{width: 5, most: 1, borders: []page.Key{key(13), key(15), key(17)}}
	c := newCutter(testLSNs, testTarget, h)
	require.EqualValues(t, testTarget/32, c.Grain())
	require.True(t, c.Whole(page.Range{Start: key(1), End: key(14)}), "one border makes no hole of three stretches")
	require.False(t, c.Whole(page.Range{Start: key(1), End: key(20)}))
	require.True(t, c.Whole(page.Range{Start: key(20), End: key(90)}))
}
