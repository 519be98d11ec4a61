package timeline

import (
	"fmt"

	"github.com/stratapg/strata/internal/budget"
)

// MemoryShares are the parts of a store's memory, each with a limit of its own, so that none can starve
// another. docs/design/memory.md tells what each holds.
type MemoryShares struct {
	budget *budget.Budget
	// Blocks is the block cache's, Layers that of values not yet written, Reads that of reads in flight, Jobs
	// that of compaction and of indexes being written, Transfers that of uploads and downloads, Sizes that of the
	// caches of relation sizes.
	Blocks, Layers, Reads, Jobs, Transfers, Sizes *budget.Share
}

// memoryParts says what each share gets of the whole, in 64ths.
var memoryParts = []struct {
	name  string
	parts int64
	share func(m *MemoryShares) **budget.Share
}{
	{"layers", 32, func(m *MemoryShares) **budget.Share { return &m.Layers }},
	{"jobs", 16, func(m *MemoryShares) **budget.Share { return &m.Jobs }},
	{"blocks", 7, func(m *MemoryShares) **budget.Share { return &m.Blocks }},
	{"reads", 4, func(m *MemoryShares) **budget.Share { return &m.Reads }},
	{"transfers", 4, func(m *MemoryShares) **budget.Share { return &m.Transfers }},
	{"sizes", 1, func(m *MemoryShares) **budget.Share { return &m.Sizes }},
}

// newMemoryShares splits a total of bytes.
func newMemoryShares(total int64) (*MemoryShares, error) {
	m := &MemoryShares{budget: budget.New(total)}
	for _, p := range memoryParts {
		s, err := m.budget.Share(p.name, total/64*p.parts)
		if err != nil {
			return nil, fmt.Errorf("memory of %d bytes: %w", total, err)
		}
		*p.share(m) = s
	}
	return m, nil
}

// MemoryShareNames lists the shares in the order of Stats.
func MemoryShareNames() []string {
	names := make([]string, len(memoryParts))
	for i, p := range memoryParts {
		names[i] = p.name
	}
	return names
}

// ShareStats is how much of a share is in use.
type ShareStats = budget.Stats

// Stats gives what the shares hold.
func (m *MemoryShares) Stats() []ShareStats { return m.budget.Stats() }
