package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

const (
	sampleDir = "../testdata/sample"
	// clusterPages is the size of the relation that the benchmarks add to the sample cluster, 256 MiB;
	// tinyPages is that of the test.
	clusterPages = 32 << 10
	tinyPages    = 300
)

// addedRel is the added relation: in the sample's template database, under a number that nothing has.
var addedRel = page.RelTag{Spc: pg.DefaultTablespace, DB: 1, Rel: 999999}

// cluster unpacks the sample's cluster and adds a relation of so many pages.
func cluster(tb testing.TB, pages uint32) (dir string) {
	tb.Helper()
	s, err := sample.Open(sampleDir)
	require.NoError(tb, err)
	dir = filepath.Join(tb.TempDir(), "cluster")
	require.NoError(tb, s.ExtractCluster(dir))
	if pages == tinyPages { // of the databases that of the relation is enough
		for _, db := range []string{"4", "5"} {
			require.NoError(tb, os.RemoveAll(filepath.Join(dir, "base", db)))
		}
	}
	f, err := os.Create(filepath.Join(dir, "base", fmt.Sprint(addedRel.DB), fmt.Sprint(addedRel.Rel)))
	require.NoError(tb, err)
	p := make(bufpage.Page, pg.BlockSize)
	for block := range pages {
		fillPage(tb, p, block)
		_, err := f.Write(p)
		require.NoError(tb, err)
	}
	require.NoError(tb, f.Close())
	return dir
}

// fillPage makes a heap page like those of pgbench_accounts: tuples of 121 bytes, 61 of them, that differ in
// their numbers.
func fillPage(tb testing.TB, p bufpage.Page, block uint32) {
	const (
		tuple  = 121
		header = 24 // of the tuple
	)
	clear(p)
	p.Init(0)
	p.SetLSN(0x1000000 + page.LSN(block)*8)
	r := rand.New(rand.NewPCG(1, uint64(block)))
	le := binary.LittleEndian
	for n := uint32(1); p.FreeSpace() > tuple+bufpage.ItemIDSize+8; n++ {
		var t [tuple]byte
		le.PutUint32(t[:], 700) // xmin
		le.PutUint16(t[14:], uint16(block))
		le.PutUint16(t[16:], uint16(n))
		le.PutUint32(t[18:], 0x09020004) // infomask2, infomask
		t[22] = header
		le.PutUint32(t[header:], block*61+n) // aid
		le.PutUint32(t[header+4:], block/1640+1)
		le.PutUint32(t[header+8:], uint32(r.Int32N(10000)-5000)) // abalance
		for i := header + 13; i < tuple; i++ {
			t[i] = ' '
		}
		_, err := p.AddItem(t[:], 0, 0)
		require.NoError(tb, err)
	}
	p.SetChecksum(block)
}

// openStore makes a store in a new folder; Open's other options are o's.
func openStore(tb testing.TB, o strata.Options) *strata.Tenant {
	tb.Helper()
	return openStoreAt(tb, filepath.Join(tb.TempDir(), "store"), o)
}

// openStoreAt makes a store in a folder.
func openStoreAt(tb testing.TB, dir string, o strata.Options) *strata.Tenant {
	tb.Helper()
	_, t := openEngine(tb, dir, o)
	return t
}

// openEngine makes a store in a folder, and gives its engine too.
func openEngine(tb testing.TB, dir string, o strata.Options) (*strata.Engine, *strata.Tenant) {
	tb.Helper()
	o.Dir, o.CreateIfMissing = dir, true
	e, err := strata.Open(context.Background(), o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, e.Close()) })
	t, err := e.DefaultTenant(context.Background())
	require.NoError(tb, err)
	return e, t
}

func importOnce(tb testing.TB, t *strata.Tenant, dir, name string) (*strata.Timeline, strata.ImportResult) {
	tl, r, err := t.Import(context.Background(), strata.ImportOptions{PGData: dir, Name: name, ID: page.TimelineID{0x44}})
	require.NoError(tb, err)
	return tl, r
}

// BenchmarkImport imports a cluster of 290 MiB, checksums checked, into synced layers of zstd level 1. MB/s
// are of pages.
func BenchmarkImport(b *testing.B) {
	dir, t := cluster(b, clusterPages), openStore(b, strata.Options{})
	var bytes int64
	cpu := startCPU()
	n := 0
	for b.Loop() {
		_, r := importOnce(b, t, dir, fmt.Sprint("t", n))
		bytes += r.Bytes
		n++
	}
	cpu.report(b, bytes)
}

// BenchmarkBaseBackup writes the cluster of BenchmarkImport as a tar to nowhere.
func BenchmarkBaseBackup(b *testing.B) {
	tl, _ := importOnce(b, openStore(b, strata.Options{}), cluster(b, clusterPages), "main")
	var bytes int64
	cpu := startCPU()
	for b.Loop() {
		var w sum
		backupOnce(b, tl, &w)
		bytes += w.bytes
	}
	cpu.report(b, bytes)
}

func backupOnce(tb testing.TB, tl *strata.Timeline, w *sum) {
	r, err := tl.BaseBackup(context.Background(), w, strata.BaseBackupOptions{})
	require.NoError(tb, err)
	require.Equal(tb, w.bytes, r.Bytes)
}

// sum takes bytes and counts them; crc only if check is set, as it is not what is measured.
type sum struct {
	bytes int64
	check bool
	crc   uint32
}

func (s *sum) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	if s.check {
		s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
	}
	return len(p), nil
}

// TestClusterBenchmarks imports a small cluster and backs it up, once.
func TestClusterBenchmarks(t *testing.T) {
	tl, r := importOnce(t, openStore(t, strata.Options{}), cluster(t, tinyPages), "main")
	require.Greater(t, r.Pages, int64(tinyPages))
	w := sum{check: true}
	backupOnce(t, tl, &w)
	t.Logf("import: %d pages; base backup: %d bytes, crc32 %08x", r.Pages, w.bytes, w.crc)
}
