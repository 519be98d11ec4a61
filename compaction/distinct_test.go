package compaction

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// given is a cutter that emits what it was given, at the end.
type given []Rect

func (given) Add(Entry, func(Rect)) {}
func (g given) Finish(emit func(Rect)) {
	for _, r := range g {
		emit(r)
	}
}

// Outputs have no name that is taken, tile what the cutter's did, and of a single key there are no more than before,
// unless there was one.
func TestDistinct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lsns := page.LSNRange{Start: 10, End: 10 + page.LSN(rapid.IntRange(2, 12).Draw(t, "lsns"))}
		var cuts given
		end := rapid.IntRange(1, 6).Draw(t, "keys")
		for k := 0; k < end; {
			if rapid.Bool().Draw(t, "sliced") {
				from := lsns.Start
				for from < lsns.End {
					to := from + page.LSN(rapid.IntRange(1, int(lsns.End-from)).Draw(t, "slice"))
					cuts = append(cuts, rect(uint32(k), uint32(k+1), from, to))
					from = to
				}
				k++
				continue
			}
			n := rapid.IntRange(1, end-k).Draw(t, "several")
			cuts = append(cuts, rect(uint32(k), uint32(k+n), lsns.Start, lsns.End))
			k += n
		}
		s := &Snapshot{Generation: 3}
		for range rapid.IntRange(0, 8).Draw(t, "taken") {
			r := rapid.SampledFrom(cuts).Draw(t, "as")
			if rapid.Bool().Draw(t, "any") {
				k := uint32(rapid.IntRange(0, end-1).Draw(t, "key"))
				from := rapid.Uint64Range(uint64(lsns.Start), uint64(lsns.End)-1).Draw(t, "from")
				r = rect(k, k+1, page.LSN(from), page.LSN(rapid.Uint64Range(from+1, uint64(lsns.End)).Draw(t, "to")))
			}
			if r.Keys.Start.Next() == r.Keys.End && r.LSNs.Start+1 == r.LSNs.End {
				continue // see the single LSN below
			}
			id := ID{Keys: r.Keys, LSNs: r.LSNs, Generation: uint32(rapid.IntRange(2, 3).Draw(t, "generation"))}
			if rapid.Bool().Draw(t, "doomed") {
				s.Doomed = append(s.Doomed, id)
			} else {
				s.Layers = append(s.Layers, Layer{ID: id})
			}
		}
		whole := rect(0, uint32(end), lsns.Start, lsns.End)
		var out []Rect
		Distinct(s, whole, cuts).Finish(func(r Rect) { out = append(out, r) })
		tiles, err := Tile(whole, out)
		require.NoError(t, err)
		require.Equal(t, tiles, out, "the tiles are whole")
		count := func(all []Rect) map[page.Key]int {
			n := map[page.Key]int{}
			for _, r := range all {
				if r.Keys.Start.Next() == r.Keys.End {
					n[r.Keys.Start]++
				}
			}
			return n
		}
		before := count(cuts)
		for k, n := range count(out) {
			require.LessOrEqual(t, n, max(2, before[k]))
		}
		free := true
		for _, r := range out {
			for _, l := range append(s.Doomed, ids(s)...) {
				free = free && (l.Keys != r.Keys || l.LSNs != r.LSNs)
			}
		}
		if len(s.Layers)+len(s.Doomed) < int(lsns.End-lsns.Start)-1 {
			require.True(t, free, "%v of %v", out, cuts)
		}
	})
}

func ids(s *Snapshot) (all []ID) {
	for i := range s.Layers {
		all = append(all, s.Layers[i].ID)
	}
	return all
}

// One LSN of one key cannot be divided.
func TestDistinctOfOneLSN(t *testing.T) {
	r := rect(1, 2, 10, 11)
	s := &Snapshot{Layers: []Layer{{ID: ID{Keys: r.Keys, LSNs: r.LSNs}}}}
	var out []Rect
	Distinct(s, r, given{r}).Finish(func(r Rect) { out = append(out, r) })
	require.Equal(t, []Rect{r}, out)
}

// TestDistinctOfEveryHistory tries all divisions of the history of one key, with all sets of up to three names that are taken: fewer
// than what could stand in every way.
func TestDistinctOfEveryHistory(t *testing.T) {
	const height = 5
	whole := rect(0, 1, 10, 10+height)
	var names []Rect
	for from := whole.LSNs.Start; from < whole.LSNs.End; from++ {
		for to := from + 2; to <= whole.LSNs.End; to++ {
			names = append(names, rect(0, 1, from, to))
		}
	}
	for cut := range 1 << (height - 1) { // a bit for each LSN at which there is a cut
		var cuts given
		from := whole.LSNs.Start
		for n := range page.LSN(height) {
			if n == height-1 || cut>>n&1 == 1 {
				cuts = append(cuts, rect(0, 1, from, whole.LSNs.Start+n+1))
				from = whole.LSNs.Start + n + 1
			}
		}
		for a := range names {
			for b := range a + 1 {
				for c := range b + 1 {
					s := &Snapshot{Doomed: []ID{{Keys: whole.Keys, LSNs: names[a].LSNs}, {Keys: whole.Keys, LSNs: names[b].LSNs}, {Keys: whole.Keys, LSNs: names[c].LSNs}}}
					var out []Rect
					Distinct(s, whole, cuts).Finish(func(r Rect) { out = append(out, r) })
					tiles, err := Tile(whole, out)
					require.NoError(t, err)
					require.Equal(t, tiles, out)
					require.LessOrEqual(t, len(out), max(2, len(cuts)))
					for _, r := range out {
						require.NotContains(t, []Rect{names[a], names[b], names[c]}, r, "of %v", cuts)
					}
				}
			}
		}
	}
}

// An image is another file than a delta of the same keys and LSNs.
func TestDistinctFromDeltasAlone(t *testing.T) {
	r := rect(1, 9, 10, 11)
	s := &Snapshot{Layers: []Layer{image(1, 9, 10)}}
	var out []Rect
	Distinct(s, r, given{r}).Finish(func(r Rect) { out = append(out, r) })
	require.Equal(t, []Rect{r}, out)
}
