package ingest

import (
	"context"
	"slices"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// Layout of multixacts (access/transam/multixact.c).
const (
	offsetsPerPage  = pg.BlockSize / 4
	membersPerGroup = 4
	groupSize       = 4 + 4*membersPerGroup
	membersPerPage  = pg.BlockSize / groupSize * membersPerGroup
	firstMulti      = 1
	maxMemberSeg    = 0xFFFFFFFF / membersPerPage / pg.SLRUSegPages
)

// multiSlot is the start of a multixact's members, as far as the end of the one before tells it. Servers
// since the minor releases of 2025 (14.20, 15.15, 16.11, 17.7) write it with the multixact before. A page has
// one value at an LSN, so where both are on one page the slot follows with the next record.
// A slot that waits is not kept over a restart: it is then written by its own multixact, and until that is
// logged a base backup works it out (basebackup.FillNextOffsets).
type multiSlot struct{ multi, offset uint32 }

// maxSlots bounds the slots that wait; a multixact that is created takes its own away.
const maxSlots = 1024

// multixact handles multixacts (multixact_redo of access/transam/multixact.c).
func (i *Ingester) multixact(ctx context.Context, rec *wal.Record) error {
	switch rec.Op() {
	case xlogrec.MultiXactZeroOffsets:
		p, err := xlogrec.ParseZeroPage(i.o.Version, rec.Main)
		if err != nil {
			return err
		}
		return i.m.PutSLRUZeroPage(ctx, page.MultixactOffsets, p)
	case xlogrec.MultiXactZeroMembers:
		p, err := xlogrec.ParseZeroPage(i.o.Version, rec.Main)
		if err != nil {
			return err
		}
		return i.m.PutSLRUZeroPage(ctx, page.MultixactMembers, p)
	case xlogrec.MultiXactCreate:
		x, err := xlogrec.ParseMultiXactCreate(rec.Main)
		if err != nil {
			return err
		}
		return i.createMulti(ctx, x)
	case xlogrec.MultiXactTruncate:
		t, err := xlogrec.ParseMultiXactTruncate(rec.Main)
		if err != nil {
			return err
		}
		return i.truncateMulti(ctx, t)
	}
	return unknownOp(rec)
}

// createMulti records a multixact and its members.
func (i *Ingester) createMulti(ctx context.Context, x xlogrec.NewMultiXact) error {
	v := page.Value{Kind: page.KindMultixactOffset, Multi: x.Multi, Offset: x.Offset}
	if err := i.m.PutSLRUValue(ctx, page.MultixactOffsets, x.Multi/offsetsPerPage, &v); err != nil {
		return err
	}
	n := x.Members.Len()
	for from := 0; from < n; {
		offset := x.Offset + uint32(from)
		v := page.Value{Kind: page.KindMultixactMembers, Offset: offset}
		p := offset / membersPerPage
		for ; from < n && (x.Offset+uint32(from))/membersPerPage == p; from++ {
			m := x.Members.At(from)
			i.cp.advanceXid(m.Xid)
			v.Members = append(v.Members, m)
		}
		if err := i.m.PutSLRUValue(ctx, page.MultixactMembers, p, &v); err != nil {
			return err
		}
	}
	i.cp.advanceMulti(x.Multi+1, x.Offset+uint32(n))
	return i.nextSlot(ctx, x.Multi, x.Offset+uint32(n))
}

// nextSlot notes where the members of the multixact after multi begin.
func (i *Ingester) nextSlot(ctx context.Context, multi, end uint32) error {
	if i.o.Flavour == pg.Neon {
		return nil
	}
	next := multiSlot{max(multi+1, firstMulti), max(end, 1)} // offset 0 is never used again
	i.slots = slices.DeleteFunc(i.slots, func(s multiSlot) bool { return s.multi == multi || s.multi == next.multi })
	if next.multi/offsetsPerPage != multi/offsetsPerPage {
		return i.putSlot(ctx, next)
	}
	if len(i.slots) < maxSlots {
		i.slots = append(i.slots, next)
	}
	return nil
}

func (i *Ingester) putSlot(ctx context.Context, s multiSlot) error {
	p := s.multi / offsetsPerPage
	// Without the page, it was truncated since, or an older server leaves it to the next multixact.
	if ok, err := i.m.HasSLRUPage(ctx, page.MultixactOffsets, p); err != nil || !ok {
		return err
	}
	v := page.Value{Kind: page.KindMultixactOffset, Multi: s.multi, Offset: s.offset}
	return i.m.PutSLRUValue(ctx, page.MultixactOffsets, p, &v)
}

// fillSlots puts a slot that waits, one for each page, with a record that leaves the pages alone.
func (i *Ingester) fillSlots(ctx context.Context, rec *wal.Record) error {
	if len(i.slots) == 0 || rec.Rmgr == pg.RmMultiXact {
		return nil
	}
	var done []uint32
	var err error
	i.slots = slices.DeleteFunc(i.slots, func(s multiSlot) bool {
		p := s.multi / offsetsPerPage
		if err != nil || slices.Contains(done, p) {
			return false
		}
		done = append(done, p)
		err = i.putSlot(ctx, s)
		return true
	})
	return err
}

// truncateMulti removes the oldest multixacts and their members.
func (i *Ingester) truncateMulti(ctx context.Context, t xlogrec.MultiXactTruncation) error {
	i.cp.setOldestMulti(t.EndMulti, t.OldestDB)
	start := t.StartMember / membersPerPage / pg.SLRUSegPages
	end := t.EndMember / membersPerPage / pg.SLRUSegPages
	if err := i.m.DropSLRUSegments(ctx, page.MultixactMembers, func(segment uint32) bool {
		if start <= end {
			return start <= segment && segment < end
		}
		return start <= segment && segment <= maxMemberSeg || segment < end
	}); err != nil || i.o.Flavour == pg.Neon {
		return err // Neon keeps the offsets
	}
	before := t.EndMulti - 1 // PreviousMultiXactId
	if t.EndMulti == firstMulti {
		before = 0xFFFFFFFF
	}
	latest := i.cp.c.NextMulti() / offsetsPerPage
	return i.truncateSLRU(ctx, page.MultixactOffsets, multiPagePrecedes, latest, before/offsetsPerPage)
}

// multiPagePrecedes compares pages by the multixacts on them, modulo 2^32 (MultiXactOffsetPagePrecedes).
func multiPagePrecedes(a, b uint32) bool {
	x := a*offsetsPerPage + firstMulti + 1
	y := b*offsetsPerPage + firstMulti + 1
	return multiPrecedes(x, y) && multiPrecedes(x, y+offsetsPerPage-1)
}
