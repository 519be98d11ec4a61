package layer

import (
	"context"

	"github.com/stratapg/strata/page"
)

// leafScanner walks the leaves of an index from a key to the end. It gives entries as those of a delta, whatever
// the layer is: with the LSN in the key, and of the value's place the start, doubled, and one more for a value
// that initializes.
type leafScanner struct {
	r       *Reader
	blocks  scanBlocks
	cur     treeCursor
	entries []leafEntry
	given   int     // of entries
	last    treeKey // that no key may be below; below or at, if any
	any     bool
}

func (e *leafEntry) start() int64   { return int64(e.value >> 1) }
func (e *leafEntry) willInit() bool { return e.value&1 == 1 }

// seek goes to the first entry at or above k. The index is read ahead bytes at a time.
func (s *leafScanner) seek(ctx context.Context, r *Reader, k page.Key, ahead int) error {
	s.r = r
	s.blocks.index = stretch{r: r, limit: r.end(), ahead: ahead}
	s.cur.init(&s.blocks, r.sum.indexRoot, r.keyLen)
	s.last = deltaKey(&k, 0)
	key := s.last.bytes()
	if err := s.cur.seek(ctx, key[:r.keyLen]); err != nil {
		return err
	}
	return s.load()
}

func (s *leafScanner) release() { s.blocks.index.release() }

// next gives the entries that follow those given last: each one's value ends where the next one's starts, the
// last one's at end. They are valid until the next call, and there are none behind the last.
func (s *leafScanner) next(ctx context.Context) (entries []leafEntry, end int64, err error) {
	s.entries = s.entries[:copy(s.entries, s.entries[s.given:])]
	for len(s.entries) < 2 {
		ok, err := s.cur.nextLeaf(ctx)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			break
		}
		if err := s.load(); err != nil {
			return nil, 0, err
		}
	}
	s.given = len(s.entries)
	if s.given == 0 {
		return nil, 0, nil
	}
	end = s.r.dataEnd()
	if s.given > 1 {
		s.given--
		end = s.entries[s.given].start()
	}
	if err := s.lengths(s.entries[:s.given], end); err != nil {
		return nil, 0, err
	}
	return s.entries[:s.given], end, nil
}

// load takes the leaf apart that the cursor is in.
func (s *leafScanner) load() error {
	leaf := &s.cur.path[0]
	from := len(s.entries)
	if leaf.i >= leaf.node.n {
		return nil
	}
	s.entries = leaf.node.appendEntries(s.entries, leaf.i)
	return s.check(s.entries[from:])
}

// check compares entries with the layer's ranges and with each other, and makes those of images alike.
func (s *leafScanner) check(entries []leafEntry) error {
	d := &s.r.desc
	var extra treeKey
	shift := 0
	if d.Image {
		extra, shift = deltaKey(&page.Key{}, d.LSNs.Start), 1
	}
	for i := range entries {
		e := &entries[i]
		if e.value > maxTreeValue {
			return s.corrupt("entry %d from the end of a leaf is a child (%010x)", len(entries)-i, e.value)
		}
		e.key[2] |= extra[2]
		e.key[3] |= extra[3]
		e.value = e.value<<shift | uint64(shift)
		if e.key.less(&s.last) || s.any && e.key == s.last {
			k := e.key.bytes()
			return s.corrupt("key %x is out of order", k[:s.r.keyLen])
		}
		s.last, s.any = e.key, true
		if lsn := e.key.lsn(); lsn < d.LSNs.Start || lsn >= d.LSNs.End {
			return s.outside(e)
		}
		if start := e.start(); start < dataStart || start >= s.r.dataEnd() {
			return s.corrupt("%s at LSN %s: value at offset %d, values lie in [%d, %d)",
				e.key.page(), e.key.lsn(), start, int64(dataStart), s.r.dataEnd())
		}
	}
	// Keys ascend, so that the ends stand for all.
	for _, e := range []*leafEntry{&entries[0], &entries[len(entries)-1]} {
		if !d.Keys.Contains(e.key.page()) {
			return s.outside(e)
		}
	}
	return nil
}

// lengths checks how far it is from value to value.
func (s *leafScanner) lengths(entries []leafEntry, end int64) error {
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		if n := end - e.start(); n <= 0 || n > maxPlace+blockSize {
			return s.corrupt("%s at LSN %s: value at offset %d, and the next at %d", e.key.page(), e.key.lsn(), e.start(), end)
		}
		end = e.start()
	}
	return nil
}

func (s *leafScanner) corrupt(format string, args ...any) error {
	return s.r.corrupt(s.cur.path[0].blk, format, args...)
}

func (s *leafScanner) outside(e *leafEntry) error {
	return corruptf(s.r.file.Name(), s.r.blockOffset(s.cur.path[0].blk), "entry %s at LSN %s is outside the layer", e.key.page(), e.key.lsn())
}
