package partitioned

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

func block(rel, n uint32) page.Key { return page.RelTag{Spc: 1663, DB: 5, Rel: rel}.Block(n) }

// cutAll runs a cutter over entries.
func cutAll(c compaction.Cutter, entries []compaction.Entry) (out []compaction.Rect) {
	emit := func(r compaction.Rect) { out = append(out, r) }
	for _, e := range entries {
		c.Add(e, emit)
	}
	c.Finish(emit)
	return out
}

// TestRoundCutTiles: the outputs tile the rectangle, none has all keys, each entry is in one of them, none is much larger than
// wanted, and none but the last of a run of keys much smaller.
func TestRoundCutTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := page.FullRange
		if rapid.Bool().Draw(t, "narrow") {
			keys = page.Range{Start: block(1, 0), End: block(9, 0)}
		}
		lsns := page.LSNRange{Start: 100, End: 100 + page.LSN(rapid.IntRange(1, 50).Draw(t, "lsns"))}
		const target = 1000
		var entries []compaction.Entry
		rels := rapid.IntRange(1, 8).Draw(t, "rels") // the fewer the larger are keys
		for range rapid.IntRange(0, 200).Draw(t, "entries") {
			entries = append(entries, compaction.Entry{
				Key:  block(uint32(rapid.IntRange(1, rels).Draw(t, "rel")), uint32(rapid.IntRange(0, 5).Draw(t, "block"))),
				LSN:  lsns.Start + page.LSN(rapid.IntRange(0, int(lsns.End-lsns.Start)-1).Draw(t, "lsn")),
				Size: int64(rapid.IntRange(1, 400).Draw(t, "size")),
			})
		}
		slices.SortFunc(entries, func(a, b compaction.Entry) int {
			if c := a.Key.Compare(b.Key); c != 0 {
				return c
			}
			return int(a.LSN) - int(b.LSN)
		})
		entries = slices.CompactFunc(entries, func(a, b compaction.Entry) bool { return a.Key == b.Key && a.LSN == b.LSN })
		rects := cutAll(roundCut(&compaction.Snapshot{}, compaction.Rect{Keys: keys, LSNs: lsns}, target)(), entries)

		at, lsn := keys.Start, lsns.Start
		for i, r := range rects {
			require.Equal(t, at, r.Keys.Start, "no key is left out")
			require.Equal(t, lsn, r.LSNs.Start, "no LSN of a key is left out")
			require.False(t, r.Keys.Empty() || r.LSNs.Empty() || r.Keys == page.FullRange)
			if lsn = r.LSNs.End; lsn == lsns.End {
				at, lsn = r.Keys.End, lsns.Start
			} else {
				require.Equal(t, r.Keys.Start.Next(), r.Keys.End, "only a single key is cut by LSN")
			}
			var size, biggest int64
			for _, e := range entries {
				if r.Keys.Contains(e.Key) && r.LSNs.Contains(e.LSN) {
					size, biggest = size+e.Size, max(biggest, e.Size)
				}
			}
			var ofKey int64 // of the largest key
			for _, e := range entries {
				var n int64
				for _, o := range entries {
					if r.Keys.Contains(e.Key) && o.Key == e.Key && r.LSNs.Contains(o.LSN) {
						n += o.Size
					}
				}
				ofKey = max(ofKey, n)
			}
			require.LessOrEqual(t, size, int64(3*target/2)+ofKey, "output %d", i)
			whole := func(r compaction.Rect) bool { return r.LSNs == lsns }
			if i < len(rects)-2 && whole(r) && whole(rects[i+1]) { // no key follows that is cut by LSN, nor the end
				require.GreaterOrEqual(t, 2*size, int64(target), "output %d", i)
			}
		}
		require.Equal(t, keys.End, at, "the last output ends where the rectangle does")
	})
}

// TestRoundCutsRecur: layers of the same keys, cut on their own, have their ends in common.
func TestRoundCutsRecur(t *testing.T) {
	run := func(step, size int) map[page.Key]bool {
		var entries []compaction.Entry
		for b := 0; b < 1<<14; b += step {
			entries = append(entries, compaction.Entry{Key: block(7, uint32(b)), LSN: 10, Size: int64(size)})
		}
		ends := map[page.Key]bool{}
		for _, r := range cutAll(roundCut(&compaction.Snapshot{}, compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: 1, End: 20}}, 100_000)(), entries) {
			ends[r.Keys.End] = true
		}
		return ends
	}
	// Twelve different densities: 82 to 116 bytes a block.
	all := map[page.Key]int{}
	for i := range 12 {
		for k := range run(1+i%3, (82+3*i)*(1+i%3)) {
			all[k]++
		}
	}
	recur := 0
	for _, n := range all {
		if n >= 6 {
			recur++
		}
	}
	require.GreaterOrEqual(t, recur, len(all)/2, "%d ends of %d recur: %v", recur, len(all), all)
}

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		a, b, cut page.Key
		round     int
	}{
		{block(7, 5), block(7, 6), block(7, 6), 1},
		{block(7, 5), block(7, 9), block(7, 8), 3},
		{block(7, 100), block(7, 200), block(7, 128), 7},
		{block(7, 100), block(8, 3), block(8, 0), relationRound},
	} {
		k, round := between(c.a, c.b)
		require.Equal(t, c.cut, k)
		require.Equal(t, c.round, round)
	}
}

// TestGiantKeyIsCutByLSN: a key of which there is more than an output holds has outputs of its own, that leave no LSN out.
func TestGiantKeyIsCutByLSN(t *testing.T) {
	var entries []compaction.Entry
	entries = append(entries, compaction.Entry{Key: block(1, 1), LSN: 5, Size: 100})
	for i := range 100 {
		entries = append(entries, compaction.Entry{Key: block(1, 2), LSN: page.LSN(10 + i), Size: 100})
	}
	entries = append(entries, compaction.Entry{Key: block(1, 3), LSN: 5, Size: 100})
	rects := cutAll(roundCut(&compaction.Snapshot{}, compaction.Rect{Keys: page.Range{Start: block(1, 0), End: block(1, 9)}, LSNs: page.LSNRange{Start: 1, End: 200}}, 2500)(), entries)
	require.Len(t, rects, 6)
	for _, r := range rects[1:5] {
		require.Equal(t, page.Range{Start: block(1, 2), End: block(1, 3)}, r.Keys)
	}
	require.Equal(t, page.LSN(1), rects[1].LSNs.Start)
	require.Equal(t, page.LSN(200), rects[4].LSNs.End)
}

// TestRoundestPlace: an output ends at the roundest key among those at which it has from one half to three halves of what is wanted.
func TestRoundestPlace(t *testing.T) {
	type entry struct {
		rel, block uint32
		size       int64
	}
	even := func(from, to uint32) (all []entry) {
		for b := from; b < to; b++ {
			all = append(all, entry{1, b, 10})
		}
		return all
	}
	for _, c := range []struct {
		name    string
		entries []entry
		first   page.Key // where the first output ends
	}{
		{"just a half", even(11, 40), block(1, 16)},
		{"less than a half is too little", even(15, 40), block(1, 24)},
		{"just three halves", even(17, 60), block(1, 32)},
		{"more than three halves is too much", even(16, 60), block(1, 24)},
		{"a large page before a rounder key does not count", append(even(11, 23), entry{1, 23, 200}, entry{1, 32, 10}, entry{1, 33, 10}), block(1, 16)},
		{"nothing else is there", []entry{{1, 5, 10}, {1, 6, 400}, {1, 9, 10}, {1, 16, 10}}, block(1, 8)},
		{"of relations the last", []entry{{1, 5, 60}, {2, 5, 60}, {3, 1, 60}, {3, 2, 60}}, block(3, 0)},
	} {
		var entries []compaction.Entry
		for _, e := range c.entries {
			entries = append(entries, compaction.Entry{Key: block(e.rel, e.block), LSN: 10, Size: e.size})
		}
		rect := compaction.Rect{Keys: page.Range{Start: block(1, 0), End: block(9, 0)}, LSNs: page.LSNRange{Start: 1, End: 20}}
		out := cutAll(roundCut(&compaction.Snapshot{}, rect, 100)(), entries)
		require.Equal(t, c.first, out[0].Keys.End, "%s: %v", c.name, out)
	}
}
