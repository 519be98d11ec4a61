package native

import (
	"encoding/binary"

	"github.com/stratapg/strata/pg/bufpage"
)

// An index tuple (access/itup.h): t_tid is a block number in two halves, high first, and an item number;
// t_info holds the size and flags. In a posting list tuple (access/nbtree.h) the item number field holds
// the number of TIDs and the block number the offset of the list within the tuple.
const (
	tidBlockHigh = 0
	tidBlockLow  = 2
	tidItem      = 4
	tidSize      = 6
	tupInfo      = 6
	tupHeader    = 8

	tupSizeMask = 0x1FFF
	tupAltTid   = 0x2000 // INDEX_ALT_TID_MASK: t_tid is not what it seems
	tupPosting  = 0x2000 // BT_IS_POSTING, in the item number
	tupCount    = 0x0FFF // BT_OFFSET_MASK, in the item number
)

// btTuple is the bytes of an index tuple, as long as its own header says.
type btTuple []byte

// btTupleAt takes the tuple that starts b.
func btTupleAt(b []byte) (btTuple, error) {
	if len(b) < tupHeader {
		return nil, btCorrupt("%d bytes for an index tuple", len(b))
	}
	size := int(binary.LittleEndian.Uint16(b[tupInfo:]) & tupSizeMask)
	if size < tupHeader || size > len(b) {
		return nil, btCorrupt("index tuple of %d bytes in %d", size, len(b))
	}
	return btTuple(b[:size:size]), nil
}

// btItem takes tuple n of a page.
func btItem(p bufpage.Page, n int) (btTuple, error) {
	b, err := p.Item(n)
	if err != nil {
		return nil, btBad(err)
	}
	return btTupleAt(b)
}

// btPadded gives the size bytes at the front of b, and with them their padding as far as b has it.
func btPadded(b []byte, size int) []byte {
	return b[:min(bufpage.Align(size), len(b))]
}

func (t btTuple) info() uint16     { return binary.LittleEndian.Uint16(t[tupInfo:]) }
func (t btTuple) item() uint16     { return binary.LittleEndian.Uint16(t[tidItem:]) }
func (t btTuple) setItem(i uint16) { binary.LittleEndian.PutUint16(t[tidItem:], i) }

func (t btTuple) block() uint32 {
	le := binary.LittleEndian
	return uint32(le.Uint16(t[tidBlockHigh:]))<<16 | uint32(le.Uint16(t[tidBlockLow:]))
}

func (t btTuple) setBlock(b uint32) {
	binary.LittleEndian.PutUint16(t[tidBlockHigh:], uint16(b>>16))
	binary.LittleEndian.PutUint16(t[tidBlockLow:], uint16(b))
}

func (t btTuple) setInfo(size int, alt bool) {
	info := t.info()&^(tupSizeMask|tupAltTid) | uint16(size)
	if alt {
		info |= tupAltTid
	}
	binary.LittleEndian.PutUint16(t[tupInfo:], info)
}

func (t btTuple) isPosting() bool { return t.info()&tupAltTid != 0 && t.item()&tupPosting != 0 }
func (t btTuple) isPivot() bool   { return t.info()&tupAltTid != 0 && t.item()&tupPosting == 0 }

// tids splits a leaf tuple into its key part and the TIDs that it points to; those of a plain tuple are
// the one at its front.
func (t btTuple) tids() (key int, tids []byte, err error) {
	if t.isPivot() {
		return 0, nil, btCorrupt("pivot tuple among leaf tuples")
	}
	if !t.isPosting() {
		return len(t), t[:tidSize:tidSize], nil
	}
	n := int(t.item() & tupCount)
	key = int(t.block())
	if key < tupHeader || key > len(t) || n == 0 || n*tidSize > len(t)-key {
		return 0, nil, btCorrupt("posting list of %d TIDs at %d in a tuple of %d bytes", n, key, len(t))
	}
	return key, t[key : key+n*tidSize], nil
}

// btFormTuple builds in buf a leaf tuple with the key part given and the TIDs given: a posting list where
// there are two or more (_bt_form_posting).
func btFormTuple(buf *[tupSizeMask + 1]byte, key btTuple, keySize int, tids []byte) (btTuple, error) {
	n := len(tids) / tidSize
	size := keySize
	if n > 1 {
		size = bufpage.Align(keySize + len(tids))
	}
	if n == 0 || n > tupCount || keySize < tupHeader || keySize > len(key) || size > tupSizeMask {
		return nil, btCorrupt("tuple of %d TIDs and a key of %d bytes", n, keySize)
	}
	t := btTuple(buf[:size])
	clear(t)
	copy(t, key[:keySize])
	t.setInfo(size, n > 1)
	if n == 1 {
		copy(t, tids)
		return t, nil
	}
	t.setItem(uint16(n) | tupPosting)
	t.setBlock(uint32(keySize))
	copy(t[keySize:], tids)
	return t, nil
}

// btSwapPosting inserts newItem's TID into a posting list at the given place, and gives newItem the list's
// last TID instead (_bt_swap_posting). Both are changed in place.
func btSwapPosting(newItem, posting btTuple, at int) error {
	if !posting.isPosting() || newItem.info()&tupAltTid != 0 {
		return btCorrupt("posting split of a tuple that is no posting list")
	}
	_, tids, err := posting.tids()
	if err != nil {
		return err
	}
	if at <= 0 || at >= len(tids)/tidSize {
		return btCorrupt("posting list of %d TIDs split at %d", len(tids)/tidSize, at)
	}
	var last [tidSize]byte
	copy(last[:], tids[len(tids)-tidSize:])
	copy(tids[(at+1)*tidSize:], tids[at*tidSize:len(tids)-tidSize])
	copy(tids[at*tidSize:], newItem[:tidSize])
	copy(newItem, last[:])
	return nil
}
