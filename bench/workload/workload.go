package workload

import (
	"context"
	"slices"
)

// Metric is what a workload measures: its unit, as in the output of Go's benchmarks, and whether more of it is better.
type Metric struct {
	Unit string
	More bool
}

// Workload is one that can be prepared.
type Workload struct {
	// Name is that of the Go benchmark, without "Benchmark".
	Name    string
	Metrics []Metric
	// Prepare makes what the rounds need, in a folder of its own that is there and empty.
	Prepare func(ctx context.Context, dir string) (Job, error)
}

// Job is a workload that is prepared.
type Job struct {
	// Round does the work once, and gives a value for each metric.
	Round func(ctx context.Context) ([]float64, error)
	// Check is a checksum of what the rounds compute, or of what they read.
	Check uint32
	// Close gives back what Prepare took, but for the folder.
	Close func() error
}

// Size says how large workloads are.
type Size struct {
	// Pages of relations; Relations are further sizes under a stack. Heights are of stacks, Depths how many reads are under way.
	Pages     int
	Relations []int
	Heights   []int
	Depths    []int
	// Bytes that are ingested, or merged.
	Bytes int64
	// Layers of made-up layer maps and upload queues.
	Layers int
	// Timelines, or Tenants, that clients share in the measurement of the highest throughput.
	Timelines, Tenants int
	// Clients of a redo process.
	Clients []int
	// Databases of the sample cluster that are imported; all of them if there is none.
	Databases []string
	// Rate is how many reads begin in a second beside compaction, and Idle how many are made at rest, to compare others with.
	Rate, Idle int
}

// Sizes by name: tiny for tests, quick for some minutes, long for a machine that is there for it.
var (
	Tiny = Size{Pages: 64, Relations: []int{16}, Heights: []int{3}, Depths: []int{2}, Bytes: 1 << 20, Layers: 100,
		Timelines: 2, Tenants: 2, Clients: []int{2}, Databases: []string{"1"}, Rate: 200, Idle: 5}
	Quick = Size{Pages: 4096, Relations: []int{1024}, Heights: []int{1, 20}, Depths: []int{1, 8}, Bytes: 32 << 20, Layers: 10_000,
		Timelines: 4, Tenants: 4, Clients: []int{1, 8, 64}, Rate: 5000, Idle: 500}
	Long = Size{Pages: 64 << 10, Relations: []int{6400}, Heights: []int{1, 5, 20}, Depths: []int{1, 2, 4, 8}, Bytes: 128 << 20, Layers: 1_000_000,
		Timelines: 16, Tenants: 100, Clients: []int{1, 2, 4, 8, 16, 32, 64, 128}, Rate: 5000, Idle: 5000}
)

// Median is the middle of some values; they are sorted.
func Median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// All lists the workloads of a size: those whose data are made, and those of what is in the folders that are named.
func (f Folders) All(s Size) []Workload {
	out := slices.Concat(Reads(s), Scans(s), Throughput(s), Compactions(s), Ingests(s), f.Redo(s), Maps(s), Queues(s))
	if f.Sample != "" {
		out = append(out, f.Storms(s)...)
	}
	if f.Fixtures != "" {
		out = append(out, f.RealMaps()...)
	}
	return out
}

// Folders are where data are that are not made: of the sample cluster (testdata/sample of the repository), and of the layer names of Neon's
// timelines; and the program that serves redo as its subcommand redo-worker. What is empty is left out.
type Folders struct{ Sample, Fixtures, Redoer string }
