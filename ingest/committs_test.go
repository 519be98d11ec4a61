package ingest

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/datadir/datadirtest"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/xlogrec"
)

// A real server keeps commit timestamps, stops keeping them and starts again; at each stop all of pg_commit_ts
// and its bounds are the same in our store: of transactions with subtransactions on several pages, of
// prepared ones, of ones with a replication origin and its time; and after truncation.
func TestCommitTimestampsOfServers(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range liveVersions {
		if v != pg.V15 && !testkit.Long() {
			continue // all take the same ways
		}
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "8GB"}})
			s, _, _ := importDir(t, p.Data, pg.Stock)
			require.Empty(t, commitTsSegments(t, s), "a cluster that never had any")

			track(p, true)
			p.Start()
			timestampWork(p)
			ingestTo(t, s, p)
			require.Equal(t, []uint32{0}, commitTsSegments(t, s))
			requireOrigins(t, s)

			// What was kept is imported like the rest, and goes on.
			s, _, _ = importDir(t, p.Data, pg.Stock)
			p.Start()
			timestampWork(p)
			ingestTo(t, s, p)

			track(p, false)
			p.Start()
			timestampWork(p)
			ingestTo(t, s, p)
			require.Empty(t, commitTsSegments(t, s), "all are gone")

			track(p, true)
			p.Start()
			transactions(p, 40_000)
			p.Exec("postgres", "alter database template0 allow_connections true")
			for _, db := range []string{"template0", "template1", "postgres"} {
				p.Exec(db, "vacuum (freeze)")
			}
			timestampWork(p)
			ingestTo(t, s, p)
			require.NotContains(t, commitTsSegments(t, s), uint32(0), "the first was cut off")
			require.NotEmpty(t, commitTsSegments(t, s))
		})
	}
}

func track(p *testkit.Postgres, on bool) {
	p.Configure(map[string]string{"track_commit_timestamp": map[bool]string{true: "on", false: "off"}[on]})
}

// ingestTo stops the server, takes its WAL and compares.
func ingestTo(t *testing.T, s *datadirtest.Store, p *testkit.Postgres) {
	t.Helper()
	p.Stop()
	_, err := newIngester(t, s, Options{}).Dir(context.Background(), p.CopyWAL(), 0, nil)
	require.NoError(t, err)
	requireCheckPoint(t, s, p.Data)
	c := compareDirs(t, s, p.Data)
	require.Empty(t, c.different)
}

func commitTsSegments(t *testing.T, s *datadirtest.Store) []uint32 {
	segments, err := datadir.At(s, s.Last, s.Version).SLRUSegments(context.Background(), page.CommitTs)
	require.NoError(t, err)
	return segments
}

// transactions uses up transaction ids.
func transactions(p *testkit.Postgres, n int) {
	p.Exec("postgres", fmt.Sprintf("do $$ begin for i in 1..%d loop perform txid_current(); commit; end loop; end $$", n))
}

func timestampWork(p *testkit.Postgres) {
	transactions(p, 300)
	s := p.Connect("postgres")
	defer s.Close()
	const subtransactions = "do $$ begin for i in 1..%d loop begin insert into stamped values (i); if i %% 7 = 0 then raise exception 'no'; end if; exception when others then null; end; end loop; end $$"
	s.Each("create table if not exists stamped(a int)",
		// More subtransactions than a page has entries for.
		fmt.Sprintf(subtransactions, 2000),
		"begin", fmt.Sprintf(subtransactions, 100), "rollback",
		"begin", fmt.Sprintf(subtransactions, 1000), "prepare transaction 'kept'",
		"begin", "insert into stamped values (0)", "prepare transaction 'left'",
		"commit prepared 'kept'", "rollback prepared 'left'",
		"select pg_replication_origin_create('far')", "select pg_replication_origin_session_setup('far')",
		"begin", "select pg_replication_origin_xact_setup('0/1234', '2021-02-03 04:05:06+00')", fmt.Sprintf(subtransactions, 900), "commit",
		"begin", "select pg_replication_origin_xact_setup('0/2345', '2022-02-03 04:05:06+00')", fmt.Sprintf(subtransactions, 5), "prepare transaction 'far'",
		"commit prepared 'far'",
		"insert into stamped values (1)", // an origin without a time
		"select pg_replication_origin_session_reset()", "select pg_replication_origin_drop('far')",
		"drop table stamped", "select txid_current()")
}

// requireOrigins finds entries of the origin, with the time that it gave.
func requireOrigins(t *testing.T, s *datadirtest.Store) {
	const microseconds = 665640306000000 // 2021-02-03 04:05:06 since 2000-01-01
	segments := commitTsSegments(t, s)
	n, err := datadir.At(s, s.Last, s.Version).SLRUSegmentPages(context.Background(), page.CommitTs, segments[0])
	require.NoError(t, err)
	found := 0
	for i := range n {
		p, err := s.Get(context.Background(), page.CommitTs.Block(segments[0], i), s.Last)
		require.NoError(t, err)
		for e := p[:xlogrec.CommitTsPerPage*xlogrec.CommitTsSize]; len(e) > 0; e = e[xlogrec.CommitTsSize:] {
			if binary.LittleEndian.Uint64(e) == microseconds && binary.LittleEndian.Uint16(e[8:]) == 1 {
				found++
			}
		}
	}
	require.Greater(t, found, 700, "the transaction and its subtransactions")
}
