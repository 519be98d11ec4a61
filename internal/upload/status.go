package upload

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/page"
)

// Status is what a queue still owes.
type Status struct {
	// Layers wait for their upload, or are in it, Running of them; Bytes is their size.
	Layers, Running int
	Bytes           int64
	// Index says that the newest index is not up, Deletes how many layers wait for theirs to be deleted.
	Index   bool
	Deletes int
	// Oldest is since when a layer waits, zero if none does.
	Oldest time.Time
	// Err is what is wrong now, and Since when it began; attempts go on.
	Err   error
	Since time.Time
	// Stale says that a newer generation was found; nothing is uploaded any more.
	Stale bool
	// Projected is the LSN of the last index that was uploaded; RemoteConsistentLSN that of the last one after which our
	// generation was found to be the last.
	Projected, RemoteConsistentLSN page.LSN
}

// Idle reports whether nothing is owed.
func (s Status) Idle() bool { return s.Layers == 0 && !s.Index && s.Deletes == 0 }

// Owed is Status.Bytes, and 0 once another writer has taken over: nobody waits for that to be paid.
func (q *Queue) Owed() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.stale {
		return 0
	}
	return q.mu.bytes
}

// Status gives what is owed.
func (q *Queue) Status() Status {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.mu.order.Debt()
	s := Status{Layers: d.Layers, Running: d.Running, Bytes: q.mu.bytes, Index: d.Index, Deletes: d.Deletes, Stale: q.mu.stale,
		Projected: q.mu.projected, RemoteConsistentLSN: q.mu.consistent}
	for _, f := range q.mu.files {
		if s.Oldest.IsZero() || f.since.Before(s.Oldest) {
			s.Oldest = f.since
		}
	}
	if names := slices.Sorted(maps.Keys(q.mu.faults)); len(names) > 0 {
		s.Since = q.mu.faulty
		s.Err = fmt.Errorf("%s: %w", names[0], q.mu.faults[names[0]])
		if len(names) > 1 {
			s.Err = fmt.Errorf("%w, and %d more", s.Err, len(names)-1)
		}
	}
	return s
}

// Counters are what all queues that share them have done.
type Counters struct {
	layers, bytes, indexes, indexBytes, failures atomic.Int64
	owed, owedBytes, indexWaits                  atomic.Int64
}

// Counts are Counters at one moment.
type Counts struct {
	// Layers and Bytes were uploaded, Indexes and IndexBytes too; Failures were attempts that failed.
	Layers, Bytes, Indexes, IndexBytes, Failures int64
	// Owed and OwedBytes are the layers that wait for their upload now.
	Owed, OwedBytes int64
	// IndexWaits are indexes that waited for others to leave the memory.
	IndexWaits int64
}

// Counts gives them.
func (c *Counters) Counts() Counts {
	return Counts{c.layers.Load(), c.bytes.Load(), c.indexes.Load(), c.indexBytes.Load(), c.failures.Load(),
		c.owed.Load(), c.owedBytes.Load(), c.indexWaits.Load()}
}
