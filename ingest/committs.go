package ingest

import (
	"context"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// Commit timestamps (access/transam/commit_ts.c) are kept while the server's track_commit_timestamp is on,
// which pg_control has and a record of changed parameters changes. What a page gets is the record of the
// commit itself: it has the transactions, the time and the origin, and redo takes from it what belongs to
// the page. Neon's computes have no such pages.

// tracksCommitTs reports whether commits have timestamps now.
func (i *Ingester) tracksCommitTs() bool {
	return !i.cp.neon && i.ctl.Settings().TrackCommitTimestamp
}

// commitTimestamps puts a commit into every page that has one of its transactions, and moves the upper bound.
func (i *Ingester) commitTimestamps(ctx context.Context, rec *wal.Record, xid uint32, sub xlogrec.Xids) error {
	if !i.tracksCommitTs() {
		return nil
	}
	v := page.Value{Kind: page.KindPostgres, Bytes: rec.Raw}
	newest := xid
	i.tsPages = i.tsPages[:0]
	for n := -1; n < sub.Len(); n++ {
		if n >= 0 {
			newest = sub.At(n)
		}
		if err := i.commitTsPage(ctx, newest, &v); err != nil {
			return err
		}
	}
	i.cp.committed(newest)
	return nil
}

// commitTsPage puts the commit into the page that has xid, unless it is there already.
func (i *Ingester) commitTsPage(ctx context.Context, xid uint32, commit *page.Value) error {
	p := xid / xlogrec.CommitTsPerPage
	// Subtransactions ascend, so the page is nearly always the last one.
	for n := len(i.tsPages) - 1; n >= 0; n-- {
		if i.tsPages[n] == p {
			return nil
		}
	}
	i.tsPages = append(i.tsPages, p)
	return i.m.PutSLRUValue(ctx, page.CommitTs, p, commit)
}

// switchCommitTs starts timestamps at the next transaction, or removes all (CommitTsParameterChange).
func (i *Ingester) switchCommitTs(ctx context.Context, on bool) error {
	if !on {
		i.cp.c.SetOldestCommitTsXid(0)
		i.cp.c.SetNewestCommitTsXid(0)
		return i.m.DropSLRUSegments(ctx, page.CommitTs, func(uint32) bool { return true })
	}
	next := uint32(i.cp.c.NextXid())
	if i.cp.c.OldestCommitTsXid() == 0 {
		i.cp.c.SetOldestCommitTsXid(next)
		i.cp.c.SetNewestCommitTsXid(next)
	}
	p := next / xlogrec.CommitTsPerPage
	if ok, err := i.m.HasSLRUPage(ctx, page.CommitTs, p); err != nil || ok {
		return err
	}
	return i.m.PutSLRUZeroPage(ctx, page.CommitTs, p)
}

// commitTs handles new pages and truncation (commit_ts_redo).
func (i *Ingester) commitTs(ctx context.Context, rec *wal.Record) error {
	if i.cp.neon {
		return nil
	}
	switch rec.Op() {
	case xlogrec.CommitTsZeroPage:
		p, err := xlogrec.ParseZeroPage(i.o.Version, rec.Main)
		if err != nil {
			return err
		}
		return i.m.PutSLRUZeroPage(ctx, page.CommitTs, p)
	case xlogrec.CommitTsTruncate:
		t, err := xlogrec.ParseCommitTsTruncate(i.o.Version, rec.Main)
		if err != nil {
			return err
		}
		if o := i.cp.c.OldestCommitTsXid(); o != 0 && xidPrecedes(o, t.OldestXid) {
			i.cp.c.SetOldestCommitTsXid(t.OldestXid)
		}
		return i.truncateSLRU(ctx, page.CommitTs, commitTsPagePrecedes, t.Page, t.Page)
	}
	return unknownOp(rec)
}

// commitTsPagePrecedes compares pages by the transactions on them, modulo 2^32 (CommitTsPagePrecedes).
func commitTsPagePrecedes(a, b uint32) bool {
	x := a*xlogrec.CommitTsPerPage + pg.FirstNormalXid + 1
	y := b*xlogrec.CommitTsPerPage + pg.FirstNormalXid + 1
	return xidPrecedes(x, y) && xidPrecedes(x, y+xlogrec.CommitTsPerPage-1)
}
