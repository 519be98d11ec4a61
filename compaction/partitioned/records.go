package partitioned

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// perLayer is how many records of a key may follow each other in one layer: a quarter of what a read may replay, so that a
// flush or two find room above what is there while images are made.
func perLayer(limit int) int { return max(1, limit/4) }

// recordsTrigger is the number of records at which images are made: a flush and a half below the bound.
func recordsTrigger(limit int) int {
	m := perLayer(limit)
	return max(1, limit-m-m/2)
}

// nearby is how many pages between two stretches are imaged with them rather than by two layers.
const nearby = 128

// relieveRecords makes images where a read has to replay too many records. They are of the newest LSN that is durable: nothing
// is left above them. Where they would take half of a part's pages, the part is imaged as a whole.
func (p *planner) relieveRecords() {
	long := p.found.long
	for i := 0; i < len(p.parts) && len(long) > 0; i++ {
		part := &p.parts[i]
		var in []page.Range
		for _, r := range long {
			if !r.Start.Less(part.keys.End) {
				break
			}
			// Of pages that are no more no image can be made, and nobody reads them.
			if here := r.Intersect(part.keys); !here.Empty() && p.s.Live.Overlaps(here) {
				in = append(in, here)
			}
		}
		for len(long) > 0 && !part.keys.End.Less(long[0].End) {
			long = long[1:]
		}
		if len(in) == 0 {
			continue
		}
		in = joined(in)
		if part.live && p.livePages(in)*(pageSize+entryBytes)*2 >= part.cost {
			in = []page.Range{part.keys}
		}
		for _, keys := range in {
			p.addRecordsImage(keys)
		}
	}
}

// joined makes one of stretches that lie near each other.
func joined(in []page.Range) []page.Range {
	out := in[:1]
	for _, r := range in[1:] {
		if last := &out[len(out)-1]; compaction.Pages(page.Range{Start: last.End, End: r.Start}) <= nearby {
			last.End = r.End
		} else {
			out = append(out, r)
		}
	}
	return out
}

// livePages counts the live pages of some keys, which lie in one part.
func (p *planner) livePages(in []page.Range) (n int64) {
	for _, r := range in {
		n += compaction.SetPages(p.s.Live.Intersect(r))
	}
	return n
}

func (p *planner) addRecordsImage(keys page.Range) {
	at := page.LSNRange{Start: p.s.DiskConsistentLSN, End: p.s.DiskConsistentLSN + 1}
	keys.Start = compaction.ImageStart(p.s, keys.Start)
	id := compaction.ID{Keys: keys, LSNs: at, Image: true, Generation: p.s.Generation}
	taken := slices.Contains(p.s.Doomed, id) || slices.ContainsFunc(p.s.Layers, func(l compaction.Layer) bool { return l.ID == id })
	if taken || len(p.jobs) >= maxJobs || p.done.Overlaps(keys) {
		return // it comes with a later plan
	}
	cost := p.livePages([]page.Range{keys}) * (pageSize + entryBytes)
	p.jobs = append(p.jobs, compaction.Job{
		Kind: compaction.Image, Rect: compaction.Rect{Keys: keys, LSNs: at}, Priority: compaction.PriorityImage, Level: 1,
		Cost:   compaction.Cost{Read: cost, Write: cost},
		Reason: fmt.Sprintf("reads replay up to %d records, of %d", p.found.records, p.o.MaxRecords),
	})
	p.done = p.done.Union(page.NewSet(keys))
}
