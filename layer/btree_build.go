package layer

import (
	"bytes"
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
	last    [maxKeyLen]byte
	blocks  *blockList
	entries int
}

// buildNode is a node that still grows.
type buildNode struct {
	n         int
	prefixLen int
	keysLen   int // bytes of keys in use
	used      int // bytes of the block
	prefix    [maxKeyLen]byte
	keys      [blockSize]byte // suffixes
	values    [blockSize]byte
}

func newTreeBuilder(keyLen int, blocks *blockList) *treeBuilder {
	return &treeBuilder{keyLen: keyLen, blocks: blocks, open: []*buildNode{newBuildNode()}}
}

func newBuildNode() *buildNode { return &buildNode{used: nodeHeader} }

// append adds a key that must be above the last.
func (t *treeBuilder) append(key []byte, value uint64) error {
	if len(key) != t.keyLen {
		return fmt.Errorf("key of %d bytes in a tree of %d-byte keys", len(key), t.keyLen)
	}
	if value > maxTreeValue {
		return fmt.Errorf("index value %d: at most %d fits", value, uint64(maxTreeValue))
	}
	if bytes.Compare(key, t.last[:t.keyLen]) <= 0 && t.entries > 0 {
		return fmt.Errorf("%w: %x after %x", errTreeOrder, string(key), string(t.last[:t.keyLen])) // copies, so that key stays on the stack
	}
	copy(t.last[:], key)
	t.entries++
	if t.open[0].push(key, value) {
		return nil
	}
	return t.overflow(0, key, value)
}

// push puts an entry into the open node of a level.
func (t *treeBuilder) push(level int, key []byte, value uint64) error {
	if level == len(t.open) {
		t.open = append(t.open, newBuildNode())
	}
	if t.open[level].push(key, value) {
		return nil
	}
	return t.overflow(level, key, value)
}

// overflow compresses a node that is full; if that is not enough, the node is written, its parent gets an
// entry, and a new node takes its place.
func (t *treeBuilder) overflow(level int, key []byte, value uint64) error {
	n := t.open[level]
	if n.compress(t.keyLen) && n.push(key, value) {
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
	var first [maxKeyLen]byte
	copy(first[copy(first[:], n.prefix[:n.prefixLen]):t.keyLen], n.keys[:])
	blk, err := t.write(level, n)
	if err != nil {
		return err
	}
	n.n, n.prefixLen, n.keysLen, n.used = 0, 0, 0, nodeHeader
	return t.push(level+1, first[:t.keyLen], childMark|uint64(blk))
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
	at += copy(b[at:], n.prefix[:n.prefixLen])
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
func (n *buildNode) push(key []byte, value uint64) bool {
	p := n.prefixLen
	suffix := key[p:]
	used := n.used + len(suffix) + valueSize
	if used >= blockSize || p > 0 && string(key[:p]) != string(n.prefix[:p]) {
		return false
	}
	copy(n.keys[n.keysLen:], suffix)
	v := n.values[n.n*valueSize:]
	v[0] = byte(value >> 32)
	binary.BigEndian.PutUint32(v[1:valueSize], uint32(value))
	n.n++
	n.keysLen += len(suffix)
	n.used = used
	return true
}

// compress moves what the first and last suffix, and so all between, have in common into the prefix.
func (n *buildNode) compress(keyLen int) bool {
	l := keyLen - n.prefixLen
	first, last := n.keys[:l], n.keys[max(n.keysLen-l, 0):]
	p := 0
	for p < l && first[p] == last[p] {
		p++
	}
	if p == 0 || n.n == 0 {
		return false
	}
	n.prefixLen += copy(n.prefix[n.prefixLen:], first[:p])
	n.keysLen = 0
	for i := range n.n {
		n.keysLen += copy(n.keys[n.keysLen:], n.keys[i*l+p:(i+1)*l])
	}
	n.used = nodeHeader + n.prefixLen + n.keysLen + n.n*valueSize
	return true
}
