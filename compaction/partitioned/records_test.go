package partitioned

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

func blockNo(n int) page.Key { return page.Key{F2: 1663, F3: 5, F4: 16384, F6: uint32(n)} }

func blockRange(from, to int) page.Range { return page.Range{Start: blockNo(from), End: blockNo(to)} }

// TestImagesBoundRecords: once all images that are planned have been made, no key's stack has as many records as set them off;
// each is of the newest durable LSN, of keys that need it, and the checker lets it be.
func TestImagesBoundRecords(t *testing.T) {
	const pages = 300
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 80).Draw(t, "limit")
		s := &compaction.Snapshot{
			Generation: 1, InitialLSN: 1, Cutoff: 1, Live: page.NewSet(blockRange(0, pages)),
			Options: compaction.Options{MaxVisits: 100, MaxRecords: limit, CompactionTargetSize: 64 * pageSize},
		}
		lsn := page.LSN(10)
		for range rapid.IntRange(0, 8).Draw(t, "layers") {
			l := compaction.Layer{Size: 1 << 20, ID: compaction.ID{Keys: page.FullRange, LSNs: page.LSNRange{Start: lsn, End: lsn + 10}, Generation: 1}}
			var c page.ChainCounter
			for k := 0; k < pages; k += rapid.IntRange(1, 100).Draw(t, "gap") {
				c.Add(blockNo(k), rapid.IntRange(0, perLayer(limit)).Draw(t, "records"))
			}
			chains := c.Chains()
			l.Chains = &chains
			s.Layers = append(s.Layers, l)
			lsn += 10
		}
		s.LastRecordLSN, s.DiskConsistentLSN, s.LiveLSN = lsn, lsn, lsn
		for range 10 {
			p := New().Plan(s)
			require.NoError(t, compaction.CheckPlan(s, &p))
			if len(p.Jobs) == 0 {
				break
			}
			for _, j := range p.Jobs {
				require.Equal(t, compaction.Image, j.Kind)
				require.Equal(t, s.DiskConsistentLSN, j.Rect.LSNs.Start)
				s.Layers = append(s.Layers, compaction.Layer{Size: 1, ID: compaction.ID{Keys: j.Rect.Keys, LSNs: j.Rect.LSNs, Image: true, Generation: 1}})
			}
		}
		for k := range pages {
			require.Less(t, recordsAt(s, blockNo(k)), recordsTrigger(limit), "page %d", k)
		}
		d := New().Plan(s).Debt
		require.Less(t, d.Records, recordsTrigger(limit))
		require.EqualValues(t, compaction.FullPace, d.PaceRecords(d.Records), "there is room for a flush")
	})
}

// recordsAt sums up what is said of one key above its newest image.
func recordsAt(s *compaction.Snapshot, k page.Key) (n int) {
	var image page.LSN
	for i := range s.Layers {
		if l := &s.Layers[i]; l.Image && l.Keys.Contains(k) {
			image = max(image, l.Last())
		}
	}
	for i := range s.Layers {
		l := &s.Layers[i]
		if l.Image || l.Last() <= image || !l.Rest().Contains(k) || l.Chains == nil || sparse.Contains(k) {
			continue
		}
		here := l.Chains.Rest
		for _, c := range l.Chains.Long {
			if c.Keys.Contains(k) {
				here = c.Records
			}
		}
		n += here
	}
	return n
}

// TestNoImagesOfWhatIsGone: of pages that are no more no image is wanted, however many records layers have of them, so that
// planning comes to its end; of their neighbours there is.
func TestNoImagesOfWhatIsGone(t *testing.T) {
	s := &compaction.Snapshot{
		Generation: 1, InitialLSN: 1, Cutoff: 1, LastRecordLSN: 20, DiskConsistentLSN: 20, LiveLSN: 20,
		Live:    page.NewSet(blockRange(0, 10)),
		Options: compaction.Options{MaxVisits: 100, MaxRecords: 64},
	}
	layer := func(from, to int) {
		c := page.Chains{Long: []page.Chain{{Keys: blockRange(from, to), Records: 60}}}
		s.Layers = []compaction.Layer{{Size: 1 << 20, Chains: &c, ID: compaction.ID{Keys: page.FullRange, LSNs: page.LSNRange{Start: 10, End: 21}, Generation: 1}}}
	}
	layer(20, 30)
	require.Empty(t, New().Plan(s).Jobs)
	layer(9, 30)
	require.Len(t, New().Plan(s).Jobs, 1)
}

// TestImagesOfOnePlanLeaveNoHole: where the last page of a table and the first of the next one have many records, the images of both
// are done one after the other, in either order, and what holds nothing between the tables is left to neither.
func TestImagesOfOnePlanLeaveNoHole(t *testing.T) {
	next := page.RelTag{Spc: 1663, DB: 5, Rel: 99999}
	second := page.Range{Start: next.Block(0), End: next.Block(4000)}
	c := page.Chains{Long: []page.Chain{
		{Keys: blockRange(3990, 4000), Records: 60},
		{Keys: page.Range{Start: second.Start, End: next.Block(3)}, Records: 60},
	}}
	s := &compaction.Snapshot{
		Generation: 1, InitialLSN: 1, Cutoff: 1, LastRecordLSN: 20, DiskConsistentLSN: 20, LiveLSN: 20,
		Live:    page.NewSet(blockRange(0, 4000), second),
		Options: compaction.Options{MaxVisits: 100, MaxRecords: 64},
		Layers:  []compaction.Layer{{Size: 1 << 20, Chains: &c, ID: compaction.ID{Keys: page.FullRange, LSNs: page.LSNRange{Start: 10, End: 21}, Generation: 1}}},
	}
	jobs := New().Plan(s).Jobs
	require.Len(t, jobs, 2)
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		then := *s
		for _, i := range order {
			require.NoError(t, compaction.CheckJob(&then, &jobs[i]), "%v", order)
			done := compaction.Layer{Size: 1 << 20, ID: compaction.ID{Keys: jobs[i].Rect.Keys, LSNs: jobs[i].Rect.LSNs, Image: true, Generation: 1}}
			then.Layers = append(slices.Clone(then.Layers), done)
		}
	}
}

// TestRecordsAreAddedUp compares what is found of records with what layers say of each key, one by one: the most of all, and the keys
// that have as many as is too many.
func TestRecordsAreAddedUp(t *testing.T) {
	const pages = 60
	keys := make([]page.Key, pages) // the last of them metadata
	for i := range keys {
		if keys[i] = blockNo(i); i >= pages-10 {
			keys[i] = page.Key{F1: 0x62, F6: uint32(i)}
		}
	}
	draw := func(t *rapid.T, name string) (int, page.Range) {
		from := rapid.IntRange(0, pages-1).Draw(t, name+" from")
		to := rapid.IntRange(from, pages-1).Draw(t, name+" to")
		return from, page.Range{Start: keys[from], End: keys[to].Next()}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := &compaction.Snapshot{Options: compaction.Options{MaxVisits: rapid.IntRange(2, 9).Draw(t, "visits"), MaxRecords: rapid.IntRange(1, 80).Draw(t, "limit")}}
		for i := range rapid.IntRange(0, 12).Draw(t, "layers") {
			at := page.LSN(10 + 10*i)
			from, r := draw(t, "keys")
			l := compaction.Layer{ID: compaction.ID{Keys: r, LSNs: page.LSNRange{Start: at, End: at + 10}}}
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0: // nothing is known of it
			case 1, 2:
				l.Image, l.LSNs.End = true, at+1
			default:
				c := page.Chains{Rest: rapid.IntRange(0, 2).Draw(t, "rest")}
				for k := from; l.Keys.Contains(keys[k]) && k < pages-10; {
					end := rapid.IntRange(k, pages-11).Draw(t, "end")
					if stretch := (page.Range{Start: keys[k], End: keys[end].Next()}).Intersect(r); rapid.Bool().Draw(t, "long") {
						c.Long = append(c.Long, page.Chain{Keys: stretch, Records: rapid.IntRange(0, 30).Draw(t, "records")})
					}
					k = end + 1
				}
				l.Chains = &c
				if rapid.IntRange(0, 4).Draw(t, "moves") == 0 {
					_, moved := draw(t, "moved")
					l.Moved = page.NewSet(moved).Intersect(r).Ranges()
				}
			}
			s.Layers = append(s.Layers, l)
		}
		p := &planner{s: s, o: s.Options.WithDefaults(), trigger: trigger(s.Options.MaxVisits)}
		found := p.find()
		most := 0
		long := page.NewSet(found.long...)
		for _, k := range append(borders(s), keys...) {
			n := recordsAt(s, k)
			most = max(most, n)
			require.Equal(t, n >= recordsTrigger(s.Options.MaxRecords), long.Contains(k), "key %s with %d records", k, n)
		}
		require.Equal(t, most, found.records)
		for i := range found.long {
			require.True(t, i == 0 || found.long[i-1].End.Less(found.long[i].Start), "in order, and apart")
		}
	})
}

// borders are the keys at which layers, or what is said of them, begin and end.
func borders(s *compaction.Snapshot) (all []page.Key) {
	for i := range s.Layers {
		l := &s.Layers[i]
		ranges := append([]page.Range{l.Keys}, l.Moved...)
		if l.Chains != nil {
			for _, c := range l.Chains.Long {
				ranges = append(ranges, c.Keys)
			}
		}
		for _, r := range ranges {
			all = append(all, r.Start, r.End)
		}
	}
	return all
}
