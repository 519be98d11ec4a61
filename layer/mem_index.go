package layer

import "github.com/stratapg/strata/page"

// slabChunk is how many elements a slab takes at a time.
const slabChunk = 1 << 12

// slab holds elements without pointers, numbered from 1, in chunks that never move.
type slab[T any] struct {
	chunks []*[slabChunk]T
	n      uint32
}

// add gives a new zero element.
func (s *slab[T]) add() (uint32, *T) {
	s.n++
	if int(s.n/slabChunk) == len(s.chunks) {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	return s.n, s.at(s.n)
}

func (s *slab[T]) at(id uint32) *T { return &s.chunks[id/slabChunk][id%slabChunk] }

// valueChunk is how much room for values is taken at a time; larger values than a quarter of it get a chunk
// of their own, so that little is left unused.
const valueChunk = 1 << 20

// valueChunks is an append-only store of bytes that never move.
type valueChunks struct {
	all  [][]byte
	open int // the chunk that is being filled
	used int // of it; 0 means that none is
}

func (c *valueChunks) grow(size int) int {
	c.all = append(c.all, make([]byte, size))
	return len(c.all) - 1
}

// append copies p and gives its place.
func (c *valueChunks) append(p []byte) (chunk, offset uint32) {
	if len(p) > valueChunk/4 {
		i := c.grow(len(p))
		copy(c.all[i], p)
		return uint32(i), 0
	}
	if c.used == 0 || c.used+len(p) > valueChunk {
		c.open, c.used = c.grow(valueChunk), 0
	}
	at := c.used
	copy(c.all[c.open][at:], p)
	// Even an empty value moves on, as used 0 means "no chunk".
	c.used += max(len(p), 1)
	return uint32(c.open), uint32(at)
}

func (c *valueChunks) at(chunk, offset, n uint32) []byte {
	return c.all[chunk][offset : offset+n : offset+n]
}

// memFan is how many keys a node of memTree has at most: some three cache misses for a search in it.
const memFan = 64

// memTree is a B+ tree from keys to the numbers of their newest versions. Keys are never removed. Its nodes
// hold no pointers; the slices of nodes do, one for some 40 keys.
type memTree struct {
	leaves []*memLeaf
	inner  []*memInner
	root   uint32
	height int // inner levels above the leaves
	// last is the leaf of the last findOrAdd, where neighbours are often put next.
	last uint32
	// hints remember where keys were found, by a hash of the key: WAL changes the same pages again and again,
	// and a look at one place is several times faster than a search. What a hint says is checked, as inserts
	// move keys. Made with the first key.
	hints []memHint
}

// memHint is the place of a key, if it is still there.
type memHint struct{ leaf, i uint32 }

// hintBits is the logarithm of the number of hints, which take 64 KiB.
const hintBits = 13

// hintOf gives the hint for k: a multiplicative hash of what differs between pages of a cluster.
func (t *memTree) hintOf(k page.Key) *memHint {
	const odd = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	h := (uint64(k.F4)<<32 | uint64(k.F6)) * odd
	h = (h ^ h>>29 ^ uint64(k.F3)<<8 ^ uint64(k.F5)) * odd
	return &t.hints[h>>(64-hintBits)]
}

type memLeaf struct {
	keys  [memFan]page.Key
	heads [memFan]uint32
	n     int
	next  uint32 // 0 for none: leaf 0 is the leftmost for good
}

type memInner struct {
	keys [memFan]page.Key // the lower bounds of kids; that of the first counts as the lowest key
	kids [memFan]uint32
	n    int
}

// lowerBound gives the first of keys at or above k.
func lowerBound(keys []page.Key, k page.Key) int {
	lo, hi := 0, len(keys)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if keys[mid].Less(k) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// child gives which kid k belongs to.
func (n *memInner) child(k page.Key) int {
	i := lowerBound(n.keys[1:n.n], k) + 1
	if i < n.n && n.keys[i] == k {
		return i
	}
	return i - 1
}

// seek gives the leaf and place of the first key at or above k; the place may be at the leaf's end.
func (t *memTree) seek(k page.Key) (*memLeaf, int) {
	if len(t.leaves) == 0 {
		return &memLeaf{}, 0
	}
	id := t.root
	for range t.height {
		n := t.inner[id]
		id = n.kids[n.child(k)]
	}
	leaf := t.leaves[id]
	return leaf, lowerBound(leaf.keys[:leaf.n], k)
}

// nextLeaf gives the leaf that follows, or nil.
func (t *memTree) nextLeaf(l *memLeaf) *memLeaf {
	if l.next == 0 {
		return nil
	}
	return t.leaves[l.next]
}

// findOrAdd gives the place of k's newest version, valid until the next call.
func (t *memTree) findOrAdd(k page.Key) (head *uint32, isNew bool) {
	if len(t.leaves) == 0 {
		t.leaves = append(t.leaves, &memLeaf{})
		t.hints = make([]memHint, 1<<hintBits)
	}
	hint := t.hintOf(k)
	if l := t.leaves[hint.leaf]; int(hint.i) < l.n && l.keys[hint.i] == k {
		return &l.heads[hint.i], false
	}
	l, i, found := t.place(k)
	*hint = memHint{t.last, uint32(i)}
	if found {
		return &l.heads[i], false
	}
	return l.insert(i, k), true
}

// place finds where k is, or is to be inserted, in the leaf last.
func (t *memTree) place(k page.Key) (l *memLeaf, i int, found bool) {
	if l := t.leaves[t.last]; l.n > 0 && !k.Less(l.keys[0]) && !l.keys[l.n-1].Less(k) {
		if i := lowerBound(l.keys[:l.n], k); l.keys[i] == k || l.n < memFan {
			return l, i, l.keys[i] == k
		}
	}
	var path [maxTreeLevels]uint32 // inner nodes, root first
	id := t.root
	for depth := range t.height {
		path[depth] = id
		n := t.inner[id]
		id = n.kids[n.child(k)]
	}
	l = t.leaves[id]
	i = lowerBound(l.keys[:l.n], k)
	t.last = id
	if i < l.n && l.keys[i] == k {
		return l, i, true
	}
	if l.n == memFan {
		if right, rightID := t.splitLeaf(l, i); !k.Less(right.keys[0]) || right.n == 0 {
			t.grow(path[:t.height], boundary(right, k), rightID)
			l, t.last = right, rightID
			i = lowerBound(l.keys[:l.n], k)
		} else {
			t.grow(path[:t.height], right.keys[0], rightID)
		}
	}
	return l, i, false
}

// boundary gives the lower bound of a leaf into which k goes.
func boundary(l *memLeaf, k page.Key) page.Key {
	if l.n == 0 || k.Less(l.keys[0]) {
		return k
	}
	return l.keys[0]
}

func (l *memLeaf) insert(i int, k page.Key) *uint32 {
	copy(l.keys[i+1:l.n+1], l.keys[i:l.n])
	copy(l.heads[i+1:l.n+1], l.heads[i:l.n])
	l.keys[i], l.heads[i] = k, 0
	l.n++
	return &l.heads[i]
}

// splitLeaf makes a leaf to the right of a full one. Where keys arrive in order it stays empty for the one
// that comes, so that leaves get full; else it takes half.
func (t *memTree) splitLeaf(l *memLeaf, at int) (*memLeaf, uint32) {
	right, id := &memLeaf{next: l.next}, uint32(len(t.leaves))
	t.leaves = append(t.leaves, right)
	from := memFan / 2
	if at == memFan {
		from = memFan
	}
	right.n = copy(right.keys[:], l.keys[from:])
	copy(right.heads[:], l.heads[from:])
	l.n, l.next = from, id
	return right, id
}

// grow enters a new node below the inner nodes of path, splitting those that are full.
func (t *memTree) grow(path []uint32, key page.Key, kid uint32) {
	for d := len(path) - 1; d >= 0; d-- {
		n := t.inner[path[d]]
		i := lowerBound(n.keys[1:n.n], key) + 1
		if n.n < memFan {
			n.insert(i, key, kid)
			return
		}
		right := &memInner{}
		from := memFan / 2
		if i == memFan {
			from = memFan - 1
		}
		right.n = copy(right.keys[:], n.keys[from:])
		copy(right.kids[:], n.kids[from:])
		n.n = from
		if i > from {
			right.insert(i-from, key, kid)
		} else {
			n.insert(i, key, kid)
		}
		key, kid = right.keys[0], uint32(len(t.inner))
		t.inner = append(t.inner, right)
	}
	root := &memInner{n: 2, kids: [memFan]uint32{t.root, kid}}
	root.keys[1] = key
	t.root = uint32(len(t.inner))
	t.inner = append(t.inner, root)
	t.height++
}

func (n *memInner) insert(i int, k page.Key, kid uint32) {
	copy(n.keys[i+1:n.n+1], n.keys[i:n.n])
	copy(n.kids[i+1:n.n+1], n.kids[i:n.n])
	n.keys[i], n.kids[i] = k, kid
	n.n++
}
