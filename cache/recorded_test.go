package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/cache/cachesim"
	"github.com/stratapg/strata/cache/trace"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	imagesOfStore, pagesOfImage = 32, 4096
	l0sOfStore, recordsOfL0     = 12, 32 << 10
)

// store is a small one of real layer files: images side by side, and L0 deltas over all of them.
type store struct {
	disk   *virtualfile.Disk
	blocks *cache.Blocks
	layers []*layer.Reader // newest first
}

func makeStore(t testing.TB, observe func(cache.Key, cache.Kind)) *store {
	disk, err := virtualfile.NewDisk(virtualfile.NewMem(), virtualfile.DiskOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	require.NoError(t, disk.FS().MkdirAll("/store"))
	blocks, err := cache.New(cache.Options{Bytes: 16 << 20, Observe: observe})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, blocks.Close()) })
	s := &store{disk: disk, blocks: blocks}
	rng := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 256)
	for i := range l0sOfStore {
		lsns := page.LSNRange{Start: page.LSN(1000 - i*10), End: page.LSN(1010 - i*10)}
		w, err := layer.NewDeltaWriter(disk, "/store", layer.Identity{}, page.MinKey, lsns, 1, layer.WriterOptions{})
		require.NoError(t, err)
		const step = imagesOfStore * pagesOfImage / recordsOfL0
		for n := range uint32(recordsOfL0) {
			require.NoError(t, w.Add(block(n*step+rng.Uint32N(step)), lsns.Start, false, value[:100]))
		}
		s.open(t, func(end page.Key) (layer.Desc, error) { return w.Finish(context.Background(), end) })
	}
	for i := range uint32(imagesOfStore) {
		keys := page.Range{Start: block(i * pagesOfImage), End: block((i + 1) * pagesOfImage)}
		w, err := layer.NewImageWriter(disk, "/store", layer.Identity{}, keys, 500, 1, layer.WriterOptions{Compression: layer.Compression{Disabled: true}})
		require.NoError(t, err)
		for n := range uint32(pagesOfImage) {
			require.NoError(t, w.Add(block(i*pagesOfImage+n), value))
		}
		s.open(t, func(page.Key) (layer.Desc, error) { return w.Finish(context.Background(), keys.End) })
	}
	return s
}

func block(n uint32) page.Key { return page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(n) }

func (s *store) open(t testing.TB, finish func(page.Key) (layer.Desc, error)) {
	d, err := finish(page.MaxKey)
	require.NoError(t, err)
	r, err := layer.OpenReader(context.Background(), s.disk, s.blocks, "/store", layer.Identity{}, d)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	s.layers = append(s.layers, r)
}

// read reads a page as a timeline does: every layer from the newest on, then all values at once.
func (s *store) read(t testing.TB, n uint32) {
	c := layer.NewCollector(page.SetOfKeys(block(n)), 2000)
	defer c.Release()
	for _, r := range s.layers {
		require.NoError(t, r.Collect(t.Context(), c, c.Open(), page.LSNRange{End: 2001}))
	}
	require.NoError(t, c.Fetch(t.Context()))
	require.Equal(t, 1, c.Len())
}

// record reads pages, Zipf distributed, and now and then a range of them, as a scan of a relation does.
func record(t testing.TB, reads int) (steps []cachesim.Step) {
	var b bytes.Buffer
	rec := trace.NewRecorder(&b, 1<<24)
	s := makeStore(t, rec.Observe)
	const pages = imagesOfStore * pagesOfImage
	rng := rand.New(rand.NewPCG(2, 2))
	zipf := rand.NewZipf(rng, 1.1, 8, pages-1)
	for range reads {
		s.read(t, uint32(zipf.Uint64()*0x9e3779b97f4a7c15>>32)%pages)
		if rng.IntN(20) == 0 {
			from := rng.Uint32N(pages - 64)
			for n := range uint32(64) {
				s.read(t, from+n)
			}
		}
	}
	require.NoError(t, rec.Close())
	for a, err := range trace.Read(&b) {
		require.NoError(t, err)
		steps = append(steps, cachesim.Step{Access: a})
	}
	return steps
}

// TestCompareRecorded is TestCompare on what the readers of real layer files ask the cache for.
func TestCompareRecorded(t *testing.T) {
	steps := record(t, testkit.Size(300, 2_000, 20_000))
	different := map[cache.Key]bool{}
	for _, s := range steps {
		different[s.Key] = true
	}
	t.Logf("%d accesses to %d blocks", len(steps), len(different))
	require.Greater(t, len(steps), 1000, "the read path does not use the cache")
	for _, blocks := range []int{64, 128, 256, 512} {
		got := map[string]float64{}
		for name, make := range policies {
			got[name], _ = run(make(t, blocks), steps)
		}
		most, _ := ratios(steps, best(steps, blocks))
		line := fmt.Sprintf("%6d blocks: best %.3f", blocks, most)
		for _, name := range []string{"s3-fifo", "clock", "lru", "tinylfu"} {
			line += fmt.Sprintf("  %s %.3f", name, got[name])
		}
		t.Log(line)
		require.LessOrEqual(t, got["s3-fifo"], most)
		require.Greater(t, got["s3-fifo"], got["clock"]-0.02)
		require.Greater(t, got["s3-fifo"], got["lru"]-0.02)
	}
}
