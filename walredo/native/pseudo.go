package native

import (
	"encoding/binary"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// pseudo applies a change that PostgreSQL makes without naming a block, logged as what it is to a page.
func (c *change) pseudo(v *page.Value) error {
	switch v.Kind {
	case page.KindClearVM:
		return c.clearVM(v)
	case page.KindTruncateVM:
		return c.truncateVM(v)
	case page.KindClogCommitted:
		if err := c.setXids(v.Xids, xidCommitted); err != nil {
			return err
		}
		binary.BigEndian.PutUint64(c.stamp[:], uint64(v.Timestamp))
		c.stamped = true
		return nil
	case page.KindClogAborted:
		return c.setXids(v.Xids, xidAborted)
	case page.KindMultixactOffset:
		return c.multixactOffset(v)
	case page.KindMultixactMembers:
		return c.multixactMembers(v)
	}
	return corrupt("a value of kind %d changes no page", v.Kind)
}

// isMapPage checks that the key is a visibility map's.
func (c *change) isMapPage() error {
	if !c.isRel || c.rel.Fork != page.ForkVM {
		return corrupt("a change of a visibility map")
	}
	return nil
}

// clearVM clears the bits of one or two heap pages. pd_lsn moves even if the bits were off: the record did
// not look.
func (c *change) clearVM(v *page.Value) error {
	if err := c.isMapPage(); err != nil {
		return err
	}
	for _, heap := range [...]uint32{v.NewHeapBlock, v.OldHeapBlock} {
		if heap == page.NoBlock {
			continue
		}
		at, shift, err := c.mapPlace(heap)
		if err != nil {
			return err
		}
		c.page[at] &^= v.Flags << shift
	}
	if !c.page.IsNew() && c.page.LSN() < c.end { // a page of a base backup may be newer, and must stay so
		c.page.SetLSN(c.end)
	}
	return nil
}

// truncateVM clears the map from a bit on. pd_lsn stays.
func (c *change) truncateVM(v *page.Value) error {
	if err := c.isMapPage(); err != nil {
		return err
	}
	if v.TruncByte >= mapBytes || v.TruncBits >= 8 {
		return corrupt("truncation of a map at byte %d bit %d", v.TruncByte, v.TruncBits)
	}
	bits := c.page[bufpage.HeaderSize:]
	bits[v.TruncByte] &= 1<<v.TruncBits - 1
	clear(bits[v.TruncByte+1:])
	return nil
}

// The commit log has two bits for each transaction (access/transam/clog.c).
const (
	xidCommitted = 0x01
	xidAborted   = 0x02

	xidBits    = 2
	xidMask    = 1<<xidBits - 1
	xidPerByte = 8 / xidBits
	xidPerPage = pg.BlockSize * xidPerByte
)

// slruPage gives the number of the page at work within its SLRU and checks that it is of the kind given.
func (c *change) slruPage(want page.SLRU) (uint32, error) {
	slru, segment, block, ok := c.key.SLRUBlock()
	if !ok || slru != want {
		return 0, corrupt("a change of %s", want)
	}
	return segment*pg.SLRUSegPages + block, nil
}

func (c *change) setXids(xids []uint32, status uint8) error {
	n, err := c.slruPage(page.Clog)
	if err != nil {
		return err
	}
	for _, xid := range xids {
		if xid/xidPerPage != n {
			return corrupt("transaction %d belongs to page %d", xid, xid/xidPerPage)
		}
		at, shift := xid%xidPerPage/xidPerByte, xid%xidPerByte*xidBits
		c.page[at] = c.page[at]&^(xidMask<<shift) | status<<shift
	}
	return nil
}

// Multixacts (access/transam/multixact.c): an array of offsets, u32 each, and members in groups of four: a
// byte of flags each, then their transaction ids.
const (
	multiPerPage    = pg.BlockSize / 4
	membersPerGroup = 4
	memberGroupSize = membersPerGroup * (1 + 4)
	groupsPerPage   = pg.BlockSize / memberGroupSize
	membersPerPage  = groupsPerPage * membersPerGroup
)

func (c *change) multixactOffset(v *page.Value) error {
	n, err := c.slruPage(page.MultixactOffsets)
	if err != nil {
		return err
	}
	if v.Multi/multiPerPage != n {
		return corrupt("multixact %d belongs to page %d", v.Multi, v.Multi/multiPerPage)
	}
	le.PutUint32(c.page[v.Multi%multiPerPage*4:], v.Offset)
	return nil
}

func (c *change) multixactMembers(v *page.Value) error {
	n, err := c.slruPage(page.MultixactMembers)
	if err != nil {
		return err
	}
	for i, m := range v.Members {
		member := v.Offset + uint32(i) // wraps around, as PostgreSQL's does
		if member/membersPerPage != n {
			return corrupt("multixact member %d belongs to page %d", member, member/membersPerPage)
		}
		group := member / membersPerGroup % groupsPerPage * memberGroupSize
		in := member % membersPerGroup
		c.page[group+in] = uint8(m.Status)
		le.PutUint32(c.page[group+membersPerGroup+in*4:], m.Xid)
	}
	return nil
}
