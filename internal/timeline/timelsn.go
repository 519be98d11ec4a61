package timeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/control"
)

// TimeKind says how a time lies to the transactions of a timeline.
type TimeKind uint8

// Kinds.
const (
	// TimePresent: the LSN is that before the first transaction that ended after the time.
	TimePresent TimeKind = iota
	// TimeFuture: none ended later. The LSN is the last.
	TimeFuture
	// TimePast: the state at the LSN, the oldest that can be read, has what is later already.
	TimePast
	// TimeUnknown: there is nothing whose time is known.
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
	// Next is the record that LSN is just before, where Kind is TimePresent: the first that ends a transaction later
	// than the time.
	Next datadir.TransactionEnd
}

// LSNOfTime gives the last state before the first record, in the order of LSNs, that commits or aborts a transaction at a
// later time, as PostgreSQL's recovery_target_time does. Transactions need not end in the order of their times. Where
// no index of records reaches, as in what Neon wrote, only commits are known, from layer files: what is in memory
// is written first then. A branch's own history alone is searched; TimePast means to ask its ancestor.
func (t *Timeline) LSNOfTime(ctx context.Context, at time.Time) (TimeLSN, error) {
	from := t.begin()
	begun, known, err := t.lastCommit(ctx, from)
	if err == nil && !known {
		begun, err = t.checkpointTime(ctx, from)
	}
	if err != nil {
		return TimeLSN{}, fmt.Errorf("timeline %s: time of LSN %s: %w", t.meta.Name, from, err)
	}
	if begun > pgTime(at) {
		return TimeLSN{LSN: from, Kind: TimePast}, nil
	}
	return t.lsnOfTime(ctx, at, from, t.LastRecordLSN())
}

// postgresEpoch is the second at which PostgreSQL's clock stands at 0: 2000-01-01.
const postgresEpoch = 946_684_800

// pgTime gives a time as WAL records have it.
func pgTime(at time.Time) int64 { return at.UnixMicro() - postgresEpoch*1e6 }

// lsnOfTime searches (from, to], whose bounds are ends of records, and takes for granted that the time is none before from
// unless there is nothing in between.
func (t *Timeline) lsnOfTime(ctx context.Context, at time.Time, from, to page.LSN) (TimeLSN, error) {
	found, err := t.searchTime(ctx, pgTime(at), from, to)
	if err != nil {
		return TimeLSN{}, fmt.Errorf("timeline %s: LSN of %s: %w", t.meta.Name, at, err)
	}
	return found, nil
}

func (t *Timeline) searchTime(ctx context.Context, after int64, from, to page.LSN) (TimeLSN, error) {
	end, err := t.endAfter(ctx, after, from, to)
	switch {
	case err != nil:
		return TimeLSN{}, err
	case end.Found:
		before := end.Record.Start
		if before == 0 { // not known; any LSN below the record's end is before it
			before = end.Record.End - 1
		}
		span, err := t.RecordBefore(ctx, before)
		return TimeLSN{LSN: max(span.End, from), Kind: TimePresent, Next: end.TransactionEnd}, err
	case end.Earlier:
		return TimeLSN{LSN: to, Kind: TimeFuture}, nil
	}
	switch stamp, known, err := t.lastCommit(ctx, from); {
	case err != nil || !known:
		return TimeLSN{LSN: from, Kind: TimeUnknown}, err
	case stamp > after:
		return TimeLSN{LSN: from, Kind: TimePast}, nil
	}
	return TimeLSN{LSN: to, Kind: TimeFuture}, nil
}

// pageHeaders is the most that lies between two records that follow each other.
const pageHeaders = 40

// endAfter finds the first end of a transaction in (from, to] with a later time: by the index of records, and among
// commits where that does not reach.
func (t *Timeline) endAfter(ctx context.Context, after int64, from, to page.LSN) (datadir.LaterEnd, error) {
	joint := t.from().joint()
	if joint <= from || to <= joint {
		return t.endAfterIn(ctx, after, from, to, joint)
	}
	below, err := t.endAfterIn(ctx, after, from, joint, joint)
	if err != nil || below.Found {
		return below, err
	}
	end, err := t.endAfterIn(ctx, after, joint, to, joint)
	end.Earlier = end.Earlier || below.Earlier
	return end, err
}

// endAfterIn is endAfter where the joint of the timeline and what it branched from is not between the bounds.
func (t *Timeline) endAfterIn(ctx context.Context, after int64, from, to, joint page.LSN) (datadir.LaterEnd, error) {
	s := datadir.At(t, to, t.meta.Version)
	_, batch, err := s.RecordBefore(ctx, from)
	if errors.Is(err, page.ErrNotFound) || batch <= joint && joint <= from {
		batch, err = from+1, nil // the records of an earlier batch above from are none of this timeline's
	}
	if err != nil {
		return datadir.LaterEnd{}, err
	}
	end, err := s.EndAfter(ctx, batch, from, after)
	if err != nil {
		return end, err
	}
	unindexed := to
	if end.Begin != 0 {
		unindexed = min(end.Begin, to)
	}
	if unindexed <= from+pageHeaders {
		return end, nil
	}
	commit, err := t.commitAfter(ctx, after, from, unindexed)
	if commit.Found {
		return commit, err
	}
	end.Earlier = end.Earlier || commit.Earlier
	return end, err
}

// checkpointTime gives the time of a checkpoint at or before an LSN, the beginning of time if there is none.
func (t *Timeline) checkpointTime(ctx context.Context, lsn page.LSN) (micros int64, err error) {
	b, err := datadir.At(t, lsn, t.meta.Version).CheckPoint(ctx)
	if errors.Is(err, page.ErrNotFound) {
		return math.MinInt64, nil
	}
	if err != nil {
		return 0, err
	}
	cp, err := control.ParseCheckPoint(b)
	if err != nil || cp.Time() == 0 {
		return math.MinInt64, err
	}
	return pgTime(time.Unix(cp.Time(), 0)), nil
}
