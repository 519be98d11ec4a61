package pageserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pg"
)

// other answers a request that is not for a page.
func (s *stream) other(b *batch, r *pagestream.Request, c *datadir.Snapshot) {
	var err error
	var fill func(out []byte) []byte
	switch r.Kind {
	case pagestream.Exists:
		var ok bool
		ok, err = relationExists(s.ctx, c, r.Rel)
		fill = func(out []byte) []byte { return r.AnswerExists(out, s.version, ok) }
	case pagestream.RelationSize:
		var n uint32
		n, err = relationSize(s.ctx, c, r.Rel)
		fill = func(out []byte) []byte { return r.AnswerRelationSize(out, s.version, n) }
	case pagestream.DatabaseSize:
		var n int64
		n, err = databaseSize(s.ctx, c, r.Database)
		fill = func(out []byte) []byte { return r.AnswerDatabaseSize(out, s.version, n) }
	case pagestream.SLRUSegment:
		var pages []byte
		pages, err = s.slruSegment(c, r.SLRU, r.Segment)
		fill = func(out []byte) []byte { return r.AnswerSLRUSegment(out, s.version, pages) }
	}
	if err != nil {
		s.refuse(b, r, err)
		return
	}
	s.s.metrics.answered(r.Kind, false)
	b.message(fill)
}

// checkRelation refuses what names no relation.
func checkRelation(rel page.RelTag) error {
	if rel.Rel == 0 || rel.Fork > page.ForkInit {
		return fmt.Errorf("%w: there can be no relation %s", errRequest, rel)
	}
	return nil
}

func relationExists(ctx context.Context, c *datadir.Snapshot, rel page.RelTag) (bool, error) {
	if err := checkRelation(rel); err != nil {
		return false, err
	}
	return c.RelExists(ctx, rel)
}

// relationSize gives the number of blocks. A map fork that does not exist is empty, as Neon's computes expect: they ask
// for it without looking whether there is one.
func relationSize(ctx context.Context, c *datadir.Snapshot, rel page.RelTag) (uint32, error) {
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

// databaseSize adds up all forks of a database's relations.
func databaseSize(ctx context.Context, c *datadir.Snapshot, db uint32) (int64, error) {
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

// slruSegment gives a segment's pages, one after the other.
func (s *stream) slruSegment(c *datadir.Snapshot, kind page.SLRU, segment uint32) ([]byte, error) {
	if kind > page.MultixactOffsets {
		return nil, fmt.Errorf("%w: there is no SLRU of kind %d", errRequest, kind)
	}
	return c.SLRUSegment(s.ctx, kind, segment)
}
