package scenario

import (
	"github.com/stratapg/strata/compaction"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/trace"
	"github.com/stratapg/strata/simulator/workload"
)

// TraceName is the name of the scenario that Trace makes.
const TraceName = "trace"

const (
	// traceLayers is how many layers of memory a trace is divided into, so that a small one shows something too.
	traceLayers = 64
	minLayer    = 64 * kib
	baseLayer   = 32 * mib
)

// Trace is the replay of what a store has taken in, with layers of a 64th of it, up to 256 MiB, and the other values of
// the named scenarios in proportion.
func Trace(t *trace.Trace) sim.Config {
	c := base(TraceName, "what a store has taken in: "+t.Source)
	distance := min(max(t.Bytes/traceLayers, minLayer), 8*baseLayer)
	part := func(v int64) int64 { return max(v/baseLayer*distance+v%baseLayer*distance/baseLayer, 1) }
	c.Options = compaction.Options{CheckpointDistance: distance, CompactionTargetSize: distance / 2, FoldMinBytes: 16 * distance}
	c.Preload, c.Trace = t.Preload, t
	c.Regions = []sim.Region{{Name: "all", Blocks: 1}}
	c.Phases = []sim.Phase{{Records: int64(len(t.Records)), Rate: part(baseRate)}}
	c.Bandwidth, c.Horizon = part(c.Bandwidth), part(c.Horizon)
	c.Reads.Keys = workload.Keys{Kind: "uniform", Count: 1}
	return c
}
