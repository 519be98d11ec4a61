package ingest

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/datadir/datadirtest"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// patchControl changes bytes of pg_control and makes its CRC fit again.
func patchControl(t *testing.T, dir string, change func(b []byte)) {
	t.Helper()
	name := filepath.Join(dir, "global", "pg_control")
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	change(b)
	const crcAt = 288
	binary.LittleEndian.PutUint32(b[crcAt:], crc32.Checksum(b[:crcAt], castagnoli))
	require.NoError(t, os.WriteFile(name, b, 0o600))
}

func putFile(t *testing.T, dir, name, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
}

// smallDataDir is a data directory with hardly a relation in it, quick to copy.
func smallDataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	testkit.UntarFixture(t, dir, "neon-pg17/base-pgdata.tar.zst")
	for _, db := range []string{"base/1", "base/4"} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, db)))
	}
	for _, db := range []string{"base/5", "global"} {
		entries, err := os.ReadDir(filepath.Join(dir, db))
		require.NoError(t, err)
		for _, e := range entries {
			if _, ok := parseRelName(e.Name()); ok && e.Name() != "1259" {
				require.NoError(t, os.Remove(filepath.Join(dir, db, e.Name())))
			}
		}
	}
	return dir
}

// Each fault of a data directory is refused before anything is stored, with its place.
func TestDataDirRefused(t *testing.T) {
	original := smallDataDir(t)
	u32 := func(b []byte, off int, v uint32) { binary.LittleEndian.PutUint32(b[off:], v) }
	for name, c := range map[string]struct {
		damage func(dir string)
		want   []string
		read   bool // found when the files are read
	}{
		"no data directory": {func(d string) { os.Remove(filepath.Join(d, "PG_VERSION")) }, []string{"PG_VERSION", "not a PostgreSQL data directory"}, false},
		"version":           {func(d string) { putFile(t, d, "PG_VERSION", "13\n") }, []string{"PG_VERSION", `"13"`, "14 to 17"}, false},
		"two versions":      {func(d string) { putFile(t, d, "PG_VERSION", "15\n") }, []string{"pg_control", "17", "15"}, false},
		"running":           {func(d string) { putFile(t, d, "postmaster.pid", "1") }, []string{"postmaster.pid", "pg_ctl stop"}, false},
		"backup label":      {func(d string) { putFile(t, d, "backup_label", "") }, []string{"backup_label", "names no checkpoint"}, false},
		"tablespace map":    {func(d string) { putFile(t, d, "tablespace_map", "") }, []string{"tablespace_map"}, false},
		"standby":           {func(d string) { putFile(t, d, "standby.signal", "") }, []string{"standby.signal", "promote"}, false},
		"recovery":          {func(d string) { putFile(t, d, "recovery.signal", "") }, []string{"recovery.signal"}, false},
		"not stopped": {func(d string) {
			patchControl(t, d, func(b []byte) { u32(b, 16, uint32(control.InProduction)) })
		}, []string{"pg_control", "in production", "pg_ctl stop"}, false},
		"block size":     {func(d string) { patchControl(t, d, func(b []byte) { u32(b, 216, 4096) }) }, []string{"pg_control", "block size 4096"}, false},
		"WAL block size": {func(d string) { patchControl(t, d, func(b []byte) { u32(b, 224, 16384) }) }, []string{"WAL block size 16384"}, false},
		"segment size":   {func(d string) { patchControl(t, d, func(b []byte) { u32(b, 220, 1) }) }, []string{"relation segment 1"}, false},
		"wal_level":      {func(d string) { patchControl(t, d, func(b []byte) { u32(b, 172, 0) }) }, []string{"wal_level=minimal", "replica"}, false},
		"checkpoint":     {func(d string) { patchControl(t, d, func(b []byte) { b[40] ^= 8 }) }, []string{"no shutdown checkpoint"}, false},
		"control file":   {func(d string) { putFile(t, d, "global/pg_control", "short") }, []string{"global/pg_control"}, false},
		"tablespace": {func(d string) {
			require.NoError(t, os.MkdirAll(filepath.Join(d, "pg_tblspc"), 0o700))
			require.NoError(t, os.Symlink("/somewhere", filepath.Join(d, "pg_tblspc", "16400")))
		}, []string{"pg_tblspc/16400", "/somewhere", "pg_default"}, false},
		"torn":         {func(d string) { putFile(t, d, "base/5/77777", "abc") }, []string{"base/5/77777", "multiple of 8192"}, false},
		"missing file": {func(d string) { putFile(t, d, "base/5/77777.1", "") }, []string{"base/5/77777", "not there"}, false},
		"cut file": {func(d string) {
			putFile(t, d, "base/5/77777", "")
			putFile(t, d, "base/5/77777.1", string(make([]byte, 8192)))
		}, []string{"base/5/77777", "cut off"}, false},
		"odd name":           {func(d string) { putFile(t, d, "base/5/77777_xx", "") }, []string{"base/5/77777_xx", "no known form"}, false},
		"directory":          {func(d string) { require.NoError(t, os.Mkdir(filepath.Join(d, "base/5/77777"), 0o700)) }, []string{"base/5/77777", "no regular file"}, false},
		"SLRU":               {func(d string) { putFile(t, d, "pg_xact/0001", "abc") }, []string{"pg_xact/0001", "multiple of 8192"}, false},
		"SLRU too long":      {func(d string) { putFile(t, d, "pg_xact/0001", string(make([]byte, 33*8192))) }, []string{"pg_xact/0001", "33 pages"}, false},
		"no commit log":      {func(d string) { os.Remove(filepath.Join(d, "pg_xact/0000")) }, []string{"pg_xact", "empty"}, false},
		"no shared map":      {func(d string) { os.Remove(filepath.Join(d, "global/pg_filenode.map")) }, []string{"global/pg_filenode.map"}, false},
		"relation map":       {func(d string) { flip(t, d, "base/5/pg_filenode.map", 100) }, []string{"base/5/pg_filenode.map", "checksum"}, true},
		"two-phase":          {func(d string) { putFile(t, d, "pg_twophase/0000000000000300", "nonsense") }, []string{"pg_twophase/0000000000000300", "checksum"}, true},
		"replication origin": {func(d string) { putFile(t, d, "pg_logical/replorigin_checkpoint", "nonsense") }, []string{"replorigin_checkpoint", "damaged"}, true},
		"page":               {func(d string) { flip(t, d, "base/5/1259", 8192+300) }, []string{"base/5/1259", "block 1 ", "byte 8192", "checksum"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			testkit.CopyTree(t, dir, original)
			c.damage(dir)
			d, err := OpenDataDir(dir)
			if c.read {
				require.NoError(t, err)
				_, err = d.Import(context.Background(), datadirtest.New(pg.V17, pg.Stock, nil), nil)
			}
			require.ErrorIs(t, err, ErrDataDir)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

func flip(t *testing.T, dir, name string, at int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	b[at] ^= 0x10
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
}

// What is no permanent relation is left out, and told of where it does not belong.
func TestDataDirLeavesOut(t *testing.T) {
	ctx := context.Background()
	dir := smallDataDir(t)
	_, _, before := importDir(t, dir, pg.Stock)
	zeros := string(make([]byte, 3*8192))
	putFile(t, dir, "base/5/t3_77777", "temporary")
	putFile(t, dir, "base/5/t0_77777_fsm.1", "temporary")
	putFile(t, dir, "base/pgsql_tmp/pgsql_tmp1.0", "temporary")
	putFile(t, dir, "base/5/pg_internal.init.99", "cache")
	putFile(t, dir, "base/5/notes.txt", "a stranger's")
	putFile(t, dir, "base/5/77777", zeros)     // unlogged: only its init fork counts
	putFile(t, dir, "base/5/77777_fsm", zeros) //
	putFile(t, dir, "base/5/77777_init", "")   //
	putFile(t, dir, "base/5/77778", zeros)     // a truncated relation's later file stays, empty
	putFile(t, dir, "base/5/77778.1", "")      //
	putFile(t, dir, "pg_wal/00000002.history", "1\t0/1000000\tno reason\n")
	s, d, stats := importDir(t, dir, pg.Stock)
	require.Equal(t, []string{"base/5/notes.txt"}, d.Ignored)
	require.Equal(t, before.Relations+2, stats.Relations)
	require.Equal(t, before.Pages+3, stats.Pages)
	require.Equal(t, d.TotalBytes, stats.Bytes)
	snap := datadir.At(s, s.Last, pg.V17)
	for rel, want := range map[page.RelTag]bool{
		{Spc: 1663, DB: 5, Rel: 77777}:                      false,
		{Spc: 1663, DB: 5, Rel: 77777, Fork: page.ForkFSM}:  false,
		{Spc: 1663, DB: 5, Rel: 77777, Fork: page.ForkInit}: true,
		{Spc: 1663, DB: 5, Rel: 77778}:                      true,
		{Spc: 1663, DB: 5, Rel: 77779}:                      false,
		{Spc: 1663, DB: 999, Rel: 1}:                        false,
	} {
		got, err := snap.RelExists(ctx, rel)
		require.NoError(t, err)
		require.Equal(t, want, got, rel)
	}
	files, err := snap.ClusterFiles(ctx)
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	require.Contains(t, names, "pg_wal/00000002.history")
	require.Contains(t, names, "postgresql.conf")
}

// A server that starts meanwhile, a sink that fails and a caller who gives up each end an import.
func TestImportEnds(t *testing.T) {
	dir := smallDataDir(t)
	d, err := OpenDataDir(dir)
	require.NoError(t, err)
	s := datadirtest.New(pg.V17, pg.Stock, nil)
	_, err = d.Import(context.Background(), s, func(ImportStats) { putFile(t, dir, "postmaster.pid", "1") })
	require.ErrorContains(t, err, "postmaster.pid")
	require.NoError(t, os.Remove(filepath.Join(dir, "postmaster.pid")))

	_, err = d.Import(context.Background(), failingSink{}, nil)
	require.ErrorIs(t, err, os.ErrPermission)

	ctx, cancel := context.WithCancel(context.Background())
	_, err = d.Import(ctx, datadirtest.New(pg.V17, pg.Stock, nil), func(ImportStats) { cancel() })
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, os.Truncate(filepath.Join(dir, "base/5/1259"), 8192))
	_, err = d.Import(context.Background(), datadirtest.New(pg.V17, pg.Stock, nil), nil)
	require.ErrorContains(t, err, "base/5/1259")
}

type failingSink struct{}

func (failingSink) PutImage(context.Context, page.Key, []byte) error { return os.ErrPermission }
