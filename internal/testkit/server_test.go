package testkit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
)

// TestServers shows that servers of every version can be had, run, killed and recovered to an LSN.
func TestServers(t *testing.T) {
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			p := testkit.Server(t, v, testkit.Config{})
			base := filepath.Join(p.Dir, "base")
			testkit.CopyTree(t, base, p.Data)
			p.Start()
			p.Exec("postgres", "create table t(a int)")
			p.Exec("postgres", "insert into t select generate_series(1, 1000)")
			target := p.LSN()
			p.Exec("postgres", "insert into t values (0)")
			p.Kill()
			p.Start()
			require.Equal(t, "1001", p.Value("postgres", "select count(*) from t"))
			require.Equal(t, fmt.Sprint(int(v)), p.Value("postgres", "select current_setting('server_version_num')::int / 10000"))
			p.Stop()

			r := testkit.Recovery{Version: v, Base: base, WAL: filepath.Join(p.Data, "pg_wal"), Until: target}
			q := r.Promoted(t)
			require.Equal(t, "1000", q.Value("postgres", "select count(*) from t"))
			q.StopImmediately()

			r.Until = 0
			data := r.DataDir(t)
			_, err := os.Stat(filepath.Join(data, "postmaster.pid"))
			require.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}
