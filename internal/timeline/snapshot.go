package timeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/page"
)

// Snapshot sees a timeline as it was when the snapshot was made, at one LSN and below: the same layers for
// all reads, whatever is flushed, compacted or collected meanwhile. It holds those layers, on disk and in
// memory, until Close. All methods may be called concurrently.
type Snapshot struct {
	t      *Timeline
	l      *lineage
	reads  []*Timeline // of l
	lsn    page.LSN
	oldest page.LSN
	begun  time.Time
	refs   atomic.Int64 // reads that run, and one until it has ended
	ended  atomic.Pointer[error]
}

// Snapshot pins what reads at lsn and below see. Close must be called.
func (t *Timeline) Snapshot(ctx context.Context, lsn page.LSN) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := t.pinToRead(lsn)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{t: t, l: l, reads: slices.Clone(l.timelines), lsn: lsn, oldest: min(lsn, t.oldestBelow(lsn), t.OldestLSN()), begun: t.env.Clock()}
	s.refs.Store(1)
	t.env.snapshots.add(s)
	t.env.endOldSnapshots()
	return s, nil
}

// LSN is the highest that can be read.
func (s *Snapshot) LSN() page.LSN { return s.lsn }

// Get is Timeline.Get at an LSN up to the snapshot's.
func (s *Snapshot) Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error) {
	if err := s.begin(lsn); err != nil {
		return nil, err
	}
	defer s.release()
	watch := &s.t.env.pace.reads
	defer watch.end(watch.begin(true))
	return s.l.get(ctx, key, lsn)
}

// GetVectored is Timeline.GetVectored at an LSN up to the snapshot's.
func (s *Snapshot) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	if err := s.begin(lsn); err != nil {
		return err
	}
	defer s.release()
	watch := &s.t.env.pace.reads
	defer watch.end(watch.begin(few(keys)))
	return s.l.getVectored(ctx, keys, lsn, fn)
}

// Close lets go of the snapshot; reads that run end as if it had not been called. It may be called again.
func (s *Snapshot) Close() {
	s.end(fmt.Errorf("snapshot of timeline %s at LSN %s: %w", s.t.meta.Name, s.lsn, ErrClosed))
}

// end makes further reads fail with err.
func (s *Snapshot) end(err error) {
	if s.ended.CompareAndSwap(nil, &err) {
		s.t.env.snapshots.remove(s)
		s.release()
	}
}

// begin counts a read, which ends with release.
func (s *Snapshot) begin(lsn page.LSN) error {
	if lsn > s.lsn || lsn < s.oldest {
		reason := ErrFutureLSN
		if lsn < s.oldest {
			reason = ErrBeforeHistory
		}
		return fmt.Errorf("%w: LSN %s of timeline %s through a snapshot, which can be read from %s to %s", reason, lsn, s.t.meta.Name, s.oldest, s.lsn)
	}
	for {
		n := s.refs.Load()
		if err := s.ended.Load(); err != nil {
			return *err
		}
		if s.refs.CompareAndSwap(n, n+1) {
			s.t.env.counters.reads.Add(1)
			return nil
		}
	}
}

func (s *Snapshot) release() {
	if s.refs.Add(-1) == 0 {
		s.l.release()
	}
}

// snapshots are those of a store that have not ended.
type snapshots struct {
	mu struct {
		sync.Mutex
		all map[*Snapshot]struct{}
	}
}

func (l *snapshots) add(s *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.all == nil {
		l.mu.all = map[*Snapshot]struct{}{}
	}
	l.mu.all[s] = struct{}{}
}

func (l *snapshots) remove(s *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.all, s)
}

// list gives them all.
func (l *snapshots) list() []*Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.mu.all))
}

// oldest gives the one that was made first, and how many there are.
func (l *snapshots) oldest() (first *Snapshot, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.mu.all {
		if first == nil || s.begun.Before(first.begun) {
			first = s
		}
	}
	return first, len(l.mu.all)
}

// endOldSnapshots ends those that are older than the limit, and the oldest for as long as more is held than
// may be. No lock is held.
func (e *Env) endOldSnapshots() {
	for {
		s, _ := e.snapshots.oldest()
		if s == nil {
			return
		}
		age, held := e.Clock().Sub(s.begun), e.counters.heldBytes.Load()
		switch {
		case e.MaxSnapshotAge > 0 && age > e.MaxSnapshotAge:
			s.end(fmt.Errorf("snapshot of timeline %s at LSN %s: %w: it is %s old, at most %s is allowed; take a new one",
				s.t.meta.Name, s.lsn, ErrSnapshotEnded, age.Round(time.Second), e.MaxSnapshotAge))
		case e.MaxHeldBytes > 0 && held > e.MaxHeldBytes:
			s.end(fmt.Errorf("snapshot of timeline %s at LSN %s: %w: %d bytes were held for readers, at most %d may be; take a new one",
				s.t.meta.Name, s.lsn, ErrSnapshotEnded, held, e.MaxHeldBytes))
		default:
			return
		}
	}
}
