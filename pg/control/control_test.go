package control_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// fromTar gives global/pg_control of a data directory in a fixture.
func fromTar(t testing.TB, rel string) []byte {
	r := tar.NewReader(bytes.NewReader(testkit.FixtureZstd(t, rel)))
	for {
		h, err := r.Next()
		require.NoError(t, err, "no pg_control in %s", rel)
		if strings.HasSuffix(h.Name, "global/pg_control") {
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			return b
		}
	}
}

func TestFixtures(t *testing.T) {
	f, err := control.Parse(fromTar(t, "real-wal-pg15/initdb.tar.zst"))
	require.NoError(t, err)
	c := f.CheckPoint()
	require.Equal(t, pg.V15, f.Version())
	require.Equal(t, uint64(7306539954587820903), f.SystemID())
	require.Equal(t, control.ShutDown, f.State())
	require.Equal(t, page.LSN(0x14AEB90), f.CheckPointLSN())
	require.Equal(t, page.LSN(0x14AEB90), c.Redo())
	require.Equal(t, page.LSN(0x14AEC08), f.ShutdownCheckpointEnd())
	require.Equal(t, []uint32{12928, 1, 0, 716, 1, 1, 1}, []uint32{c.NextOid(), c.NextMulti(), c.NextMultiOffset(), c.OldestXid(), c.OldestXidDB(), c.OldestMulti(), c.OldestMultiDB()})
	require.Equal(t, uint64(724), c.NextXid())
	require.Equal(t, control.Replica, f.Settings().WALLevel)
	require.Zero(t, f.ChecksumVersion())

	f, err = control.Parse(fromTar(t, "neon-pg17/base-pgdata.tar.zst"))
	require.NoError(t, err)
	require.Equal(t, pg.V17, f.Version())
	require.Equal(t, page.LSN(0x2377B20), f.ShutdownCheckpointEnd())
	require.Equal(t, uint32(1), f.ChecksumVersion())
	require.Equal(t, control.Logical, f.Settings().WALLevel)
	c = f.CheckPoint()
	require.Equal(t, control.Logical, c.WALLevel())
	require.Equal(t, uint32(wal.DefaultSegSize), f.WALSegSize())
}

// controldata writes what pg_controldata prints for f.
func controldata(f *control.File) map[string]string {
	c, s := f.CheckPoint(), f.Settings()
	onOff := map[bool]string{true: "on", false: "off"}
	n := func(v uint32) string { return fmt.Sprint(v) }
	nonce := f.Nonce()
	when := func(unix int64) string { return time.Unix(unix, 0).UTC().Format("Mon Jan _2 15:04:05 2006") }
	by := map[bool]string{true: "by value", false: "by reference"}
	return map[string]string{
		"pg_control version number": n(f.ControlVersion()), "Catalog version number": n(f.CatalogVersion()),
		"Database system identifier": fmt.Sprint(f.SystemID()), "Database cluster state": f.State().String(),
		"pg_control last modified": when(f.Time()), "Latest checkpoint location": f.CheckPointLSN().String(),
		"Latest checkpoint's REDO location": c.Redo().String(), "Latest checkpoint's REDO WAL file": wal.SegmentName(c.Timeline(), c.Redo(), f.WALSegSize()),
		"Latest checkpoint's TimeLineID": n(c.Timeline()), "Latest checkpoint's PrevTimeLineID": n(c.PrevTimeline()),
		"Latest checkpoint's full_page_writes": onOff[c.FullPageWrites()], "Latest checkpoint's NextXID": fmt.Sprintf("%d:%d", c.NextXid()>>32, uint32(c.NextXid())),
		"Latest checkpoint's NextOID": n(c.NextOid()), "Latest checkpoint's NextMultiXactId": n(c.NextMulti()),
		"Latest checkpoint's NextMultiOffset": n(c.NextMultiOffset()), "Latest checkpoint's oldestXID": n(c.OldestXid()),
		"Latest checkpoint's oldestXID's DB": n(c.OldestXidDB()), "Latest checkpoint's oldestActiveXID": n(c.OldestActiveXid()),
		"Latest checkpoint's oldestMultiXid": n(c.OldestMulti()), "Latest checkpoint's oldestMulti's DB": n(c.OldestMultiDB()),
		"Latest checkpoint's oldestCommitTsXid": n(c.OldestCommitTsXid()), "Latest checkpoint's newestCommitTsXid": n(c.NewestCommitTsXid()),
		"Time of latest checkpoint": when(c.Time()), "Fake LSN counter for unlogged rels": f.UnloggedLSN().String(),
		"Minimum recovery ending location": f.MinRecoveryPoint().String(), "Min recovery ending loc's timeline": n(f.MinRecoveryTimeline()),
		"Backup start location": f.BackupStartPoint().String(), "Backup end location": f.BackupEndPoint().String(),
		"End-of-backup record required": map[bool]string{true: "yes", false: "no"}[f.BackupEndRequired()],
		"wal_level setting":             s.WALLevel.String(), "wal_log_hints setting": onOff[s.WALLogHints], "max_connections setting": n(s.MaxConnections),
		"max_worker_processes setting": n(s.MaxWorkerProcesses), "max_wal_senders setting": n(s.MaxWALSenders),
		"max_prepared_xacts setting": n(s.MaxPreparedXacts), "max_locks_per_xact setting": n(s.MaxLocksPerXact),
		"track_commit_timestamp setting": onOff[s.TrackCommitTimestamp], "Maximum data alignment": "8",
		"Database block size": n(f.BlockSize()), "Blocks per segment of large relation": n(f.RelSegSize()), "WAL block size": n(f.WALBlockSize()),
		"Bytes per WAL segment": n(f.WALSegSize()), "Maximum length of identifiers": "64", "Maximum columns in an index": n(f.IndexMaxKeys()),
		"Maximum size of a TOAST chunk": n(f.ToastMaxChunkSize()), "Size of a large-object chunk": n(f.LargeObjectBlock()),
		"Date/time type storage": "64-bit integers", "Float8 argument passing": by[f.Float8ByVal()], "Data page checksum version": n(f.ChecksumVersion()),
		"Mock authentication nonce": fmt.Sprintf("%x", nonce),
	}
}

// Every line of pg_controldata is what our accessors say, on clusters of all versions with settings unlike the
// defaults. pg_controldata 15 reads 14 to 17, whose layout is the same.
func TestAgainstControldata(t *testing.T) {
	tool := testkit.FindServer(t, pg.V15).Tool(t, "pg_controldata")
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			s := testkit.Server(t, v, testkit.Config{WALSegSizeMB: 4, Settings: map[string]string{
				"wal_level": "logical", "wal_log_hints": "on", "max_connections": "37", "max_worker_processes": "11", "max_wal_senders": "13",
				"max_prepared_transactions": "17", "max_locks_per_transaction": "71", "track_commit_timestamp": "on", "full_page_writes": "off"}})
			s.Start()
			s.Connect("postgres").Each("create table t(i int)", "insert into t values (1)")
			s.Stop()
			name := filepath.Join(s.Data, "global", "pg_control")
			f, err := control.Read(name)
			require.NoError(t, err)
			require.Equal(t, v, f.Version())
			require.Equal(t, v == pg.V17, f.ControlVersion() == 1700)
			c := f.CheckPoint()
			if v == pg.V17 {
				require.Equal(t, control.Logical, c.WALLevel())
			}
			got := controldata(f)
			lines := 0
			for _, line := range strings.Split(strings.TrimSpace(s.Run(tool, s.Data)), "\n") {
				key, value, ok := strings.Cut(line, ":")
				if _, known := got[key]; !ok || !known {
					require.Contains(t, line, "WARNING", "a line that is not compared")
					continue
				}
				require.Equal(t, strings.TrimSpace(value), got[key], key)
				lines++
			}
			require.Equal(t, len(got), lines)

			b, err := os.ReadFile(name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(b, f.Encode()), "what is unchanged comes back as it was")
			checkEnd(t, s, f)
		})
	}
}

// checkEnd reads the shutdown checkpoint that the control file points to from the cluster's WAL.
func checkEnd(t *testing.T, s *testkit.Postgres, f *control.File) {
	r, err := wal.OpenDir(filepath.Join(s.Data, "pg_wal"), wal.DirOptions{Version: f.Version(), Start: f.CheckPointLSN(), SystemID: f.SystemID(), SegSize: f.WALSegSize()})
	require.NoError(t, err)
	defer r.Close()
	var rec wal.Record
	ok, err := r.Next(t.Context(), &rec)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "CHECKPOINT_SHUTDOWN", wal.OpName(f.Version(), rec.Rmgr, rec.Info))
	require.Equal(t, f.ShutdownCheckpointEnd(), rec.End)
	c, err := control.ParseCheckPoint(rec.Main)
	require.NoError(t, err)
	require.Equal(t, f.CheckPoint(), c)
	ok, err = r.Next(t.Context(), &rec)
	require.NoError(t, err)
	require.False(t, ok)
	require.ErrorIs(t, r.Stopped(), wal.ErrEnd)
}
