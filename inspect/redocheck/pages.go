package redocheck

import (
	"errors"
	"math"
	"os"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

type database struct{ spc, db uint32 }

func databaseOf(r page.RelTag) database { return database{r.Spc, r.DB} }

// pages holds our own result for every block seen, and finds blocks not seen yet in the cluster before the
// WAL. At most max pages are in memory, the others in a temporary file.
type pages struct {
	max  int
	base *cluster // nil if there is none
	rels map[page.RelTag]*relation
	// origin says where the files of a database lie in base that was copied from another one, or dropped
	// (the zero value), in the WAL.
	origin map[database]database

	hot   int // pages in memory
	spill *os.File
	slots int64   // slots ever used in spill
	free  []int64 // of those, the ones free again

	buf [pg.BlockSize]byte
}

// relation is one fork.
type relation struct {
	blocks map[uint32]*cell
	// file is where the relation lies in the base cluster; only blocks below limit still count there.
	file  page.RelTag
	limit uint32
}

// cell is one page: in memory, or in the spill file at the given slot.
type cell struct {
	data *[pg.BlockSize]byte
	slot int64
}

func newPages(most int) *pages {
	return &pages{max: most, rels: map[page.RelTag]*relation{}, origin: map[database]database{}}
}

func (p *pages) relation(tag page.RelTag) *relation {
	r := p.rels[tag]
	if r == nil {
		r = &relation{blocks: map[uint32]*cell{}, file: tag, limit: math.MaxUint32}
		if o, ok := p.origin[databaseOf(tag)]; ok {
			r.file.Spc, r.file.DB = o.spc, o.db
			if o == (database{}) {
				r.limit = 0
			}
		}
		p.rels[tag] = r
	}
	return r
}

// get gives a block's page, nil if it is not known. It is valid until the next call of get or put. With a
// base cluster, a map page that is nowhere is a page of zeros, as PostgreSQL takes it.
func (p *pages) get(tag page.RelTag, block uint32) ([]byte, error) {
	r := p.relation(tag)
	if c := r.blocks[block]; c != nil {
		if c.data != nil {
			return c.data[:], nil
		}
		_, err := p.spill.ReadAt(p.buf[:], c.slot*pg.BlockSize)
		return p.buf[:], err
	}
	if p.base == nil {
		return nil, nil
	}
	if block < r.limit {
		ok, err := p.base.read(r.file, block, p.buf[:])
		if err != nil || ok {
			return p.buf[:], err
		}
	}
	if tag.Fork == page.ForkVM {
		clear(p.buf[:])
		return p.buf[:], nil
	}
	return nil, nil
}

// put makes b the page; it is copied.
func (p *pages) put(tag page.RelTag, block uint32, b []byte) error {
	r := p.relation(tag)
	c := r.blocks[block]
	if c == nil {
		c = &cell{slot: -1}
		r.blocks[block] = c
	}
	if c.data == nil {
		if p.hot >= p.max {
			if err := p.cool(); err != nil {
				return err
			}
		}
		if c.slot >= 0 {
			p.free = append(p.free, c.slot)
			c.slot = -1
		}
		c.data = new([pg.BlockSize]byte)
		p.hot++
	}
	copy(c.data[:], b)
	return nil
}

// cool moves an eighth of the pages in memory to the spill file, whichever come first.
func (p *pages) cool() error {
	if p.spill == nil {
		f, err := os.CreateTemp("", "strata-redocheck-*")
		if err != nil {
			return err
		}
		p.spill = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	const share = 8
	target := p.hot - max(1, p.max/share)
	for _, r := range p.rels {
		for _, c := range r.blocks {
			if p.hot <= target {
				return nil
			}
			if c.data == nil {
				continue
			}
			if err := p.moveOut(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pages) moveOut(c *cell) error {
	slot := p.slots
	if n := len(p.free); n > 0 {
		slot, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.slots++
	}
	if _, err := p.spill.WriteAt(c.data[:], slot*pg.BlockSize); err != nil {
		return err
	}
	c.data, c.slot = nil, slot
	p.hot--
	return nil
}

// forget makes a block unknown, whatever the base cluster has.
func (p *pages) forget(tag page.RelTag, block uint32) {
	r := p.relation(tag)
	p.release(r.blocks[block])
	delete(r.blocks, block)
	r.limit = min(r.limit, block)
}

func (p *pages) release(c *cell) {
	switch {
	case c == nil:
	case c.data != nil:
		p.hot--
	default:
		p.free = append(p.free, c.slot)
	}
}

// truncate forgets the blocks from n on.
func (p *pages) truncate(tag page.RelTag, n uint32) {
	r := p.relation(tag)
	r.limit = min(r.limit, n)
	for block, c := range r.blocks {
		if block >= n {
			p.release(c)
			delete(r.blocks, block)
		}
	}
}

// dropDatabase forgets all relations of a database in one tablespace.
func (p *pages) dropDatabase(d database) {
	for tag, r := range p.rels {
		if databaseOf(tag) == d {
			for _, c := range r.blocks {
				p.release(c)
			}
			delete(p.rels, tag)
		}
	}
	p.origin[d] = database{}
}

// copyDatabase makes a database that has the pages of another.
func (p *pages) copyDatabase(to, from database) error {
	p.dropDatabase(to)
	p.origin[to] = from
	if o, ok := p.origin[from]; ok {
		p.origin[to] = o
	}
	var tags []page.RelTag
	for tag := range p.rels {
		if databaseOf(tag) == from {
			tags = append(tags, tag)
		}
	}
	for _, tag := range tags {
		src := p.rels[tag]
		dst := tag
		dst.Spc, dst.DB = to.spc, to.db
		p.rels[dst] = &relation{blocks: map[uint32]*cell{}, file: src.file, limit: src.limit}
		for block := range src.blocks {
			b, err := p.get(tag, block)
			if err != nil {
				return err
			}
			if err := p.put(dst, block, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pages) close() error {
	var errs []error
	if p.spill != nil {
		errs = append(errs, p.spill.Close())
	}
	if p.base != nil {
		errs = append(errs, p.base.close())
	}
	return errors.Join(errs...)
}
