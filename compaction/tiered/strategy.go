package tiered

import (
	"fmt"
	"math"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// Name is what users call the strategy.
const Name = "tiered"

// Strategy plans in tiers. Options.CompactionThreshold is the fan-out and Options.CheckpointDistance the size of
// deltas and images.
type Strategy struct{}

// New gives the strategy, which has no state.
func New() Strategy { return Strategy{} }

var _ compaction.Strategy = Strategy{}

// Name gives the strategy's name.
func (Strategy) Name() string { return Name }

// Plan rewrites the newest level that is deep enough, after what a job has left unfinished.
func (Strategy) Plan(s *compaction.Snapshot) compaction.Plan {
	p := &planner{s: s, o: s.Options.WithDefaults()}
	p.ordered = order(s.Layers)
	p.levels()
	if jobs := p.resume(); len(jobs) > 0 {
		p.plan.Jobs = jobs
	}
	for i := range p.plan.Jobs {
		c := p.plan.Jobs[i].Cost
		p.plan.Debt.Bytes += c.Read + c.Write
	}
	return p.plan
}

type planner struct {
	s       *compaction.Snapshot
	o       compaction.Options
	ordered []int
	plan    compaction.Plan
}

// tall is by how much, in quarters, a tier may exceed the height of its level: memory is flushed early or late.
const tall = 7

// stopFactor times the fan-out is the depth of the newest level at which ingest is to stop.
const stopFactor = 6

// levels looks at the levels from the newest on until one is deep enough to be rewritten.
func (p *planner) levels() {
	fanout := int64(p.o.CompactionThreshold)
	height := p.o.CheckpointDistance
	end := p.newest()
	for n := 0; end > 0; n++ {
		lvl, err := identify(p.s.Layers, p.ordered, end, saturatingMul(height, tall)/4)
		if err != nil {
			// No delta straddles the newest end of all, nor the border at which a level above ends.
			return
		}
		if lvl != nil {
			depth := lvl.depth(p.s.Layers)
			if n == 0 {
				p.plan.Debt.Height, p.plan.Debt.Limit = depth, stopFactor*p.o.CompactionThreshold
			}
			if depth >= int(fanout) {
				p.divide(lvl, n, depth)
				return
			}
			end = lvl.lsns.Start
		}
		if height == math.MaxInt64 {
			return
		}
		height = saturatingMul(height, max(fanout, 2))
	}
}

// newest is where the newest delta ends.
func (p *planner) newest() page.LSN {
	for n := len(p.ordered) - 1; n >= 0; n-- {
		if l := &p.s.Layers[p.ordered[n]]; !l.Image {
			return l.LSNs.End
		}
	}
	return 0
}

func saturatingMul(a, b int64) int64 {
	if a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

// divide decides for the whole level whether it is covered with images, which is where it has more bytes than
// the live keys have, or rewritten.
func (p *planner) divide(v *level, n, depth int) {
	deltas := v.deltas(p.s.Layers)
	var wal int64
	for _, i := range deltas {
		wal += p.s.Layers[i].Size
	}
	live := compaction.SetPages(p.s.Live) * pageBytes
	why := fmt.Sprintf("level %d is %d deltas deep, fan-out %d: %d bytes of deltas, %d of live pages", n, depth, p.o.CompactionThreshold, wal, live)
	if live > 0 && live < wal && p.mayImage(v) {
		p.cover(v, n, why)
		return
	}
	p.plan.Jobs = []compaction.Job{p.retile(v.lsns, page.FullRange, deltas, n, why)}
}

// retile rewrites deltas as one tier.
func (p *planner) retile(lsns page.LSNRange, keys page.Range, deltas []int, n int, why string) compaction.Job {
	rect := compaction.Rect{Keys: keys, LSNs: lsns}
	target := p.o.CheckpointDistance
	var bytes int64
	for _, i := range deltas {
		bytes += p.s.Layers[i].Size
	}
	return compaction.Job{
		Kind: compaction.Retile, Inputs: deltas, Obsolete: deltas, Rect: rect,
		Cut: func() compaction.Cutter {
			return compaction.Distinct(p.s, rect, &cutter{lsns: lsns, target: target})
		},
		Level: n + 1, Priority: compaction.PriorityL0,
		Cost:   compaction.Cost{Read: bytes, Write: bytes},
		Reason: why,
	}
}

// mayImage reports whether images can be made above all of the level: the live keys are known at one LSN only.
func (p *planner) mayImage(v *level) bool {
	return p.s.LiveLSN >= v.lsns.End-1 && p.s.LiveLSN >= p.s.Cutoff
}

// cover makes images of all live keys, but for those that have one above the level already.
func (p *planner) cover(v *level, n int, why string) {
	at := page.LSNRange{Start: p.s.LiveLSN, End: p.s.LiveLSN + 1}
	var have []page.Range
	doomed := map[page.Range]bool{}
	for i := range p.s.Layers {
		if l := &p.s.Layers[i]; l.Image && l.LSNs.Start >= v.lsns.End-1 && l.LSNs.Start <= at.Start {
			have = append(have, l.Rest().Ranges()...)
		}
	}
	for _, id := range p.s.Doomed {
		if id.Image && id.LSNs == at && id.Generation == p.s.Generation {
			doomed[id.Keys] = true
		}
	}
	there := page.NewSet(have...)
	for _, tile := range tiles(p.s.Live, max(p.o.CheckpointDistance/pageBytes, 1)) {
		for _, keys := range page.NewSet(tile).Subtract(there).Ranges() {
			live := p.s.Live.Intersect(keys)
			if live.Empty() || doomed[keys] {
				continue
			}
			bytes := compaction.SetPages(live) * pageBytes
			p.plan.Jobs = append(p.plan.Jobs, compaction.Job{
				Kind: compaction.Image, Rect: compaction.Rect{Keys: keys, LSNs: at},
				Level: n + 1, Priority: compaction.PriorityImage,
				Cost: compaction.Cost{Read: bytes, Write: bytes}, Reason: why,
			})
		}
	}
}
