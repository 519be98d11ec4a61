package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/bench/workload"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
)

// layerNames gives the names of a real map.
func layerNames(tb testing.TB, name string) []string {
	tb.Helper()
	out, err := workload.LayerNames(testkit.Fixture(tb, workload.RealMaps[name]))
	require.NoError(tb, err)
	return out
}

// loadMap makes a map of layer names.
func loadMap(tb testing.TB, names []string) (*layer.Map, []layer.Desc) {
	tb.Helper()
	m, ds, err := workload.LoadMap(names)
	require.NoError(tb, err)
	return m, ds
}

// TestLayerMapSearch searches below every image of the real maps once.
func TestLayerMapSearch(t *testing.T) {
	for name := range workload.RealMaps {
		m, ds := loadMap(t, layerNames(t, name))
		points := workload.BelowImages(ds)
		hits, sum := workload.SearchAll(m, points)
		t.Logf("%s: %d layers, %d searches, %d hits, checksum %08x", name, m.Len(), len(points), hits, sum)
		require.NotZero(t, hits)
		require.Zero(t, testing.AllocsPerRun(10, func() { m.Search(points[0].Key, points[0].End) }))
	}
}

// BenchmarkLayerMapSearch measures one search just below an image layer of a real map, each in its turn.
func BenchmarkLayerMapSearch(b *testing.B) {
	for name := range workload.RealMaps {
		b.Run(name, func(b *testing.B) {
			m, ds := loadMap(b, layerNames(b, name))
			points := workload.BelowImages(ds)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p := &points[i]
				m.Search(p.Key, p.End)
				if i++; i == len(points) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkLayerMapBuild makes a real map of the names of its layers, and parses these alone.
func BenchmarkLayerMapBuild(b *testing.B) {
	for name := range workload.RealMaps {
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
