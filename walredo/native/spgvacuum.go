package native

import (
	"github.com/stratapg/strata/pg/bufpage"
)

// spgVacuumLeaf removes dead leaf tuples. The first of a chain must keep its number, as the parent leads
// there: a live one takes its place, or a dead tuple if there is none. Data: numbers of tuples to make
// dead, to make placeholders, to move, and of chain links to set u16, state; the item numbers of each,
// those of moves and links being two lists, from and to.
func spgVacuumLeaf(c *change) error {
	const size = 16
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return noBlock(c)
	}
	var lists [6][]byte // dead, placeholders, moves from and to, links from and to
	rest := main[size:]
	for i, count := range [...]int{0, 1, 2, 2, 3, 3} {
		if lists[i], rest, err = take(rest, 2*number16(main, count), "item numbers"); err != nil {
			return err
		}
	}
	o, err := spgPage(c)
	if err != nil {
		return err
	}
	dead, holder := spgDeadTuple(spgDeadState), spgDeadTuple(spgPlaceholder)
	if err := spgBury(c.page, o, lists[0], dead, dead); err != nil {
		return err
	}
	if err := spgBury(c.page, o, lists[1], holder, holder); err != nil {
		return err
	}
	if err := spgSwap(c.page, lists[2], lists[3]); err != nil {
		return err
	}
	if err := spgBury(c.page, o, lists[2], holder, holder); err != nil {
		return err
	}
	for i := range len(lists[4]) / 2 {
		t, err := spgItem(c.page, number16(lists[4], i))
		if err != nil {
			return err
		}
		t.setChain(number16(lists[5], i))
	}
	c.page.SetLSN(c.end)
	return nil
}

// spgSwap exchanges the items of each pair of numbers, by their line pointers.
func spgSwap(p bufpage.Page, from, to []byte) error {
	for i := range len(from) / 2 {
		a, b := number16(from, i), number16(to, i)
		x, y := p.ItemID(a), p.ItemID(b)
		if err := p.SetItemID(a, y); err != nil {
			return err
		}
		if err := p.SetItemID(b, x); err != nil {
			return err
		}
	}
	return nil
}

// spgVacuumRoot removes leaf tuples from a root, which has no chains. Data: number of tuples u16, padding,
// state; their item numbers.
func spgVacuumRoot(c *change) error {
	const size = 12
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return noBlock(c)
	}
	numbers, _, err := take(main[size:], 2*number16(main, 0), "item numbers")
	if err != nil {
		return err
	}
	if _, err := spgPage(c); err != nil {
		return err
	}
	if err := deleteItems(c.page, numbers); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// spgVacuumRedirect makes placeholders of redirects that nobody follows any more, and removes the
// placeholders at the page's end. Data: number of redirects u16, item number of the first placeholder to
// remove u16, xid u32, a flag and padding; the item numbers of the redirects.
func spgVacuumRedirect(c *change) error { return spgVacuumListed(c, 10) }

// spgVacuumRedirect15 is spgVacuumRedirect before version 16, without the flag.
func spgVacuumRedirect15(c *change) error { return spgVacuumListed(c, 8) }

func spgVacuumListed(c *change, size int) error {
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return noBlock(c)
	}
	n := number16(main, 0)
	numbers, _, err := take(main[size:], 2*n, "item numbers")
	if err != nil {
		return err
	}
	o, err := spgPage(c)
	if err != nil {
		return err
	}
	for i := range n {
		if err := spgRetire(c.page, number16(numbers, i)); err != nil {
			return err
		}
	}
	if err := o.add(spgRedirects, -n); err != nil {
		return err
	}
	if err := o.add(spgPlaceholders, n); err != nil {
		return err
	}
	if first := number16(main, 1); first != 0 {
		if err := spgDropEnd(c.page, o, first); err != nil {
			return err
		}
	}
	c.page.SetLSN(c.end)
	return nil
}

// spgRetire makes a placeholder of a redirect. The transaction stays in it.
func spgRetire(p bufpage.Page, n int) error {
	t, err := spgItem(p, n)
	if err != nil {
		return err
	}
	if s := t.state(); s != spgRedirect {
		return corrupt("item %d is in state %d, no redirect", n, s)
	}
	le.PutUint32(t, le.Uint32(t)&^spgStates|spgPlaceholder)
	btTuple(t[spgPointer:]).setBlock(0xFFFFFFFF)
	btTuple(t[spgPointer:]).setItem(0)
	return nil
}

// spgDropEnd removes the placeholders from item first on.
func spgDropEnd(p bufpage.Page, o spgOpaque, first int) error {
	n := p.MaxOffset() - first + 1
	if n < 1 || n > bufpage.MaxIndexTuples {
		return corrupt("%d items from %d on", n, first)
	}
	if err := o.add(spgPlaceholders, -n); err != nil {
		return err
	}
	var numbers [bufpage.MaxIndexTuples]uint16
	for i := range n {
		numbers[i] = uint16(first + i)
	}
	return p.IndexMultiDelete(numbers[:n])
}
