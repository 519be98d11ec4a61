package wal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// boundaries are how many bytes before the end of a page or segment a record is put.
var boundaries = []page.LSN{0, 8, 24, 40, 112, 120}

// pg_waldump finds the record in the built segments, by itself and with the length it must have.
func TestWaldumpReadsShutdownCheckpoint(t *testing.T) {
	inst := testkit.FindServer(t, pg.V15)
	tool := inst.Tool(t, "pg_waldump")
	s := testkit.Server(t, pg.V15, testkit.Config{WALSegSizeMB: 1})
	for _, end := range []page.LSN{5*seg + 3*wal.PageSize, 6 * seg} {
		for _, before := range boundaries {
			c, err := wal.BuildShutdownCheckpoint(wal.ShutdownCheckpoint{Version: pg.V15, SegSize: seg, SystemID: 42, Timeline: 1,
				LSN: end - before, Prev: end - 4096, CheckPoint: make([]byte, wal.CheckPointSize)})
			require.NoError(t, err)
			dir := filepath.Join(s.Dir, fmt.Sprintf("wal-%v-%d", uint64(end), before))
			writeSegments(t, dir, c)
			out, _ := s.TryRun(tool, "-p", dir, "-s", c.Start.String(), "-e", c.End.String()) // what follows is zeros: it may say so
			require.Contains(t, out, "rmgr: XLOG        len (rec/tot):    114/   114", "%v", c.Start)
			require.Contains(t, out, fmt.Sprintf("lsn: %X/%08X, prev", uint32(c.Start>>32), uint32(c.Start)), "%v", c.Start)
			require.Contains(t, out, "CHECKPOINT_SHUTDOWN redo "+c.Start.String())
			require.NotContains(t, out, "could not find")
		}
	}
}

func writeSegments(t *testing.T, dir string, c *wal.CheckpointWAL) {
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for i := range c.Segments {
		f, err := os.OpenFile(filepath.Join(dir, c.Segments[i].Name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		require.NoError(t, err)
		_, err = c.Segments[i].WriteTo(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		testkit.Give(t, f.Name())
	}
	testkit.Give(t, dir)
}

// Servers start from a shutdown checkpoint of ours, wherever it lies, write behind it, and what they wrote is
// read back from the checkpoint on.
func TestServersStartFromShutdownCheckpoint(t *testing.T) {
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			s := testkit.Server(t, v, testkit.Config{WALSegSizeMB: 1, Settings: map[string]string{"wal_keep_size": "64MB"}})
			name := filepath.Join(s.Data, "global", "pg_control")
			places := []page.LSN{24, wal.PageSize + 24, 3*wal.PageSize + 112, 40}
			for i, before := range places {
				f, err := control.Read(name)
				require.NoError(t, err)
				lsn := (f.ShutdownCheckpointEnd()+2*seg)&^(seg-1) - before
				cp := f.CheckPoint()
				c, err := wal.BuildShutdownCheckpoint(wal.ShutdownCheckpoint{Version: v, SegSize: f.WALSegSize(), SystemID: f.SystemID(),
					Timeline: cp.Timeline(), LSN: lsn, Prev: lsn - 4096, CheckPoint: cp[:]})
				require.NoError(t, err)
				f.SetCheckPointLSN(c.Start)
				f.SetCheckPoint(control.CheckPoint(c.CheckPoint))
				require.NoError(t, os.WriteFile(name, f.Encode(), 0o600))
				dir := filepath.Join(s.Data, "pg_wal")
				clearWAL(t, dir)
				writeSegments(t, dir, c)

				s.Start()
				s.Connect("postgres").Each(fmt.Sprintf("create table t%d as select generate_series(1, 1000) i", i))
				s.Stop()
				checkWritten(t, v, dir, c, f.SystemID())
			}
		})
	}
}

func clearWAL(t *testing.T, dir string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if len(e.Name()) == 24 && !e.IsDir() {
			require.NoError(t, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
}

// checkWritten reads from our checkpoint to the server's own at its stop.
func checkWritten(t *testing.T, v pg.Version, dir string, c *wal.CheckpointWAL, sysID uint64) {
	r, err := wal.OpenDir(dir, wal.DirOptions{Version: v, Start: c.Start, SystemID: sysID})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	var names []string
	var rec wal.Record
	for {
		ok, err := r.Next(t.Context(), &rec)
		require.NoError(t, err)
		if !ok {
			break
		}
		names = append(names, wal.OpName(v, rec.Rmgr, rec.Info))
		require.False(t, strings.HasPrefix(names[len(names)-1], "UNKNOWN"))
		if len(names) == 2 {
			require.Equal(t, c.Start, rec.Prev)
			require.Equal(t, wal.RecordStart(c.End, seg), rec.Start)
		}
	}
	require.Greater(t, len(names), 100)
	require.Equal(t, "CHECKPOINT_SHUTDOWN", names[0])
	require.Equal(t, "CHECKPOINT_SHUTDOWN", names[len(names)-1])
}

// Every record of a server's WAL is listed by pg_waldump with the same place, link, length, transaction,
// manager and operation as by us, and there are no others.
func TestAgainstWaldump(t *testing.T) {
	inst := testkit.FindServer(t, pg.V15)
	tool := inst.Tool(t, "pg_waldump")
	s := testkit.Server(t, pg.V15, testkit.Config{WALSegSizeMB: 1, Settings: map[string]string{
		"wal_keep_size": "256MB", "wal_compression": "lz4", "wal_consistency_checking": "all", "track_commit_timestamp": "on", "wal_level": "logical"}})
	f, err := control.Read(filepath.Join(s.Data, "global", "pg_control"))
	require.NoError(t, err)
	s.Start()
	c := s.Connect("postgres")
	c.Each("create table t(i int primary key, s text)", "insert into t select i, repeat('x', i % 900) from generate_series(1, 3000) i",
		"create index on t using hash(i)", "create index on t using gin((array[i]))", "create index on t using brin(i)", "create index on t using spgist(s)",
		"create index on t using gist(point(i, i))", "update t set s = s || 'y' where i % 3 = 0", "delete from t where i % 7 = 0", "vacuum freeze t", "select pg_switch_wal()",
		"set wal_compression = pglz", "checkpoint", "update t set s = 'z'", "select pg_logical_emit_message(false, 'p', repeat('m', 40000))", "create sequence q",
		"select nextval('q') from generate_series(1, 100)", "begin; select * from t where i = 5 for update; savepoint a; update t set s = '' where i = 5; commit", "truncate t", "drop table t")
	s.Stop()

	dir := filepath.Join(s.Data, "pg_wal")
	out, _ := s.TryRun(tool, "-p", dir, "-s", f.CheckPointLSN().String())
	lines := strings.Split(out, "\n")
	r, err := wal.OpenDir(dir, wal.DirOptions{Version: pg.V15, Start: f.CheckPointLSN(), SystemID: f.SystemID()})
	require.NoError(t, err)
	defer r.Close()
	var rec wal.Record
	var dst [pg.BlockSize]byte
	n := 0
	for ; ; n++ {
		ok, err := r.Next(t.Context(), &rec)
		require.NoError(t, err)
		if !ok {
			break
		}
		want := fmt.Sprintf("rmgr: %-11s len (rec/tot): %6d/%6d, tx: %10d, lsn: %X/%08X, prev %X/%08X, desc: %s", rec.Rmgr, lengthWithoutImages(&rec), len(rec.Raw),
			rec.Xid, uint32(rec.Start>>32), uint32(rec.Start), uint32(rec.Prev>>32), uint32(rec.Prev), wal.OpName(pg.V15, rec.Rmgr, rec.Info))
		require.True(t, strings.HasPrefix(lines[n], want), "pg_waldump: %s\nwe:         %s", lines[n], want)
		for i := range rec.Blocks {
			b := &rec.Blocks[i]
			require.Contains(t, lines[n], fmt.Sprintf("rel %d/%d/%d", b.Rel.Spc, b.Rel.DB, b.Rel.Rel))
			require.Contains(t, lines[n], fmt.Sprintf("blk %d", b.Blkno))
			if b.HasImage {
				require.NoError(t, b.RestoreImage(dst[:]))
			}
		}
	}
	require.Greater(t, n, 5000)
	require.False(t, strings.HasPrefix(lines[n], "rmgr:"), lines[n])
}

// lengthWithoutImages is what pg_waldump calls "rec".
func lengthWithoutImages(r *wal.Record) int {
	n := len(r.Raw)
	for i := range r.Blocks {
		n -= len(r.Blocks[i].Image)
	}
	return n
}
