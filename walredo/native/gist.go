package native

import (
	"math"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// Redo of GiST indexes (access/gistxlog.h). The root is block 0. A page that was split is linked to its
// right half; until the parent has a downlink to that half, F_FOLLOW_RIGHT sends searches over the link.

// gistOps gives the functions of a version.
func gistOps(v pg.Version) *ops {
	o := &ops{
		0x0: gistUpdate,
		0x1: gistDelete,
		// 0x2 is PAGE_REUSE, which has no blocks.
		0x3: gistSplit,
		0x6: gistDeletePage,
		// 0x7 is ASSIGN_LSN, which has no blocks.
	}
	if v <= pg.V15 {
		o.set(0x10, gistDelete15)
	}
	return o
}

// The special space of a GiST page, GISTPageOpaqueData (access/gist.h).
const (
	gistNSN        = 0  // LSN of the page's split, as two u32, high first
	gistRight      = 8  // u32 right half, or what was right of the page before
	gistFlags      = 12 // u16
	gistMark       = 14 // u16
	gistOpaqueSize = 16

	gistPageID = 0xFF81
	gistRoot   = 0              // block number
	gistNone   = math.MaxUint32 // InvalidBlockNumber
)

// Flags of a GiST page. F_TUPLES_DELETED (1 << 2) is left as it is: nobody reads it, older minor releases
// set it in redo where the server itself does not, and newer ones do not set it at all.
const (
	gistLeaf        = 1 << 0
	gistDeleted     = 1 << 1
	gistFollowRight = 1 << 3
	gistHasGarbage  = 1 << 4
)

// gistOpaque is the special space of a GiST page.
type gistOpaque []byte

func (o gistOpaque) flags() uint16     { return le.Uint16(o[gistFlags:]) }
func (o gistOpaque) setFlags(f uint16) { le.PutUint16(o[gistFlags:], f) }

func (o gistOpaque) setNSN(l page.LSN) {
	le.PutUint32(o[gistNSN:], uint32(l>>32))
	le.PutUint32(o[gistNSN+4:], uint32(l))
}

// gistPage gives the special space of the page at work.
func gistPage(c *change) (gistOpaque, error) {
	return specialOf(c.page, gistOpaqueSize, gistPageID, "GiST")
}

// gistClearFollowRight notes that the page's right half has its downlink now, since this record. The
// server does so after it made the record, and with it the image that may be in it: redo does it to a
// page restored from its image, too (gistAfterImage).
func gistClearFollowRight(c *change) error {
	o, err := gistPage(c)
	if err != nil {
		return err
	}
	o.setNSN(c.end)
	o.setFlags(o.flags() &^ gistFollowRight)
	c.page.SetLSN(c.end)
	return nil
}

// gistAfterImage does what is left to do on a page restored from its image in the record: on the left half
// of the split whose downlink the record adds.
func gistAfterImage(c *change) error {
	const updateLeft, splitLeft = 1, 0
	op := c.rec.Info & opMask
	if op == 0x00 && c.blk.ID == updateLeft || op == 0x30 && c.blk.ID == splitLeft {
		return gistClearFollowRight(c)
	}
	return nil
}

// gistUpdate removes tuples and adds others behind what is left (block 0); where it adds the downlink of a
// split's right half, the left half learns of it (block 1). Data: number of tuples to remove and to add
// u16. Block data: item numbers to remove u16, tuples to add.
func gistUpdate(c *change) error {
	const size = 4
	main, err := c.main(size)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
	case 1:
		return gistClearFollowRight(c)
	default:
		return noBlock(c)
	}
	if _, err := gistPage(c); err != nil {
		return err
	}
	remove, add := number16(main, 0), number16(main, 1)
	numbers, tuples, err := take(c.blk.Data, 2*remove, "item numbers")
	if err != nil {
		return err
	}
	if remove == 1 && add == 1 {
		if err := gistReplace(c.page, tuples, number16(numbers, 0)); err != nil {
			return err
		}
		c.page.SetLSN(c.end)
		return nil
	}
	if remove > 0 {
		if err := deleteItems(c.page, numbers); err != nil {
			return err
		}
	}
	if err := gistAdd(c.page, tuples, add); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// gistReplace puts the one tuple in data in the place of item n.
func gistReplace(p bufpage.Page, data []byte, n int) error {
	size, err := tupleSize(data)
	if err != nil {
		return err
	}
	if size != len(data) {
		return corrupt("%d bytes behind the tuple", len(data)-size)
	}
	return p.IndexTupleOverwrite(n, data)
}

// gistAdd adds the n tuples in data behind the last.
func gistAdd(p bufpage.Page, data []byte, n int) error {
	for range n {
		size, err := tupleSize(data)
		if err != nil {
			return err
		}
		if err := addItemAt(p, data[:size], p.MaxOffset()+1); err != nil {
			return err
		}
		data = data[size:]
	}
	if len(data) > 0 {
		return corrupt("%d bytes behind %d tuples", len(data), n)
	}
	return nil
}

// gistDelete removes tuples known dead from a leaf that an insertion needs room on. Data: xid u32, number
// of tuples u16, a flag and padding; their item numbers u16.
func gistDelete(c *change) error { return gistDeleteListed(c, 8) }

// gistDelete15 is gistDelete before version 16, without the flag.
func gistDelete15(c *change) error { return gistDeleteListed(c, 6) }

func gistDeleteListed(c *change, size int) error {
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return noBlock(c)
	}
	numbers, _, err := take(main[size:], 2*number16(main, 2), "item numbers")
	if err != nil {
		return err
	}
	o, err := gistPage(c)
	if err != nil {
		return err
	}
	if err := deleteItems(c.page, numbers); err != nil {
		return err
	}
	o.setFlags(o.flags() &^ gistHasGarbage)
	c.page.SetLSN(c.end)
	return nil
}

// gistSplitting is gistxlogPageSplit.
type gistSplitting struct {
	right  uint32   // what was right of the page split
	nsn    page.LSN // its NSN
	leaf   bool
	pages  int
	follow bool
}

// gistSplit makes the pages that a page was split into (blocks 1 and on), each linked to the next. A root
// that is split stays the first of them and gets the others' downlinks, and no links. Block 0 is the left
// half of a split below, whose downlink the split made room for. Data: right link u32, padding, NSN u64,
// leaf bool, padding, number of pages u16, set F_FOLLOW_RIGHT bool. Block data: number of tuples u32, the
// tuples.
func gistSplit(c *change) error {
	const size = 21
	main, err := c.main(size)
	if err != nil {
		return err
	}
	s := gistSplitting{
		right: le.Uint32(main), nsn: page.LSN(le.Uint64(main[8:])), leaf: main[16] != 0,
		pages: int(le.Uint16(main[18:])), follow: main[20] != 0,
	}
	id := int(c.blk.ID)
	if id == 0 {
		return gistClearFollowRight(c)
	}
	if id > s.pages {
		return noBlock(c)
	}
	if len(c.blk.Data) < 4 {
		return corrupt("%d bytes for the tuples of a page", len(c.blk.Data))
	}
	n := le.Uint32(c.blk.Data)
	if n > bufpage.MaxIndexTuples {
		return corrupt("%d tuples for a page", n)
	}
	if err := gistInitSplit(c, s, id); err != nil {
		return err
	}
	if err := gistAdd(c.page, c.blk.Data[4:], int(n)); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// gistInitSplit makes an empty page for one of the pages of a split, by its block reference's number.
func gistInitSplit(c *change, s gistSplitting, id int) error {
	first, err := c.block(1)
	if err != nil {
		return err
	}
	flags, right := uint16(0), uint32(gistNone)
	if c.blkno != gistRoot {
		right = s.right
		if id < s.pages {
			next, err := c.block(uint8(id + 1))
			if err != nil {
				return err
			}
			right = next.Blkno
			if s.follow && first.Blkno != gistRoot {
				flags |= gistFollowRight
			}
		}
		if s.leaf {
			flags |= gistLeaf
		}
	}
	c.page.Init(gistOpaqueSize)
	o := gistOpaque(c.page[pg.BlockSize-gistOpaqueSize:])
	o.setNSN(s.nsn)
	le.PutUint32(o[gistRight:], right)
	o.setFlags(flags)
	le.PutUint16(o[gistMark:], gistPageID)
	return nil
}

// gistDeletePage deletes an empty leaf (block 0) and its downlink in the parent (block 1). Data: the xid
// from which on nobody can reach the page u64, item number of the downlink u16.
func gistDeletePage(c *change) error {
	const size = 10
	main, err := c.main(size)
	if err != nil {
		return err
	}
	o, err := gistPage(c)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		if n := c.page.MaxOffset(); n > 0 {
			return corrupt("the page to delete has %d tuples", n)
		}
		o.setFlags(o.flags() | gistDeleted)
		copy(c.page[bufpage.HeaderSize:], main[:8])
		c.page.SetLower(bufpage.HeaderSize + 8)
	case 1:
		if err := c.page.IndexTupleDelete(int(le.Uint16(main[8:]))); err != nil {
			return err
		}
	default:
		return noBlock(c)
	}
	c.page.SetLSN(c.end)
	return nil
}
