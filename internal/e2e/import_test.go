package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/inspect/clustercheck"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// busy is a server at work, until its function is called.
func busy(t *testing.T, p *testkit.Postgres, writers int) (stop func()) {
	p.Exec("postgres", `create table acc(id int primary key, bal int, pad text) with (fillfactor = 80);
		insert into acc select g, 0, repeat('p', 60) from generate_series(1, 20000) g;
		create index on acc using gist (point(id, bal));
		create table hist(id int, at timestamptz default now(), note text);
		create table cutoff(a int, b text);
		create unlogged table fleeting(a int)`)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range writers {
		s := p.Connect("postgres")
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for n := 0; ctx.Err() == nil; n++ {
				sql := ""
				switch k := r.IntN(40); {
				case k == 0:
					sql = fmt.Sprintf("create table made_%d_%d as select * from acc limit %d", w, n, r.IntN(3000))
				case k == 1:
					sql = fmt.Sprintf("drop table if exists made_%d_%d", w, n-r.IntN(20))
				case k == 2 && w == 0:
					sql = "truncate cutoff; insert into cutoff select g, repeat('x', 200) from generate_series(1, 3000) g; delete from cutoff where a > 200"
				case k == 3 && w == 0:
					sql = "vacuum cutoff"
				case k == 4 && w == 1:
					sql = "vacuum acc"
				case k == 5:
					sql = fmt.Sprintf("begin; update acc set bal = bal + 1 where id = %d; prepare transaction 'p%d_%d'", 1+r.IntN(20000), w, n)
					if _, err := s.Try(sql); err == nil {
						sql = fmt.Sprintf("commit prepared 'p%d_%d'", w, n)
					}
				default:
					a, b := 1+r.IntN(20000), 1+r.IntN(20000)
					sql = fmt.Sprintf("begin; update acc set bal = bal + 1 where id = %d; update acc set bal = bal - 1 where id = %d; insert into hist(id, note) values (%d, repeat('n', %d)); commit",
						min(a, b), max(a, b), a, r.IntN(300))
				}
				if _, err := s.Try(sql); err != nil {
					_, _ = s.Try("rollback") // two writers may meet
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// importedStore is a store on the local disk with one tenant.
func importedStore(t *testing.T) *strata.Tenant {
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	return tn
}

// requireCluster takes in what WAL a stopped server has left, and compares all with its data directory. The timeline was
// imported while that server ran.
func requireCluster(t *testing.T, tl *strata.Timeline, p *testkit.Postgres) {
	t.Helper()
	_, err := tl.Ingest(t.Context(), strata.IngestOptions{Dir: p.CopyWAL()})
	require.NoError(t, err)
	i := tl.Info()
	r, err := clustercheck.Run(t.Context(), clustercheck.Options{Reader: tl, LSN: i.LastRecordLSN, First: i.InitialLSN,
		Version: i.Version, SystemID: i.SystemID, Dir: p.Data, Fuzzy: true})
	require.NoError(t, err)
	require.Zero(t, r.Different, r.First)
	require.NotZero(t, r.Pages)
}

// importedServers are what is imported in the short form, in which the versions and the two protocols have their turn; the long
// form has all.
func importedServers() map[pg.Version][]bool {
	both := []bool{true, false}
	if testkit.Long() {
		return map[pg.Version][]bool{pg.V14: both, pg.V15: both, pg.V16: both, pg.V17: both}
	}
	return map[pg.Version][]bool{pg.V14: {true}, pg.V17: {false}}
}

// TestImportRunningServer imports base backups of servers that are being written to, and then their WAL: all is as in the
// stopped server. Below the backup's end nothing can be read, and nothing branches.
func TestImportRunningServer(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for v, all := range importedServers() {
		for _, checksums := range all {
			t.Run(fmt.Sprintf("%d,checksums=%t", v, checksums), func(t *testing.T) {
				ctx := t.Context()
				p := testkit.Server(t, v, testkit.Config{NoChecksums: !checksums, Settings: map[string]string{"wal_keep_size": "4GB"}})
				p.Start()
				space := filepath.Join(p.Dir, "space")
				require.NoError(t, os.Mkdir(space, 0o700))
				testkit.Give(t, space)
				p.Exec("postgres", "create tablespace space location '"+space+"'")
				p.Exec("postgres", "create table there(a int) tablespace space; insert into there select generate_series(1, 1000)")
				stop := busy(t, p, 2)
				before := p.LSN()
				tn := importedStore(t)
				tl, r, err := tn.Import(ctx, strata.ImportOptions{Server: p.ConnString("postgres"), Name: "main", JobPages: 500})
				during := p.LSN()
				stop()
				require.NoError(t, err)
				require.Greater(t, r.LSN, before)
				require.LessOrEqual(t, r.LSN, during)
				require.Equal(t, r.LSN, tl.LastRecordLSN())

				_, err = tl.Get(ctx, page.DBDirKey, r.LSN-8)
				require.ErrorIs(t, err, strata.ErrBeforeHistory)
				require.ErrorContains(t, err, "base backup")
				_, err = tn.Branch(ctx, tl, strata.BranchOptions{Name: "below", At: r.LSN - 8})
				require.ErrorIs(t, err, strata.ErrBeforeHistory)
				spaces, err := datadir.At(tl, r.LSN, v).Tablespaces(ctx)
				require.NoError(t, err)
				require.Len(t, spaces, 1)
				require.Equal(t, space, spaces[0].Path)
				_, err = tn.Branch(ctx, tl, strata.BranchOptions{Name: "at", At: r.LSN})
				require.NoError(t, err)
				boots := v == pg.V14 || testkit.Long() && checksums
				if boots { // two servers cannot have the same tablespace
					p.Exec("postgres", "drop table there")
					p.Exec("postgres", "drop tablespace space")
				}
				p.Stop()
				requireCluster(t, tl, p)
				if boots {
					requireBoots(t, tl, v, p)
				}
			})
		}
	}
}

// requireBoots starts a server from a full backup at the end, and compares what it answers with what the stopped one does.
func requireBoots(t *testing.T, tl *strata.Timeline, v pg.Version, p *testkit.Postgres) {
	t.Helper()
	back := backupAt(t, tl, v, tl.LastRecordLSN())
	back.Start()
	p.Start()
	want := rowsOf(p)
	require.Greater(t, len(want), 2)
	require.Equal(t, want, rowsOf(back))
	back.Exec("postgres", "insert into acc select g, 0, 'later' from generate_series(100001, 101000) g")
	require.Equal(t, "1000", back.Value("postgres", "select count(*) from acc where id > 100000"))
	back.Stop()
	p.Stop()
}

// rowsOf counts the rows of each table, and digests them.
func rowsOf(p *testkit.Postgres) (out []string) {
	for _, r := range p.Query("postgres", "select relname from pg_class where relkind = 'r' and relpersistence = 'p' and relnamespace = 'public'::regnamespace order by 1") {
		out = append(out, r[0]+" "+p.Value("postgres", "select count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) from "+r[0]+" t"))
	}
	return out
}

// TestImportTars imports what pg_basebackup makes in every form, and what becomes of a cluster in a tar.
func TestImportTars(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	p := testkit.Server(t, pg.V15, testkit.Config{Settings: map[string]string{"wal_keep_size": "4GB"}})
	program := p.Tool(t, "pg_basebackup")
	p.Start()
	stop := busy(t, p, 2)
	forms := map[string][]string{"plain": {"-Fp"}, "tar": {"-Ft", "-z"}}
	if testkit.Long() {
		// Slowly, so that much is written meanwhile.
		forms["fetch"] = []string{"-Ft", "-X", "fetch", "-r", "2M"}
		forms["plain"] = append(forms["plain"], "-r", "2M")
	}
	for name, args := range forms {
		p.Run(program, append([]string{"-D", filepath.Join(p.Dir, name), "-c", "fast"}, args...)...)
	}
	stop()
	p.Stop()
	for name := range forms {
		if name == "plain" && !testkit.Long() {
			continue // as without its WAL, below
		}
		t.Run(name, func(t *testing.T) {
			o := strata.ImportOptions{Name: "main", JobPages: 500, Tar: filepath.Join(p.Dir, name)}
			if name == "plain" {
				o.PGData, o.Tar = o.Tar, ""
			}
			tl, _, err := importedStore(t).Import(t.Context(), o)
			require.NoError(t, err)
			requireCluster(t, tl, p)
		})
	}
	t.Run("zstd of a stopped cluster", func(t *testing.T) {
		if !testkit.Long() {
			return
		}
		if _, err := exec.LookPath("zstd"); err != nil {
			testkit.Skip(t, "no zstd on this machine")
		}
		tar := filepath.Join(t.TempDir(), "cluster.tar")
		require.NoError(t, exec.Command("tar", "-C", p.Data, "-cf", tar, ".").Run())
		require.NoError(t, exec.Command("zstd", "-q", tar).Run())
		tl, _, err := importedStore(t).Import(t.Context(), strata.ImportOptions{Name: "main", Tar: tar + ".zst"})
		require.NoError(t, err)
		requireCluster(t, tl, p)
	})
	t.Run("without its WAL", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "bare")
		testkit.CopyTree(t, dir, filepath.Join(p.Dir, "plain"))
		segments, err := filepath.Glob(filepath.Join(dir, "pg_wal", "0*"))
		require.NoError(t, err)
		for _, s := range segments {
			require.NoError(t, os.Remove(s))
		}
		tn := importedStore(t)
		_, _, err = tn.Import(t.Context(), strata.ImportOptions{Name: "main", PGData: dir})
		require.ErrorContains(t, err, "checkpoint")
		tl, _, err := tn.Import(t.Context(), strata.ImportOptions{Name: "main", PGData: dir, WAL: p.CopyWAL()})
		require.NoError(t, err)
		requireCluster(t, tl, p)
	})
}

// TestImportStandbyAndPromoted imports the base backup of a standby, which has no record of its end, and then that of the
// server that it is promoted to, which is on PostgreSQL's next timeline. WAL that goes on over the promotion is followed. In the
// long form the primary is at work meanwhile.
func TestImportStandbyAndPromoted(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	p := testkit.Server(t, pg.V15, testkit.Config{Settings: map[string]string{"wal_keep_size": "4GB"}})
	program := p.Tool(t, "pg_basebackup")
	p.Start()
	stop := func() {}
	if testkit.Long() {
		stop = busy(t, p, 2)
	}
	copied := filepath.Join(p.Dir, "standby")
	p.Run(program, "-D", copied, "-c", "fast", "-R", "-d", p.ConnString("postgres"))
	standby := testkit.Adopt(t, pg.V15, copied, nil)
	standby.Start()
	tn := importedStore(t)
	ofStandby, _, err := tn.Import(t.Context(), strata.ImportOptions{Name: "standby", Server: standby.ConnString("postgres")})
	require.NoError(t, err)
	stop()
	standby.Exec("postgres", "select pg_promote(false)")
	require.Eventually(t, func() bool { return standby.Value("postgres", "select pg_is_in_recovery()") == "f" }, time.Minute, 20*time.Millisecond)
	standby.Exec("postgres", "create table after(a int); insert into after select generate_series(1, 1000)")
	promoted, _, err := tn.Import(t.Context(), strata.ImportOptions{Name: "promoted", Server: standby.ConnString("postgres")})
	require.NoError(t, err)
	standby.Exec("postgres", "insert into after select generate_series(1, 1000)")
	standby.Stop()
	for _, tl := range []*strata.Timeline{promoted, ofStandby} {
		requireCluster(t, tl, standby)
		files, err := datadir.At(tl, tl.LastRecordLSN(), pg.V15).ClusterFiles(t.Context())
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(files, func(f datadir.File) bool { return f.Path == "pg_wal/00000002.history" }))
	}
}
