package layer

import (
	"bytes"
	"context"
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

// blockReader gives index blocks by number, counted from the first index block. A block must not be changed
// and stays valid for as long as the caller of it says.
type blockReader interface {
	block(ctx context.Context, n uint32) ([]byte, error)
	// corrupt wraps what is wrong with block n.
	corrupt(n uint32, format string, args ...any) error
}

// maxKeyLen is the longest key of any tree here: key and LSN of a delta.
const maxKeyLen = 26

// treeCursor walks a tree forward from a key. It checks that levels descend by one and that keys ascend, so
// that no arrangement of damaged blocks makes it walk in a circle. It allocates nothing.
type treeCursor struct {
	src    blockReader
	root   uint32
	keyLen int

	path  [maxTreeLevels]treePlace // path[0] is the leaf
	depth int                      // levels in path; 0 before the first seek
	key   [maxKeyLen]byte          // of the current entry, or the one sought
	fresh bool                     // no entry was given since the last seek
}

type treePlace struct {
	node treeNode
	blk  uint32
	i    int
}

func (c *treeCursor) init(src blockReader, root uint32, keyLen int) {
	c.src, c.root, c.keyLen, c.depth = src, root, keyLen, 0
}

// load reads block blk into the place of a level.
func (c *treeCursor) load(ctx context.Context, level int, blk uint32) error {
	b, err := c.src.block(ctx, blk)
	if err != nil {
		return err
	}
	n, err := parseNode(b, c.keyLen)
	if err != nil {
		return c.src.corrupt(blk, "%v", err)
	}
	if int(n.level) != level {
		return c.src.corrupt(blk, "node of level %d where %d is expected", n.level, level)
	}
	c.path[level] = treePlace{node: n, blk: blk}
	return nil
}

func (c *treeCursor) loadRoot(ctx context.Context) error {
	b, err := c.src.block(ctx, c.root)
	if err != nil {
		return err
	}
	n, err := parseNode(b, c.keyLen)
	if err != nil {
		return c.src.corrupt(c.root, "%v", err)
	}
	c.depth = int(n.level) + 1
	c.path[n.level] = treePlace{node: n, blk: c.root}
	return nil
}

// child gives the block number behind the current entry of an inner level.
func (c *treeCursor) child(level int) (uint32, error) {
	p := &c.path[level]
	v := p.node.value(p.i)
	if v>>32 != childMark>>32 {
		return 0, c.src.corrupt(p.blk, "entry %d of an inner node is no child (%010x)", p.i, v)
	}
	if uint32(v) >= c.root {
		return 0, c.src.corrupt(p.blk, "child block %d is not below the root, %d", uint32(v), c.root)
	}
	return uint32(v), nil
}

// seek goes to the first entry at or above key. It looks in the present leaf first.
func (c *treeCursor) seek(ctx context.Context, key []byte) error {
	c.fresh = true
	copy(c.key[:], key)
	if c.depth > 0 {
		leaf := &c.path[0]
		i, _ := leaf.node.search(key)
		// Between two entries of one leaf there is nothing of another.
		if i > 0 && i < leaf.node.n {
			leaf.i = i
			return nil
		}
	}
	if c.depth == 0 {
		if err := c.loadRoot(ctx); err != nil {
			return err
		}
	}
	for level := c.depth - 1; ; level-- {
		p := &c.path[level]
		i, equal := p.node.search(key)
		if level > 0 && !equal && i > 0 {
			i--
		}
		p.i = i
		if level == 0 {
			return nil
		}
		blk, err := c.child(level)
		if err == nil {
			err = c.load(ctx, level-1, blk)
		}
		if err != nil {
			c.depth = 0
			return err
		}
	}
}

// next gives the entry at the cursor and moves on. The key is valid until the next call.
func (c *treeCursor) next(ctx context.Context) (key []byte, value uint64, ok bool, err error) {
	for c.path[0].i >= c.path[0].node.n {
		if ok, err := c.nextLeaf(ctx); err != nil || !ok {
			return nil, 0, false, err
		}
	}
	leaf := &c.path[0]
	i := leaf.i
	leaf.i++
	before := c.key
	leaf.node.copyKey(c.key[:c.keyLen], i)
	if cmp := bytes.Compare(c.key[:c.keyLen], before[:c.keyLen]); cmp < 0 || cmp == 0 && !c.fresh {
		return nil, 0, false, c.src.corrupt(leaf.blk, "key %x of entry %d does not ascend", c.key[:c.keyLen], i)
	}
	c.fresh = false
	value = leaf.node.value(i)
	if value > maxTreeValue {
		return nil, 0, false, c.src.corrupt(leaf.blk, "entry %d of a leaf is a child (%010x)", i, value)
	}
	return c.key[:c.keyLen], value, true, nil
}

// nextLeaf goes to the first entry of the following leaf, if there is one.
func (c *treeCursor) nextLeaf(ctx context.Context) (bool, error) {
	level := 1
	for ; level < c.depth; level++ {
		if c.path[level].i++; c.path[level].i < c.path[level].node.n {
			break
		}
	}
	if level >= c.depth {
		// Stay at the end, also for further calls.
		for l := 1; l < c.depth; l++ {
			c.path[l].i = c.path[l].node.n
		}
		return false, nil
	}
	for ; level > 0; level-- {
		blk, err := c.child(level)
		if err == nil {
			err = c.load(ctx, level-1, blk)
		}
		if err != nil {
			c.depth = 0
			return false, err
		}
	}
	return true, nil
}
