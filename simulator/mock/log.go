package mock

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// Record is a change of one key.
type Record struct {
	Key, Size uint32
	// Init says that the record needs nothing older: a full page.
	Init bool
}

// Log is what a timeline has taken in, in the order of LSNs. The LSN of a record is the position where it ends.
type Log struct {
	chunks []chunk
	end    page.LSN // where the next record begins
	n      uint32
	prev   []uint32 // the record before of the same key
	inits  bitset   // records that need nothing older
	// lastInit is the LSN of the newest of these.
	lastInit page.LSN
	mixed    bool // there are records of several sizes
}

// chunk is as many records as chunkBits says. It keeps no numbers for records of one size.
type chunk struct {
	base page.LSN
	size uint32
	ends []uint64 // after base, where sizes differ
}

const (
	chunkBits = 12
	chunkMask = 1<<chunkBits - 1
)

func newLog(start page.LSN, hint int) *Log {
	return &Log{end: start, prev: make([]uint32, 0, hint), inits: make(bitset, 0, hint/64+1)}
}

// follow makes room for n records; the caller fills in which record of its key each follows, and appends all of them.
func (l *Log) follow(n int) []uint32 {
	from := len(l.prev)
	l.prev = slices.Grow(l.prev, n)[:from+n]
	return l.prev[from:]
}

// append adds one of the records that follow has made room for.
func (l *Log) append(size uint32, init bool) {
	i := l.n & chunkMask
	if i == 0 {
		l.chunks = append(l.chunks, chunk{base: l.end, size: size})
	}
	c := &l.chunks[len(l.chunks)-1]
	l.end += page.LSN(size)
	if size != l.chunks[0].size {
		l.mixed = true
	}
	if c.ends != nil || size != c.size {
		c.grow(i, uint64(l.end-c.base))
	}
	if init {
		l.inits.set(l.n)
		l.lastInit = l.end
	}
	l.n++
}

// grow notes the end of the i-th record of a chunk whose sizes differ.
func (c *chunk) grow(i uint32, end uint64) {
	if c.ends == nil {
		c.ends = make([]uint64, 0, 1<<chunkBits)
		for k := range i {
			c.ends = append(c.ends, uint64(k+1)*uint64(c.size))
		}
	}
	c.ends = append(c.ends, end)
}

// lsn gives the LSN of a record.
func (l *Log) lsn(record uint32) page.LSN {
	c := &l.chunks[record>>chunkBits]
	i := record & chunkMask
	if c.ends == nil {
		return c.base + page.LSN(i+1)*page.LSN(c.size)
	}
	return c.base + page.LSN(c.ends[i])
}

// size gives the bytes of a record.
func (l *Log) size(record uint32) int64 {
	c := &l.chunks[record>>chunkBits]
	i := record & chunkMask
	switch {
	case c.ends == nil:
		return int64(c.size)
	case i == 0:
		return int64(c.ends[0])
	}
	return int64(c.ends[i] - c.ends[i-1])
}

// after gives the first record whose LSN is above x.
func (l *Log) after(x page.LSN) uint32 {
	if l.n == 0 || x >= l.end {
		return l.n
	}
	ci, found := slices.BinarySearchFunc(l.chunks, x, func(c chunk, x page.LSN) int {
		switch {
		case c.base < x:
			return -1
		case c.base > x:
			return 1
		}
		return 0
	})
	if !found {
		ci--
	}
	if ci < 0 {
		return 0
	}
	c := &l.chunks[ci]
	d := uint64(x - c.base)
	if c.ends == nil {
		return uint32(ci)<<chunkBits + uint32(min(d/uint64(c.size), 1<<chunkBits))
	}
	i, exact := slices.BinarySearch(c.ends, d)
	if exact {
		i++
	}
	return uint32(ci)<<chunkBits + uint32(i)
}

// bitset is a set of small numbers.
type bitset []uint64

func (b *bitset) set(i uint32) {
	for int(i>>6) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i>>6] |= 1 << (i & 63)
}

func (b bitset) clear(i uint32) {
	if int(i>>6) < len(b) {
		b[i>>6] &^= 1 << (i & 63)
	}
}

func (b bitset) has(i uint32) bool { return int(i>>6) < len(b) && b[i>>6]>>(i&63)&1 != 0 }

// uniform gives the size of all records if it is one.
func (l *Log) uniform() (int64, bool) {
	if len(l.chunks) == 0 || l.mixed {
		return 0, false
	}
	return int64(l.chunks[0].size), true
}
