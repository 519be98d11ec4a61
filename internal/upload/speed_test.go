package upload_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote/s3store"
	"github.com/stratapg/strata/virtualfile"
)

const (
	mib = 1 << 20
	// largeLayer is what speed is measured with, transferMemory what a transfer may take.
	largeLayer     = 256 * mib
	transferMemory = 32 * mib
	// As s3store's defaults.
	barePart  = 16 * mib
	bareParts = 4
)

// bigFile makes a file that no one can compress, and a layer of it.
func bigFile(t testing.TB, n int, size int64) (layer.Desc, string) {
	path := filepath.Join(t.TempDir(), fmt.Sprint("layer", n))
	f, err := os.Create(path)
	require.NoError(t, err)
	block := make([]byte, mib)
	for at := int64(0); at < size; at += mib {
		for i := 0; i < mib; i += sha256.Size {
			s := sha256.Sum256(fmt.Append(nil, n, at, i%(64<<10)))
			copy(block[i:], s[:])
		}
		_, err = f.Write(block)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	return layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.LSN(n*8 + 1), End: page.LSN(n*8 + 9)}, Size: size, Generation: 1}, path
}

// bare uploads a file with the SDK's own calls and nothing else.
func bare(ctx context.Context, c *s3.Client, bucket, key, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	begun, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		return err
	}
	parts := make([]types.CompletedPart, (st.Size()+barePart-1)/barePart)
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(bareParts)
	for i := range parts {
		g.Go(func() error {
			n := min(barePart, st.Size()-int64(i)*barePart)
			number := int32(i + 1)
			out, err := c.UploadPart(inner, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: begun.UploadId, PartNumber: &number,
				Body: io.NewSectionReader(f, int64(i)*barePart, n), ContentLength: &n, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
			if err == nil {
				parts[i] = types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: begun.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	return err
}

func s3Queue(t testing.TB, server *testkit.S3, parallel int) *upload.Queue {
	s, err := s3store.Open(t.Context(), s3store.Options{Bucket: server.Bucket, Endpoint: server.Endpoint})
	require.NoError(t, err)
	q := upload.New(upload.Config{Remote: s, FS: virtualfile.NewOS(), Place: place, Generation: 1, Validator: upload.Always{}, Deletions: &deleter{},
		Logger: slog.New(slog.DiscardHandler), Clock: clock.System, Parallel: parallel}, nil)
	t.Cleanup(func() { _ = q.Shutdown(context.Background(), false) })
	return q
}

// TestUploadMemory: a transfer takes no more memory than it may, however large its layer.
func TestUploadMemory(t *testing.T) {
	server := testkit.StartS3(t)
	q := s3Queue(t, server, 1)
	d, path := bigFile(t, 1, int64(testkit.Size(40, 64, 256))*mib)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, q.Layer(d, path))
	q.Index(nil)
	var done atomic.Bool
	var wait error
	go func() {
		wait = q.Wait(context.Background())
		done.Store(true)
	}()
	peak := uint64(0)
	for !done.Load() {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse+now.StackInuse)
		time.Sleep(tick)
	}
	require.NoError(t, wait)
	took := int64(peak) - int64(before.HeapInuse+before.StackInuse)
	t.Logf("%d KiB for %d MiB", took>>10, d.Size/mib)
	require.Less(t, took, int64(transferMemory))
}

// BenchmarkUploadS3 uploads large layers to a real server, through the queue and with the SDK alone by turns, and says how they compare.
func BenchmarkUploadS3(b *testing.B) {
	server := testkit.StartS3(b)
	c, err := config.LoadDefaultConfig(b.Context(), config.WithRegion("us-east-1"))
	require.NoError(b, err)
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String(server.Endpoint), true })
	q := s3Queue(b, server, 1)
	_, path := bigFile(b, 0, largeLayer)
	var alone, queued time.Duration
	n := 0
	for b.Loop() {
		n++
		begin := time.Now()
		require.NoError(b, bare(b.Context(), client, server.Bucket, "bare", path))
		alone += time.Since(begin)
		begin = time.Now()
		d := layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.LSN(n*8 + 1), End: page.LSN(n*8 + 9)}, Size: largeLayer, Generation: 1}
		require.NoError(b, q.Layer(d, path))
		q.Index(nil)
		require.NoError(b, q.Wait(b.Context()))
		queued += time.Since(begin)
	}
	speed := func(d time.Duration) float64 { return float64(n) * largeLayer / mib / d.Seconds() }
	b.ReportMetric(speed(alone), "bare-MiB/s")
	b.ReportMetric(speed(queued), "queue-MiB/s")
	b.ReportMetric(100*alone.Seconds()/queued.Seconds(), "%of-bare")
}
