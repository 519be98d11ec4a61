package native

import (
	"math"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// Redo of GIN records (access/ginxlog.h, the same in versions 14 to 17). An index has a metapage, a tree of
// entries, whose leaves hold keys with short lists of TIDs, trees of postings for keys with many TIDs, and
// a list of pages with tuples that are still to be sorted in. Entry and list pages have line pointers; what
// posting tree pages hold is packed between the header and pd_lower (ginpage.go, ginrecompress.go).

// ginOps holds the functions by the high four bits of a record's info.
var ginOps = [16]applyFunc{
	0x1: ginCreateTree,
	0x2: ginInsert,
	0x3: ginSplit,
	0x4: ginVacuumPage,
	0x5: ginDeletePage,
	0x6: ginUpdateMeta,
	0x7: ginInsertList,
	0x8: ginDeleteList,
	0x9: ginVacuumLeaf,
}

// ginNone is InvalidBlockNumber: no right sibling, no list.
const ginNone = math.MaxUint32

func ginUnknownBlock(c *change) error {
	return corrupt("a GIN record of type %02X has no use for block reference %d", c.rec.Info&opMask, c.blk.ID)
}

// ginCreateTree makes a posting tree's root, a leaf (block 0). Main data: size u32, as many bytes of segments.
func ginCreateTree(c *change) error {
	const head = 4
	main, err := c.main(head)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return ginUnknownBlock(c)
	}
	size := le.Uint32(main)
	if size > uint32(min(len(main)-head, ginDataMax)) {
		return corrupt("a posting tree of %d bytes, of which the record has %d", size, len(main)-head)
	}
	ginInit(c.page, ginData|ginLeaf|ginCompressed)
	copy(c.page[ginDataAt:], main[head:head+size])
	ginSetDataSize(c.page, int(size))
	c.page.SetLSN(c.end)
	return nil
}

// ginSplit splits a page: its two or three pages (blocks 0 to 2) come as images, and those are restored
// before. Block 3 is the child whose split asked for a downlink here.
func ginSplit(c *change) error {
	if c.blk.ID == 3 {
		return ginClearIncomplete(c)
	}
	return corrupt("a GIN split without an image of block reference %d", c.blk.ID)
}

// ginVacuumPage is an image of an entry tree's leaf, which is restored before.
func ginVacuumPage(*change) error { return corrupt("a vacuumed GIN page without an image") }

// ginClearIncomplete takes note that the page's right sibling has its downlink now.
func ginClearIncomplete(c *change) error {
	o, err := ginPage(c.page)
	if err != nil {
		return err
	}
	o.setFlags(o.flags() &^ ginIncompleteSplit)
	c.page.SetLSN(c.end)
	return nil
}

// ginDeletePage removes a page (block 0) of a posting tree from its parent (block 1) and its left sibling
// (block 2). Main data: item number in the parent u16, two bytes unused, right link u32, xid u32.
func ginDeletePage(c *change) error {
	const size, right, xid = 12, 4, 8
	main, err := c.main(size)
	if err != nil {
		return err
	}
	o, err := ginPageOf(c.page, ginData, 0)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		// The last transaction that may still come here in a scan stands in the header's pd_prune_xid.
		o.setFlags(o.flags() | ginDeleted)
		c.page.SetPruneXid(le.Uint32(main[xid:]))
	case 1:
		if err := ginRemoveDownlink(c.page, int(le.Uint16(main))); err != nil {
			return err
		}
	case 2:
		o.setRight(le.Uint32(main[right:]))
	default:
		return ginUnknownBlock(c)
	}
	c.page.SetLSN(c.end)
	return nil
}

// The metapage's content, GinMetaPageData, which records bring whole.
const (
	ginMetaSize = 56
	ginRoot     = 0 // the metapage's block
)

// ginRestoreMeta writes the metapage anew.
func ginRestoreMeta(c *change, meta []byte) error {
	if c.blkno != ginRoot {
		return corrupt("a GIN metapage in block %d", c.blkno)
	}
	ginInit(c.page, ginMeta)
	copy(c.page[bufpage.HeaderSize:], meta[:ginMetaSize])
	c.page.SetLower(bufpage.HeaderSize + ginMetaSize)
	c.page.SetLSN(c.end)
	return nil
}

// ginUpdateMeta changes the list of pending tuples: block 0 is the metapage; block 1 the list's last page,
// to which either tuples or a link to new pages are added. Main data: relation (12 bytes) and 4 unused, the
// metapage's content, former last page u32, its new right link u32, number of tuples u32.
func ginUpdateMeta(c *change) error {
	const meta, tail = 16, 16 + ginMetaSize
	const size, link, count = tail + 12, tail + 4, tail + 8
	main, err := c.main(size)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		return ginRestoreMeta(c, main[meta:])
	case 1:
	default:
		return ginUnknownBlock(c)
	}
	o, err := ginPageOf(c.page, ginList, 0)
	if err != nil {
		return err
	}
	tuples := int32(le.Uint32(main[count:]))
	switch {
	case tuples > 0:
		if err := ginAppend(c, int(tuples)); err != nil {
			return err
		}
		// On list pages the field has the number of heap rows: these tuples are of one.
		o.setCount(o.count() + 1)
	case le.Uint32(main[tail:]) != ginNone:
		o.setRight(le.Uint32(main[link:]))
	default:
		return ginUnknownBlock(c)
	}
	c.page.SetLSN(c.end)
	return nil
}

// ginInsertList makes a page of pending tuples (block 0, with the tuples as its data). Main data: right
// link u32, number of tuples u32.
func ginInsertList(c *change) error {
	const size, count = 8, 4
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return ginUnknownBlock(c)
	}
	o := ginInit(c.page, ginList)
	right := le.Uint32(main)
	o.setRight(right)
	if right == ginNone {
		// The end of what one row brings; pages before have no count of rows.
		o.setFlags(ginList | ginFullRow)
		o.setCount(1)
	}
	if err := ginAppend(c, int(int32(le.Uint32(main[count:])))); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// ginAppend adds n tuples behind the last of a list page: all that the block data has.
func ginAppend(c *change, n int) error {
	data := c.blk.Data
	for range n {
		t, err := btTupleAt(data)
		if err != nil {
			return err
		}
		if _, err := c.page.AddItem(t, c.page.MaxOffset()+1, 0); err != nil {
			return err
		}
		data = data[len(t):]
	}
	if len(data) > 0 {
		return corrupt("%d bytes behind %d pending tuples", len(data), n)
	}
	return nil
}

// ginDeleteList takes pages out of the list of pending tuples: block 0 is the metapage, all others are the
// pages, which become empty. Main data: the metapage's content, number of pages u32.
func ginDeleteList(c *change) error {
	const size = ginMetaSize + 4
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID == 0 {
		return ginRestoreMeta(c, main)
	}
	if uint32(c.blk.ID) > le.Uint32(main[ginMetaSize:]) {
		return ginUnknownBlock(c)
	}
	ginInit(c.page, ginDeleted)
	c.page.SetLSN(c.end)
	return nil
}

// The special space of a GIN page, GinPageOpaqueData (access/ginblock.h).
const (
	ginRight      = 0 // u32 right sibling
	ginCount      = 4 // u16 downlinks of an inner posting tree page, heap rows of a list page
	ginFlags      = 6 // u16
	ginOpaqueSize = 8
)

// Flags of a GIN page.
const (
	ginData            = 1 << 0
	ginLeaf            = 1 << 1
	ginDeleted         = 1 << 2
	ginMeta            = 1 << 3
	ginList            = 1 << 4
	ginFullRow         = 1 << 5
	ginIncompleteSplit = 1 << 6
	ginCompressed      = 1 << 7
)

// ginOpaque is the special space of a GIN page.
type ginOpaque []byte

func (o ginOpaque) setRight(b uint32) { le.PutUint32(o[ginRight:], b) }
func (o ginOpaque) count() int        { return int(le.Uint16(o[ginCount:])) }
func (o ginOpaque) setCount(n int)    { le.PutUint16(o[ginCount:], uint16(n)) }
func (o ginOpaque) flags() uint16     { return le.Uint16(o[ginFlags:]) }
func (o ginOpaque) setFlags(f uint16) { le.PutUint16(o[ginFlags:], f) }

// ginPage gives the special space of an initialized GIN page.
func ginPage(p bufpage.Page) (ginOpaque, error) {
	if p.IsNew() || p.SpecialOffset() != pg.BlockSize-ginOpaqueSize {
		return nil, corrupt("the page is no GIN page: its special space starts at %d", p.SpecialOffset())
	}
	return ginOpaque(p[pg.BlockSize-ginOpaqueSize:]), nil
}

// ginPageOf is ginPage for a page that must have the flags in with and none of those in without.
func ginPageOf(p bufpage.Page, with, without uint16) (ginOpaque, error) {
	o, err := ginPage(p)
	if err != nil {
		return nil, err
	}
	if f := o.flags(); f&with != with || f&without != 0 {
		return nil, corrupt("a GIN page with flags %02X, want those in %02X and none in %02X", f, with, without)
	}
	return o, nil
}

// ginInit makes p an empty GIN page.
func ginInit(p bufpage.Page, flags uint16) ginOpaque {
	p.Init(ginOpaqueSize)
	o := ginOpaque(p[pg.BlockSize-ginOpaqueSize:])
	o.setRight(ginNone)
	o.setFlags(flags)
	return o
}
