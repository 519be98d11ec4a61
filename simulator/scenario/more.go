package scenario

import (
	"time"

	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/workload"
)

func manyRelations() sim.Config {
	c := base("many-relations", "2,000 tables of a megabyte, a few of them busy")
	c.Regions = []sim.Region{{Name: "tables", Relations: 2000, Blocks: 128}}
	k := workload.Keys{Kind: "zipf", Theta: 800, Sorted: true}
	c.Phases = []sim.Phase{load(baseRecords, k)}
	c.Reads.Keys = k
	return c
}

func counters() sim.Config {
	c := base("counters", "200 pages of counters take four of five records, next to a table that is rarely changed")
	c.Regions = []sim.Region{{Name: "table", Blocks: baseBlocks}, {Name: "counters", Relations: 20, Blocks: 10}}
	c.Phases = []sim.Phase{{Records: baseRecords, Rate: baseRate, Streams: []workload.Stream{
		{Weight: 4, Keys: workload.Keys{Kind: "uniform", First: 1}, Size: 160},
		{Weight: 1, Keys: workload.Keys{Kind: "uniform"}, Size: baseSize},
	}}}
	return c
}

func bursts() sim.Config {
	c := base("bursts", "WAL comes in bursts at five times the usual rate, with idle time between")
	const rounds = 16
	p := load(baseRecords/rounds, workload.Keys{Kind: "hot-cold", HotKeys: 200, HotRecords: 800})
	p.Rate, p.Idle, p.Repeat = 5*baseRate, 10*second, rounds
	c.Phases = []sim.Phase{p}
	c.FlushAfter = 5 * second
	return c
}

func shrinking() sim.Config {
	c := base("shrinking", "tables are truncated to a quarter, one after the other, and grow again from there")
	c.Regions = []sim.Region{
		{Name: "kept", Blocks: baseBlocks / 4}, {Name: "first", Blocks: baseBlocks / 4},
		{Name: "second", Blocks: baseBlocks / 4}, {Name: "third", Blocks: baseBlocks / 4},
	}
	all := workload.Keys{Kind: "uniform", Count: 4}
	part := func(resize ...sim.Resize) sim.Phase {
		p := load(baseRecords/5, all)
		p.Resize = resize
		return p
	}
	c.Phases = []sim.Phase{
		part(),
		part(sim.Resize{Region: 1, Blocks: baseBlocks / 16}),
		part(sim.Resize{Region: 2, Blocks: baseBlocks / 16}),
		part(sim.Resize{Region: 3, Blocks: baseBlocks / 16}, sim.Resize{Region: 1, Blocks: baseBlocks / 8}),
		part(sim.Resize{Region: 1, Blocks: 1}, sim.Resize{Region: 2, Blocks: baseBlocks / 4}),
	}
	return c
}

func thousandBranches() sim.Config {
	c := base("thousand-branches", "a thousand branches come off one parent, of which the newest 200 stay; half of the children of those that go cover half of the keys themselves and stay as well")
	c.Phases = []sim.Phase{load(baseRecords/2, workload.Keys{Kind: "hot-cold", HotKeys: 200, HotRecords: 800})}
	c.Branches = sim.Branches{Every: baseRecords / 2 * baseSize / 1000, Keep: 200, Covered: 500}
	c.PITR = 10 * second
	c.Reads.Branch = 400
	return c
}

func oldBranch() sim.Config {
	c := base("old-branch", "a branch made early stays to the end, another comes half-way")
	c.Phases = []sim.Phase{load(baseRecords, workload.Keys{Kind: "uniform"})}
	c.Branches = sim.Branches{At: []int{50, 500}}
	c.PITR = 10 * second
	c.Reads.Branch = 200
	return c
}

func shortPITR() sim.Config {
	c := base("short-pitr", "only the last five seconds can be asked for")
	c.Phases = []sim.Phase{load(baseRecords, workload.Keys{Kind: "hot-cold", HotKeys: 200, HotRecords: 800})}
	c.PITR, c.Horizon = 5*second, 0
	return c
}

func longPITR() sim.Config {
	c := base("long-pitr", "all of the run can be asked for: nothing may be forgotten")
	c.Phases = []sim.Phase{load(baseRecords, workload.Keys{Kind: "hot-cold", HotKeys: 200, HotRecords: 800})}
	c.PITR = sim.Duration(time.Hour)
	c.Reads.Old = 500
	return c
}

func metadata() sim.Config {
	c := base("metadata", "two of three records are of small files in the sparse keys, the others of pages")
	c.Regions = []sim.Region{{Name: "table", Blocks: baseBlocks}, {Name: "files", Sparse: true, Room: 50_000, ImageBytes: 400}}
	c.Phases = []sim.Phase{{Records: baseRecords, Rate: baseRate, Streams: []workload.Stream{
		{Weight: 2, Keys: workload.Keys{Kind: "zipf", Theta: 990, First: 1}, Size: 200, SizeMax: 600, Full: 1000, FullSize: 400},
		{Weight: 1, Keys: workload.Keys{Kind: "uniform"}, Size: baseSize},
	}}}
	return c
}

// giantTable keeps the proportions of a report of a table of 16 TB: 40 TB of deltas, which are 160,000 of 256 MiB, and
// a p99 of reads in seconds. Everything is 4,096 times smaller, layers 16 times, so there are 256 times fewer.
func giantTable() sim.Config {
	c := base("giant-table", "a table of 16 TB with 40 TB of changes all over it, scaled down, layers less so; nothing is collected")
	const shrink = 4096
	c.Regions[0].Blocks = 16 << 40 / shrink / (8 * kib)
	c.Options.CheckpointDistance, c.Options.CompactionTargetSize = 16*mib, 8*mib
	const size = 2048
	c.Phases = []sim.Phase{{Records: 10 * gib / size, Rate: 40 * mib, Streams: []workload.Stream{
		{Keys: workload.Keys{Kind: "uniform"}, Size: size}}}}
	c.PITR = sim.Duration(time.Hour)
	return c
}

func restarts() sim.Config {
	c := base("restarts", "the engine is killed nine times, in the middle of jobs, with full-page records as after checkpoints")
	p := load(baseRecords/2, workload.Keys{Kind: "zipf", Theta: 800})
	p.Streams[0].Full, p.Streams[0].FullSize = 20, 8192
	c.Phases = []sim.Phase{p}
	c.Restarts = []int{100, 200, 300, 400, 500, 600, 700, 800, 900}
	c.Branches = sim.Branches{At: []int{250}}
	return c
}
