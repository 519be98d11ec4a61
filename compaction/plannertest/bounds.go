package plannertest

import (
	"fmt"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"pgregory.net/rapid"
)

// withImages puts a page image in place of a record that follows so many others of its key; with 0 there is none.
func (w *World) withImages(facts []fact, most int) []fact {
	if most == 0 {
		return facts
	}
	out, n := make([]fact, 0, len(facts)), 0
	for i, f := range facts {
		if i == 0 || facts[i-1].key != f.key {
			n = 0
		}
		switch {
		case f.image:
			n = 0
		case f.willInit:
			n = 1
		case n >= most:
			f, n = fact{key: f.key, lsn: f.lsn, size: imageSize, image: true, state: w.truths[f.key].at(f.lsn)}, 0
		default:
			n++
		}
		out = append(out, f)
	}
	return out
}

// chainsOf counts the records of pages that follow each other, as who writes a layer does.
func chainsOf(facts []fact) *page.Chains {
	var c page.ChainCounter
	for i := 0; i < len(facts); {
		k, n, most := facts[i].key, 0, 0
		for ; i < len(facts) && facts[i].key == k; i++ {
			switch f := &facts[i]; {
			case f.image:
				n = 0
			case f.willInit:
				n = 1
			default:
				n++
			}
			most = max(most, n)
		}
		if !k.Sparse() {
			c.Add(k, most)
		}
	}
	all := c.Chains()
	return &all
}

// Pages of a bounded timeline, in relations of the same size.
const boundedRels, boundedBlocks = 3, 40

// bounded is a timeline whose ingest heeds the back-pressure.
type bounded struct {
	*World
	by      compaction.Flusher
	debt    compaction.Debt
	flushes int // since the plan
	at      int // where a staircase has got to
}

// Bounded is one random life of a timeline under a strategy that bounds reads: whatever is ingested, and however much of what is
// planned is done meanwhile, as long as no layer is begun where the debt stops ingest no read of what is flushed visits more deltas or
// replays more records than the options say; and ingest is never stopped for good.
func Bounded(t *rapid.T, by compaction.Flusher) {
	o := drawOptions(t)
	o.MaxVisits, o.MaxRecords = rapid.IntRange(2, 8).Draw(t, "bound of visits"), rapid.IntRange(1, 40).Draw(t, "bound of records")
	o.CompactionTargetSize = int64(rapid.SampledFrom([]int{4, 16}).Draw(t, "pages of a part") * imageSize)
	o.CheckpointDistance = 2 * o.CompactionTargetSize // as by default; a layer is to hold more than a page or two
	b := &bounded{World: NewWorld(o, false), by: by}
	for n := range boundedRels * boundedBlocks {
		b.record(n, true)
	}
	must(t, b.flush())
	b.debt, b.flushes = by.Plan(b.Snapshot(nil)).Debt, 0
	for range rapid.IntRange(1, 16).Draw(t, "steps") {
		switch rapid.IntRange(0, 6).Draw(t, "step") {
		case 0, 1, 2:
			b.burst(t)
		case 3:
			b.plan(t, rapid.IntRange(0, 3).Draw(t, "jobs"), rapid.IntRange(0, 4).Draw(t, "outputs"))
		case 4:
			b.MoveCutoff(t)
			must(t, b.GC())
		case 5:
			b.Delete()
			b.Attach() // another process goes on
		case 6:
			b.plan(t, maxRounds, maxRounds)
		}
	}
	must(t, b.readAll())
}

// readAll reads each page as it is now. What it was Run looks at.
func (b *bounded) readAll() error {
	for k, was := range b.truths {
		got, err := b.readLayers(k, b.durable)
		if err != nil {
			return err
		}
		if want := was.at(b.durable); got != want {
			return fmt.Errorf("key %s reads as %x, and is %x", k, uint64(got), uint64(want))
		}
	}
	return nil
}

// record puts one record of a page.
func (b *bounded) record(n int, first bool) {
	b.nextRecord++
	n %= boundedRels * boundedBlocks
	b.put(fact{key: dense(uint32(n/boundedBlocks), uint32(n%boundedBlocks)), lsn: b.last + 8, size: 60, record: b.nextRecord, willInit: first})
}

// burst flushes layers in one pattern until ingest is stopped.
func (b *bounded) burst(t *rapid.T) {
	pattern := rapid.SampledFrom([]string{"hot", "staircase", "interleaved", "wide", "wide and narrow", "two hot"}).Draw(t, "pattern")
	from, each := rapid.IntRange(0, boundedRels*boundedBlocks-1).Draw(t, "from"), rapid.SampledFrom([]int{1, 3, 20}).Draw(t, "records of a page")
	for n := range rapid.IntRange(1, 8).Draw(t, "flushes") {
		for try := 0; b.debt.PaceAfter(b.flushes) == 0; try++ {
			if try == maxRounds {
				t.Fatalf("ingest is stopped for good: %+v", b.debt)
			}
			b.plan(t, 1, maxRounds)
		}
		for _, k := range b.keysOf(pattern, from, n) {
			for range each {
				b.record(k, false)
			}
		}
		must(t, b.flush())
	}
}

// keysOf gives the pages that the n-th flush of a burst changes.
func (b *bounded) keysOf(pattern string, from, n int) (pages []int) {
	const all, stride, width = boundedRels * boundedBlocks, 7, 5
	wide := func(first, step int) {
		for k := first; k < all; k += step {
			pages = append(pages, k)
		}
	}
	switch {
	case pattern == "hot" || pattern == "wide and narrow" && n%2 == 0:
		return []int{from}
	case pattern == "two hot":
		return []int{from, from + all/2}
	case pattern == "staircase":
		for k := range width {
			pages = append(pages, b.at+k)
		}
		b.at += width - 1
	case pattern == "interleaved":
		wide(n%stride, stride)
	default:
		wide(0, 1)
	}
	return pages
}

func (b *bounded) flush() error {
	if err := b.Flush(b.by); err != nil {
		return err
	}
	b.flushes++
	return b.checkBounds()
}

// plan plans anew, and does some jobs, each up to some steps of publication.
func (b *bounded) plan(t *rapid.T, jobs, steps int) {
	for range jobs {
		s := b.Snapshot(nil)
		plan := b.by.Plan(s)
		must(t, compaction.CheckPlan(s, &plan))
		if plan.ImagesChecked {
			b.imageCheck = compaction.ImageCheck{LSN: s.LastRecordLSN}
		}
		b.debt, b.flushes = plan.Debt, 0
		if len(plan.Jobs) == 0 {
			return
		}
		must(t, b.Do(s, &plan.Jobs[0], steps))
		must(t, b.checkBounds())
	}
}

// checkBounds counts what a read of each page at the newest durable LSN takes: the deltas over the newest image, down to the one with a
// fact that needs nothing older, but for those from which the page has moved.
func (b *bounded) checkBounds() error {
	for k := range b.truths {
		var floor page.LSN
		for id := range b.files {
			if id.Image && id.Keys.Contains(k) {
				floor = max(floor, id.LSNs.Start)
			}
		}
		var asked []page.LSN // the last one of each delta
		records := map[page.LSN]bool{}
		var state page.LSN // from which on the page is known
		for _, f := range b.files {
			if f.Image || f.Last() <= floor || !f.Keys.Contains(k) {
				continue
			}
			if l := f.Layer; l.Rest().Contains(k) {
				asked = append(asked, f.Last())
			}
			for _, x := range f.of(k) {
				if x.lsn > floor {
					records[x.lsn] = true
				}
				if x.image || x.willInit {
					state = max(state, x.lsn)
				}
			}
		}
		visits, replayed := 0, 0
		for _, last := range asked {
			if last >= state {
				visits++
			}
		}
		for lsn := range records {
			if lsn > state {
				replayed++
			}
		}
		if visits > b.Options.MaxVisits || replayed > b.Options.MaxRecords {
			return fmt.Errorf("a read of %s visits %d deltas, of %d, and replays %d records, of %d", k, visits, b.Options.MaxVisits, replayed, b.Options.MaxRecords)
		}
	}
	return nil
}
