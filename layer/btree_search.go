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

// headSize is as much of a suffix as is compared as a number.
const headSize = 8

// sought is a key as the suffixes of a node are compared with it.
type sought struct {
	head  uint64
	rest  []byte // what follows the head
	shift int    // that makes a head of eight bytes of a shorter one
}

// seeking gives key, which has the node's prefix, for comparisons.
func (t *treeNode) seeking(key []byte) sought {
	key = key[len(t.prefix):]
	if len(key) >= headSize {
		return sought{head: binary.BigEndian.Uint64(key), rest: key[headSize:]}
	}
	var b [headSize]byte
	copy(b[:], key)
	shift := 8 * (headSize - len(key))
	return sought{head: binary.BigEndian.Uint64(b[:]) >> shift, shift: shift}
}

// head gives the beginning of the i-th suffix. It may read into the values that follow: an entry has five
// bytes of these, so that there are enough.
func (t *treeNode) head(i, shift int) uint64 {
	at := nodeHeader + len(t.prefix) + i*(t.keyLen-len(t.prefix))
	return binary.BigEndian.Uint64(t.block[at:]) >> shift
}

// below reports whether the i-th key is below the one sought.
func (t *treeNode) below(i int, k *sought) bool {
	h := t.head(i, k.shift)
	return h < k.head || h == k.head && len(k.rest) > 0 && bytes.Compare(t.suffix(i)[headSize:], k.rest) < 0
}

// search gives the first entry whose key is at or above key (t.n if none), and whether it is equal.
func (t *treeNode) search(key []byte) (int, bool) {
	switch bytes.Compare(key[:len(t.prefix)], t.prefix) {
	case -1:
		return 0, false
	case 1:
		return t.n, false
	}
	if len(key) == len(t.prefix) {
		return 0, true // there is one entry
	}
	k := t.seeking(key)
	lo, hi := t.guess(&k)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if t.below(mid, &k) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < t.n && t.head(lo, k.shift) == k.head && (len(k.rest) == 0 || bytes.Equal(t.suffix(lo)[headSize:], k.rest))
}

// minGuess is how many entries make a guess worth its arithmetic.
const minGuess = 8

// guess narrows a search down to the entries [lo, hi]. Blocks of a relation follow each other, so the key's
// distance from the first one mostly tells its place: three cache lines instead of nine are touched then.
// From a wrong guess the steps double.
func (t *treeNode) guess(k *sought) (lo, hi int) {
	lo, hi = 0, t.n
	if t.n < minGuess {
		return lo, hi
	}
	first, last := t.head(0, k.shift), t.head(t.n-1, k.shift)
	if k.head <= first || k.head > last {
		return lo, hi
	}
	at := min(int(float64(k.head-first)/float64(last-first)*float64(t.n-1)), t.n-1)
	if t.below(at, k) {
		lo = at + 1
		for step := 1; lo+step <= hi; step *= 2 {
			if !t.below(lo+step-1, k) {
				return lo, lo + step - 1
			}
			lo += step
		}
		return lo, hi
	}
	hi = at
	for step := 1; hi-step >= lo; step *= 2 {
		if t.below(hi-step, k) {
			return hi - step + 1, hi
		}
		hi -= step
	}
	return lo, hi
}

// child gives the number of the block behind entry i of an inner node. Children come before their parents, so
// before the root; what says otherwise is no child.
func (t *treeNode) child(i int, root uint32) (blk uint32, ok bool) {
	v := t.value(i)
	return uint32(v), v>>32 == childMark>>32 && uint32(v) < root
}
