package compaction

import "github.com/stratapg/strata/page"

// Flusher is a Strategy that also says into which deltas memory is flushed. What others flush is one L0.
type Flusher interface {
	Strategy
	// Flush says how a layer in memory with these LSNs is to be written. The snapshot may be a few flushes old. What is said of
	// Plan holds here too.
	Flush(s *Snapshot, lsns page.LSNRange) FlushSpec
}

// FlushSpec says into which deltas a layer in memory goes. They are published in one step, and of those without
// entries there is none.
type FlushSpec struct {
	// Cut divides all keys, so that the outputs tile them: one alone makes an L0. Nil is one.
	Cut func() Cutter
	// MaxRecords, if not 0, is how many records of a key may follow each other without a page image, as in a Job.
	MaxRecords int
}
