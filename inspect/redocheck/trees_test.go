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

// absent says why an operation of these resource managers does not occur in the WAL of the test.
var absent = map[string]string{
	"Gist ASSIGN_LSN": "a server writes it at wal_level minimal alone, and it touches no page",
}

// Every kind of record of hash, GiST and SP-GiST indexes occurs, but for those that say why not, and each
// block that they touch is the server's.
func TestHashGistSPGist(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		if v%2 == 0 && !testkit.Long() {
			continue // 14 and 16 take the same ways as 15 and 17; the long form runs them all
		}
		t.Run(fmt.Sprint(int(v)), func(t *testing.T) {
			o := makeTreeOracle(t, v)
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
			for _, m := range []pg.Rmgr{pg.RmHash, pg.RmGist, pg.RmSPGist} {
				require.Zero(t, r.Rmgr(m).Uncovered, m)
			}
			for _, op := range r.Ops {
				if op.Rmgr != pg.RmHash && op.Rmgr != pg.RmGist && op.Rmgr != pg.RmSPGist {
					continue
				}
				t.Logf("%-9s %-22s records=%d blocks=%d equal=%d", op.Rmgr, op.Name, op.Records, op.Blocks, op.Equal)
				name := op.Rmgr.String() + " " + op.Name
				require.Equal(t, absent[name] != "", op.Records == 0, "%s occurred %d times", name, op.Records)
			}
			t.Run("as a server lays pages out", func(t *testing.T) { o.testLayout(t, testkit.Size(5, 5, 1)) })
		})
	}
}

// makeTreeOracle has images in the WAL beside the copies for the check, as some of redo works on those.
func makeTreeOracle(t *testing.T, v pg.Version) oracle {
	p := testkit.Server(t, v, testkit.Config{NoChecksums: clusterKinds[v].noChecksums, Settings: map[string]string{
		"wal_consistency_checking": "hash,gist,spgist",
		"wal_keep_size":            "8GB",
	}})
	base := filepath.Join(testkit.ServerDir(t), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Start()
	p.HashWork()
	p.GistWork()
	p.SPGistWork()
	p.Stop()
	return oracle{v, base, p.CopyWAL()}
}
