package tiered

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

const cutTarget = 100

var cutLSNs = page.LSNRange{Start: 5, End: 200}

// simpleKey is all that there is of one key.
type simpleKey struct {
	keys page.Range
	size int64
	cuts []page.LSN // of more than fits one output
}

// simpleKeys is the rule for keys, with all entries at hand.
func simpleKeys(all []compaction.Entry) (keys []simpleKey) {
	var piece int64
	for i, e := range all {
		if i == 0 || all[i-1].Key != e.Key {
			keys, piece = append(keys, simpleKey{keys: page.Range{Start: e.Key, End: e.Key.Next()}}), 0
		}
		k := &keys[len(keys)-1]
		if piece > 0 && piece+e.Size > cutTarget {
			k.cuts, piece = append(k.cuts, e.LSN), 0
		}
		piece += e.Size
		k.size += e.Size
	}
	return keys
}

// simpleCuts is the rule for outputs: each takes keys until it has the target or more, and the last, before a key that is cut too, what
// is left if that makes it less than a quarter larger.
func simpleCuts(keys []simpleKey) (out []compaction.Rect) {
	for i := 0; i < len(keys); {
		if k := &keys[i]; len(k.cuts) > 0 {
			from := cutLSNs.Start
			for _, at := range append(k.cuts, cutLSNs.End) {
				out = append(out, compaction.Rect{Keys: k.keys, LSNs: page.LSNRange{Start: from, End: at}})
				from = at
			}
			i++
			continue
		}
		end := i
		for end < len(keys) && len(keys[end].cuts) == 0 {
			end++
		}
		var size, left int64
		n := i
		for ; n < end && size < cutTarget; n++ {
			size += keys[n].size
		}
		for _, k := range keys[n:end] {
			left += k.size
		}
		if size+left < cutTarget+cutTarget/4 {
			n = end
		}
		out = append(out, compaction.Rect{Keys: page.Range{Start: keys[i].keys.Start, End: keys[n-1].keys.End}, LSNs: cutLSNs})
		i = n
	}
	return out
}

// TestCutter compares the stream with the rule.
func TestCutter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []compaction.Entry
		k := 0
		for range rapid.IntRange(0, 60).Draw(t, "keys") {
			k += rapid.IntRange(1, 3).Draw(t, "step")
			lsn := page.LSN(10)
			for range rapid.SampledFrom([]int{1, 1, 2, 3, 30}).Draw(t, "entries") {
				size := rapid.IntRange(1, 20).Draw(t, "size")
				if rapid.IntRange(0, 20).Draw(t, "is large") == 0 {
					size += cutTarget // more than an output by itself
				}
				all = append(all, compaction.Entry{Key: page.Key{F1: 1, F6: uint32(k)}, LSN: lsn, Size: int64(size)})
				lsn += page.LSN(rapid.IntRange(1, 3).Draw(t, "lsns"))
			}
		}
		var out []compaction.Rect
		emit := func(r compaction.Rect) { out = append(out, r) }
		c := compaction.Cutter(&cutter{lsns: cutLSNs, target: cutTarget})
		for _, e := range all {
			c.Add(e, emit)
		}
		c.Finish(emit)
		require.Equal(t, simpleCuts(simpleKeys(all)), out)
	})
}
