package native

import (
	"encoding/binary"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// btreeInsertLeaf adds a tuple to a leaf. Data: item number u16.
func btreeInsertLeaf(c *change) error {
	if c.blk.ID != 0 {
		return btUnknownBlock(c)
	}
	return btInsertItem(c)
}

// btreeInsertUpper adds a downlink; block 1 is the child that was split.
func btreeInsertUpper(c *change) error {
	switch c.blk.ID {
	case 0:
		return btInsertItem(c)
	case 1:
		return btClearIncomplete(c)
	}
	return btUnknownBlock(c)
}

// btreeInsertMeta is btreeInsertUpper with a new fast root in the metapage, block 2.
func btreeInsertMeta(c *change) error {
	if c.blk.ID == 2 {
		return btRestoreMeta(c)
	}
	return btreeInsertUpper(c)
}

func btInsertItem(c *change) error {
	main, err := btMain(c, 2)
	if err != nil {
		return err
	}
	if _, err := btPage(c.page); err != nil {
		return err
	}
	if err := btAdd(c.page, c.blk.Data, int(binary.LittleEndian.Uint16(main))); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// btAdd inserts an item at exactly the given number.
func btAdd(p bufpage.Page, item []byte, n int) error {
	if n == 0 || len(item) < tupHeader {
		return btCorrupt("item of %d bytes for item number %d", len(item), n)
	}
	_, err := p.AddItem(item, n, 0)
	return btBad(err)
}

// btreeInsertPosting splits a posting list to make room for a tuple whose TID lies in the middle of it.
// Block data: place in the list u16, the tuple.
func btreeInsertPosting(c *change) error {
	main, err := btMain(c, 2)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return btUnknownBlock(c)
	}
	if _, err := btPage(c.page); err != nil {
		return err
	}
	data := c.blk.Data
	if len(data) < 2+tupHeader || len(data) > 2+tupSizeMask {
		return btCorrupt("%d bytes for a posting list split", len(data))
	}
	var buf [tupSizeMask]byte
	item := buf[:copy(buf[:], data[2:])]
	n := int(binary.LittleEndian.Uint16(main))
	posting, err := btItem(c.page, n-1)
	if err != nil {
		return err
	}
	if err := btSwapPosting(item, posting, int(binary.LittleEndian.Uint16(data))); err != nil {
		return err
	}
	if err := btAdd(c.page, item, n); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

func btreeSplitL(c *change) error { return btreeSplit(c, true) }
func btreeSplitR(c *change) error { return btreeSplit(c, false) }

// btSplit is xl_btree_split.
type btSplit struct {
	level      uint32
	firstRight int // first item of the page before that goes right
	newItem    int // item number of the new tuple, as if on the page before
	posting    int // place in the posting list to split, 0 for none
	left       bool
}

// btreeSplit splits a page: block 0 becomes the left half, block 1 the right one, block 2 is the right
// sibling before, block 3 the child whose split asked for a downlink here.
func btreeSplit(c *change, newOnLeft bool) error {
	const size = 10
	main, err := btMain(c, size)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	s := btSplit{
		level:      le.Uint32(main),
		firstRight: int(le.Uint16(main[4:])),
		newItem:    int(le.Uint16(main[6:])),
		posting:    int(le.Uint16(main[8:])),
		left:       newOnLeft,
	}
	left, right := c.rec.Block(0), c.rec.Block(1)
	if left == nil || right == nil {
		return btCorrupt("btree split without its two pages")
	}
	switch c.blk.ID {
	case 0:
		return btSplitLeft(c, s, right.Blkno)
	case 1:
		next := uint32(btNone)
		if b := c.rec.Block(2); b != nil {
			next = b.Blkno
		}
		return btSplitRight(c, s, left.Blkno, next)
	case 2:
		o, err := btPage(c.page)
		if err != nil {
			return err
		}
		o.setPrev(right.Blkno)
		c.page.SetLSN(c.end)
		return nil
	case 3:
		return btClearIncomplete(c)
	}
	return btUnknownBlock(c)
}

func btSplitRight(c *change, s btSplit, left, next uint32) error {
	o := btInit(c.page)
	o.setPrev(left)
	o.setNext(next)
	o.setLevel(s.level)
	if s.level == 0 {
		o.setFlags(btLeaf)
	}
	if err := btRestoreItems(c.page, c.blk.Data); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// btSplitLeft builds the left half in the order in which the items are numbered, which is the order that
// the server's own page has. Block data: the new tuple if it goes left or if a posting list is split, the
// new high key.
func btSplitLeft(c *change, s btSplit, right uint32) error {
	old, err := btPage(c.page)
	if err != nil {
		return err
	}
	var postingBuf, newBuf [tupSizeMask + 1]byte
	var newItem, posting, highKey btTuple
	data := c.blk.Data
	if s.left || s.posting != 0 {
		t, err := btTupleAt(data)
		if err != nil {
			return err
		}
		newItem = newBuf[:copy(newBuf[:], t)]
		data = data[len(btPadded(data, len(t))):]
		if s.posting != 0 {
			t, err := btItem(c.page, s.newItem-1)
			if err != nil {
				return err
			}
			posting = postingBuf[:copy(postingBuf[:], t)]
			if err := btSwapPosting(newItem, posting, s.posting); err != nil {
				return err
			}
		}
	}
	t, err := btTupleAt(data)
	if err != nil {
		return err
	}
	highKey = btTuple(btPadded(data, len(t)))

	var scratch [pg.BlockSize]byte
	p := bufpage.Page(scratch[:])
	if err := p.InitLike(c.page); err != nil {
		return btBad(err)
	}
	if err := btAdd(p, highKey, btHighKey); err != nil {
		return err
	}
	if err := btCopyLeft(p, c.page, old.firstData(), s, newItem, posting); err != nil {
		return err
	}
	copy(c.page, p)
	flags := uint16(btIncompleteSplit)
	if s.level == 0 {
		flags |= btLeaf
	}
	old.setFlags(flags)
	old.setNext(right)
	old.clearCycle()
	c.page.SetLSN(c.end)
	return nil
}

// btCopyLeft adds behind the high key of p the items of the page before that stay left, the new tuple
// among them if it goes left, and the posting list in its new form.
func btCopyLeft(p, before bufpage.Page, first int, s btSplit, newItem, posting btTuple) error {
	n := btHighKey + 1
	add := func(item []byte) error {
		n++
		return btAdd(p, item, n-1)
	}
	for i := first; i < s.firstRight; i++ {
		if posting != nil && i == s.newItem-1 {
			if err := add(posting); err != nil {
				return err
			}
			continue
		}
		if s.left && i == s.newItem {
			if err := add(newItem); err != nil {
				return err
			}
		}
		item, err := before.Item(i)
		if err != nil {
			return btBad(err)
		}
		if err := add(item); err != nil {
			return err
		}
	}
	if s.left && s.newItem == max(first, s.firstRight) {
		return add(newItem)
	}
	return nil
}
