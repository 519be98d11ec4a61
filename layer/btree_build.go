package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A node of the index is one block. Keys of a tree have one length, L:
//
//	offset 0        2       3            4            5
//	      +--------+-------+------------+------------+--------+---------------+-----------+-------+
//	      | n u16BE| level | prefix_len | suffix_len | prefix | n suffixes    | n values  | zeros |
//	      +--------+-------+------------+------------+--------+---------------+-----------+-------+
//
// prefix_len + suffix_len = L; a value is 5 bytes, big-endian, below 2^39. In an inner node (level > 0) a
// value is 0x80 and the child's block number (u32), counted from the first index block, and the key is the
// child's first. Source: Neon, pageserver/src/tenant/disk_btree.rs.
const (
	blockSize     = 8192
	nodeHeader    = 5
	valueSize     = 5
	maxTreeValue  = 1<<39 - 1
	childMark     = 0x80 << 32
	maxTreeLevels = 16 // three keys a node, the fewest that fit, would give 43 million leaves
)

var errTreeOrder = errors.New("keys must ascend")

// treeBuilder builds an index from ascending keys. Finished nodes go to a blockList, leaf first, the root
// last. Its output equals that of Neon's builder byte for byte: nodes are compressed only when they
// overflow, and are full at 8191 bytes.
type treeBuilder struct {
	keyLen  int
	open    []*buildNode // by level, leaf first
	last    treeKey
	blocks  *blockList
	entries int
}

// buildNode is a node that still grows.
type buildNode struct {
	n         int
	keyLen    int
	prefixLen int
	keysLen   int                            // bytes of keys in use
	used      int                            // bytes of the block
	first     treeKey                        // the first key, and so the prefix
	mask      treeKey                        // ones where the prefix is
	keys      [blockSize + treeKeyBytes]byte // suffixes
	values    [blockSize]byte
}

// treeKey is the bytes of a key as big-endian words, with zeros behind them. A tree is built of words because
// what was just put together from fields is at hand in words only: whoever reads it in other widths waits until
// all that was stored before is in the cache. Behind the values of a flush, comparing keys as bytes was a sixth
// of the processor's time.
type treeKey [treeKeyBytes / 8]uint64

// treeKeyBytes is room for maxKeyLen bytes.
const treeKeyBytes = 32

func treeKeyOf(b []byte) (w treeKey) {
	var t [treeKeyBytes]byte
	copy(t[:], b)
	for i := range w {
		w[i] = binary.BigEndian.Uint64(t[8*i:])
	}
	return w
}

func (w *treeKey) bytes() (b [treeKeyBytes]byte) {
	for i := range w {
		binary.BigEndian.PutUint64(b[8*i:], w[i])
	}
	return b
}

func (w *treeKey) less(o *treeKey) bool {
	for i := range w {
		if w[i] != o[i] {
			return w[i] < o[i]
		}
	}
	return false
}

// putFrom writes the bytes from number p on to b, which has room for treeKeyBytes.
func (w *treeKey) putFrom(p int, b []byte) {
	_ = b[treeKeyBytes-1]
	words, bits := p/8, uint(p%8*8)
	for i := 0; i < len(w)-words; i++ {
		v := w[i+words] << bits
		if i+words+1 < len(w) {
			v |= w[i+words+1] >> (64 - bits) // nothing, if bits is 0
		}
		binary.BigEndian.PutUint64(b[8*i:], v)
	}
}

func newTreeBuilder(keyLen int, blocks *blockList) *treeBuilder {
	return &treeBuilder{keyLen: keyLen, blocks: blocks, open: []*buildNode{newBuildNode(keyLen)}}
}

func newBuildNode(keyLen int) *buildNode { return &buildNode{keyLen: keyLen, used: nodeHeader} }

// add adds a key, which must be above the last; it has as many bytes as the tree's keys.
func (t *treeBuilder) add(key *treeKey, value uint64) error {
	if value > maxTreeValue {
		return fmt.Errorf("index value %d: at most %d fits", value, uint64(maxTreeValue))
	}
	if t.entries > 0 && !t.last.less(key) {
		k, last := key.bytes(), t.last.bytes()
		return fmt.Errorf("%w: %x after %x", errTreeOrder, k[:t.keyLen], last[:t.keyLen])
	}
	for i := range t.last {
		t.last[i] = key[i]
	}
	t.entries++
	return t.push(0, key, value)
}

// push puts an entry into the open node of a level.
func (t *treeBuilder) push(level int, key *treeKey, value uint64) error {
	if level == len(t.open) {
		t.open = append(t.open, newBuildNode(t.keyLen))
	}
	if t.open[level].push(key, value) {
		return nil
	}
	return t.overflow(level, key, value)
}

// overflow compresses a node that is full; if that is not enough, the node is written, its parent gets an
// entry, and a new node takes its place.
func (t *treeBuilder) overflow(level int, key *treeKey, value uint64) error {
	n := t.open[level]
	if n.compress() && n.push(key, value) {
		return nil
	}
	if err := t.flush(level); err != nil {
		return err
	}
	n.push(key, value)
	return nil
}

// flush writes the open node of a level, tells its parent, and empties it.
func (t *treeBuilder) flush(level int) error {
	n := t.open[level]
	first := n.first
	blk, err := t.write(level, n)
	if err != nil {
		return err
	}
	n.n, n.prefixLen, n.keysLen, n.used, n.mask = 0, 0, 0, nodeHeader, treeKey{}
	return t.push(level+1, &first, childMark|uint64(blk))
}

// write makes a node's block and gives its number.
func (t *treeBuilder) write(level int, n *buildNode) (uint32, error) {
	blk := uint32(t.blocks.n)
	b := t.blocks.next()
	if b == nil {
		return 0, t.blocks.err
	}
	binary.BigEndian.PutUint16(b, uint16(n.n))
	b[2], b[3], b[4] = byte(level), byte(n.prefixLen), byte(t.keyLen-n.prefixLen)
	at := nodeHeader
	first := n.first.bytes()
	at += copy(b[at:], first[:n.prefixLen])
	at += copy(b[at:], n.keys[:n.keysLen])
	at += copy(b[at:], n.values[:n.n*valueSize])
	clear(b[at:])
	return blk, nil
}

// finish writes what is open and gives the root's number. An empty tree has no form.
func (t *treeBuilder) finish() (root uint32, err error) {
	if t.entries == 0 {
		return 0, errors.New("an index without entries cannot be written")
	}
	for level := 0; level < len(t.open)-1; level++ {
		if err := t.flush(level); err != nil {
			return 0, err
		}
	}
	return t.write(len(t.open)-1, t.open[len(t.open)-1])
}

// size gives the bytes the index would have if it were finished now, give or take a block a level.
func (t *treeBuilder) size() int64 { return int64(t.blocks.n+len(t.open)) * blockSize }

// push adds an entry unless it lacks the prefix or would fill the block to its last byte.
func (n *buildNode) push(key *treeKey, value uint64) bool {
	suffix := n.keyLen - n.prefixLen
	used := n.used + suffix + valueSize
	if used >= blockSize {
		return false
	}
	if n.n == 0 {
		n.first = *key
	}
	for i := range key {
		if (key[i]^n.first[i])&n.mask[i] != 0 {
			return false
		}
	}
	key.putFrom(n.prefixLen, n.keys[n.keysLen:n.keysLen+treeKeyBytes])
	v := n.values[n.n*valueSize:]
	v[0] = byte(value >> 32)
	binary.BigEndian.PutUint32(v[1:valueSize], uint32(value))
	n.n++
	n.keysLen += suffix
	n.used = used
	return true
}

// compress moves what the first and last suffix, and so all between, have in common into the prefix.
func (n *buildNode) compress() bool {
	l := n.keyLen - n.prefixLen
	first, last := n.keys[:l], n.keys[max(n.keysLen-l, 0):]
	p := 0
	for p < l && first[p] == last[p] {
		p++
	}
	if p == 0 || n.n == 0 {
		return false
	}
	n.prefixLen += p
	n.keysLen = 0
	for i := range n.n {
		n.keysLen += copy(n.keys[n.keysLen:], n.keys[i*l+p:(i+1)*l])
	}
	n.used = nodeHeader + n.prefixLen + n.keysLen + n.n*valueSize
	var ones [treeKeyBytes]byte
	for i := range n.prefixLen {
		ones[i] = 0xFF
	}
	n.mask = treeKeyOf(ones[:])
	return true
}
