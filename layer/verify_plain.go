package layer

import (
	"encoding/binary"

	"github.com/stratapg/strata/page"
)

// plain goes over entries of a leaf from number i on, not the first, for as long as all of it is as it should be
// and lies in the piece of the file that is at hand, and gives the number of the entry at which that ends, at most
// the last one's. leaf then looks at that as closely as it takes to say what is wrong. What is checked is the same;
// here keys and values are words, and of a blob only its header is looked at: a record takes some 10 ns instead of 47.
func (v *verifier) plain(node *treeNode, i int) int {
	piece := &v.values.cur
	if v.fn != nil || piece.lane == nil {
		return i
	}
	w := wordsOf(node, &v.desc)
	blobs, base := piece.bytes(), piece.off
	start, limit := v.last.start, min(piece.end(), v.dataEnd()-1)
	from := i
	head, tail := w.key(i - 1)
	for ; i < node.n-1; i++ { // the last key has to be compared with the layer's range
		h, t := w.key(i)
		raw := w.value(i)
		next := int64(raw >> w.startShift)
		if h < head || h == head && (t <= tail || w.middle) || t-w.lsnLow >= w.lsns || raw > maxTreeValue ||
			start < base || next <= start || next > limit || !wholeBlob(blobs[start-base:next-base]) {
			break
		}
		head, tail, start = h, t, next
	}
	if i > from {
		_, t := w.key(i - 1)
		v.last = place{lsn: v.desc.LSNs.Start, start: start} // only fn asks for the rest
		if !v.desc.Image {
			v.last.lsn = page.LSN(t)
		}
		v.node, v.at = node, i-1
		v.entries += int64(i - from)
	}
	return i
}

// entryWords reads a leaf's entries as words of eight bytes, each with what lies around it in the node.
type entryWords struct {
	block                 []byte
	size                  int // of a suffix
	keys, values          int // where the first ones lie
	headShift, startShift uint
	tailMask, tailHigh    uint64 // what of a tail is the suffix's, and the prefix's part of it
	middle                bool   // a suffix has bytes that are neither in its head nor in its tail
	lsnLow, lsns          uint64 // where the layer's LSNs begin, and how many there are
}

func wordsOf(node *treeNode, d *Desc) entryWords {
	p, size := len(node.prefix), node.keyLen-len(node.prefix)
	w := entryWords{block: node.block, size: size, keys: nodeHeader + p, values: nodeHeader + p + node.n*size,
		tailMask: ^uint64(0), middle: size > 16, lsns: ^uint64(0)}
	if size < 8 {
		w.headShift = uint(64 - 8*size)
		w.tailMask = 1<<(8*size) - 1
		for _, b := range node.prefix[p-(8-size):] {
			w.tailHigh = w.tailHigh<<8 | uint64(b)
		}
		w.tailHigh <<= 8 * size
	}
	if !d.Image {
		w.startShift = 1
		w.lsnLow, w.lsns = uint64(d.LSNs.Start), uint64(d.LSNs.End-d.LSNs.Start)
	}
	return w
}

// key gives the first eight bytes of the i-th suffix, or all if it has fewer, and the last eight of the key: the
// LSN, in a delta.
func (w *entryWords) key(i int) (head, tail uint64) {
	at := w.keys + i*w.size
	return binary.BigEndian.Uint64(w.block[at:]) >> w.headShift,
		binary.BigEndian.Uint64(w.block[at+w.size-8:])&w.tailMask | w.tailHigh
}

// value gives the i-th value, with three bytes before it in the word.
func (w *entryWords) value(i int) uint64 {
	return binary.BigEndian.Uint64(w.block[w.values+i*valueSize-3:]) & (1<<(8*valueSize) - 1)
}

// wholeBlob reports whether b is one blob, from its first byte to its last.
func wholeBlob(b []byte) bool {
	if b[0] < blobPlain {
		return len(b) == 1+int(b[0])
	}
	if len(b) < longBlobHeader || b[0]&blobKindMask > blobZstd {
		return false
	}
	return len(b) == longBlobHeader+int(binary.BigEndian.Uint32(b)&maxBlob)
}
