package basebackup_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// A server on a backup knows when, and at which origin, each transaction committed that did so before the
// backup's LSN, and goes on from there.
func TestBackupHasCommitTimestamps(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range bootVersions() {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			src := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "1GB", "track_commit_timestamp": "on"}})
			src.Start()
			src.Exec("postgres", "create table t(xid xid8)")
			src.Stop()
			store := importDir(t, v, src.Data)
			src.Start()
			s := src.Connect("postgres")
			s.Each("do $$ begin for i in 1..900 loop insert into t values (pg_current_xact_id()); commit; end loop; end $$",
				"select pg_replication_origin_create('far')", "select pg_replication_origin_session_setup('far')",
				"begin", "select pg_replication_origin_xact_setup('0/1234', '2021-02-03 04:05:06+00')",
				"do $$ begin for i in 1..40 loop begin insert into t values (pg_current_xact_id()); exception when others then null; end; end loop; end $$",
				"prepare transaction 'far'", "commit prepared 'far'",
				"select pg_replication_origin_session_reset()")
			middle := src.LSN()
			want := stamps(src)
			require.Greater(t, len(want), 900)
			s.Exec("do $$ begin for i in 1..1200 loop insert into t values (pg_current_xact_id()); commit; end loop; end $$")
			s.Close()
			atEnd := stamps(src)
			src.Stop()
			store.ingest(t, src.CopyWAL())

			for lsn, want := range map[page.LSN][][]string{middle: want, store.LastRecordLSN(): atEnd} {
				back := untarBackup(t, store, lsn)
				sameAgain(t, store, lsn, importDir(t, v, back.Data))
				back.Start()
				require.Equal(t, want, stamps(back))
				back.Exec("postgres", "do $$ begin for i in 1..900 loop insert into t values (pg_current_xact_id()); commit; end loop; end $$")
				after := stamps(back)
				require.Equal(t, want, after[:len(want)])
				require.Len(t, after, len(want)+900)
				back.Stop()
			}
		})
	}
}

// stamps gives time and origin of every commit of rows in t; none may be without.
func stamps(p *testkit.Postgres) [][]string {
	return p.Query("postgres", `select xid, c.timestamp at time zone 'utc', c.roident
		from (select distinct xid from t) t, pg_xact_commit_timestamp_origin(xid::xid) c where c.timestamp is not null order by xid`)
}
