package mask

import (
	"encoding/binary"

	"github.com/stratapg/strata/pg"
)

// Layout of a heap tuple's header (access/htup_details.h).
const (
	heapCid        = 8 // t_cid, t_xvac
	heapCtid       = 12
	heapCtidOffset = 16
	heapInfomask2  = 18
	heapInfomask   = 20
	heapHeaderSize = 23

	xminFrozen    = 0x0100 | 0x0200 // HEAP_XMIN_COMMITTED and HEAP_XMIN_INVALID together
	xactMask      = 0xFFF0          // HEAP_XACT_MASK
	xmaxCommitted = 0x0400
	xmaxInvalid   = 0x0800

	// specToken in place of an offset number marks a tuple of a speculative insertion.
	specToken = 0xFFFE
)

// heap hides in every tuple of a heap page what is not logged: hint bits, the command id, a speculative
// insertion's token, and the padding behind it.
func (m *masker) heap() {
	for i := range m.items() {
		off, flags, length := m.item(i)
		if flags == lpNormal && off+heapHeaderSize <= pg.BlockSize {
			m.heapTuple(off, i+1)
		}
		if pad := (maxAlign - length%maxAlign) % maxAlign; length > 0 && pad > 0 && off+length+pad <= pg.BlockSize {
			m.clear(off+length, pad)
		}
	}
}

func (m *masker) heapTuple(off, offnum int) {
	if m.u16(off+heapInfomask)&xminFrozen == xminFrozen {
		m.clear16(off+heapInfomask, xmaxCommitted|xmaxInvalid)
	} else {
		m.clear16(off+heapInfomask, xactMask)
	}
	m.clear(off+heapCid, 4)
	if m.u16(off+heapCtidOffset) != specToken {
		return
	}
	// Redo points the tuple at itself; ip_blkid is two 16-bit halves, high first.
	m.clear(off+heapCtid, 6)
	le := binary.LittleEndian
	le.PutUint16(m.p[off+heapCtid:], uint16(m.blkno>>16))
	le.PutUint16(m.p[off+heapCtid+2:], uint16(m.blkno))
	le.PutUint16(m.p[off+heapCtidOffset:], uint16(offnum))
}
