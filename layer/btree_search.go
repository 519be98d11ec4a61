package layer

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// treeNode is a view of one index block, checked once so that its accessors need not check.
type treeNode struct {
	block    []byte
	n        int
	level    uint8
	prefix   []byte
	suffixes []byte
	values   []byte
	keyLen   int
}

// parseNode checks a block's header against its size and the tree's key length.
func parseNode(block []byte, keyLen int) (treeNode, error) {
	if len(block) != blockSize {
		return treeNode{}, fmt.Errorf("node of %d bytes", len(block))
	}
	n := treeNode{block: block, keyLen: keyLen}
	n.n, n.level = int(binary.BigEndian.Uint16(block)), block[2]
	p, s := int(block[3]), int(block[4])
	switch {
	case n.n == 0:
		return treeNode{}, fmt.Errorf("node without entries")
	case p+s != keyLen:
		return treeNode{}, fmt.Errorf("node with prefix of %d and suffixes of %d bytes for keys of %d", p, s, keyLen)
	case s == 0 && n.n > 1:
		return treeNode{}, fmt.Errorf("node with %d equal keys", n.n)
	case nodeHeader+p+n.n*(s+valueSize) > blockSize:
		return treeNode{}, fmt.Errorf("node with %d entries does not fit its block", n.n)
	case n.level >= maxTreeLevels:
		return treeNode{}, fmt.Errorf("node of level %d", n.level)
	}
	at := nodeHeader
	n.prefix, at = block[at:at+p], at+p
	n.suffixes, at = block[at:at+n.n*s], at+n.n*s
	n.values = block[at : at+n.n*valueSize]
	return n, nil
}

func (t *treeNode) suffix(i int) []byte {
	s := t.keyLen - len(t.prefix)
	return t.suffixes[i*s : (i+1)*s]
}

func (t *treeNode) value(i int) uint64 {
	v := t.values[i*valueSize:]
	return uint64(v[0])<<32 | uint64(binary.BigEndian.Uint32(v[1:]))
}

// copyKey writes the i-th key into dst.
func (t *treeNode) copyKey(dst []byte, i int) {
	copy(dst[copy(dst, t.prefix):], t.suffix(i))
}

// search gives the first entry whose key is at or above key (t.n if none), and whether it is equal.
func (t *treeNode) search(key []byte) (int, bool) {
	switch bytes.Compare(key[:len(t.prefix)], t.prefix) {
	case -1:
		return 0, false
	case 1:
		return t.n, false
	}
	want := key[len(t.prefix):]
	lo, hi := 0, t.n
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(t.suffix(mid), want) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < t.n && bytes.Equal(t.suffix(lo), want)
}
