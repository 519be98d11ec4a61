package stack_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

const keys = 24

func key(n int) page.Key { return page.Key{F3: uint32(n / 9), F5: uint8(n / 3 % 3), F6: uint32(n % 3)} }

// TestSweep compares with counting at each key by itself.
func TestSweep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := make([]stack.Item, rapid.IntRange(0, 20).Draw(t, "items"))
		for i := range items {
			from := rapid.IntRange(0, keys).Draw(t, "from")
			to := rapid.IntRange(0, keys).Draw(t, "to") // none, if not above from
			items[i] = stack.Item{
				Keys:  page.Range{Start: key(from), End: key(to)},
				End:   page.LSN(rapid.IntRange(1, 8).Draw(t, "end")),
				Image: rapid.Bool().Draw(t, "image"), Records: rapid.IntRange(0, 9).Draw(t, "records"),
			}
		}
		seen := map[int]stack.Stretch{}
		var reach page.Key
		stack.Sweep(items, func(s stack.Stretch) {
			require.False(t, s.Keys.Start.Less(reach), "stretches ascend")
			require.False(t, s.Keys.Empty())
			reach = s.Keys.End
			for k := range keys {
				if s.Keys.Contains(key(k)) {
					seen[k] = s
				}
			}
		})
		for k := range keys {
			height, records, image, some := count(items, key(k))
			s, visited := seen[k]
			require.Equal(t, some, visited, "key %d", k)
			if some {
				require.Equal(t, height, s.Height, "key %d", k)
				require.Equal(t, records, s.Records, "key %d", k)
				require.Equal(t, image < 0, s.Image < 0, "key %d", k)
				if image >= 0 {
					require.Equal(t, items[image].End, items[s.Image].End)
				}
			}
		}
	})
}

// count does for one key what Sweep does for all.
func count(items []stack.Item, k page.Key) (height, records, image int, some bool) {
	image = -1
	for i, x := range items {
		if x.Keys.Contains(k) {
			some = true
			if x.Image && (image < 0 || items[image].End < x.End) {
				image = i
			}
		}
	}
	for _, x := range items {
		if x.Keys.Contains(k) && !x.Image && (image < 0 || x.End > items[image].End) {
			height++
			records += x.Records
		}
	}
	return height, records, image, some
}
