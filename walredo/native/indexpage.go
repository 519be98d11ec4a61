package native

import (
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// What redo of index pages has in common: item numbers in records, and items added at a given number.

// number16 reads one of the 16-bit item numbers of a list.
func number16(list []byte, i int) int { return int(le.Uint16(list[2*i:])) }

// take cuts n bytes off the front of b. what names them in the error.
func take(b []byte, n int, what string) (front, rest []byte, err error) {
	if n > len(b) {
		return nil, nil, corrupt("%s of %d bytes in %d", what, n, len(b))
	}
	return b[:n:n], b[n:], nil
}

// addItemAt places an item at exactly the given number; those from there on move up by one.
func addItemAt(p bufpage.Page, item []byte, n int) error {
	if n == 0 || len(item) < tupHeader {
		return corrupt("item of %d bytes for item number %d", len(item), n)
	}
	_, err := p.AddItem(item, n, 0)
	return err
}

// replaceItem puts another item in the place of item n, without regard to their lengths.
func replaceItem(p bufpage.Page, item []byte, n int) error {
	if err := p.IndexTupleDelete(n); err != nil {
		return err
	}
	return addItemAt(p, item, n)
}

// deleteItems removes the items whose numbers, ascending, are in list.
func deleteItems(p bufpage.Page, list []byte) error {
	var buf [bufpage.MaxIndexTuples]uint16
	numbers, err := numbersOf(list, &buf)
	if err != nil {
		return err
	}
	return deleteAscending(p, numbers)
}

// numbersOf reads a list of item numbers.
func numbersOf(list []byte, buf *[bufpage.MaxIndexTuples]uint16) ([]uint16, error) {
	n := len(list) / 2
	if n > len(buf) {
		return nil, corrupt("%d item numbers", n)
	}
	for i := range n {
		buf[i] = le.Uint16(list[2*i:])
	}
	return buf[:n], nil
}

// deleteAscending removes items, no number of which may occur twice.
func deleteAscending(p bufpage.Page, numbers []uint16) error {
	for i := 1; i < len(numbers); i++ {
		if numbers[i] <= numbers[i-1] {
			return corrupt("item %d to be deleted comes behind %d", numbers[i], numbers[i-1])
		}
	}
	return p.IndexMultiDelete(numbers)
}

// tupleSize is the length that an index tuple (access/itup.h) gives itself. It is checked to lie within b.
func tupleSize(b []byte) (int, error) {
	if len(b) < tupHeader {
		return 0, corrupt("%d bytes for an index tuple", len(b))
	}
	size := int(le.Uint16(b[tupInfo:]) & tupSizeMask)
	if size < tupHeader || size > len(b) {
		return 0, corrupt("index tuple of %d bytes in %d", size, len(b))
	}
	return size, nil
}

// specialOf gives the special space of an initialized page, if it has the size and the mark at its end
// that the access method's pages have.
func specialOf(p bufpage.Page, size int, mark uint16, method string) ([]byte, error) {
	s := pg.BlockSize - size
	if p.SpecialOffset() != s || le.Uint16(p[pg.BlockSize-2:]) != mark {
		return nil, corrupt("the page is no %s page: its special space starts at %d and ends in %04X",
			method, p.SpecialOffset(), le.Uint16(p[pg.BlockSize-2:]))
	}
	return p[s:], nil
}

// itemOf gives item n of a page whose special space has the given size, checked to lie between the line
// pointers and the special space, at least as long as least.
func itemOf(p bufpage.Page, n, least, special int) ([]byte, error) {
	b, err := p.Item(n)
	if err != nil {
		return nil, err
	}
	off := p.ItemID(n).Offset()
	if off < p.Lower() || off+len(b) > pg.BlockSize-special || len(b) < least {
		return nil, corrupt("item %d of %d bytes lies at %d", n, len(b), off)
	}
	return b, nil
}

// noBlock refuses a record that touches a block which its kind of record has no use for.
func noBlock(c *change) error {
	return corrupt("a %s record of type %02X has no use for block reference %d", c.rec.Rmgr, c.rec.Info&opMask, c.blk.ID)
}
