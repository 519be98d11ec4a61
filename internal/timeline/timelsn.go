package timeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TimeKind says how a time lies to a timeline's commits.
type TimeKind uint8

// Kinds.
const (
	// TimePresent: the LSN is that before the first commit after the time.
	TimePresent TimeKind = iota
	// TimeFuture: no commit is later. The LSN is the last that is known.
	TimeFuture
	// TimePast: a commit at or before the LSN, the oldest that can be read, may be later already.
	TimePast
	// TimeUnknown: there is no commit whose time is known.
	TimeUnknown
)

// String gives the kind in one word.
func (k TimeKind) String() string {
	switch k {
	case TimePresent:
		return "present"
	case TimeFuture:
		return "future"
	case TimePast:
		return "past"
	}
	return "unknown"
}

// TimeLSN is where a time lies in a timeline.
type TimeLSN struct {
	LSN  page.LSN
	Kind TimeKind
}

// LSNOfTime gives the last state that has only commits of at or before a time, as PostgreSQL's
// recovery_target_time does: that before the first commit, in the order of LSNs, whose time is later. Commits
// need not be in the order of their times. What is in memory is written first. A branch's own history alone is
// searched; TimePast means to ask its ancestor.
func (t *Timeline) LSNOfTime(ctx context.Context, at time.Time) (TimeLSN, error) {
	if t.DiskConsistentLSN() < t.LastRecordLSN() {
		if err := t.Flush(ctx); err != nil {
			return TimeLSN{}, err
		}
	}
	return t.lsnOfTime(ctx, at, t.begin(), t.DiskConsistentLSN())
}

// postgresEpoch is the second at which PostgreSQL's clock stands at 0: 2000-01-01.
const postgresEpoch = 946_684_800

// pgTime gives a time as commits have it.
func pgTime(at time.Time) int64 { return at.UnixMicro() - postgresEpoch*1e6 }

// lsnOfTime searches the commits in (from, to], all of which lie in layer files. It reads each of them up to the one
// that it looks for, so that a search that begins at the cutoff reads no more than what the cutoff can move by.
func (t *Timeline) lsnOfTime(ctx context.Context, at time.Time, from, to page.LSN) (TimeLSN, error) {
	s := commitSearch{t: t, after: pgTime(at), from: from, best: page.MaxLSN}
	if err := s.run(ctx, to); err != nil {
		return TimeLSN{}, fmt.Errorf("timeline %s: LSN of %s: %w", t.meta.Name, at, err)
	}
	switch {
	case s.best != page.MaxLSN:
		// Any LSN below the commit's is before it; the record before it ends at from at the earliest.
		span, err := t.RecordBefore(ctx, s.best-1)
		return TimeLSN{max(span.End, from), TimePresent}, err
	case s.seen:
		return TimeLSN{to, TimeFuture}, nil
	}
	switch stamp, known, err := t.lastCommit(ctx, from); {
	case err != nil || !known:
		return TimeLSN{from, TimeUnknown}, err
	case stamp > s.after:
		return TimeLSN{from, TimePast}, nil
	}
	return TimeLSN{to, TimeFuture}, nil
}

// clogKeys are those of the pages of the commit log.
var clogKeys = page.Range{Start: page.Clog.Block(0, 0), End: page.Clog.Block(math.MaxUint32, math.MaxUint32)}

// commitMemory is what a search for a commit may take.
const commitMemory = 8 << 20

// commitSearch looks for the first commit above an LSN whose time is later than after.
type commitSearch struct {
	t     *Timeline
	after int64
	from  page.LSN
	best  page.LSN // found so far
	seen  bool     // any commit
}

func (s *commitSearch) run(ctx context.Context, to page.LSN) error {
	v, err := s.t.pinView()
	if err != nil {
		return err
	}
	defer v.release()
	end := to + 1
	for keys := clogKeys; !keys.Empty(); {
		// Commits are no later in the log than what was found are in few layers.
		if s.best < end {
			end = s.best
		}
		var readers []*layer.Reader
		for d := range v.layers.Overlapping(keys, page.LSNRange{Start: s.from + 1, End: end}) {
			if d.Image {
				continue
			}
			r, err := s.t.files.reader(ctx, &d)
			if err != nil {
				return err
			}
			readers = append(readers, r)
		}
		if keys.Start, err = s.scan(ctx, readers, keys, end); err != nil {
			return err
		}
	}
	return nil
}

// scan goes through keys until one has an entry at end or above, and gives the key behind that.
func (s *commitSearch) scan(ctx context.Context, readers []*layer.Reader, keys page.Range, end page.LSN) (page.Key, error) {
	if len(readers) == 0 {
		return keys.End, nil
	}
	m, err := layer.OpenMerge(ctx, readers, layer.MergeOptions{Keys: keys, Memory: commitMemory, Budget: s.t.env.Shares.Jobs})
	if err != nil {
		return keys.End, err
	}
	defer m.Close()
	for {
		e, ok, err := m.Next(ctx)
		if err != nil || !ok {
			return keys.End, layerError(err)
		}
		if _, _, _, block := e.Key.SLRUBlock(); !block || e.LSN <= s.from {
			continue
		}
		if e.LSN >= end || e.LSN >= s.best {
			return e.Key.Next(), nil
		}
		later, err := s.look(ctx, &e)
		if err != nil {
			return keys.End, err
		}
		if later {
			s.best = e.LSN
			return e.Key.Next(), nil
		}
	}
}

// look reports whether an entry is a commit of a later time.
func (s *commitSearch) look(ctx context.Context, e *layer.Merged) (bool, error) {
	v, err := page.DecodeValue(e.Value)
	if err != nil {
		return false, fmt.Errorf("%w: %s at LSN %s: %w", ErrCorrupt, e.Key.Describe(), e.LSN, err)
	}
	switch v.Kind {
	case page.KindClogCommitted:
		s.seen = true
		return v.Timestamp > s.after, nil
	case page.KindImage:
		// It may stand for a commit at its LSN. If not, its time is that of a commit which was seen, or of one at or below from.
		stamp, ok := stampOf(v.Bytes)
		if !ok {
			return false, nil
		}
		s.seen = true
		if stamp <= s.after {
			return false, nil
		}
		below, known, err := s.t.commitTime(ctx, e.Key, s.from)
		return !known || below != stamp, err
	}
	return false, nil
}

// stampOf gives the time behind a page of the commit log: that of the last commit on it.
func stampOf(b []byte) (int64, bool) {
	if len(b) != pg.BlockSize+8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[pg.BlockSize:])), true
}

// commitTime gives the time of the last commit on a page as of an LSN.
func (t *Timeline) commitTime(ctx context.Context, k page.Key, lsn page.LSN) (int64, bool, error) {
	b, err := t.Get(ctx, k, lsn)
	if errors.Is(err, page.ErrNotFound) {
		return 0, false, nil
	}
	stamp, ok := stampOf(b)
	return stamp, ok, err
}

// lastCommit gives the latest time that any page of the commit log has as of an LSN.
func (t *Timeline) lastCommit(ctx context.Context, lsn page.LSN) (latest int64, known bool, err error) {
	l, err := t.pinToRead(lsn)
	if err != nil {
		return 0, false, err
	}
	defer l.release()
	err = l.getVectored(ctx, page.NewSet(clogKeys), lsn, func(k page.Key, v []byte, err error) error {
		if stamp, ok := stampOf(v); ok && err == nil && (!known || stamp > latest) {
			latest, known = stamp, true
		}
		return err
	})
	return latest, known, err
}
