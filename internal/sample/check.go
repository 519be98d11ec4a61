package sample

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Result is the outcome of a comparison.
type Result struct {
	Pages     int // pages of relations read and compared
	SLRU      int // pages of SLRUs read and compared
	Different int // pages, relation maps, and once each relations or segments that one side alone has
	// First describes the first differences, at most maxFirst.
	First []string
}

const maxFirst = 20

func (r *Result) differs(format string, args ...any) {
	r.Different++
	if len(r.First) < maxFirst {
		r.First = append(r.First, fmt.Sprintf(format, args...))
	}
}

// Check reads every block of every relation, every SLRU page and every relation map of a timeline at
// want.LSN and compares their digests with want. Version is the cluster's. A page that cannot be rebuilt
// is a difference; an error means that the comparison could not be made. Several may run at once.
func Check(ctx context.Context, r datadir.Reader, version pg.Version, want *Pages) (Result, error) {
	c := &checker{ctx: ctx, r: r, snap: datadir.At(r, want.LSN, version), want: want,
		rels: map[page.RelTag]bool{}, segments: map[Segment]bool{}, maps: map[Database]bool{}}
	for _, stage := range []func() error{c.databases, c.slrus} {
		if err := stage(); err != nil {
			return c.res, err
		}
	}
	c.missing()
	return c.res, nil
}

type checker struct {
	ctx  context.Context
	r    datadir.Reader
	snap *datadir.Snapshot
	want *Pages
	res  Result
	// seen are the things of want that the timeline has too.
	rels     map[page.RelTag]bool
	segments map[Segment]bool
	maps     map[Database]bool
}

func (c *checker) databases() error {
	dbs, err := c.snap.Databases(c.ctx)
	if err != nil {
		return err
	}
	for _, db := range dbs {
		if db.HasRelMap {
			if err := c.relMap(Database{db.Spc, db.DB}); err != nil {
				return err
			}
		}
		rels, err := c.snap.Relations(c.ctx, db.Spc, db.DB)
		if err != nil {
			return err
		}
		sizes, err := c.snap.RelSizes(c.ctx, rels)
		if err != nil {
			return err
		}
		for i, t := range rels {
			if c.compared(t, rels) {
				if err := c.relation(t, sizes[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// compared reports whether a fork is compared at all: not the free space map, nor the content of an
// unlogged relation.
func (c *checker) compared(t page.RelTag, rels []page.RelTag) bool {
	if t.Fork == page.ForkFSM {
		return false
	}
	return t.Fork == page.ForkInit || !slices.Contains(rels, t.WithFork(page.ForkInit))
}

func (c *checker) relMap(d Database) error {
	file, err := c.snap.RelMap(c.ctx, d.Spc, d.DB)
	if err != nil {
		return err
	}
	c.maps[d] = true
	if w, ok := c.want.Maps[d]; !ok || MapDigest(file) != w {
		c.res.differs("relation map %s", d)
	}
	return nil
}

func (c *checker) relation(t page.RelTag, size uint32) error {
	ours, err := c.digests(t.Block(0), t.Block(size), size, func(p []byte, block uint32) Digest {
		return PageDigest(p, t.Fork, block)
	})
	if err != nil {
		return err
	}
	want, ok := c.want.Rels[t]
	c.rels[t] = true
	c.res.Pages += len(ours)
	if ours = trim(ours); !ok {
		if t.Fork != page.ForkVM || len(ours) > 0 {
			c.res.differs("relation %s (%d blocks) at %s: PostgreSQL has none", t, size, c.want.LSN)
		}
		return nil
	}
	c.compare("relation "+t.String()+" block", ours, want)
	return nil
}

func (c *checker) compare(what string, ours, want []Digest) {
	for i := range max(len(ours), len(want)) {
		switch {
		case i >= len(ours):
			c.res.differs("%s %d at %s: ours ends before it", what, i, c.want.LSN)
		case i >= len(want):
			c.res.differs("%s %d at %s: PostgreSQL's ends before it", what, i, c.want.LSN)
		case ours[i] != want[i]:
			c.res.differs("%s %d at %s: digest %016x, PostgreSQL's %016x", what, i, c.want.LSN, uint64(ours[i]), uint64(want[i]))
		}
	}
}

// unreadable marks a page that could not be rebuilt; the reason was noted as a difference.
const unreadable = ^Digest(0)

// digests reads n pages under consecutive keys. Pages without a version are empty.
func (c *checker) digests(from, to page.Key, n uint32, digest func(p []byte, block uint32) Digest) ([]Digest, error) {
	out := make([]Digest, n)
	err := c.r.GetVectored(c.ctx, page.NewSet(page.Range{Start: from, End: to}), c.want.LSN,
		func(k page.Key, p []byte, err error) error {
			switch {
			case k.F6 >= n:
				return fmt.Errorf("%s: a page behind the %d asked for", k.Describe(), n)
			case err != nil:
				out[k.F6] = unreadable
				c.note(err)
			case len(p) < pg.BlockSize:
				return fmt.Errorf("%s: a page of %d bytes", k.Describe(), len(p))
			default:
				out[k.F6] = digest(p, k.F6)
			}
			return nil
		})
	return out, err
}

// note keeps the reason why a page could not be rebuilt. The page itself is counted by compare.
func (c *checker) note(err error) {
	if len(c.res.First) < maxFirst {
		c.res.First = append(c.res.First, err.Error())
	}
}

func (c *checker) slrus() error {
	for _, kind := range page.SLRUs {
		numbers, err := c.snap.SLRUSegments(c.ctx, kind)
		if errors.Is(err, page.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if err := c.segment(Segment{kind, n}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) segment(s Segment) error {
	pages, err := c.snap.SLRUSegmentPages(c.ctx, s.Kind, s.Number)
	if err != nil {
		return err
	}
	ours, err := c.digests(s.Kind.Block(s.Number, 0), s.Kind.Block(s.Number, pages), pages,
		func(p []byte, _ uint32) Digest { return SLRUDigest(p) })
	if err != nil {
		return err
	}
	c.segments[s] = true
	c.res.SLRU += len(ours)
	c.compare(s.String()+" page", trim(ours), c.want.Segments[s])
	return nil
}

// missing counts what PostgreSQL has and the timeline has not.
func (c *checker) missing() {
	for _, t := range slices.SortedFunc(maps.Keys(c.want.Rels), page.RelTag.Compare) {
		if !c.rels[t] {
			c.res.differs("relation %s at %s: ours has none, PostgreSQL %d blocks", t, c.want.LSN, len(c.want.Rels[t]))
		}
	}
	for s := range c.want.Segments {
		if !c.segments[s] {
			c.res.differs("%s at %s: ours has none", s, c.want.LSN)
		}
	}
	for d := range c.want.Maps {
		if !c.maps[d] {
			c.res.differs("relation map %s at %s: ours has none", d, c.want.LSN)
		}
	}
}
