package legacy

import (
	"fmt"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

// pageBytes is the size of a page.
const pageBytes = 8192

// images gives a job for each partition that is due. They are made at LiveLSN, where the live keys are known: it is durable, and where the
// engine takes compaction.Boundary for it, the border between L0s and L1.
func (p *planner) images() []compaction.Job {
	at := p.s.LiveLSN
	if at <= max(p.s.AncestorLSN, p.s.InitialLSN) || at < p.s.Cutoff || at > p.s.DiskConsistentLSN || !p.imagesToCheck() {
		return nil
	}
	parts := compaction.Partition(p.s.Live, max(p.o.CompactionTargetSize/pageBytes, 1))
	heights := make([]int, len(parts))
	p.measure(parts, heights)
	var jobs []compaction.Job
	for i, part := range parts {
		if heights[i] >= p.o.ImageCreationThreshold {
			why := fmt.Sprintf("%d deltas stacked above the newest image, %d are enough", heights[i], p.o.ImageCreationThreshold)
			jobs = p.image(jobs, part.Keys, part.Pages*pageBytes, why)
		}
	}
	p.plan.ImagesChecked = len(jobs) == 0
	return jobs
}

// imagesToCheck reports whether it is time to look. What is found due is found again until it is made, as
// it was not yet told that images were checked.
func (p *planner) imagesToCheck() bool {
	last := p.s.ImageCheck
	return last.LSN == 0 || last.Age >= p.o.ImageCheckAge ||
		p.s.LastRecordLSN >= last.LSN+page.LSN(p.o.ImageCheckDistance)*page.LSN(p.o.CheckpointDistance)
}

// measure finds for each partition how many L1 deltas are stacked over a live key of it.
func (p *planner) measure(parts []compaction.Part, heights []int) {
	items := make([]stack.Item, 0, len(p.s.Layers))
	for i := range p.s.Layers {
		if l := &p.s.Layers[i]; !l.L0() && l.LSNs.Start <= p.s.LiveLSN {
			for _, keys := range l.Rest().Ranges() {
				items = append(items, stack.Item{Keys: keys, End: l.LSNs.End, Image: l.Image})
			}
		}
	}
	n := 0
	stack.Sweep(items, func(s stack.Stretch) {
		for n < len(parts) && !s.Keys.Start.Less(parts[n].Keys.End) {
			n++
		}
		for i := n; i < len(parts) && parts[i].Keys.Start.Less(s.Keys.End); i++ {
			if s.Height > heights[i] && parts[i].Live.Overlaps(s.Keys) {
				heights[i] = s.Height
			}
		}
	})
}

// image adds a job, unless the image's name is taken.
func (p *planner) image(jobs []compaction.Job, keys page.Range, bytes int64, why string) []compaction.Job {
	return append(jobs, compaction.Job{
		Kind: compaction.Image, Rect: compaction.Rect{Keys: keys, LSNs: page.LSNRange{Start: p.s.LiveLSN, End: p.s.LiveLSN + 1}},
		Level: 1, Priority: compaction.PriorityImage,
		Cost: compaction.Cost{Read: bytes, Write: bytes}, Reason: why,
	})
}
