package answer

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// checkRelation refuses what names no relation.
func checkRelation(rel page.RelTag) error {
	if rel.Rel == 0 || rel.Fork > page.ForkInit {
		return fmt.Errorf("%w: there can be no relation %s", ErrRequest, rel)
	}
	return nil
}

// RelationExists says whether there is a relation's fork.
func RelationExists(ctx context.Context, c *datadir.Snapshot, rel page.RelTag) (bool, error) {
	if err := checkRelation(rel); err != nil {
		return false, err
	}
	return c.RelExists(ctx, rel)
}

// RelationSize gives the number of blocks. A map fork that does not exist is empty, as Neon's computes expect: they ask
// for it without looking whether there is one.
func RelationSize(ctx context.Context, c *datadir.Snapshot, rel page.RelTag) (uint32, error) {
	if err := checkRelation(rel); err != nil {
		return 0, err
	}
	n, err := c.RelSize(ctx, rel)
	if errors.Is(err, page.ErrNotFound) && (rel.Fork == page.ForkFSM || rel.Fork == page.ForkVM) {
		return 0, nil
	}
	return n, err
}

// defaultTablespace is PostgreSQL's pg_default.
const defaultTablespace = 1663

// DatabaseSize adds up all forks of a database's relations, in bytes.
func DatabaseSize(ctx context.Context, c *datadir.Snapshot, db uint32) (int64, error) {
	rels, err := c.Relations(ctx, defaultTablespace, db)
	if err != nil {
		return 0, err
	}
	sizes, err := c.RelSizes(ctx, rels)
	blocks := int64(0)
	for _, n := range sizes {
		blocks += int64(n)
	}
	return blocks * pg.BlockSize, err
}

// SLRUSegment gives a segment's pages, one after the other.
func SLRUSegment(ctx context.Context, c *datadir.Snapshot, kind page.SLRU, segment uint32) ([]byte, error) {
	if kind > page.MultixactOffsets {
		return nil, fmt.Errorf("%w: there is no SLRU of kind %d", ErrRequest, kind)
	}
	return c.SLRUSegment(ctx, kind, segment)
}
