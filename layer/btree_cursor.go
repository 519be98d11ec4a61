package layer

import (
	"bytes"
	"context"

	"github.com/stratapg/strata/cache"
)

// blockReader gives index blocks by number, counted from the first index block. A block must not be changed;
// it stays valid until the pin is released, or for as long as the caller of it says.
type blockReader interface {
	block(ctx context.Context, n uint32) ([]byte, cache.Pin, error)
	// corrupt wraps what is wrong with block n.
	corrupt(n uint32, format string, args ...any) error
}

// maxKeyLen is the longest key of any tree here: key and LSN of a delta.
const maxKeyLen = 26

// treeCursor walks a tree forward and backward from a key. It stands between two entries. It checks that
// levels descend by one and that keys go one way, so that no arrangement of damaged blocks makes it walk in a
// circle. It allocates nothing, and pins one block of each level until release.
type treeCursor struct {
	src    blockReader
	root   uint32
	keyLen int

	path  [maxTreeLevels]treePlace // path[0] is the leaf
	depth int                      // levels in path; 0 before the first seek
	used  int                      // levels of path that may hold a pin
	key   [maxKeyLen]byte          // the one sought, or that of the last entry gone over
	found [maxKeyLen]byte          // of the last entry given
	last  cursorStep
}

// cursorStep is what a cursor did last, which says how the next key has to compare with key.
type cursorStep uint8

const (
	stepSeek cursorStep = iota
	stepNext
	stepPrev
)

// treePlace is a place of one level: before entry i of a leaf, in child i of an inner node.
type treePlace struct {
	node treeNode
	pin  cache.Pin
	blk  uint32
	i    int
}

func (c *treeCursor) init(src blockReader, root uint32, keyLen int) {
	c.src, c.root, c.keyLen, c.depth = src, root, keyLen, 0
}

// release lets go of all blocks. The cursor may then be used again.
func (c *treeCursor) release() {
	for i := range c.used {
		c.path[i].pin.Release()
		c.path[i] = treePlace{}
	}
	c.used, c.depth, c.src = 0, 0, nil
}

// set puts block blk into the place of a level.
func (c *treeCursor) set(level int, blk uint32, n treeNode, pin cache.Pin) {
	c.path[level].pin.Release()
	c.path[level] = treePlace{node: n, pin: pin, blk: blk}
	c.used = max(c.used, level+1)
}

// read gives a block as a node.
func (c *treeCursor) read(ctx context.Context, blk uint32) (treeNode, cache.Pin, error) {
	b, pin, err := c.src.block(ctx, blk)
	if err != nil {
		return treeNode{}, pin, err
	}
	n, err := parseNode(b, c.keyLen)
	if err != nil {
		pin.Release()
		return treeNode{}, cache.Pin{}, c.src.corrupt(blk, "%v", err)
	}
	return n, pin, nil
}

// load reads block blk into the place of a level. After an error the cursor must seek again.
func (c *treeCursor) load(ctx context.Context, level int, blk uint32) error {
	n, pin, err := c.read(ctx, blk)
	if err == nil && int(n.level) != level {
		pin.Release()
		err = c.src.corrupt(blk, "node of level %d where %d is expected", n.level, level)
	}
	if err != nil {
		c.depth = 0
		return err
	}
	c.set(level, blk, n, pin)
	return nil
}

func (c *treeCursor) loadRoot(ctx context.Context) error {
	n, pin, err := c.read(ctx, c.root)
	if err != nil {
		return err
	}
	c.depth = int(n.level) + 1
	c.set(int(n.level), c.root, n, pin)
	return nil
}

// descend loads the block behind the present child of a level into the level below.
func (c *treeCursor) descend(ctx context.Context, level int) error {
	p := &c.path[level]
	child, ok := p.node.child(p.i, c.root)
	if !ok {
		c.depth = 0
		return c.src.corrupt(p.blk, "entry %d of an inner node is no block below the root, %d (%010x)", p.i, c.root, p.node.value(p.i))
	}
	return c.load(ctx, level-1, child)
}

// seek goes to before the first entry at or above key. It looks in the present leaf first.
func (c *treeCursor) seek(ctx context.Context, key []byte) error {
	c.last = stepSeek
	copy(c.key[:], key)
	if c.depth > 0 {
		leaf := &c.path[0]
		i, _ := leaf.node.search(key)
		// Between two entries of one leaf there is nothing of another.
		if i > 0 && i < leaf.node.n {
			leaf.i = i
			return nil
		}
	} else if err := c.loadRoot(ctx); err != nil {
		return err
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
		if err := c.descend(ctx, level); err != nil {
			return err
		}
	}
}

// peek gives the entry after the cursor. The key is valid until the cursor is used again.
func (c *treeCursor) peek(ctx context.Context) (key []byte, value uint64, ok bool, err error) {
	if c.depth == 0 {
		return nil, 0, false, nil
	}
	for c.path[0].i >= c.path[0].node.n {
		if ok, err := c.nextLeaf(ctx); err != nil || !ok {
			return nil, 0, false, err
		}
	}
	return c.entry(c.path[0].i, stepNext)
}

// next gives the entry after the cursor and goes behind it. The key is valid until the cursor is used again.
func (c *treeCursor) next(ctx context.Context) (key []byte, value uint64, ok bool, err error) {
	key, value, ok, err = c.peek(ctx)
	if ok {
		c.last, c.key = stepNext, c.found
		c.path[0].i++
	}
	return key, value, ok, err
}

// prev gives the entry before the cursor and goes to before it. The key is valid until the cursor is used
// again.
func (c *treeCursor) prev(ctx context.Context) (key []byte, value uint64, ok bool, err error) {
	if c.depth == 0 {
		return nil, 0, false, nil
	}
	if c.path[0].i == 0 {
		if ok, err := c.prevLeaf(ctx); err != nil || !ok {
			return nil, 0, false, err
		}
	}
	c.path[0].i--
	key, value, ok, err = c.entry(c.path[0].i, stepPrev)
	c.last, c.key = stepPrev, c.found
	return key, value, ok, err
}

// entry gives entry i of the leaf, after a step in the given direction.
func (c *treeCursor) entry(i int, step cursorStep) (key []byte, value uint64, ok bool, err error) {
	leaf := &c.path[0]
	key = c.found[:c.keyLen]
	leaf.node.copyKey(key, i)
	cmp := bytes.Compare(key, c.key[:c.keyLen])
	if step == stepPrev {
		cmp = -cmp
	}
	// The same key comes again when the direction changes, and the one sought may be there.
	again := c.last != step && !(c.last == stepSeek && step == stepPrev)
	if cmp < 0 || cmp == 0 && !again {
		c.depth = 0
		return nil, 0, false, c.src.corrupt(leaf.blk, "key %x of entry %d is out of order", key, i)
	}
	value = leaf.node.value(i)
	if value > maxTreeValue {
		c.depth = 0
		return nil, 0, false, c.src.corrupt(leaf.blk, "entry %d of a leaf is a child (%010x)", i, value)
	}
	return key, value, true, nil
}

// nextLeaf goes to before the first entry of the following leaf, if there is one.
func (c *treeCursor) nextLeaf(ctx context.Context) (bool, error) {
	level := 1
	for level < c.depth && c.path[level].i+1 >= c.path[level].node.n {
		level++
	}
	if level >= c.depth {
		return false, nil
	}
	c.path[level].i++
	for ; level > 0; level-- {
		if err := c.descend(ctx, level); err != nil {
			return false, err
		}
	}
	return true, nil
}

// prevLeaf goes to behind the last entry of the leaf before, if there is one.
func (c *treeCursor) prevLeaf(ctx context.Context) (bool, error) {
	level := 1
	for level < c.depth && c.path[level].i == 0 {
		level++
	}
	if level >= c.depth {
		return false, nil
	}
	c.path[level].i--
	for ; level > 0; level-- {
		if err := c.descend(ctx, level); err != nil {
			return false, err
		}
		p := &c.path[level-1]
		if p.i = p.node.n; level > 1 {
			p.i--
		}
	}
	return true, nil
}
