package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/virtualfile"
)

// backupPages is the size of the cluster that is backed up: 1 GiB.
const backupPages = 128 << 10

// backupStore is a store whose layers are in the file cache once they were read.
func backupStore(tb testing.TB) *strata.Tenant {
	return openStore(tb, strata.Options{IOMode: virtualfile.Buffered})
}

// BenchmarkFullBackup writes a cluster of 1 GiB, in layers of zstd level 1 that are in the file cache, as a tar to nowhere. Ours
// is the processor time of all of it: MB/cpu-s is what one core does.
func BenchmarkFullBackup(b *testing.B) {
	tl, _ := importOnce(b, backupStore(b), cluster(b, backupPages), "main")
	var w sum
	backupOnce(b, tl, &w)
	w = sum{}
	cpu := startCPU()
	for b.Loop() {
		before := w.bytes
		r, err := tl.BaseBackup(b.Context(), &w, strata.BaseBackupOptions{})
		require.NoError(b, err)
		require.Equal(b, w.bytes-before, r.Bytes)
	}
	cpu.report(b, w.bytes)
}

// change gives one in a hundred of a relation's pages a new image each, in places by lot, each by a record of its own.
func change(tb testing.TB, tl *strata.Timeline, pages uint32) {
	tb.Helper()
	ctx := context.Background()
	const record = 64
	lsn := tl.LastRecordLSN()
	m := datadir.NewModification(tl, tl.Info().Version, 0)
	r := rand.New(rand.NewPCG(3, 3))
	p := make(bufpage.Page, pg.BlockSize)
	for range pages / 100 {
		require.NoError(tb, m.Begin(datadir.RecordSpan{Start: lsn, End: lsn + record}))
		lsn += record
		block := r.Uint32N(pages)
		fillPage(tb, p, block)
		p.SetLSN(lsn)
		require.NoError(tb, m.PutBlockImage(ctx, addedRel, block, p))
		m.End()
	}
	require.NoError(tb, m.Commit(ctx))
	require.NoError(tb, tl.Flush(ctx))
}

// BenchmarkIncrementalBackup changes 1 % of a cluster of 1 GiB, and writes in turn an incremental backup since then and a full
// one. Of-full is how much of the full one's time the other one takes.
func BenchmarkIncrementalBackup(b *testing.B) {
	tl, _ := importOnce(b, backupStore(b), cluster(b, backupPages), "main")
	parent := tl.LastRecordLSN()
	change(b, tl, backupPages)
	write := func(o strata.BaseBackupOptions) (took time.Duration, bytes int64) {
		start := time.Now()
		r, err := tl.BaseBackup(b.Context(), &sum{}, o)
		require.NoError(b, err)
		return time.Since(start), r.Bytes
	}
	write(strata.BaseBackupOptions{})
	var full, incremental time.Duration
	var bytes int64
	for b.Loop() {
		took, _ := write(strata.BaseBackupOptions{})
		full += took
		took, bytes = write(strata.BaseBackupOptions{IncrementalFrom: parent})
		incremental += took
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(incremental.Seconds()*1e3/float64(b.N), "ms")
	b.ReportMetric(float64(bytes)/1e6, "MB")
	b.ReportMetric(100*incremental.Seconds()/full.Seconds(), "%-of-full")
}

// fetcher asks a page server for a backup and throws away what comes, without looking at it.
type fetcher struct {
	nc net.Conn
	fe *pgproto3.Frontend
	in *bufio.Reader
}

func newFetcher(tb testing.TB, addr string) *fetcher {
	nc, err := net.Dial("tcp", addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { nc.Close() })
	f := &fetcher{nc: nc, fe: pgproto3.NewFrontend(nc, nc), in: bufio.NewReaderSize(nc, catBuffer)}
	f.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": "x"}})
	require.NoError(tb, f.fe.Flush())
	_, err = f.until('Z')
	require.NoError(tb, err)
	return f
}

// until reads up to a message of a kind, and gives how much data came before.
func (f *fetcher) until(kind byte) (data int64, err error) {
	for {
		h, err := f.in.Peek(5)
		if err != nil {
			return data, err
		}
		is, length := h[0], int(binary.BigEndian.Uint32(h[1:]))
		if is == 'E' {
			text, _ := f.in.Peek(1 + length)
			return data, fmt.Errorf("the server says %q", text)
		}
		if is == 'd' {
			data += int64(length - 4)
		}
		if _, err := f.in.Discard(1 + length); err != nil || is == kind {
			return data, err
		}
	}
}

func (f *fetcher) backup(query string) (int64, error) {
	f.fe.Send(&pgproto3.Query{String: query})
	if err := f.fe.Flush(); err != nil {
		return 0, err
	}
	return f.until('Z')
}

// catBuffer is what one read of those takes who throw away what they read.
const catBuffer = 256 << 10

// cat reads what the program of that name writes of a file into a pipe.
func cat(tb testing.TB, name string) (n int64) {
	c := exec.Command("cat", name)
	out, err := c.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, c.Start())
	n, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{out}, make([]byte, catBuffer))
	require.NoError(tb, err)
	require.NoError(tb, c.Wait())
	return n
}

// cachedBackup serves a cluster of so many pages whose backup is kept, and gives the file and what fetches it.
func cachedBackup(tb testing.TB, pages uint32) (file string, fetch func() int64, metrics func() strata.BackupCacheMetrics) {
	tb.Helper()
	dir := tb.TempDir()
	e, t := openEngine(tb, filepath.Join(dir, "store"), strata.Options{BackupCache: strata.BackupCacheOptions{
		Dir: filepath.Join(dir, "cache"), Bytes: 4 << 30, Kinds: []strata.BackupKind{{Format: strata.BackupFull}}}})
	tl, _ := importOnce(tb, t, cluster(tb, pages), "main")
	f := newFetcher(tb, serveEngine(tb, e))
	i := tl.Info()
	fetch = func() int64 {
		n, err := f.backup(fmt.Sprintf("fullbackup %s %s", i.Tenant, i.ID))
		require.NoError(tb, err)
		return n
	}
	fetch()
	names, err := filepath.Glob(filepath.Join(dir, "cache", "*.basebackup"))
	require.NoError(tb, err)
	require.Len(tb, names, 1)
	return names[0], fetch, e.BackupCacheMetrics
}

// BenchmarkCachedBackup fetches a cached backup of 290 MiB over loopback and has cat write the same file into a pipe, by turns, each as
// often the first of both. Both are read in pieces of catBuffer, by a reader that looks at nothing. Of-cat is the median of how much longer the
// first takes, cpu-of-cat how much more processor time both ends of it take.
func BenchmarkCachedBackup(b *testing.B) {
	file, fetch, metrics := cachedBackup(b, clusterPages)
	for before := int64(-1); metrics().Verified != before; { // until the file is old enough to be trusted
		before = metrics().Verified
		fetch()
	}
	st, err := os.Stat(file)
	require.NoError(b, err)
	verified := metrics().Verified
	var hit, program usage
	var ratios []float64
	var bytes int64
	for n := 0; b.Loop(); n++ {
		ways := []func() time.Duration{
			func() time.Duration { return hit.of(b, func() { bytes += fetch() }) },
			func() time.Duration { return program.of(b, func() { require.Equal(b, st.Size(), cat(b, file)) }) },
		}
		var took [2]time.Duration
		for k := range ways {
			way := (k + n) % len(ways)
			took[way] = ways[way]()
		}
		ratios = append(ratios, took[0].Seconds()/took[1].Seconds())
	}
	require.Equal(b, verified, metrics().Verified)
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(bytes)/1e6/hit.wall.Seconds(), "MB/s")
	b.ReportMetric(float64(bytes)/1e6/program.wall.Seconds(), "cat-MB/s")
	b.ReportMetric(ratios[len(ratios)/2], "of-cat")
	b.ReportMetric(ratios[0], "least-of-cat")
	b.ReportMetric(ratios[len(ratios)-1], "most-of-cat")
	b.ReportMetric(hit.cpu.Seconds()/program.cpu.Seconds(), "cpu-of-cat")
}

// usage is what something takes, together with the programs that it starts.
type usage struct{ wall, cpu time.Duration }

// of adds what fn takes, and gives how long it took.
func (u *usage) of(tb testing.TB, fn func()) time.Duration {
	before, begin := processors(tb), time.Now()
	fn()
	took := time.Since(begin)
	u.wall += took
	u.cpu += processors(tb) - before
	return took
}

// processors is the processor time of this process and of those that it has started and that have ended.
func processors(tb testing.TB) (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		require.NoError(tb, syscall.Getrusage(who, &r))
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}

// TestBackupBenchmarks does on a small cluster, once, what the benchmarks do.
func TestBackupBenchmarks(t *testing.T) {
	tl, _ := importOnce(t, backupStore(t), cluster(t, tinyPages), "main")
	parent := tl.LastRecordLSN()
	change(t, tl, tinyPages)
	full, incremental := sum{}, sum{check: true}
	backupOnce(t, tl, &full)
	_, err := tl.BaseBackup(t.Context(), &incremental, strata.BaseBackupOptions{IncrementalFrom: parent})
	require.NoError(t, err)
	require.Less(t, incremental.bytes, full.bytes)
	file, fetch, metrics := cachedBackup(t, tinyPages)
	n := fetch()
	require.Less(t, n, cat(t, file), "with what is behind the backup")
	m := metrics()
	require.Positive(t, m.Hits)
	t.Logf("full %d bytes; incremental %d bytes, crc32 %08x; cached %d bytes", full.bytes, incremental.bytes, incremental.crc, n)
}
