package partitioned

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

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

// crowd is a range of keys over which the same layers lie, with the sum of the most records of any key in each.
type crowd struct {
	keys  page.Range
	above page.LSN // of the image below them
	most  int
}

// findLong gives the most records that a read replays, and where they are as many as is too many. Layers tell them apart in stretches of
// keys: these are added up where the sum over whole layers leaves it open, so that what lies under images, or where little was
// changed, costs no more than its borders.
func (p *planner) findLong(dear []crowd) (most int, long []page.Range) {
	trigger := recordsTrigger(p.o.MaxRecords)
	look := func(c *crowd) {
		p.addUp(c, func(keys page.Range, records int) {
			if most = max(most, records); records < trigger {
				return
			}
			if n := len(long); n > 0 && long[n-1].End == keys.Start {
				long[n-1].End = keys.End
			} else {
				long = append(long, keys)
			}
		})
	}
	low := dear[:0]
	for i := range dear {
		if dear[i].most >= trigger {
			look(&dear[i])
		} else {
			low = append(low, dear[i])
		}
	}
	slices.SortStableFunc(low, func(a, b crowd) int { return cmp.Compare(b.most, a.most) })
	for i := 0; i < len(low) && low[i].most > most; i++ {
		look(&low[i])
	}
	return most, long
}

// change is a key from which on there are more records, or fewer.
type change struct {
	at page.Key
	by int
}

// addUp visits the keys of a crowd, in stretches with one sum of records.
func (p *planner) addUp(c *crowd, visit func(keys page.Range, records int)) {
	records, changes := 0, p.changes[:0]
	for _, i := range p.deltasAt(c.keys.Start, c.above) {
		if chains := p.s.Layers[i].Chains; chains != nil {
			first := 0
			first, changes = changesOf(chains, c.keys, changes)
			records += first
		}
	}
	p.changes = changes
	slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	from := c.keys.Start
	for _, x := range changes {
		if x.at != from {
			visit(page.Range{Start: from, End: x.at}, records)
			from = x.at
		}
		records += x.by
	}
	visit(page.Range{Start: from, End: c.keys.End}, records)
}

// changesOf gives the records of a layer at the first of some keys, and appends where they change.
func changesOf(chains *page.Chains, keys page.Range, changes []change) (first int, _ []change) {
	long := chains.Long
	if n := len(long); n == 0 || !keys.Start.Less(long[n-1].Keys.End) {
		return chains.Rest, changes // mostly: then the others are not touched
	}
	first = chains.Rest
	from := sort.Search(len(long), func(n int) bool { return keys.Start.Less(long[n].Keys.End) })
	for n := from; n < len(long) && long[n].Keys.Start.Less(keys.End); n++ {
		x := &long[n]
		more := x.Records - chains.Rest
		if keys.Start.Less(x.Keys.Start) {
			changes = append(changes, change{x.Keys.Start, more})
		} else {
			first += more
		}
		if x.Keys.End.Less(keys.End) {
			changes = append(changes, change{x.Keys.End, -more})
		}
	}
	return first, changes
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
		room := part.keys
		for _, keys := range in {
			keys = p.widened(keys, room)
			p.addRecordsImage(keys)
			room.Start = keys.End
		}
	}
}

// widened gives keys with those on both sides that are not live, where there is room, so that of two images of a plan the second leaves
// no hole beside the first.
func (p *planner) widened(keys, room page.Range) page.Range {
	live := p.s.Live.Ranges()
	i := sort.Search(len(live), func(i int) bool { return !live[i].End.Less(keys.Start) }) // the first that does not end below
	if low := room.Start; i == len(live) || !live[i].Start.Less(keys.Start) {
		if i > 0 && low.Less(live[i-1].End) {
			low = live[i-1].End
		}
		keys.Start = low
	}
	i = sort.Search(len(live), func(i int) bool { return keys.End.Less(live[i].End) }) // the first that ends above
	if high := room.End; i == len(live) || keys.End.Less(live[i].Start) {
		if i < len(live) && live[i].Start.Less(high) {
			high = live[i].Start
		}
		keys.End = high
	}
	return keys
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
