package scenario

import (
	"fmt"
	"strings"
	"time"

	"github.com/stratapg/strata/compaction"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/workload"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	second = sim.Duration(time.Second)
)

// All gives the scenarios, in the order in which they are shown. The caller may change what it gets.
func All() []sim.Config {
	var all []sim.Config
	for _, f := range []func() sim.Config{
		uniform20GB, uniform, hotCold, zipf, bulkLoad, bulkThenRandom, oneHotKey, manyRelations, counters, bursts, shrinking,
		thousandBranches, oldBranch, shortPITR, longPITR, metadata, giantTable, restarts,
	} {
		all = append(all, f())
	}
	return all
}

// Get gives a scenario by its name.
func Get(name string) (sim.Config, error) {
	var names []string
	for _, c := range All() {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return sim.Config{}, fmt.Errorf("no scenario is called %q: there are %s", name, strings.Join(names, ", "))
}

// uniform20GB is the one scenario of Neon's suite, under its simulator's rules.
func uniform20GB() sim.Config {
	return sim.Config{
		Name: "uniform-20GB-5GB", About: "20 GB of WAL in records of 1,000 bytes over 5,000 MiB, as in Neon's suite: no branches, nothing collected, no limit on compaction",
		Regions: []sim.Region{{Name: "table", Blocks: 640_000}},
		Phases: []sim.Phase{{Records: 20_000_000, Rate: 100 * mib, Streams: []workload.Stream{
			{Keys: workload.Keys{Kind: "uniform"}, Size: 1000}}}},
		Options: compaction.Options{CheckpointDistance: 256 * mib, CompactionThreshold: 4},
		Reads:   sim.Reads{Number: 64}, // which change nothing, but tell what the layers are worth
	}
}

// base is what the other scenarios have in common: a database of 2 GiB that is there at the start, layers of
// 32 MiB, 4 GiB of WAL at 20 MiB/s, 200 MiB/s of reading and writing for compaction, and reads at the newest
// LSN, within the PITR window and at branches.
func base(name, about string) sim.Config {
	return sim.Config{
		Name: name, About: about,
		Preload:   true,
		Regions:   []sim.Region{{Name: "table", Blocks: baseBlocks}},
		Options:   compaction.Options{CheckpointDistance: 32 * mib, CompactionTargetSize: 16 * mib, FoldMinBytes: 512 * mib},
		Bandwidth: 200 * mib,
		GCPeriod:  10 * second, Horizon: 32 * mib, PITR: 60 * second,
		Reads: sim.Reads{Number: 64, Old: 100, Branch: 100},
	}
}

const (
	baseBlocks  = 2 * gib / (8 * kib)
	baseRate    = 20 * mib
	baseRecords = 4 * gib / baseSize
	baseSize    = 256
)

// load is a phase of records of one stream.
func load(records int64, k workload.Keys) sim.Phase {
	return sim.Phase{Records: records, Rate: baseRate, Streams: []workload.Stream{{Keys: k, Size: baseSize}}}
}

func uniform() sim.Config {
	c := base("uniform", "each page as often as any other")
	c.Phases = []sim.Phase{load(baseRecords, workload.Keys{Kind: "uniform"})}
	return c
}

func hotCold() sim.Config {
	c := base("hot-cold", "nine of ten records on the first tenth of the pages")
	c.Regions[0].Hot = 100
	k := workload.Keys{Kind: "hot-cold", HotKeys: 100, HotRecords: 900}
	c.Phases = []sim.Phase{load(baseRecords, k)}
	c.Reads.Keys = k
	return c
}

func zipf() sim.Config {
	c := base("zipf", "pages by Zipf's law with exponent 0.99, popular ones all over the table")
	k := workload.Keys{Kind: "zipf", Theta: 990}
	c.Phases = []sim.Phase{load(baseRecords, k)}
	c.Reads.Keys = k
	return c
}

// perBlock is how many rows of baseSize bytes fill a page.
const perBlock = 30

func bulkLoad() sim.Config {
	c := base("bulk-load", "a table grows from nothing, page after page, and nothing is changed later")
	c.Preload = false
	c.Regions = []sim.Region{{Name: "table", Room: baseRecords/perBlock + 1}}
	c.Phases = []sim.Phase{load(baseRecords, workload.Keys{Kind: "append", PerBlock: perBlock})}
	return c
}

func bulkThenRandom() sim.Config {
	c := base("bulk-then-random", "a table is loaded page after page, then changed all over")
	c.Preload = false
	c.Regions = []sim.Region{{Name: "table", Room: baseRecords/2/perBlock + 1}}
	c.Phases = []sim.Phase{
		load(baseRecords/2, workload.Keys{Kind: "append", PerBlock: perBlock}),
		load(baseRecords/2, workload.Keys{Kind: "uniform"}),
	}
	return c
}

func oneHotKey() sim.Config {
	c := base("one-hot-key", "10 million changes of one page, among a few of others")
	c.Regions = []sim.Region{{Name: "others", Blocks: baseBlocks / 4}, {Name: "one", Blocks: 1}}
	c.Phases = []sim.Phase{{Records: 10_500_000, Rate: baseRate, Streams: []workload.Stream{
		{Weight: 20, Keys: workload.Keys{Kind: "uniform", First: 1}, Size: 100},
		{Weight: 1, Keys: workload.Keys{Kind: "uniform"}, Size: 100},
	}}}
	return c
}
