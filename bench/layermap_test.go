package bench

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"hash/crc32"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// realMaps are the layer names of two timelines of Neon's, by the name of their benchmark.
var realMaps = map[string]string{
	"odd-brook": "layermaps/odd-brook-layernames.txt.gz",
	"large":     "layermaps/large-layer-map-layernames.txt.gz",
}

// layerNames gives the names of a real map.
func layerNames(tb testing.TB, name string) (out []string) {
	tb.Helper()
	f, err := os.Open(testkit.Fixture(tb, realMaps[name]))
	require.NoError(tb, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(tb, err)
	sc := bufio.NewScanner(z)
	for sc.Scan() {
		out = append(out, sc.Text())
	}
	require.NoError(tb, sc.Err())
	return out
}

// loadMap makes a map of layer names.
func loadMap(tb testing.TB, names []string) (*layer.Map, []layer.Desc) {
	tb.Helper()
	ds := make([]layer.Desc, len(names))
	for i, s := range names {
		var err error
		if ds[i], err = layer.ParseName(s); err != nil {
			tb.Fatal(err)
		}
	}
	m, err := layer.NewMap(ds)
	require.NoError(tb, err)
	return m, ds
}

// point is a search in a layer map.
type point struct {
	key page.Key
	end page.LSN
}

// belowImages gives one search just below every image layer, its start key + 1 at its LSN - 1, in the order of
// LSNs, as Neon's benchmark does.
func belowImages(ds []layer.Desc) (out []point) {
	for _, d := range ds {
		if d.Image {
			out = append(out, point{d.Keys.Start.Next(), d.LSNs.Start})
		}
	}
	slices.SortStableFunc(out, func(a, b point) int { return cmp.Compare(a.end, b.end) })
	return out
}

func searchAll(m *layer.Map, points []point) (hits int, sum uint32) {
	for _, p := range points {
		if hit, ok := m.Search(p.key, p.end); ok {
			hits++
			sum = crc32.Update(sum, crc32.IEEETable, []byte(hit.Desc().Name()))
		}
	}
	return hits, sum
}

// TestLayerMapSearch searches below every image of the real maps once.
func TestLayerMapSearch(t *testing.T) {
	for name := range realMaps {
		m, ds := loadMap(t, layerNames(t, name))
		points := belowImages(ds)
		hits, sum := searchAll(m, points)
		t.Logf("%s: %d layers, %d searches, %d hits, checksum %08x", name, m.Len(), len(points), hits, sum)
		require.NotZero(t, hits)
		require.Zero(t, testing.AllocsPerRun(10, func() { m.Search(points[0].key, points[0].end) }))
	}
}

// BenchmarkLayerMapSearch measures one search just below an image layer of a real map, each in its turn.
func BenchmarkLayerMapSearch(b *testing.B) {
	for name := range realMaps {
		b.Run(name, func(b *testing.B) {
			m, ds := loadMap(b, layerNames(b, name))
			points := belowImages(ds)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p := &points[i]
				m.Search(p.key, p.end)
				if i++; i == len(points) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkLayerMapBuild makes a real map of the names of its layers, and parses these alone.
func BenchmarkLayerMapBuild(b *testing.B) {
	for name := range realMaps {
		names := layerNames(b, name)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				loadMap(b, names)
			}
		})
		b.Run(name+"/names", func(b *testing.B) {
			for b.Loop() {
				for _, s := range names {
					if _, err := layer.ParseName(s); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
