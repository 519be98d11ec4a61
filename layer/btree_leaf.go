package layer

import (
	"encoding/binary"
	"slices"

	"github.com/stratapg/strata/page"
)

// leafEntry is an entry of a leaf as whoever reads all of them has it: taken apart a leaf at a time, with keys
// that are compared as words, it costs a few nanoseconds.
type leafEntry struct {
	key   treeKey
	value uint64
}

// maxFanout is more than the entries that any node has: a suffix has a byte at least.
const maxFanout = blockSize / (valueSize + 1)

// appendEntries appends the entries of a node from number i on.
func (t *treeNode) appendEntries(dst []leafEntry, i int) []leafEntry {
	at := len(dst)
	dst = slices.Grow(dst, t.n-i)[:at+t.n-i]
	prefix, mask := treeKeyOf(t.prefix), keyMask(t.keyLen)
	p, size := len(t.prefix), t.keyLen-len(t.prefix)
	words, bits := p/8, uint(p%8*8)
	off := nodeHeader + p + i*size
	for ; i < t.n; i++ {
		e := &dst[at]
		suffix := t.block[off:]
		if len(suffix) < treeKeyBytes { // the end of a node of few entries
			var b [treeKeyBytes]byte
			copy(b[:], t.suffix(i))
			suffix = b[:]
		}
		e.key.setSuffix(&prefix, suffix, words, bits)
		for j := range e.key {
			e.key[j] &= mask[j]
		}
		e.value = t.value(i)
		off += size
		at++
	}
	return dst
}

// setSuffix makes a key of a prefix and of what follows it, from a bit of a word on. It may set bits behind the
// end of the key.
func (w *treeKey) setSuffix(prefix *treeKey, suffix []byte, word int, bits uint) {
	_ = suffix[treeKeyBytes-1]
	a := binary.BigEndian.Uint64(suffix)
	up := 64 - bits
	*w = *prefix
	switch word {
	case 3:
		w[3] |= a >> bits
	case 2:
		b := binary.BigEndian.Uint64(suffix[8:])
		w[2] |= a >> bits
		w[3] = a<<up | b>>bits
	case 1:
		b, c := binary.BigEndian.Uint64(suffix[8:]), binary.BigEndian.Uint64(suffix[16:])
		w[1] |= a >> bits
		w[2] = a<<up | b>>bits
		w[3] = b<<up | c>>bits
	case 0:
		b, c, d := binary.BigEndian.Uint64(suffix[8:]), binary.BigEndian.Uint64(suffix[16:]), binary.BigEndian.Uint64(suffix[24:])
		w[0] |= a >> bits
		w[1] = a<<up | b>>bits
		w[2] = b<<up | c>>bits
		w[3] = c<<up | d>>bits
	}
}

// keyMask has ones where keys of so many bytes are.
func keyMask(keyLen int) treeKey {
	var ones [treeKeyBytes]byte
	for i := range keyLen {
		ones[i] = 0xFF
	}
	return treeKeyOf(ones[:])
}

// page gives the key without the LSN.
func (w *treeKey) page() page.Key {
	return page.Key{
		F1: uint8(w[0] >> 56),
		F2: uint32(w[0] >> 24),
		F3: uint32(w[0]<<8 | w[1]>>56),
		F4: uint32(w[1] >> 24),
		F5: uint8(w[1] >> 16),
		F6: uint32(w[1]<<16 | w[2]>>48),
	}
}

// lsn gives what lies behind the key of a delta.
func (w *treeKey) lsn() page.LSN { return page.LSN(w[2]<<16 | w[3]>>48) }
