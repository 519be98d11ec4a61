package legacy

import (
	"fmt"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

// pageBytes is the size of a page.
const pageBytes = 8192

// images gives a job for each partition that is due, and one for the metadata. They are made at LiveLSN, where the live keys are
// known: that is durable, and where the engine takes compaction.Boundary for it, the border between L0s and L1.
func (p *planner) images() []compaction.Job {
	at := p.s.LiveLSN
	if at <= max(p.s.AncestorLSN, p.s.InitialLSN) || at < p.s.Cutoff || at > p.s.DiskConsistentLSN || !p.imagesToCheck() {
		return nil
	}
	parts := compaction.Partition(p.s.Live, max(p.o.CompactionTargetSize/pageBytes, 1))
	taken := p.imagesAt(at)
	var jobs []compaction.Job
	for i, h := range p.measure(parts) {
		if h.deltas >= p.o.ImageCreationThreshold {
			why := fmt.Sprintf("%d deltas stacked above the newest image, %d are enough", h.deltas, p.o.ImageCreationThreshold)
			jobs = p.image(jobs, taken, parts[i].Keys, parts[i].Live, why)
		} else if h.forced {
			jobs = p.image(jobs, taken, parts[i].Keys, parts[i].Live, fmt.Sprintf("an image is older than %s", p.forceLSN()))
		}
	}
	if n := p.metadataDeltas(); n >= p.o.MetadataThreshold {
		keys := compaction.SparsePart(parts).Keys
		why := fmt.Sprintf("a scan of all metadata visits %d deltas, %d are enough", n, p.o.MetadataThreshold)
		jobs = p.image(jobs, taken, keys, page.NewSet(compaction.SparseKeys), why)
	}
	p.plan.ImagesChecked = len(jobs) == 0
	return jobs
}

// imagesToCheck reports whether it is time to look. What was found due is found again until it is made, since images count as
// checked only when none is due: a pass that was broken off goes on.
func (p *planner) imagesToCheck() bool {
	last, age := p.s.ImageCheck, p.o.ImageCheckAge
	if compaction.SetPages(p.s.Live)*pageBytes < p.o.ImageSmallBytes {
		age = max(age, p.o.ImageSmallAge)
	}
	return last.LSN == 0 || last.Age >= age ||
		p.s.LastRecordLSN >= last.LSN+page.LSN(p.o.ImageCheckDistance)*page.LSN(p.o.CheckpointDistance)
}

// forceLSN is the LSN that images are not to be older than where deltas lie above them, 0 if they may.
func (p *planner) forceLSN() page.LSN {
	if p.o.ImageForcePercent == 0 || p.s.LastRecordLSN < p.s.Cutoff {
		return 0
	}
	const percent = 100
	back := p.s.LastRecordLSN - p.s.Cutoff
	return p.s.LastRecordLSN - back/percent*page.LSN(p.o.ImageForcePercent)
}

// height is what lies above the images of a partition.
type height struct {
	deltas int // the most over one live key
	forced bool
}

// measure finds for each partition how many L1 deltas are stacked over a live key of it.
func (p *planner) measure(parts []compaction.Part) []height {
	items := make([]stack.Item, 0, len(p.s.Layers))
	for i := range p.s.Layers {
		if l := &p.s.Layers[i]; !l.L0() && l.LSNs.Start <= p.s.LiveLSN {
			items = appendItems(items, l)
		}
	}
	heights, force, n := make([]height, len(parts)), p.forceLSN(), 0
	stack.Sweep(items, func(s stack.Stretch) {
		for n < len(parts) && !s.Keys.Start.Less(parts[n].Keys.End) {
			n++
		}
		forced := s.Height > 0 && force > 0 && (s.Image < 0 || items[s.Image].End <= force)
		for i := n; i < len(parts) && parts[i].Keys.Start.Less(s.Keys.End); i++ {
			h := &heights[i]
			if (s.Height > h.deltas || forced && !h.forced) && parts[i].Live.Overlaps(s.Keys) {
				h.deltas, h.forced = max(h.deltas, s.Height), h.forced || forced
			}
		}
	})
	return heights
}

// appendItems appends what is left of a layer.
func appendItems(items []stack.Item, l *compaction.Layer) []stack.Item {
	if len(l.Moved) == 0 {
		return append(items, stack.Item{Keys: l.Keys, End: l.LSNs.End, Image: l.Image})
	}
	for _, keys := range l.Rest().Ranges() {
		items = append(items, stack.Item{Keys: keys, End: l.LSNs.End, Image: l.Image})
	}
	return items
}

// metadataDeltas is how many deltas a scan of all metadata visits: those above what is imaged everywhere there.
func (p *planner) metadataDeltas() int {
	var images []stack.Item
	for i := range p.s.Layers {
		if l := &p.s.Layers[i]; l.Image && l.LSNs.Start <= p.s.LiveLSN && l.Keys.Overlaps(compaction.SparseKeys) {
			images = append(images, stack.Item{Keys: l.Keys.Intersect(compaction.SparseKeys), End: l.LSNs.End, Image: true})
		}
	}
	covered, reach := page.MaxLSN, compaction.SparseKeys.Start
	stack.Sweep(images, func(s stack.Stretch) {
		if s.Keys.Start == reach {
			reach = s.Keys.End
			covered = min(covered, images[s.Image].End)
		}
	})
	if reach != compaction.SparseKeys.End {
		covered = 0
	}
	n := 0
	for i := range p.s.Layers {
		l := &p.s.Layers[i]
		if !l.Image && l.LSNs.End > covered && l.LSNs.Start <= p.s.LiveLSN && l.Keys.Overlaps(compaction.SparseKeys) {
			n++
		}
	}
	return n
}

// taken are the keys of images of one LSN.
type taken struct {
	live   page.Set
	doomed map[page.Range]bool
}

func (p *planner) imagesAt(at page.LSN) taken {
	t := taken{doomed: map[page.Range]bool{}}
	var live []page.Range
	for i := range p.s.Layers {
		if l := &p.s.Layers[i]; l.Image && l.LSNs.Start == at {
			live = append(live, l.Keys)
		}
	}
	for _, id := range p.s.Doomed {
		if id.Image && id.LSNs.Start == at && id.Generation == p.s.Generation {
			t.doomed[id.Keys] = true
		}
	}
	t.live = page.NewSet(live...)
	return t
}

// image adds jobs for keys that have no image of this LSN yet, unless the name is taken.
func (p *planner) image(jobs []compaction.Job, t taken, keys page.Range, live page.Set, why string) []compaction.Job {
	for _, keys := range page.NewSet(keys).Subtract(t.live).Ranges() {
		here := live.Intersect(keys)
		if here.Empty() || t.doomed[keys] {
			continue
		}
		var bytes int64
		if !keys.Overlaps(compaction.SparseKeys) { // of metadata nobody knows
			bytes = compaction.SetPages(here) * pageBytes
		}
		jobs = append(jobs, compaction.Job{
			Kind: compaction.Image, Rect: compaction.Rect{Keys: keys, LSNs: page.LSNRange{Start: p.s.LiveLSN, End: p.s.LiveLSN + 1}},
			Level: 1, Priority: compaction.PriorityImage,
			Cost: compaction.Cost{Read: bytes, Write: bytes}, Reason: why,
		})
	}
	return jobs
}
