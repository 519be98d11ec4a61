package redocheck_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/inspect/redocheck"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

// Every kind of record of GIN, BRIN and generic indexes occurs, and each block that they touch is the
// server's.
func TestGinBrinGeneric(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		if v%2 == 0 && !testkit.Long() {
			continue
		}
		t.Run(fmt.Sprint(int(v)), func(t *testing.T) {
			o := makeIndexOracle(t, v, func(p *testkit.Postgres) {
				p.GinWork()
				p.BrinWork()
				p.GenericWork()
			})
			o.requireIndexesEqual(t, pg.RmGin, pg.RmBRIN, pg.RmGeneric)
			t.Run("as a server lays pages out", func(t *testing.T) { o.testLayout(t, testkit.Size(5, 5, 1)) })
		})
	}
}

func makeIndexOracle(t *testing.T, v pg.Version, work func(*testkit.Postgres)) oracle {
	kind := clusterKinds[v]
	p := testkit.Server(t, v, testkit.Config{NoChecksums: kind.noChecksums, Settings: map[string]string{
		"wal_consistency_checking": "all", "wal_keep_size": "8GB", "full_page_writes": "off",
	}})
	base := filepath.Join(testkit.ServerDir(t), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Start()
	work(p)
	p.Stop()
	return oracle{v, base, p.CopyWAL()}
}

// requireIndexesEqual demands that all blocks are equal and that every operation of the resource managers
// occurred and changed its pages visibly.
func (o oracle) requireIndexesEqual(t *testing.T, managers ...pg.Rmgr) {
	var e effects
	r := o.check(t, func(opts *redocheck.Options) {
		redoer := opts.Redoer
		opts.Redoer = &wrapped{redoer, func(req *walredo.Request) ([]byte, error) { return e.redo(t, redoer, req) }}
	})
	logTable(t, r)
	t.Logf("%d of %d blocks differ from the page before the record", e.shown, e.redone)
	require.Empty(t, r.First)
	require.Zero(t, r.Total.Different)
	require.Zero(t, r.Total.Primed)
	for _, m := range managers {
		require.Zero(t, r.Rmgr(m).Uncovered, m)
		for _, op := range r.Ops {
			if op.Rmgr == m {
				require.NotZero(t, op.Equal, "%s %s did not occur", op.Rmgr, op.Name)
				t.Logf("%-9s %-22s records=%d blocks=%d equal=%d", op.Rmgr, op.Name, op.Records, op.Blocks, op.Equal)
			}
		}
	}
}
