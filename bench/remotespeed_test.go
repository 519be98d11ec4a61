package bench

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/remote/s3store"
)

const (
	mib = 1 << 20
	// transferMemory is what a transfer may take.
	transferMemory = 32 * mib
)

// largeObject puts a layer's object of so many bytes into a store, and an index of it, and gives its key.
func largeObject(tb testing.TB, s remote.Storage, size int64) (key string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "layer")
	f, err := os.Create(path)
	require.NoError(tb, err)
	defer f.Close()
	block, rnd, sum := make([]byte, mib), rand.NewChaCha8([32]byte{}), xxhash.New()
	for at := int64(0); at < size; at += mib {
		_, _ = rnd.Read(block)
		_, _ = sum.Write(block)
		_, err = f.Write(block)
		require.NoError(tb, err)
	}
	const first = 0x1500000
	p := index.New()
	p.Metadata = index.Metadata{InitdbLSN: first, GCCutoffLSN: first, PgVersion: 17, DiskConsistentLSN: first + 8}
	p.Origin = &index.Origin{Name: "large", WALSegSize: 16 << 20, SystemID: 1, InitialLSN: first}
	d := layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: first + 1, End: first + 9}, Size: size, Generation: 1}
	require.NoError(tb, p.Layers.Put(index.Layer{Desc: d, Sum: index.Sum(sum.Sum64())}))
	b, err := p.Encode()
	require.NoError(tb, err)
	place := upload.Place{Tenant: manyTenant, Timeline: manyTimeline}
	key = place.Prefix() + upload.ObjectName(&d)
	_, err = s.Put(tb.Context(), key, f, size, remote.PutOptions{})
	require.NoError(tb, err)
	_, err = s.Put(tb.Context(), place.IndexKey(1), bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
	require.NoError(tb, err)
	return key
}

func openS3(tb testing.TB, server *testkit.S3) remote.Storage {
	tb.Helper()
	s, err := s3store.Open(tb.Context(), s3store.Options{Bucket: server.Bucket, Endpoint: server.Endpoint})
	require.NoError(tb, err)
	return remote.Limit(s, remote.LimitOptions{})
}

// forget has all layer files leave the local disk.
func forget(tb testing.TB, e *strata.Engine) {
	tb.Helper()
	r, err := e.Evict(tb.Context(), strata.EvictLimits{MaxAge: 1})
	require.NoError(tb, err)
	require.Zero(tb, r.Held)
}

// TestDownloadMemory: a transfer takes no more memory than it may, however large its layer.
func TestDownloadMemory(t *testing.T) {
	s := openS3(t, testkit.StartS3(t))
	size := int64(testkit.Size(40, 64, 256)) * mib
	largeObject(t, s, size)
	e, tl, _ := attachMany(t, s)
	require.NoError(t, tl.WaitUploads(context.Background()))
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var done atomic.Bool
	var failure error
	go func() {
		failure = tl.Download(context.Background(), nil)
		done.Store(true)
	}()
	peak := uint64(0)
	for !done.Load() {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse+now.StackInuse)
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, failure)
	took := int64(peak) - int64(before.HeapInuse+before.StackInuse) + 2*512<<10 // buffers outside the heap
	t.Logf("%d KiB for %d MiB", took>>10, size/mib)
	require.Less(t, took, int64(transferMemory))
	require.Equal(t, size, e.Metrics().Downloads.Bytes)
	require.NoError(t, e.Close())
}

// bareGet downloads an object with the SDK's own call and nothing else, into a file that is synced.
func bareGet(ctx context.Context, c *s3.Client, bucket, key, path string) error {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, out.Body, make([]byte, 512<<10)); err != nil {
		return err
	}
	return f.Sync()
}

// BenchmarkDownloadS3 downloads a layer of 256 MiB from a real server, as a warm-up does and with the SDK alone by turns, and says how
// they compare.
func BenchmarkDownloadS3(b *testing.B) {
	const size = 256 * mib
	server := testkit.StartS3(b)
	c, err := config.LoadDefaultConfig(b.Context(), config.WithRegion("us-east-1"))
	require.NoError(b, err)
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String(server.Endpoint), true })
	s := openS3(b, server)
	key := largeObject(b, s, size)
	e, tl, _ := attachMany(b, s)
	path := filepath.Join(b.TempDir(), "bare")
	var alone, ours time.Duration
	n := 0
	for b.Loop() {
		n++
		begin := time.Now()
		require.NoError(b, bareGet(b.Context(), client, server.Bucket, key, path))
		alone += time.Since(begin)
		require.NoError(b, os.Remove(path))
		begin = time.Now()
		require.NoError(b, tl.Download(b.Context(), nil))
		ours += time.Since(begin)
		forget(b, e)
	}
	require.EqualValues(b, n, e.Metrics().Downloads.Layers)
	speed := func(d time.Duration) float64 { return float64(n) * size / mib / d.Seconds() }
	b.ReportMetric(speed(alone), "bare-MiB/s")
	b.ReportMetric(speed(ours), "download-MiB/s")
	b.ReportMetric(100*alone.Seconds()/ours.Seconds(), "%of-bare")
	require.NoError(b, e.Close())
}

// coldLayers is how many layers the page of BenchmarkColdRead needs.
const coldLayers = 5

func coldKey(n uint32) page.Key { return page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(n) }

// coldTimeline makes a timeline whose page 0 needs all layers, each of some 4 MiB, and attaches it to an empty disk.
func coldTimeline(b *testing.B, s remote.Storage) (*strata.Engine, *strata.Timeline) {
	b.Helper()
	first, err := strata.Open(b.Context(), strata.Options{Dir: b.TempDir(), CreateIfMissing: true, Tenant: manyTenant, Remote: strata.RemoteOptions{Storage: s}})
	require.NoError(b, err)
	tn, err := first.DefaultTenant(b.Context())
	require.NoError(b, err)
	const begin = 0x1500000
	tl, err := tn.Create(b.Context(), strata.CreateOptions{Name: "cold", Version: pg.V17, InitialLSN: begin, WALSegSize: 16 << 20})
	require.NoError(b, err)
	image, rnd := make([]byte, pg.BlockSize), rand.NewChaCha8([32]byte{1})
	const pages = 512
	for i := range coldLayers {
		lsn := page.LSN(begin + 8*(i+1))
		var batch page.Batch
		for n := range pages {
			_, _ = rnd.Read(image)
			if n > 0 || i == 0 { // page 0 is in the oldest alone, and looked for in all
				batch.PutImage(coldKey(uint32(n)), lsn, image)
			}
		}
		batch.End = lsn
		require.NoError(b, tl.Put(b.Context(), &batch))
		require.NoError(b, tl.Flush(b.Context()))
	}
	require.NoError(b, tl.WaitUploads(b.Context()))
	require.NoError(b, first.Close())
	e, cold, _ := attachMany(b, s)
	require.Len(b, cold.Layers(), coldLayers)
	return e, cold
}

// slowLink is a storage over a network: each download begins late, and its bytes come at no more than so many a second.
type slowLink struct {
	remote.Storage
	delay time.Duration
	speed int64
}

func (s *slowLink) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	if !strings.Contains(key, "__") {
		return s.Storage.Get(ctx, key, o)
	}
	begin := time.Now()
	if err := clock.Sleep(ctx, s.delay); err != nil {
		return nil, err
	}
	d, err := s.Storage.Get(ctx, key, o)
	if err != nil || s.speed == 0 {
		return d, err
	}
	out := *d
	out.Body = &slowBody{d.Body, ctx, begin.Add(s.delay), s.speed, 0}
	return &out, nil
}

type slowBody struct {
	io.ReadCloser
	ctx   context.Context
	begin time.Time
	speed int64
	n     int64
}

// slowPiece is the most that comes at once.
const slowPiece = 64 << 10

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), slowPiece)])
	b.n += int64(n)
	due := b.begin.Add(time.Duration(b.n * int64(time.Second) / b.speed))
	if e := clock.Sleep(b.ctx, time.Until(due)); e != nil {
		return n, e
	}
	return n, err
}

// BenchmarkColdRead reads a page that needs five layers of which none is here, and compares with the slowest download of one alone,
// and with bare downloads of all five at once: of a store in memory and of a real server, over a network's delay, over one
// that gives each download 100 MB/s, and over loopback, where server and client share two processors, so that five take longer than one
// whoever asks for them.
func BenchmarkColdRead(b *testing.B) {
	memory := func(*testing.B) remote.Storage { return memstore.New() }
	server := func(b *testing.B) remote.Storage { return openS3(b, testkit.StartS3(b)) }
	const late, slow = 50 * time.Millisecond, 100_000_000
	for _, c := range []struct {
		name  string
		open  func(b *testing.B) remote.Storage
		delay time.Duration
		speed int64
	}{
		{"memory/late=50ms", memory, late, 0},
		{"s3/late=50ms", server, late, 0},
		{"memory/late=50ms,100MBps", memory, late, slow},
		{"s3/late=50ms,100MBps", server, late, slow},
		{"s3", server, 0, 0},
	} {
		b.Run(c.name, func(b *testing.B) { coldRead(b, &slowLink{c.open(b), c.delay, c.speed}) })
	}
}

func coldRead(b *testing.B, s remote.Storage) {
	e, tl := coldTimeline(b, s)
	place, dir := upload.Place{Tenant: manyTenant, Timeline: tl.Info().ID}, b.TempDir()
	var slowest, together, reads time.Duration
	n := 0
	for b.Loop() {
		n++
		var one time.Duration
		for _, d := range tl.Layers() {
			one = max(one, downloadBare(b, s, place, dir, d))
		}
		slowest += one
		together += downloadBare(b, s, place, dir, tl.Layers()...)
		begin := time.Now()
		_, err := tl.Get(b.Context(), coldKey(0), tl.LastRecordLSN())
		require.NoError(b, err)
		reads += time.Since(begin)
		forget(b, e)
	}
	require.EqualValues(b, n*coldLayers, e.Metrics().Downloads.Layers)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 / float64(n) }
	b.ReportMetric(ms(slowest), "slowest-ms")
	b.ReportMetric(ms(together), "together-ms")
	b.ReportMetric(ms(reads), "read-ms")
	b.ReportMetric(reads.Seconds()/slowest.Seconds(), "x-slowest")
	b.ReportMetric(reads.Seconds()/together.Seconds(), "x-together")
	require.NoError(b, e.Close())
}

// downloadBare fetches layers at once into files, each made durable, while nothing else runs.
func downloadBare(b *testing.B, s remote.Storage, place upload.Place, dir string, layers ...layer.Desc) time.Duration {
	begin := time.Now()
	var g errgroup.Group
	for i := range layers {
		g.Go(func() error {
			got, err := s.Get(b.Context(), place.Prefix()+upload.ObjectName(&layers[i]), remote.GetOptions{})
			if err != nil {
				return err
			}
			defer got.Body.Close()
			f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := io.CopyBuffer(struct{ io.Writer }{f}, got.Body, make([]byte, 512<<10)); err != nil {
				return err
			}
			return f.Sync()
		})
	}
	require.NoError(b, g.Wait())
	took := time.Since(begin)
	for i := range layers {
		require.NoError(b, os.Remove(filepath.Join(dir, strconv.Itoa(i))))
	}
	return took
}
