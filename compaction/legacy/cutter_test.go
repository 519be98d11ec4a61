package legacy

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

func key(n int) page.Key { return page.Key{F1: 1, F6: uint32(n)} }

// drawEntries gives entries in order, some keys of which are too large for one output.
func drawEntries(t *rapid.T) []compaction.Entry {
	var all []compaction.Entry
	k := 0
	for range rapid.IntRange(0, 60).Draw(t, "keys") {
		k += rapid.SampledFrom([]int{1, 1, 1, 2, 9, 40}).Draw(t, "step")
		lsn := page.LSN(10)
		for range rapid.SampledFrom([]int{1, 1, 2, 30}).Draw(t, "entries") {
			size := rapid.IntRange(1, 20).Draw(t, "size")
			if rapid.IntRange(0, 20).Draw(t, "is large") == 0 {
				size += testTarget // more than an output by itself
			}
			all = append(all, compaction.Entry{Key: key(k), LSN: lsn, Size: int64(size)})
			lsn += page.LSN(rapid.IntRange(1, 3).Draw(t, "lsns"))
		}
	}
	return all
}

var testLSNs = page.LSNRange{Start: 5, End: 200}

const testTarget = 100

// drawHoles gives images that begin and end at some keys.
func drawHoles(t *rapid.T) holes {
	h := holes{width: 5, most: rapid.IntRange(1, 4).Draw(t, "most")}
	for k := range 600 {
		if rapid.IntRange(0, 4).Draw(t, "border") == 0 {
			h.borders = append(h.borders, key(k))
		}
	}
	return h
}

// simpleCuts is the rule with all entries at hand: how Neon cuts, but for the first piece of a large key.
func simpleCuts(all []compaction.Entry, h holes) []compaction.Rect {
	type oneKey struct {
		key    page.Key
		size   int64
		pieces []page.LSN
		hole   int
	}
	var keys []*oneKey
	var piece int64
	for i, e := range all {
		if i == 0 || all[i-1].Key != e.Key {
			k := &oneKey{key: e.Key}
			if i > 0 {
				k.hole = h.rank(all[i-1].Key.Next(), e.Key)
			}
			keys, piece = append(keys, k), 0
		}
		k := keys[len(keys)-1]
		if piece > 0 && piece+e.Size > testTarget {
			k.pieces, piece = append(k.pieces, e.LSN), 0
		}
		piece += e.Size
		k.size += e.Size
	}
	ranked := slices.Clone(keys)
	slices.SortStableFunc(ranked, func(a, b *oneKey) int { return cmp.Compare(b.hole, a.hole) })
	cutAt := map[*oneKey]bool{}
	for _, k := range ranked[:min(h.most, len(ranked))] {
		cutAt[k] = k.hole > 0
	}
	var out []compaction.Rect
	var size int64
	grows := false
	for _, k := range keys {
		one := page.Range{Start: k.key, End: k.key.Next()}
		if len(k.pieces) > 0 {
			from := testLSNs.Start
			for _, at := range append(k.pieces, testLSNs.End) {
				out = append(out, compaction.Rect{Keys: one, LSNs: page.LSNRange{Start: from, End: at}})
				from = at
			}
			grows = false
			continue
		}
		if !grows || cutAt[k] || size+k.size > testTarget {
			out, size = append(out, compaction.Rect{Keys: one, LSNs: testLSNs}), 0
		}
		out[len(out)-1].Keys.End = one.End
		size += k.size
		grows = true
	}
	return out
}

func runCutter(c compaction.Cutter, all []compaction.Entry) (out []compaction.Rect) {
	emit := func(r compaction.Rect) { out = append(out, r) }
	for _, e := range all {
		c.Add(e, emit)
	}
	c.Finish(emit)
	return out
}

// TestCutter compares the stream with the rule.
func TestCutter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, h := drawEntries(t), drawHoles(t)
		require.Equal(t, simpleCuts(all, h), runCutter(newCutter(testLSNs, testTarget, h), all))
	})
}

// TestCutterMemory shows that a million keys behind a hole are held as a few thousand grains, and that outputs are nearly
// as large as they may be all the same.
func TestCutterMemory(t *testing.T) {
	const n, size, target = 1_000_000, 100, 20_000_000
	h := holes{width: 5, most: 1, borders: []page.Key{key(3), key(5), key(7)}}
	c := newCutter(testLSNs, target, h)
	var out []compaction.Rect
	held := 0
	emit := func(r compaction.Rect) { out = append(out, r) }
	c.Add(compaction.Entry{Key: key(1), LSN: 10, Size: size}, emit)
	for i := range n {
		c.Add(compaction.Entry{Key: key(10 + i), LSN: 10, Size: size}, emit)
		held = max(held, len(c.grains.all))
	}
	require.LessOrEqual(t, held, sketchGrains)
	c.Finish(emit)
	require.Len(t, out, 1+6)
	require.Equal(t, page.Range{Start: key(1), End: key(2)}, out[0].Keys)
	for _, r := range out[1:6] {
		bytes := int64(r.Keys.End.F6-r.Keys.Start.F6) * size
		require.LessOrEqual(t, bytes, int64(target))
		require.Greater(t, bytes, int64(target-target/100))
	}
}

// TestPainted compares with a plain slice.
func TestPainted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "cells")
		p, plain := newPainted(n), make([]bool, n)
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			from := rapid.IntRange(0, n).Draw(t, "from")
			to := rapid.IntRange(from, n).Draw(t, "to")
			require.Equal(t, slices.Contains(plain[from:to], true), p.any(from, to))
			if rapid.Bool().Draw(t, "add") {
				p.add(from, to)
				for i := from; i < to; i++ {
					plain[i] = true
				}
			}
		}
	})
}
