package native

import (
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// tuple is a heap tuple on the page (access/htup_details.h):
//
//	 0 xmin u32 | 4 xmax u32 | 8 command id u32 | 12 ctid: block u16 high, u16 low, number u16
//	18 infomask2 u16 | 20 infomask u16 | 22 hoff u8 | 23 null bitmap …
type tuple []byte

const (
	tupleXmin       = 0
	tupleXmax       = 4
	tupleCid        = 8
	tupleCtid       = 12
	tupleMask2      = 18
	tupleMask       = 20
	tupleHoff       = 22
	tupleHeaderSize = 23
)

// Bits of infomask and infomask2.
const (
	xmaxKeyShareLock = 0x0010
	comboCid         = 0x0020
	xmaxExclLock     = 0x0040
	xmaxLockOnly     = 0x0080
	xmaxCommitted    = 0x0400
	xmaxInvalid      = 0x0800
	xmaxIsMulti      = 0x1000
	moved            = 0xC000
	lockMask         = xmaxKeyShareLock | xmaxExclLock
	xmaxBits         = xmaxCommitted | xmaxInvalid | xmaxIsMulti | lockMask | xmaxLockOnly

	keysUpdated = 0x2000
	hotUpdated  = 0x4000
)

// ctid of a tuple that moved to another partition.
const (
	movedPartitionsBlock  = 0xFFFFFFFF
	movedPartitionsOffset = 0xFFFD
)

// tuple gives the tuple at line pointer n.
func (c *change) tuple(n int) (tuple, error) {
	if id := c.page.ItemID(n); id.Flags() != bufpage.Normal {
		return nil, corrupt("line pointer %d of %d has no tuple (%d,%d,%d)",
			n, c.page.MaxOffset(), id.Offset(), id.Flags(), id.Len())
	}
	t, err := c.page.Item(n)
	if err != nil {
		return nil, err
	}
	if len(t) < tupleHeaderSize {
		return nil, corrupt("tuple %d of %d bytes", n, len(t))
	}
	return t, nil
}

// init fills the header of a new tuple from the part that was logged.
func (t tuple) init(h *loggedHeader, xmin, xmax uint32, blkno uint32, offnum int) {
	le.PutUint32(t[tupleXmin:], xmin)
	le.PutUint32(t[tupleXmax:], xmax)
	le.PutUint32(t[tupleCid:], h.cid)
	t.setCtid(blkno, offnum)
	t.setMask2(h.mask2)
	t.setMask(h.mask)
	t[tupleHoff] = h.hoff
}

func (t tuple) mask() uint16       { return le.Uint16(t[tupleMask:]) }
func (t tuple) mask2() uint16      { return le.Uint16(t[tupleMask2:]) }
func (t tuple) setMask(m uint16)   { le.PutUint16(t[tupleMask:], m) }
func (t tuple) setMask2(m uint16)  { le.PutUint16(t[tupleMask2:], m) }
func (t tuple) setXmin(xid uint32) { le.PutUint32(t[tupleXmin:], xid) }
func (t tuple) setXmax(xid uint32) { le.PutUint32(t[tupleXmax:], xid) }

// clearMask clears bits of infomask and infomask2.
func (t tuple) clearMask(mask, mask2 uint16) {
	t.setMask(t.mask() &^ mask)
	t.setMask2(t.mask2() &^ mask2)
}

// setCid sets the command id. combo says that it stands for two.
func (t tuple) setCid(cid uint32, combo bool) {
	le.PutUint32(t[tupleCid:], cid)
	m := t.mask() &^ comboCid
	if combo {
		m |= comboCid
	}
	t.setMask(m)
}

func (t tuple) setCtid(blkno uint32, offnum int) {
	le.PutUint16(t[tupleCtid:], uint16(blkno>>16))
	le.PutUint16(t[tupleCtid+2:], uint16(blkno))
	le.PutUint16(t[tupleCtid+4:], uint16(offnum))
}

// Bits of a record's infobits (XLHL_*).
const (
	logXmaxIsMulti   = 0x01
	logXmaxLockOnly  = 0x02
	logXmaxExclLock  = 0x04
	logXmaxKeyShare  = 0x08
	logXmaxKeyUpdate = 0x10
	logComboCid      = 0x20 // Neon only
)

// setInfobits turns a record's infobits into the tuple's (fix_infomask_from_infobits).
func (t tuple) setInfobits(b uint8) {
	m := t.mask() &^ (xmaxIsMulti | xmaxLockOnly | xmaxKeyShareLock | xmaxExclLock)
	m2 := t.mask2() &^ keysUpdated
	if b&logXmaxIsMulti != 0 {
		m |= xmaxIsMulti
	}
	if b&logXmaxLockOnly != 0 {
		m |= xmaxLockOnly
	}
	if b&logXmaxExclLock != 0 {
		m |= xmaxExclLock
	}
	if b&logXmaxKeyShare != 0 {
		m |= xmaxKeyShareLock
	}
	if b&logXmaxKeyUpdate != 0 {
		m2 |= keysUpdated
	}
	t.setMask(m)
	t.setMask2(m2)
}

// lockedOnly reports whether xmax only locks (HEAP_XMAX_IS_LOCKED_ONLY).
func (t tuple) lockedOnly() bool {
	m := t.mask()
	return m&xmaxLockOnly != 0 || m&(xmaxIsMulti|lockMask) == xmaxExclLock
}

// setPrunable notes that xid's changes may be pruned once it is over (PageSetPrunable).
func setPrunable(p bufpage.Page, xid uint32) {
	if old := p.PruneXid(); old == 0 || xidBefore(xid, old) {
		p.SetPruneXid(xid)
	}
}

// xidBefore compares transaction ids, which wrap around (TransactionIdPrecedes).
func xidBefore(a, b uint32) bool {
	if a < pg.FirstNormalXid || b < pg.FirstNormalXid {
		return a < b
	}
	return int32(a-b) < 0
}
