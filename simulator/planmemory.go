package simulator

import (
	"fmt"
	"runtime"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/simulator/stats"
)

// What a plan may hold, and what making one may allocate, is so much for each thing that the planner is shown, and a little beside: a
// planner whose memory grows faster than what it looks at is one that a large timeline cannot have.
const (
	holdsRoom, holdsPerThing = 64 << 10, 1 << 10
	heapRoom, heapPerThing   = 4 << 20, 8 << 10
)

// What the parts of a plan are counted with. They are of no machine, so that a plan comes to the same everywhere.
const (
	jobBytes   = 256
	pointBytes = 8
	indexBytes = 8
)

// holds is the memory that a plan keeps: its jobs, and the layers and read points that these name.
func holds(p *compaction.Plan) int64 {
	n := int64(0)
	for i := range p.Jobs {
		j := &p.Jobs[i]
		n += jobBytes + int64(len(j.Inputs)+len(j.Obsolete))*indexBytes + int64(len(j.Reason))
		if j.Fold != nil {
			n += int64(len(j.Fold.Retain)) * pointBytes
		}
	}
	return n
}

// things counts what a planner is shown: layers, names, read points, stretches of keys, and the images that the live keys make.
func things(s *compaction.Snapshot) int64 {
	n := len(s.Layers) + len(s.Doomed) + len(s.Live.Ranges())
	for i := range s.Layers {
		if c := s.Layers[i].Chains; c != nil {
			n += len(c.Long)
		}
	}
	for i := range s.Retain {
		n += 1 + len(s.Retain[i].Released)
	}
	const pageBytes = 8192
	return int64(n) + compaction.SetPages(s.Live)*pageBytes/max(s.Options.CompactionTargetSize, 1)
}

// checkPlan refuses a plan that holds more than it may.
func checkPlan(s *compaction.Snapshot, p *compaction.Plan) error {
	if n, most := holds(p), holdsRoom+holdsPerThing*things(s); n > most {
		return fmt.Errorf("a plan of %d jobs for %d layers holds %d bytes: with all that its planner was shown it may hold %d", len(p.Jobs), len(s.Layers), n, most)
	}
	return nil
}

// PlanMeter measures what planning allocates. That is not part of a run, which other runs of the process may go on beside: the largest
// snapshot that a run's plans were made of is planned for once more when nothing else runs.
type PlanMeter struct{ largest *compaction.Snapshot }

// Watch is to be an Observer's Plan.
func (m *PlanMeter) Watch(s *compaction.Snapshot) {
	if m.largest == nil || len(s.Layers) > len(m.largest.Layers) {
		m.largest = s
	}
}

// Measure plans once more and notes in the result what that allocates. More than a planner may is an error, and the result's too. Nothing
// else may run in the process.
func (m *PlanMeter) Measure(st compaction.Strategy, r *stats.Result) error {
	if m.largest == nil || r.Error != "" {
		return nil
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	st.Plan(m.largest)
	runtime.ReadMemStats(&after)
	r.Plan.HeapBytes = int64(after.TotalAlloc - before.TotalAlloc)
	if most := heapRoom + heapPerThing*things(m.largest); r.Plan.HeapBytes > most {
		err := fmt.Errorf("scenario %s, strategy %s, seed %d: a plan for %d layers allocates %d bytes: with all that its planner is shown it may allocate %d",
			r.Scenario, r.Strategy, r.Seed, len(m.largest.Layers), r.Plan.HeapBytes, most)
		r.Error = err.Error()
		return err
	}
	return nil
}
