package compaction

import (
	"fmt"

	"github.com/stratapg/strata/page"
)

// Tile gives, for each rectangle that a job's cutter has given, the piece of the job's rectangle that its output
// answers for (Output.Rect). Pieces tile rect: each also has the keys without entries before it, the last those behind it too, and
// likewise the LSNs where a key is cut in several. What breaks the rules of a Cutter is an error.
func Tile(rect Rect, cuts []Rect) ([]Rect, error) {
	tiles := make([]Rect, 0, max(len(cuts), 1))
	from := rect.Keys.Start
	for i := 0; i < len(cuts); {
		c := cuts[i]
		n := i + 1
		for n < len(cuts) && cuts[n].Keys == c.Keys {
			n++
		}
		if c.Keys.Empty() || c.Keys.Start.Less(from) || rect.Keys.End.Less(c.Keys.End) {
			return nil, fmt.Errorf("cutter of %s gave %s after keys up to %s", rect, c, from)
		}
		if one := c.Keys.Start.Next() == c.Keys.End; n-i > 1 && !one {
			return nil, fmt.Errorf("cutter of %s gave %d outputs of keys %s, which are not one key", rect, n-i, c.Keys)
		}
		keys := page.Range{Start: from, End: c.Keys.End}
		if n == len(cuts) {
			keys.End = rect.Keys.End
		}
		low := rect.LSNs.Start
		for k := i; k < n; k++ {
			lsns := cuts[k].LSNs
			if lsns.Empty() || lsns.Start < low || lsns.End > rect.LSNs.End {
				return nil, fmt.Errorf("cutter of %s gave %s after LSNs up to %s", rect, cuts[k], low)
			}
			piece := page.LSNRange{Start: low, End: lsns.End}
			if k == n-1 {
				piece.End = rect.LSNs.End
			}
			tiles = append(tiles, Rect{keys, piece})
			low = piece.End
		}
		from, i = keys.End, n
	}
	if len(tiles) == 0 {
		tiles = append(tiles, rect)
	}
	return tiles, nil
}
