package sample

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Collected are the digests of a timeline's pages.
type Collected struct {
	*Pages
	Read     int // pages of relations read, empty ones at the end too
	ReadSLRU int // pages of SLRUs read
	// Failed says why pages could not be rebuilt, of the first maxFirst. Their digest is unlike any other's.
	Failed []error
}

// Collect reads every block of every relation, every SLRU page and every relation map of a timeline as of
// lsn. Version is the cluster's. A page that cannot be rebuilt is noted in the result; an error means that
// the timeline could not be read. Several may run at once.
func Collect(ctx context.Context, r datadir.Reader, version pg.Version, lsn page.LSN) (Collected, error) {
	c := &collector{ctx: ctx, r: r, snap: datadir.At(r, lsn, version), out: Collected{Pages: NewPages(lsn)}}
	for _, stage := range []func() error{c.databases, c.slrus} {
		if err := stage(); err != nil {
			return Collected{}, err
		}
	}
	return c.out, nil
}

type collector struct {
	ctx  context.Context
	r    datadir.Reader
	snap *datadir.Snapshot
	out  Collected
}

func (c *collector) databases() error {
	dbs, err := c.snap.Databases(c.ctx)
	if err != nil {
		return err
	}
	for _, db := range dbs {
		if db.HasRelMap {
			file, err := c.snap.RelMap(c.ctx, db.Spc, db.DB)
			if err != nil {
				return err
			}
			c.out.Maps[Database{db.Spc, db.DB}] = MapDigest(file)
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
			if wanted(t, rels) {
				if err := c.relation(t, sizes[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// wanted reports whether a fork counts at all: not the free space map, nor the content of an unlogged
// relation.
func wanted(t page.RelTag, rels []page.RelTag) bool {
	if t.Fork == page.ForkFSM {
		return false
	}
	return t.Fork == page.ForkInit || !slices.Contains(rels, t.WithFork(page.ForkInit))
}

func (c *collector) relation(t page.RelTag, size uint32) error {
	ds, err := c.digests(t.Block(0), t.Block(size), size, func(p []byte, block uint32) Digest {
		return PageDigest(p, t.Fork, block)
	})
	c.out.Read += len(ds)
	c.out.AddRel(t, ds)
	return err
}

// unreadable marks a page that could not be rebuilt.
const unreadable = ^Digest(0)

// digests reads n pages under consecutive keys. Pages without a version are empty.
func (c *collector) digests(from, to page.Key, n uint32, digest func(p []byte, block uint32) Digest) ([]Digest, error) {
	out := make([]Digest, n)
	err := c.r.GetVectored(c.ctx, page.NewSet(page.Range{Start: from, End: to}), c.out.LSN,
		func(k page.Key, p []byte, err error) error {
			switch {
			case k.F6 >= n:
				return fmt.Errorf("%s: a page behind the %d asked for", k.Describe(), n)
			case err != nil:
				out[k.F6] = unreadable
				if len(c.out.Failed) < maxFirst {
					c.out.Failed = append(c.out.Failed, err)
				}
			case len(p) < pg.BlockSize:
				return fmt.Errorf("%s: a page of %d bytes", k.Describe(), len(p))
			default:
				out[k.F6] = digest(p, k.F6)
			}
			return nil
		})
	return out, err
}

func (c *collector) slrus() error {
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

func (c *collector) segment(s Segment) error {
	pages, err := c.snap.SLRUSegmentPages(c.ctx, s.Kind, s.Number)
	if err != nil {
		return err
	}
	ds, err := c.digests(s.Kind.Block(s.Number, 0), s.Kind.Block(s.Number, pages), pages,
		func(p []byte, _ uint32) Digest { return SLRUDigest(p) })
	c.out.ReadSLRU += len(ds)
	c.out.AddSegment(s, ds)
	return err
}
