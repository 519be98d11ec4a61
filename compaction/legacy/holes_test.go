package legacy

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// TestHoles: a hole is worth a cut if it is wide and reaches over three stretches or more of which each has one newest image, or none; not
// behind metadata, which lie far apart.
func TestHoles(t *testing.T) {
	image := func(from, to int, at page.LSN) compaction.Layer {
		return compaction.Layer{ID: compaction.ID{Keys: page.Range{Start: key(from), End: key(to)}, LSNs: page.LSNRange{Start: at, End: at + 1}, Image: true}}
	}
	s := &compaction.Snapshot{Layers: []compaction.Layer{
		image(10, 20, 5), image(20, 30, 7), image(15, 25, 3), image(40, 50, 5), image(50, 60, 5),
		{ID: compaction.ID{Keys: page.FullRange, LSNs: page.LSNRange{Start: 1, End: 9}}},
	}}
	h := holesIn(s, 5*pageBytes, 4)
	require.Equal(t, []page.Key{key(10), key(20), key(30), key(40), key(50), key(60)}, h.borders, "where another image is the newest, or none")
	require.EqualValues(t, 5, h.width)
	require.Equal(t, 4, h.most)
	for _, c := range []struct{ from, to, rank int }{
		{0, 100, 7}, {10, 100, 6}, {0, 60, 6}, {11, 35, 3}, {11, 30, 0}, {21, 29, 0}, {0, 20, 0}, {0, 21, 3}, {28, 42, 3}, {70, 100, 0},
	} {
		require.Equal(t, c.rank, h.rank(key(c.from), key(c.to)), "%d to %d", c.from, c.to)
	}
	require.Zero(t, (&holes{width: 200, borders: h.borders}).rank(key(0), key(100)), "it is not wide enough")
	metadata := compaction.SparseKeys.Start
	h.borders = []page.Key{metadata.Add(10), metadata.Add(20), metadata.Add(30)}
	require.Equal(t, 4, h.rank(metadata, metadata.Add(100)), "what comes before is a page")
	require.Zero(t, h.rank(metadata.Next(), metadata.Add(100)))
	require.Zero(t, (&holes{}).rank(key(0), key(100)))
}

// TestCutterInLittleRoom: with room for a few grains cuts fall a little earlier, but before the same holes, and large keys are cut at the
// same LSNs.
func TestCutterInLittleRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, h := drawEntries(t), drawHoles(t)
		c := newCutter(testLSNs, testTarget, h)
		c.grains.most = rapid.IntRange(2, 8).Draw(t, "room")
		out := runCutter(c, all)
		requireHeld(t, all, out)
		begins, single := map[page.Key]bool{}, map[compaction.Rect]bool{}
		for _, r := range out {
			begins[r.Keys.Start] = true
			single[r] = true
		}
		best := bestHoles(all, h)
		for i, r := range simpleCuts(all, h) {
			if one := r.Keys.Start.Next() == r.Keys.End; one && r.LSNs != testLSNs {
				require.True(t, single[r], "%s is a piece of a large key", r)
			}
			if i > 0 && best[r.Keys.Start] {
				require.True(t, begins[r.Keys.Start], "%s follows a hole", r.Keys.Start)
			}
		}
	})
}

// bestHoles are the keys behind holes that are cut at.
func bestHoles(all []compaction.Entry, h holes) map[page.Key]bool {
	none := h
	none.most = 0
	with, without := map[page.Key]bool{}, map[page.Key]bool{}
	for _, r := range simpleCuts(all, h) {
		with[r.Keys.Start] = true
	}
	for _, r := range simpleCuts(all, none) {
		without[r.Keys.Start] = true
	}
	best := map[page.Key]bool{}
	for i, e := range all {
		if i > 0 && all[i-1].Key != e.Key && with[e.Key] && !without[e.Key] && h.rank(all[i-1].Key.Next(), e.Key) > 0 {
			best[e.Key] = true
		}
	}
	return best
}
