package native

import (
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// Redo of SP-GiST indexes (access/spgxlog.h). Inner tuples have nodes that point to other inner tuples or
// to the first leaf tuple of a chain, so item numbers must last: what is removed is replaced by a dead
// tuple, of which the special space keeps count, and items are added in the place of dead ones.
//
// A record's tuples lie one behind the other in its main data; each is as long as its own header says.

// spgistOps gives the functions of a version.
func spgistOps(v pg.Version) *ops {
	o := &ops{
		0x1: spgAddLeaf,
		0x2: spgMoveLeafs,
		0x3: spgAddNode,
		0x4: spgSplitTuple,
		0x5: spgPickSplit,
		0x6: spgVacuumLeaf,
		0x7: spgVacuumRoot,
		0x8: spgVacuumRedirect,
	}
	if v <= pg.V15 {
		o.set(0x80, spgVacuumRedirect15)
	}
	return o
}

// spgLink is where the parent of what moved is, and where its downlink leads from now on.
type spgLink struct {
	parent, node int // item number of the inner tuple, node in it
	block        uint32
	item         uint16
}

// setDownlink points a node of a parent on the page to where its tuples are now.
func (c *change) setDownlink(l spgLink) error {
	t, err := spgItem(c.page, l.parent)
	if err != nil {
		return err
	}
	return t.setNode(l.node, l.block, l.item)
}

// spgBegin gives the special space of the page at work, which is made anew first if the record says so.
func spgBegin(c *change, anew bool, flags uint16) (spgOpaque, error) {
	if anew {
		return spgInit(c.page, flags), nil
	}
	return spgPage(c)
}

// spgLeafFlags are the flags of a new leaf page.
func spgLeafFlags(nulls bool) uint16 { return spgLeaf | spgInnerFlags(nulls) }

// spgInnerFlags are the flags of a new inner page.
func spgInnerFlags(nulls bool) uint16 {
	if nulls {
		return spgNulls
	}
	return 0
}

// spgAddLeaf adds a leaf tuple (block 0), and points the parent to it where it is the first of its chain
// (block 1). Data: make the page anew bool, of the nulls' tree bool, item numbers of the tuple, of the head
// of its chain (the tuple's own: it replaces a dead tuple) and of the parent u16, node in that u16; the
// tuple.
func spgAddLeaf(c *change) error {
	const size = 10
	main, err := c.main(size)
	if err != nil {
		return err
	}
	item, head, parent := number16(main, 1), number16(main, 2), number16(main, 3)
	switch c.blk.ID {
	case 0:
		tuple, _, err := spgTakeLeaf(main[size:])
		if err != nil {
			return err
		}
		o, err := spgBegin(c, main[0] != 0, spgLeafFlags(main[1] != 0))
		if err != nil {
			return err
		}
		if err := spgAddToChain(c.page, o, tuple, item, head); err != nil {
			return err
		}
	case 1:
		leaf, err := c.block(0)
		if err != nil {
			return err
		}
		if _, err := spgPage(c); err != nil {
			return err
		}
		if err := c.setDownlink(spgLink{parent, number16(main, 4), leaf.Blkno, uint16(item)}); err != nil {
			return err
		}
	default:
		return noBlock(c)
	}
	c.page.SetLSN(c.end)
	return nil
}

// spgAddToChain adds a leaf tuple behind the head of its chain, if there is one.
func spgAddToChain(p bufpage.Page, o spgOpaque, tuple spgTuple, item, head int) error {
	if item == head {
		return replaceItem(p, tuple, item)
	}
	if err := spgPlace(p, o, tuple, item); err != nil {
		return err
	}
	if head == 0 {
		return nil
	}
	t, err := spgItem(p, head)
	if err != nil {
		return err
	}
	t.setChain(item)
	return nil
}

// spgMoveLeafs moves a chain of leaf tuples (block 0) to another page, with a new one (block 1), and
// points the parent there (block 2). Data: number of tuples moved u16, make the page anew bool, a dead
// tuple is all there was bool, of the nulls' tree bool, padding, item number of the parent u16, node u16,
// padding, state; item numbers to remove, item numbers to add, the tuples.
func spgMoveLeafs(c *change) error {
	const size = 20
	main, err := c.main(size)
	if err != nil {
		return err
	}
	moves := number16(main, 0)
	added := moves + 1
	if main[3] != 0 {
		added = 1
	}
	removed, rest, err := take(main[size:], 2*moves, "item numbers")
	if err != nil {
		return err
	}
	numbers, tuples, err := take(rest, 2*added, "item numbers")
	if err != nil {
		return err
	}
	to, err := c.block(1)
	if err != nil {
		return err
	}
	last := le.Uint16(numbers[2*(added-1):])
	state := spgStateAt(main[12:])
	o, err := spgBegin(c, c.blk.ID == 1 && main[2] != 0, spgLeafFlags(main[4] != 0))
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		err = spgBury(c.page, o, removed, state.moved(to.Blkno, last), spgDeadTuple(spgPlaceholder))
	case 1:
		err = spgPlaceLeaves(c.page, o, numbers, tuples)
	case 2:
		err = c.setDownlink(spgLink{number16(main, 3), number16(main, 4), to.Blkno, last})
	default:
		err = noBlock(c)
	}
	if err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// spgPlaceLeaves adds leaf tuples that lie one behind the other, at the numbers given.
func spgPlaceLeaves(p bufpage.Page, o spgOpaque, numbers, tuples []byte) error {
	for i := range len(numbers) / 2 {
		var (
			t   spgTuple
			err error
		)
		if t, tuples, err = spgTakeLeaf(tuples); err != nil {
			return err
		}
		if err := spgPlace(p, o, t, number16(numbers, i)); err != nil {
			return err
		}
	}
	return nil
}

// spgAddNode replaces an inner tuple by one with another node: in its place (block 0 alone), or elsewhere
// (block 1), whereupon the old place gets a redirect and the parent the new place (block 0, 1 or 2). Data:
// item numbers before and after u16, make the page anew bool, block reference that the parent is on i8,
// item number of the parent u16, node u16, padding, state; the tuple.
func spgAddNode(c *change) error {
	const size = 20
	main, err := c.main(size)
	if err != nil {
		return err
	}
	tuple, _, err := spgTakeInner(main[size:])
	if err != nil {
		return err
	}
	from, to := number16(main, 0), number16(main, 1)
	moved := c.rec.Block(1)
	o, err := spgBegin(c, c.blk.ID == 1 && main[4] != 0, 0)
	switch {
	case err != nil:
		return err
	case moved == nil && c.blk.ID == 0:
		err = replaceItem(c.page, tuple, from)
	case moved == nil:
		return noBlock(c)
	case c.blk.ID == 0:
		dead := spgStateAt(main[12:]).moved(moved.Blkno, uint16(to))
		if err = replaceItem(c.page, dead[:], from); err == nil {
			err = o.count(dead, 1)
		}
	case c.blk.ID == 1:
		err = spgPlace(c.page, o, tuple, to)
	case c.blk.ID > 2 || main[5] != 2:
		return noBlock(c)
	}
	if err == nil && moved != nil && c.blk.ID == main[5] {
		err = c.setDownlink(spgLink{number16(main, 3), number16(main, 4), moved.Blkno, uint16(to)})
	}
	if err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// spgSplitTuple splits an inner tuple in two: one with the front of its prefix stays in its place (block
// 0), one with the rest comes below it, on the same page or another (block 1). Data: item numbers of both
// u16, make the other page anew bool, there is but one page bool; the two tuples.
func spgSplitTuple(c *change) error {
	const size = 6
	main, err := c.main(size)
	if err != nil {
		return err
	}
	prefix, rest, err := spgTakeInner(main[size:])
	if err != nil {
		return err
	}
	postfix, _, err := spgTakeInner(rest)
	if err != nil {
		return err
	}
	onePage := main[5] != 0
	o, err := spgBegin(c, c.blk.ID == 1 && main[4] != 0, 0)
	if err != nil {
		return err
	}
	switch {
	case c.blk.ID == 0:
		if err := replaceItem(c.page, prefix, number16(main, 0)); err != nil {
			return err
		}
	case c.blk.ID != 1 || onePage:
		return noBlock(c)
	}
	if onePage || c.blk.ID == 1 {
		if err := spgPlace(c.page, o, postfix, number16(main, 1)); err != nil {
			return err
		}
	}
	c.page.SetLSN(c.end)
	return nil
}
