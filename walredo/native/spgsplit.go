package native

// spgPicked is spgxlogPickSplit and what comes behind it in the main data.
type spgPicked struct {
	root                          bool // the page split is the root, which becomes the inner page
	initFrom, initTo, initInner   bool // make the page anew
	nulls                         bool // of the nulls' tree
	innerIsParent                 bool // the parent is on the inner page
	inner, parent, node           int
	state                         spgState
	removed, added, select8, left []byte
	tuple                         spgTuple
}

// spgPickedOf reads the main data: root bool, padding, number of tuples removed and added u16, make pages
// anew bool twice, item number of the inner tuple u16, make its page anew bool, of the nulls' tree bool,
// parent on the same page bool, padding, item number of the parent u16, node u16, padding, state; item
// numbers to remove, item numbers to add, for each of those which page it is on u8, inner tuple, leaf
// tuples.
func spgPickedOf(c *change) (s spgPicked, err error) {
	const size = 28
	main, err := c.main(size)
	if err != nil {
		return s, err
	}
	s = spgPicked{
		root: main[0] != 0, initFrom: main[6] != 0, initTo: main[7] != 0, initInner: main[10] != 0,
		nulls: main[11] != 0, innerIsParent: main[12] != 0,
		inner: number16(main, 4), parent: number16(main, 7), node: number16(main, 8),
		state: spgStateAt(main[20:]),
	}
	removed, added := number16(main, 1), number16(main, 2)
	rest := main[size:]
	if s.removed, rest, err = take(rest, 2*removed, "item numbers"); err != nil {
		return s, err
	}
	if s.added, rest, err = take(rest, 2*added, "item numbers"); err != nil {
		return s, err
	}
	if s.select8, rest, err = take(rest, added, "page selectors"); err != nil {
		return s, err
	}
	s.tuple, s.left, err = spgTakeInner(rest)
	return s, err
}

// spgPickSplit sorts the leaf tuples of a full page under the nodes of a new inner tuple: they stay on
// their page (block 0; a root that is split has none) or go to another (block 1, if any); the inner tuple
// goes to block 2; the parent's downlink is on that or on block 3.
func spgPickSplit(c *change) error {
	s, err := spgPickedOf(c)
	if err != nil {
		return err
	}
	inner, err := c.block(2)
	if err != nil {
		return err
	}
	link := spgLink{s.parent, s.node, inner.Blkno, uint16(s.inner)}
	switch c.blk.ID {
	case 0:
		err = spgPickFrom(c, &s, inner.Blkno)
	case 1:
		var o spgOpaque
		if o, err = spgBegin(c, s.initTo, spgLeafFlags(s.nulls)); err == nil {
			err = spgPickLeaves(c, o, &s, true)
		}
	case 2:
		var o spgOpaque
		if o, err = spgBegin(c, s.initInner, spgInnerFlags(s.nulls)); err != nil {
			return err
		}
		if err = spgPlace(c.page, o, s.tuple, s.inner); err == nil && s.innerIsParent {
			err = c.setDownlink(link)
		}
	case 3:
		if _, err = spgPage(c); err == nil {
			err = c.setDownlink(link)
		}
	default:
		err = noBlock(c)
	}
	if err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// spgPickFrom is spgPickSplit for the page split.
func spgPickFrom(c *change, s *spgPicked, inner uint32) error {
	if s.root {
		return noBlock(c)
	}
	o, err := spgBegin(c, s.initFrom, spgLeafFlags(s.nulls))
	if err != nil {
		return err
	}
	if !s.initFrom {
		dead := s.state.moved(inner, uint16(s.inner))
		if err := spgBury(c.page, o, s.removed, dead, spgDeadTuple(spgPlaceholder)); err != nil {
			return err
		}
	}
	return spgPickLeaves(c, o, s, false)
}

// spgPickLeaves adds those leaf tuples that are for one of the two pages.
func spgPickLeaves(c *change, o spgOpaque, s *spgPicked, other bool) error {
	tuples := s.left
	for i, on := range s.select8 {
		var (
			t   spgTuple
			err error
		)
		if t, tuples, err = spgTakeLeaf(tuples); err != nil {
			return err
		}
		if (on != 0) != other {
			continue
		}
		if err := spgPlace(c.page, o, t, number16(s.added, i)); err != nil {
			return err
		}
	}
	return nil
}
