package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// TestBranchOfASecondServer has a server start from a branch's full backup and write to it while the parent's server goes on. Its WAL begins
// with the checkpoint that was generated for the backup, which is the branch's first record; each timeline comes to what its own server
// has, and neither takes the other's WAL, where they go apart and behind that.
func TestBranchOfASecondServer(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	versions := []pg.Version{pg.V15, pg.V14, pg.V16, pg.V17}
	for _, v := range versions[:testkit.Size(1, 1, len(versions))] {
		t.Run(fmt.Sprint(v), func(t *testing.T) { writtenByTwo(t, v) })
	}
}

func writtenByTwo(t *testing.T, v pg.Version) {
	store := filepath.Join(t.TempDir(), "store")
	on := func(timeline string, args ...string) []string {
		return append(args, "--store", store, "--timeline", timeline)
	}
	parent := testkit.Server(t, v, testkit.Config{WALSegSizeMB: 1, Settings: map[string]string{"wal_keep_size": "100MB"}})
	parent.Start()
	parent.Exec("postgres", "create table t(a int primary key, who text); insert into t select g, 'both' from generate_series(1, 2000) g")
	parent.Stop()
	must(t, "import", "--store", store, "--pgdata", parent.Data)
	parent.Start()
	parent.Exec("postgres", "update t set a = a + 10000 where a % 3 = 0; delete from t where a % 7 = 0")
	must(t, on("main", "ingest", "--wal", parent.CopyWAL())...)
	must(t, "branch", "--store", store, "side")
	point := lastLSN(t, store, "side")

	tar := filepath.Join(t.TempDir(), "side.tar")
	must(t, on("side", "basebackup", "--output", tar)...)
	archive, err := os.Open(tar)
	require.NoError(t, err)
	defer archive.Close()
	data := filepath.Join(testkit.ServerDir(t), "data")
	testkit.Untar(t, data, archive)
	second := testkit.Adopt(t, v, data, map[string]string{"wal_keep_size": "100MB"})
	second.Start()
	for range 5 { // by turns
		second.Exec("postgres", "insert into t select (select max(a) from t) + g, 'second' from generate_series(1, 500) g; checkpoint")
		parent.Exec("postgres", "insert into t select (select max(a) from t) + g, 'parent' || repeat('!', 90) from generate_series(1, 700) g")
	}
	second.Stop()
	parent.Stop()
	mine, theirs := second.CopyWAL(), parent.CopyWAL()
	ends := recordsFrom(t, v, mine, point)
	require.Equal(t, "CHECKPOINT_SHUTDOWN", ends[0].name)
	all := recordsFrom(t, v, theirs, point)
	half := point + (min(ends[len(ends)-1].end, all[len(all)-1].end)-point)/2 // both go on behind it
	refused := func(timeline, wal string, at page.LSN, says string) {
		t.Helper()
		code, _, errs := command(t, on(timeline, "ingest", "--wal", wal)...)
		require.Equal(t, exitFailed, code, "the other's WAL was taken")
		require.Contains(t, errs, says)
		require.Equal(t, at, lastLSN(t, store, timeline))
	}
	// Where they come apart, the WAL of both fits onto either.
	refused("side", theirs, point, "Start a server from a base backup of the branch")
	refused("main", mine, point, "another timeline's base backup")
	must(t, on("side", "ingest", "--wal", mine, "--until", half.String())...)
	refused("side", theirs, lastBefore(ends, half), "this is not where the log ends")
	must(t, on("side", "ingest", "--wal", mine)...)
	must(t, on("main", "ingest", "--wal", theirs, "--until", half.String())...)
	refused("main", mine, lastBefore(all, half), "this is not where the log ends")
	must(t, on("main", "ingest", "--wal", theirs)...)
	require.Contains(t, must(t, on("side", "verify", "cluster", "--pgdata", second.Data)...), "different=0")
	require.Contains(t, must(t, on("main", "verify", "cluster", "--pgdata", parent.Data)...), "different=0")
}

// TestABranchOnItsOwn makes of a branch a timeline that needs no ancestor, as docs/backups.md says: its full backup is imported beside it. All
// others can go then.
func TestABranchOnItsOwn(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	work := t.TempDir()
	store, wal, tar := filepath.Join(work, "store"), filepath.Join(work, "wal"), filepath.Join(work, "side.tar")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractWAL(wal))
	lsn := s.LSNs()[1]
	must(t, "import", "--store", store, "--pgdata", sampleCluster(t))
	must(t, "ingest", "--store", store, "--wal", wal)
	must(t, "branch", "--store", store, "--at", lsn.String(), "side")
	must(t, "basebackup", "--store", store, "--timeline", "side", "--output", tar)
	must(t, "import", "--store", store, "--timeline", "own", "--tar", tar)
	must(t, "delete", "--store", store, "side")
	must(t, "delete", "--store", store, "main")
	data := filepath.Join(work, "data")
	archive, err := os.Open(tar)
	require.NoError(t, err)
	defer archive.Close()
	require.NoError(t, untar(data, archive))
	require.Contains(t, must(t, "verify", "cluster", "--store", store, "--timeline", "own", "--pgdata", data), "different=0")
	require.Regexp(t, `\nown +\S+ +\d+ \(\w+\) .* -\n`, must(t, "info", "--store", store), "it has no ancestor")
	code, _, errs := command(t, "page", "--store", store, "--timeline", "own", "--rel", "1664/0/1262", "--block", "0", "--lsn", lsn.String())
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "before the timeline's history")
}

// lastLSN is where a timeline ends.
func lastLSN(t *testing.T, store, timeline string) page.LSN {
	t.Helper()
	var all []struct {
		Name string   `json:"name"`
		Last page.LSN `json:"last_record_lsn"`
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, "info", "--store", store, "--json")), &all))
	for _, tl := range all {
		if tl.Name == timeline {
			return tl.Last
		}
	}
	require.Fail(t, "no timeline "+timeline)
	return 0
}

// named is a record by its name.
type named struct {
	name string
	end  page.LSN
}

// recordsFrom lists the records of a folder from an LSN on.
func recordsFrom(t *testing.T, v pg.Version, dir string, from page.LSN) (all []named) {
	t.Helper()
	r, err := wal.OpenDir(dir, wal.DirOptions{Version: v, Start: from, SegSize: 1 << 20})
	require.NoError(t, err)
	defer r.Close()
	var rec wal.Record
	for {
		ok, err := r.Next(t.Context(), &rec)
		require.NoError(t, err)
		if !ok {
			return all
		}
		all = append(all, named{wal.OpName(v, rec.Rmgr, rec.Info), rec.End})
	}
}

// lastBefore is the last end of a record that is at most lsn.
func lastBefore(all []named, lsn page.LSN) (end page.LSN) {
	for _, r := range all {
		if r.end <= lsn {
			end = r.end
		}
	}
	return end
}
