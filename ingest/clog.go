package ingest

import (
	"context"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// xactsPerClogPage: two bits for each transaction (access/transam/clog.c).
const xactsPerClogPage = pg.BlockSize * 4

// clogPages groups the transactions of one record by commit log page; its memory is used again.
type clogPages struct {
	pages []clogPage
	used  int
}

type clogPage struct {
	page uint32
	xids []uint32
}

func (c *clogPages) add(xid uint32) {
	if xid < pg.FirstNormalXid {
		return
	}
	p := xid / xactsPerClogPage
	// Subtransactions ascend, so the page is nearly always the last one.
	for n := c.used - 1; n >= 0; n-- {
		if c.pages[n].page == p {
			c.pages[n].xids = append(c.pages[n].xids, xid)
			return
		}
	}
	if c.used == len(c.pages) {
		c.pages = append(c.pages, clogPage{})
	}
	e := &c.pages[c.used]
	c.used++
	e.page, e.xids = p, append(e.xids[:0], xid)
}

// setStatus marks a transaction and its subtransactions as committed or aborted.
func (i *Ingester) setStatus(ctx context.Context, kind page.Kind, xid uint32, sub xlogrec.Xids, time int64) error {
	i.clog.used = 0
	i.clog.add(xid)
	for n := range sub.Len() {
		i.clog.add(sub.At(n))
	}
	for n := range i.clog.used {
		p := &i.clog.pages[n]
		v := page.Value{Kind: kind, Xids: p.xids, Timestamp: time}
		if err := i.m.PutSLRUValue(ctx, page.Clog, p.page, &v); err != nil {
			return err
		}
	}
	return nil
}

// clogRecord handles new pages and truncation (clog_redo of access/transam/clog.c).
func (i *Ingester) clogRecord(ctx context.Context, rec *wal.Record) error {
	switch rec.Op() {
	case xlogrec.ClogZeroPage:
		p, err := xlogrec.ParseZeroPage(i.o.Version, rec.Main)
		if err != nil {
			return err
		}
		return i.m.PutSLRUZeroPage(ctx, page.Clog, p)
	case xlogrec.ClogTruncate:
		t, err := xlogrec.ParseClogTruncate(i.o.Version, rec.Main)
		if err != nil {
			return err
		}
		i.cp.setOldestXid(t.OldestXid, t.OldestDB)
		latest := uint32(i.cp.c.NextXid()) / xactsPerClogPage
		return i.truncateSLRU(ctx, page.Clog, clogPagePrecedes, latest, t.Page)
	}
	return unknownOp(rec)
}

// clogPagePrecedes compares pages by the transactions on them, modulo 2^32 (CLOGPagePrecedes).
func clogPagePrecedes(a, b uint32) bool {
	x := a*xactsPerClogPage + pg.FirstNormalXid + 1
	y := b*xactsPerClogPage + pg.FirstNormalXid + 1
	return xidPrecedes(x, y) && xidPrecedes(x, y+xactsPerClogPage-1)
}

// truncateSLRU removes the segments whose pages all precede cutoff, unless the page in use would be among
// them, which can only be after a wraparound gone wrong (SimpleLruTruncate).
func (i *Ingester) truncateSLRU(ctx context.Context, kind page.SLRU, precedes func(a, b uint32) bool, latest, cutoff uint32) error {
	if precedes(latest, cutoff) {
		return nil
	}
	return i.m.DropSLRUSegments(ctx, kind, func(segment uint32) bool {
		first := segment * pg.SLRUSegPages
		return precedes(first, cutoff) && precedes(first+pg.SLRUSegPages-1, cutoff)
	})
}
