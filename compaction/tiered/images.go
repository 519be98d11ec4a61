package tiered

import (
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// pageBytes is the size of a page.
const pageBytes = 8192

// tiles divides all keys into ranges with as many live keys as target each; the last takes up to a quarter more
// rather than leave a small one. They leave no hole, so that images of them make what is older removable.
func tiles(live page.Set, target int64) []page.Range {
	left := compaction.SetPages(live)
	c := cursor{ranges: live.Ranges()}
	var all []page.Range
	for start := page.MinKey; left > 0; left -= target {
		tile := page.Range{Start: start, End: page.MaxKey}
		if left <= target+target/stretch {
			return append(all, tile)
		}
		tile.End = c.advance(target)
		all = append(all, tile)
		start = tile.End
	}
	return all
}

// cursor is a place in a set of keys.
type cursor struct {
	ranges []page.Range
	skip   int64 // pages of the first range that lie before the place
}

// advance goes on by n keys, and gives the one after them.
func (c *cursor) advance(n int64) page.Key {
	end := page.MinKey
	for n > 0 && len(c.ranges) > 0 {
		r := c.ranges[0]
		if left := compaction.Pages(r) - c.skip; left <= n {
			n -= left
			end = r.End
			c.ranges, c.skip = c.ranges[1:], 0
			continue
		}
		c.skip += n
		end = r.Start.Add(uint32(c.skip))
		if r.End.Less(end) {
			end = r.End // its pages were too many to count
		}
		return end
	}
	return end
}
