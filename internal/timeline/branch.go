package timeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

var _ datadir.Store = (*Timeline)(nil)

// recordAlign is what the LSNs of records are multiples of.
const recordAlign = 8

// ResolveLSN gives the state that lsn means: the end of the last whole record at or before it. It errs
// where lsn lies outside the timeline's history. A timeline without an index of records, whose embedder puts
// values himself, has a state at every multiple of 8.
func (t *Timeline) ResolveLSN(ctx context.Context, lsn page.LSN) (page.LSN, error) {
	span, err := t.RecordBefore(ctx, lsn)
	return span.End, err
}

// RecordBefore gives the last record that ends at or before lsn. Its start is 0 if unknown.
func (t *Timeline) RecordBefore(ctx context.Context, lsn page.LSN) (datadir.RecordSpan, error) {
	if err := t.checkLSN(lsn); err != nil {
		return datadir.RecordSpan{}, err
	}
	return t.recordBefore(ctx, lsn)
}

func (t *Timeline) recordBefore(ctx context.Context, lsn page.LSN) (datadir.RecordSpan, error) {
	if at := t.at.Load(); lsn == at.last && at.prev != 0 {
		return datadir.RecordSpan{Start: at.prev, End: at.last}, nil
	}
	from := t.from()
	for from.ancestor != nil && lsn <= from.lsn {
		t = from.ancestor
		from = t.from()
	}
	// Behind its joint a timeline sees the index entry of its ancestor's last batch whole, with records that are none of its own.
	// Where the record looked for would be among those, the one before the joint is meant.
	span, batch, err := datadir.At(t, t.LastRecordLSN(), t.meta.Version).RecordBefore(ctx, lsn)
	joint := from.joint()
	switch {
	case errors.Is(err, page.ErrNotFound):
		span, err = datadir.RecordSpan{End: lsn &^ (recordAlign - 1)}, nil
		if oldest := min(lsn, t.oldestBelow(lsn)); span.End < oldest {
			span.End = oldest
		}
	case err != nil:
	case batch <= joint && joint < lsn:
		return t.recordBefore(ctx, joint)
	}
	return span, err
}

// Line gives the ids of the timeline and of what it branches from, or did before it was detached from that, in that order.
func (t *Timeline) Line() (ids []page.TimelineID) {
	for t != nil {
		d := t.from()
		ids = append(ids, t.meta.Timeline)
		if d.lineage.OriginalLSN != 0 {
			ids = append(ids, d.lineage.Original)
		}
		t = d.ancestor
	}
	return ids
}

// Joint is where the timeline branches, or branched before it was detached from its ancestor; 0 if it never did.
func (t *Timeline) Joint() page.LSN { return t.from().joint() }

// Branch makes a child of t in the folder parent that begins at the last whole record at or before lsn. What
// the child relies on is made durable first.
func (t *Timeline) Branch(ctx context.Context, parent string, name string, id page.TimelineID, lsn page.LSN) (*Timeline, error) {
	// Until the branch itself says what it needs.
	_, release, err := t.Hold(ctx, lsn)
	if err != nil {
		return nil, fmt.Errorf("branch %s: %w", name, err)
	}
	defer release()
	span, err := t.RecordBefore(ctx, lsn)
	if err != nil {
		return nil, fmt.Errorf("branch %s: %w", name, err)
	}
	if span.End > t.DiskConsistentLSN() {
		if err := t.Flush(ctx); err != nil {
			return nil, fmt.Errorf("branch %s: %w", name, err)
		}
	}
	m := t.meta
	m.Name, m.Timeline, m.InitialLSN = name, id, span.End
	m.Ancestor, m.AncestorLSN = t.meta.Timeline, span.End
	dirs := t.relDirs.Load()
	m.RelDirs, m.RelDirsWanted = dirs.Of(span.End), page.RelDirV1
	if dirs.Wanted > m.RelDirs.Form {
		m.RelDirsWanted = dirs.Wanted
	}
	return Create(ctx, t.env, parent, m, span.Start, t, nil)
}
