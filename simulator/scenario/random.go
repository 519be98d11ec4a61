package scenario

import (
	"fmt"
	"time"

	"github.com/stratapg/strata/compaction"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/workload"
)

// Random makes a small scenario of a seed, with everything that a run may have, and checks that look at everything often. It
// switches most things off in most of them, so that combinations differ.
func Random(seed uint64) sim.Config {
	r := workload.NewRand(seed, "scenario")
	some := func(low, high int64) int64 { return low + int64(r.Below(uint64(high-low+1))) }
	c := sim.Config{
		Name: fmt.Sprintf("random-%d", seed), Seed: seed, Preload: r.Permille(600),
		Options: compaction.Options{
			CheckpointDistance: some(20_000, 400_000), CompactionTargetSize: some(20_000, 400_000), CompactionThreshold: int(some(2, 10)),
			CompactionUpperLimit: int(some(1, 10)), ImageCreationThreshold: int(some(1, 5)), FoldMinBytes: some(50_000, 1_000_000),
			MaxVisits: int(some(6, 24)),
		},
		Reads:  sim.Reads{Number: int(some(1, 20)), Old: int(some(0, 500)), Branch: int(some(0, 500))},
		Checks: sim.Checks{Full: int(some(1, 40))},
	}
	if r.Permille(300) { // planning takes far longer then
		c.Options.MaxRecords = int(some(4, 100))
	}
	randomKeys(&c, r, some)
	rate := some(100_000, 2_000_000)
	for range some(1, 4) {
		c.Phases = append(c.Phases, randomPhase(&c, r, some, rate))
	}
	if r.Permille(700) {
		c.Bandwidth = rate * some(2, 20)
	}
	if r.Permille(800) {
		c.GCPeriod = sim.Duration(some(50, 5000)) * sim.Duration(time.Millisecond)
		c.Horizon = some(0, 2_000_000)
	}
	if r.Permille(500) {
		c.PITR = sim.Duration(some(10, 10_000)) * sim.Duration(time.Millisecond)
	}
	if r.Permille(300) {
		c.FlushAfter = sim.Duration(some(20, 2000)) * sim.Duration(time.Millisecond)
	}
	for range some(0, 3) {
		c.Branches.At = append(c.Branches.At, int(some(0, 1000)))
	}
	if r.Permille(400) {
		c.Branches.Every, c.Branches.Keep, c.Branches.Covered = some(20_000, 1_000_000), int(some(1, 30)), int(some(0, 1000))
	}
	for range some(0, 3) {
		c.Restarts = append(c.Restarts, int(some(0, 1000)))
	}
	return c
}

func randomKeys(c *sim.Config, r *workload.Rand, some func(int64, int64) int64) {
	for i := range some(1, 3) {
		g := sim.Region{Name: fmt.Sprint("table ", i), Blocks: uint32(some(1, 400)), Relations: 1}
		if r.Permille(300) {
			g.Relations, g.Blocks = int(some(1, 20)), uint32(some(1, 20))
		}
		if r.Permille(300) {
			g.Room = g.Blocks + uint32(some(1, 200))
		}
		if r.Permille(200) {
			g.Hot = 100
		}
		c.Regions = append(c.Regions, g)
	}
	if r.Permille(300) {
		c.Regions = append(c.Regions, sim.Region{Name: "files", Sparse: true, Room: uint32(some(1, 300)), ImageBytes: uint32(some(20, 2000))})
	}
}

func randomPhase(c *sim.Config, r *workload.Rand, some func(int64, int64) int64, rate int64) sim.Phase {
	p := sim.Phase{Records: some(500, 12_000), Rate: rate, Repeat: int(some(1, 2))}
	if r.Permille(200) {
		p.Idle = sim.Duration(some(10, 5000)) * sim.Duration(time.Millisecond)
	}
	if i := int(some(0, int64(len(c.Regions)-1))); r.Permille(300) && !c.Regions[i].Sparse {
		p.Resize = []sim.Resize{{Region: i, Blocks: uint32(some(1, int64(max(c.Regions[i].Room, c.Regions[i].Blocks))))}}
	}
	for range some(1, 3) {
		first := int(some(0, int64(len(c.Regions)-1)))
		k := workload.Keys{Kind: "uniform", First: first, Count: int(some(1, int64(len(c.Regions)-first)))}
		switch some(0, 5) {
		case 0:
			k.Kind, k.HotKeys, k.HotRecords = "hot-cold", int(some(1, 500)), int(some(0, 1000))
		case 1:
			k.Kind, k.Theta, k.Sorted = "zipf", int(some(200, 1400)), r.Permille(500)
		case 2:
			k.Kind = "cycle"
		case 3:
			k.Limit = 1
		case 4:
			if g := c.Regions[first]; g.Room > g.Blocks && g.Relations == 1 && !g.Sparse {
				k = workload.Keys{Kind: "append", First: first, PerBlock: int(some(1, 30))}
			}
		}
		s := workload.Stream{Weight: int(some(1, 10)), Keys: k, Size: uint32(some(20, 1000))}
		if r.Permille(400) {
			s.SizeMax = s.Size + uint32(some(1, 1000))
		}
		if r.Permille(300) {
			s.Full, s.FullSize = int(some(1, 500)), 8192
		}
		p.Streams = append(p.Streams, s)
	}
	return p
}
