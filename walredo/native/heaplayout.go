package native

// heapLayout says where the fields of heap records lie. Stock PostgreSQL has one layout from 14 to 17.
// Neon's computes log command ids too, because their pages may be evicted in mid-transaction: 14 and 15 in
// changed heap records, 16 and 17 in records of a resource manager of their own.
type heapLayout struct {
	cids        bool // records carry command ids
	header      int  // length of a tuple's logged header: infomask2, infomask, cid if any, hoff
	multiFixed  int  // multi-insertion's main data before the line pointer numbers
	multiHeader int  // length of a tuple's header there, with its length in front
	updateCid   int  // length of the command id in an update
	deletion    places
	locking     places
}

// places are the offsets of the fields that deletions and locks have.
type places struct {
	offnum, infobits, flags, cid int
	size                         int
}

var (
	stockPlaces = places{offnum: 4, infobits: 6, flags: 7, cid: -1, size: 8}
	cidInMiddle = places{offnum: 4, cid: 8, infobits: 12, flags: 13, size: 14}
	cidAtEnd    = places{offnum: 4, infobits: 6, flags: 7, cid: 8, size: 12}
	cidInFront  = places{cid: 4, offnum: 8, infobits: 10, flags: 11, size: 12}

	stockHeap = heapLayout{header: 5, multiFixed: 4, multiHeader: 7, deletion: stockPlaces, locking: stockPlaces}

	neonHeap15 = heapLayout{
		cids: true, header: 9, multiFixed: 4, multiHeader: 13, updateCid: 4,
		deletion: cidInMiddle, locking: cidInMiddle,
	}
	neonHeap16 = heapLayout{
		cids: true, header: 9, multiFixed: 8, multiHeader: 7, updateCid: 4,
		deletion: cidAtEnd, locking: cidInFront,
	}
)

// Operations of Neon's resource manager.
const (
	neonInsert      = 0x00
	neonDelete      = 0x10
	neonUpdate      = 0x20
	neonHotUpdate   = 0x30
	neonLock        = 0x40
	neonMultiInsert = 0x50
)

func neonOps(l *heapLayout) *ops {
	o := new(ops)
	o.setInit(neonInsert, l.insert)
	o.set(neonDelete, l.delete)
	o.setInit(neonUpdate, l.update)
	o.setInit(neonHotUpdate, l.hotUpdate)
	o.set(neonLock, l.lock)
	o.setInit(neonMultiInsert, l.multiInsert)
	return o
}

// loggedHeader is what records say of a new tuple's header. Without command ids redo sets the first one:
// they matter only to the transaction itself, which is gone after a crash.
type loggedHeader struct {
	mask2, mask uint16
	cid         uint32
	hoff        uint8
}

// parseHeader reads a logged header; b has at least l.header bytes.
func (l *heapLayout) parseHeader(b []byte) loggedHeader {
	h := loggedHeader{mask2: le.Uint16(b), mask: le.Uint16(b[2:]), hoff: b[l.header-1]}
	if l.cids {
		h.cid = le.Uint32(b[4:])
	} else {
		h.mask &^= comboCid
	}
	return h
}

// parseMultiHeader reads a header in b, which has l.multiHeader bytes, of a multi-insertion. Neon has the
// command id there (14, 15) or once in the main data (16, 17).
func (l *heapLayout) parseMultiHeader(main, b []byte) loggedHeader {
	h := loggedHeader{mask2: le.Uint16(b[2:]), mask: le.Uint16(b[4:]), hoff: b[l.multiHeader-1]}
	switch {
	case !l.cids:
		h.mask &^= comboCid
	case l.multiFixed > 4:
		h.cid = le.Uint32(main[4:])
	default:
		h.cid = le.Uint32(b[8:])
	}
	return h
}

// isCombo reads from infobits whether the command id stands for two, which only Neon logs.
func (l *heapLayout) isCombo(infobits uint8) bool { return l.cids && infobits&logComboCid != 0 }

// locking is the main data of a deletion or lock: xmax u32 first.
type locking struct {
	xmax, cid       uint32
	offnum          int
	infobits, flags uint8
}

func (c *change) parseLocking(p *places) (l locking, err error) {
	main, err := c.main(p.size)
	if err != nil {
		return l, err
	}
	l = locking{
		xmax: le.Uint32(main), offnum: int(le.Uint16(main[p.offnum:])),
		infobits: main[p.infobits], flags: main[p.flags],
	}
	if p.cid >= 0 {
		l.cid = le.Uint32(main[p.cid:])
	}
	return l, nil
}
