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

// treeBuilder builds an index from ascending keys. It keeps the finished blocks in memory, leaf first, the
// root last. Its output equals that of Neon's builder byte for byte: nodes are compressed only when they
// overflow, and are full at 8191 bytes.
type treeBuilder struct {
	keyLen  int
	open    []*buildNode // by level, leaf first
	last    []byte
	blocks  []byte
	entries int
}

// buildNode is a node that still grows.
type buildNode struct {
	prefix   []byte
	suffixes []byte
	values   []byte
	n        int
}

func newTreeBuilder(keyLen int) *treeBuilder {
	return &treeBuilder{keyLen: keyLen, open: []*buildNode{{}}}
}

// append adds a key that must be above the last.
func (t *treeBuilder) append(key []byte, value uint64) error {
	if len(key) != t.keyLen {
		return fmt.Errorf("key of %d bytes in a tree of %d-byte keys", len(key), t.keyLen)
	}
	if value > maxTreeValue {
		return fmt.Errorf("index value %d: at most %d fits", value, uint64(maxTreeValue))
	}
	if t.entries > 0 && bytes.Compare(key, t.last) <= 0 {
		return fmt.Errorf("%w: %x after %x", errTreeOrder, key, t.last)
	}
	t.last = append(t.last[:0], key...)
	t.entries++
	t.push(0, key, value)
	return nil
}

// push puts an entry into the open node of a level. A node that is full is compressed; if that is not
// enough, it is written, its parent gets an entry, and a new node takes its place.
func (t *treeBuilder) push(level int, key []byte, value uint64) {
	if level == len(t.open) {
		t.open = append(t.open, &buildNode{})
	}
	n := t.open[level]
	if n.push(key, value) || n.compress() && n.push(key, value) {
		return
	}
	t.flush(level)
	n.push(key, value)
}

// flush writes the open node of a level, tells its parent, and empties it.
func (t *treeBuilder) flush(level int) {
	n := t.open[level]
	first := append(append(make([]byte, 0, t.keyLen), n.prefix...), n.suffixes[:t.keyLen-len(n.prefix)]...)
	blk := t.write(level, n)
	n.reset()
	t.push(level+1, first, childMark|uint64(blk))
}

// write appends a node's block and gives its number.
func (t *treeBuilder) write(level int, n *buildNode) uint32 {
	blk := uint32(len(t.blocks) / blockSize)
	start := len(t.blocks)
	t.blocks = binary.BigEndian.AppendUint16(t.blocks, uint16(n.n))
	t.blocks = append(t.blocks, byte(level), byte(len(n.prefix)), byte(t.keyLen-len(n.prefix)))
	t.blocks = append(t.blocks, n.prefix...)
	t.blocks = append(t.blocks, n.suffixes...)
	t.blocks = append(t.blocks, n.values...)
	var zeros [blockSize]byte
	t.blocks = append(t.blocks, zeros[:blockSize-(len(t.blocks)-start)]...)
	return blk
}

// finish writes what is open and gives all blocks and the root's number. An empty tree has no form.
func (t *treeBuilder) finish() (blocks []byte, root uint32, err error) {
	if t.entries == 0 {
		return nil, 0, errors.New("an index without entries cannot be written")
	}
	for level := 0; level < len(t.open)-1; level++ {
		t.flush(level)
	}
	root = t.write(len(t.open)-1, t.open[len(t.open)-1])
	return t.blocks, root, nil
}

// size gives the bytes the index would have if it were finished now, give or take a block a level.
func (t *treeBuilder) size() int64 { return int64(len(t.blocks)) + int64(len(t.open))*blockSize }

func (n *buildNode) reset() {
	n.prefix, n.suffixes, n.values, n.n = n.prefix[:0], n.suffixes[:0], n.values[:0], 0
}

func (n *buildNode) used() int {
	return nodeHeader + len(n.prefix) + len(n.suffixes) + len(n.values)
}

// push adds an entry unless it lacks the prefix or would fill the block to its last byte.
func (n *buildNode) push(key []byte, value uint64) bool {
	if n.n > 0 && !bytes.HasPrefix(key, n.prefix) {
		return false
	}
	suffix := key[len(n.prefix):]
	if n.used()+len(suffix)+valueSize >= blockSize {
		return false
	}
	n.suffixes = append(n.suffixes, suffix...)
	n.values = append(n.values, byte(value>>32), byte(value>>24), byte(value>>16), byte(value>>8), byte(value))
	n.n++
	return true
}

// compress moves what the first and last suffix, and so all between, have in common into the prefix.
func (n *buildNode) compress() bool {
	if n.n == 0 {
		return false
	}
	l := len(n.suffixes) / n.n
	first, last := n.suffixes[:l], n.suffixes[len(n.suffixes)-l:]
	p := 0
	for p < l && first[p] == last[p] {
		p++
	}
	if p == 0 {
		return false
	}
	n.prefix = append(n.prefix, first[:p]...)
	out := n.suffixes[:0]
	for i := range n.n {
		out = append(out, n.suffixes[i*l+p:(i+1)*l]...)
	}
	n.suffixes = out
	return true
}
