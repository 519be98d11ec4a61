package basebackup_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestBootsOnItsTimeline makes backups before and after a promotion, from WAL of both of PostgreSQL's
// timelines: a server starts from each on the timeline that the cluster was on, with the history file of a
// later one, and the next promotion takes the next number.
func TestBootsOnItsTimeline(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			src := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "1GB"}})
			src.Start()
			src.Exec("postgres", "create table t(a int primary key)")
			src.Stop()
			base := filepath.Join(testkit.ServerDir(t), "base")
			testkit.CopyTree(t, base, src.Data)
			store := importDir(t, v, base)
			src.Start()
			src.Exec("postgres", "insert into t select generate_series(1, 1000)")
			before := src.LSN()
			promote(t, src)
			src.Exec("postgres", "insert into t select generate_series(1001, 3000)")
			src.Stop()
			store.ingest(t, src.CopyWAL())

			for lsn, want := range map[page.LSN]struct{ timeline, rows string }{before: {"1", "1000"}, store.LastRecordLSN(): {"2", "3000"}} {
				back := untarBackup(t, store, lsn)
				name := filepath.Join(back.Data, "pg_wal", "00000002.history")
				if want.timeline == "2" {
					history, err := os.ReadFile(name)
					require.NoError(t, err)
					theirs, err := os.ReadFile(filepath.Join(src.Data, "pg_wal", "00000002.history"))
					require.NoError(t, err)
					require.Equal(t, string(theirs), string(history))
				} else {
					require.NoFileExists(t, name)
				}
				back.Start()
				require.NotContains(t, back.Log(), "recovery", "the server found something to recover")
				require.Equal(t, want.timeline, back.Value("postgres", "select timeline_id from pg_control_checkpoint()"))
				require.Equal(t, "0000000"+want.timeline, back.Value("postgres", "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"))
				require.Equal(t, want.rows, back.Value("postgres", "select count(*) from t"))
				back.Exec("postgres", "insert into t values (-1); checkpoint")
				promote(t, back)
				require.Equal(t, "00000003"[:7]+string(want.timeline[0]+1), back.Value("postgres", "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"))
				back.Stop()
			}
		})
	}
}

// promote stops a server, has it recover without any archive, and so begin a timeline.
func promote(t *testing.T, p *testkit.Postgres) {
	p.Stop()
	// Without hot_standby nobody can connect before the promotion.
	p.Configure(map[string]string{"restore_command": "false", "hot_standby": "off"})
	require.NoError(t, os.WriteFile(filepath.Join(p.Data, "recovery.signal"), nil, 0o600))
	testkit.Give(t, p.Data)
	p.Start()
}

// untarBackup gives the server of a backup at lsn, not started.
func untarBackup(t *testing.T, store *memStore, lsn page.LSN) *testkit.Postgres {
	var buf bytes.Buffer
	res, err := basebackup.Write(t.Context(), &buf, store, basebackup.Options{LSN: lsn, Version: store.version})
	require.NoError(t, err)
	require.Equal(t, lsn, res.LSN)
	dir := filepath.Join(testkit.ServerDir(t), "data")
	testkit.Untar(t, dir, &buf)
	return testkit.Adopt(t, store.version, dir, nil)
}
