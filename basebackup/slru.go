package basebackup

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/xlogrec"
)

const (
	slruSegPages = pg.SLRUSegPages
	xidsPerPage  = pg.BlockSize * 4 // two bits for each transaction
)

// slruSegment is one file of an SLRU.
type slruSegment struct {
	kind   page.SLRU
	number uint32
	pages  uint32
}

func (s slruSegment) path() string { return fmt.Sprintf("%s/%04X", s.kind, s.number) }

// planSLRUs finds out every segment, and checks that the pages are there without which a server does not
// start: those that hold the next transaction and the next multixact, unless these begin a page.
func (b *backup) planSLRUs() error {
	if b.o.NoSLRUs {
		return nil
	}
	for _, kind := range page.SLRUs {
		segments, err := b.snap.SLRUSegments(b.ctx, kind)
		if err != nil {
			return err
		}
		for _, n := range segments {
			pages, err := b.snap.SLRUSegmentPages(b.ctx, kind, n)
			if err != nil {
				return err
			}
			if pages > slruSegPages {
				return fmt.Errorf("%s segment %04X at LSN %s has %d pages, at most %d fit", kind, n, b.lsn, pages, slruSegPages)
			}
			if pages > 0 {
				b.slrus = append(b.slrus, slruSegment{kind, n, pages})
			}
		}
	}
	if b.o.Format == FormatCompute {
		return nil // it asks for a page that it needs
	}
	return b.checkSLRUs()
}

// hasPage reports whether a page lies in a planned segment.
func (b *backup) hasPage(kind page.SLRU, number uint32) bool {
	for _, s := range b.slrus {
		if s.kind == kind && s.number == number/slruSegPages {
			return number%slruSegPages < s.pages
		}
	}
	return false
}

func (b *backup) checkSLRUs() error {
	for _, need := range []struct {
		kind          page.SLRU
		what          string
		next, perPage uint32
	}{
		{page.Clog, "transaction", b.next.xid, xidsPerPage},
		{page.MultixactOffsets, "multixact", b.next.multi.Next, offsetsPerPage},
		{page.MultixactMembers, "multixact member", b.next.multi.NextOffset, membersPerPage},
	} {
		if need.next%need.perPage != 0 && !b.hasPage(need.kind, need.next/need.perPage) {
			return fmt.Errorf("%s page %d, which holds the next %s %d, does not exist at LSN %s: a server would not start",
				need.kind, need.next/need.perPage, need.what, need.next, b.lsn)
		}
	}
	return nil
}

// hasTimestamps reports whether the backup has the pages for the commit timestamps of a range of transactions.
// They are missing where they were not kept from the range's start on.
func (b *backup) hasTimestamps(oldest, newest uint32) (bool, error) {
	if oldest == 0 || newest == 0 {
		return false, nil
	}
	segments, err := b.snap.SLRUSegments(b.ctx, page.CommitTs)
	if err != nil {
		return false, err
	}
	for _, xid := range []uint32{oldest, newest} {
		p := xid / xlogrec.CommitTsPerPage
		if _, ok := slices.BinarySearch(segments, p/slruSegPages); !ok {
			return false, nil
		}
		pages, err := b.snap.SLRUSegmentPages(b.ctx, page.CommitTs, p/slruSegPages)
		if err != nil || p%slruSegPages >= pages {
			return false, err
		}
	}
	return true, nil
}

// writeSLRUs writes the segments. Bits of transactions that are open stay 0, which a server takes as
// aborted.
func (b *backup) writeSLRUs() error {
	r := newBlockReader(b.ctx, b.src, b.lsn, false, b.o, b.slruSpans())
	defer r.close()
	members := NewMemberReader(b.src, b.lsn)
	for i, s := range b.slrus {
		if s.kind != page.MultixactOffsets {
			if err := b.writeBlocks(r, s.path(), nil, s.pages); err != nil {
				return err
			}
			continue
		}
		if err := b.writeOffsets(r, members, s, i > 0 && b.slrus[i-1].kind == s.kind && b.slrus[i-1].number+1 == s.number); err != nil {
			return err
		}
	}
	return nil
}

func (b *backup) slruSpans() iter.Seq[span] {
	return func(yield func(span) bool) {
		for _, s := range b.slrus {
			if !yield(span{s.kind.Block(s.number, 0), s.pages}) {
				return
			}
		}
	}
}

// writeOffsets writes a segment of multixact offsets, with the slots that follow from the multixact before.
// follows says that the segment before this one was written last.
func (b *backup) writeOffsets(r *blockReader, members *MemberReader, s slruSegment, follows bool) error {
	before := b.lastOffset
	if !follows {
		var err error
		// Also where the numbers have run over: the one before the first has the highest number.
		if before, err = storedOffset(b.ctx, b.src, b.lsn, prevMulti(max(s.number*slruSegPages*offsetsPerPage, firstMultixact))); err != nil {
			return err
		}
	}
	if err := b.out.begin(s.path(), int64(s.pages)*pg.BlockSize); err != nil {
		return err
	}
	for n := range s.pages {
		p, err := r.whole()
		if err != nil {
			return err
		}
		first := (s.number*slruSegPages + n) * offsetsPerPage
		stored := binary.LittleEndian.Uint32(p[pg.BlockSize-offsetSize:])
		_, err = FillNextOffsets(p, first, before, b.next.multi, func(offset uint32) (uint32, error) {
			return members.Xid(b.ctx, offset)
		})
		if err != nil {
			return err
		}
		before = stored
		if _, err := b.out.Write(p); err != nil {
			return err
		}
	}
	b.lastOffset = before
	return b.out.end(s.path())
}

// whole gives the next block, which may be changed until the next call.
func (r *blockReader) whole() ([]byte, error) { return r.next(pg.BlockSize) }
