package datadir_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/datadir/datadirtest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// counting is a store that adds up what batches say of relations.
type counting struct {
	*datadirtest.Store
	blocks  int64
	dropped []page.RelTag
}

func (c *counting) Put(ctx context.Context, b *page.Batch) error {
	c.blocks += b.Relations.Blocks
	for _, d := range b.Relations.Dropped {
		c.dropped = append(c.dropped, d.Rel)
	}
	return c.Store.Put(ctx, b)
}

// TestChangesAddUp compares what batches say of relations with the sum over all of them, whatever was made, cut,
// dropped, dropped with its database, or taken back by Abort.
func TestChangesAddUp(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		s := &counting{Store: datadirtest.New(pg.V16, pg.Stock, nil)}
		require.NoError(t, s.Init(ctx, 4096))
		m := datadir.NewModification(s, pg.V16, rapid.IntRange(1, 4).Draw(t, "cache"))
		var before []page.RelTag // that there were at the last commit
		record := func(change func() error) {
			require.NoError(t, m.Begin(datadir.RecordSpan{Start: m.LSN(), End: m.LSN() + 64}))
			require.NoError(t, change())
			if rapid.IntRange(0, 9).Draw(t, "abort") == 0 {
				require.NoError(t, m.Abort(ctx))
			} else {
				m.End()
			}
		}
		rel := func() page.RelTag {
			return page.RelTag{
				Spc: 1663, DB: rapid.Uint32Range(1, 2).Draw(t, "db"), Rel: rapid.Uint32Range(1, 6).Draw(t, "rel"),
				Fork: page.Fork(rapid.IntRange(0, 1).Draw(t, "fork")),
			}
		}
		check := func() {
			require.NoError(t, m.Commit(ctx))
			snap := datadir.At(s, s.LastRecordLSN(), pg.V16)
			sum, err := snap.TotalBlocks(ctx)
			require.NoError(t, err)
			require.EqualValues(t, sum, s.blocks)
			var now []page.RelTag
			dbs, err := snap.Databases(ctx)
			require.NoError(t, err)
			for _, d := range dbs {
				rels, err := snap.Relations(ctx, d.Spc, d.DB)
				require.NoError(t, err)
				now = append(now, rels...)
			}
			for _, rel := range before {
				if !slices.Contains(now, rel) {
					require.Contains(t, s.dropped, rel)
				}
			}
			before, s.dropped = now, nil
		}
		page0 := make([]byte, pg.BlockSize)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				record(func() error { return m.PutBlockImage(ctx, rel(), rapid.Uint32Range(0, 40).Draw(t, "block"), page0) })
			},
			"truncate": func(t *rapid.T) {
				record(func() error { return m.TruncateRelation(ctx, rel(), rapid.Uint32Range(0, 40).Draw(t, "blocks")) })
			},
			"drop":          func(*rapid.T) { record(func() error { return m.DropRelation(ctx, rel()) }) },
			"drop database": func(*rapid.T) { record(func() error { return m.DropDatabase(ctx, 1663, 1) }) },
			"drop and make": func(*rapid.T) {
				record(func() error {
					if err := m.DropDatabase(ctx, 1663, 2); err != nil {
						return err
					}
					return m.PutBlockImage(ctx, page.RelTag{Spc: 1663, DB: 2, Rel: 3}, 5, page0)
				})
			},
			"commit": func(*rapid.T) { check() },
		})
		check()
	})
}
