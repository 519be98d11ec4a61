package layer

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

// benchMaps are the real maps and the hard shapes, of 100,000 layers each.
func benchMaps(b *testing.B, run func(b *testing.B, ds []Desc)) {
	for _, name := range []string{"odd-brook", "large-layer-map"} {
		b.Run(name, func(b *testing.B) { run(b, realLayers(b, name)) })
	}
	for name, ds := range shapes(100_000) {
		b.Run(name, func(b *testing.B) { run(b, ds) })
	}
}

// BenchmarkMapBuild makes a map of all layers, and tells what it holds for each.
func BenchmarkMapBuild(b *testing.B) {
	benchMaps(b, func(b *testing.B, ds []Desc) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m, err := NewMap(ds)
		require.NoError(b, err)
		runtime.GC()
		runtime.ReadMemStats(&after)
		for b.Loop() {
			_, err := NewMap(ds)
			require.NoError(b, err)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(m.Len()), "B/layer")
	})
}

// BenchmarkMapApply removes one layer and puts it back, which makes two versions.
func BenchmarkMapApply(b *testing.B) {
	benchMaps(b, func(b *testing.B, ds []Desc) {
		m, err := NewMap(ds)
		require.NoError(b, err)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			d := ds[i*7919%len(ds) : i*7919%len(ds)+1]
			n, err := m.Apply(nil, d)
			require.NoError(b, err)
			_, err = n.Apply(d, nil)
			require.NoError(b, err)
		}
	})
}

// BenchmarkMapSearch searches just below the start of every layer, at its first key.
func BenchmarkMapSearch(b *testing.B) {
	benchMaps(b, func(b *testing.B, ds []Desc) {
		m, err := NewMap(ds)
		require.NoError(b, err)
		for i := 0; b.Loop(); i++ {
			d := &ds[i*7919%len(ds)]
			m.Search(d.Keys.Start, d.LSNs.Start)
		}
	})
}

// BenchmarkMapVisits plans the read of one key, and of all keys of a layer.
func BenchmarkMapVisits(b *testing.B) {
	ds := realLayers(b, "odd-brook")
	m, err := NewMap(ds)
	require.NoError(b, err)
	for name, set := range map[string]func(d *Desc) page.Set{
		"key":   func(d *Desc) page.Set { return page.SetOfKeys(d.Keys.Start) },
		"layer": func(d *Desc) page.Set { return page.NewSet(d.Keys) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				d := &ds[i*7919%len(ds)]
				m.plan(set(d), d.LSNs.End)
			}
		})
	}
}

// BenchmarkMapCoverage divides all keys by what covers them at the end; its visibility has one read point,
// and then those of Neon's benchmark.
func BenchmarkMapCoverage(b *testing.B) {
	m, err := NewMap(realLayers(b, "odd-brook"))
	require.NoError(b, err)
	b.Run("coverage", func(b *testing.B) {
		for b.Loop() {
			require.NotEmpty(b, m.Coverage(page.FullRange, page.MaxLSN))
		}
	})
	points := []page.LSN{0x1C760FA190, 0x931BEAD539, 0x931BF63011, 0x931B33AE68, 0x38E67ABFA0, 0x914E3F38F0}
	for name, points := range map[string][]page.LSN{"visibility": points[:1], "visibility-branches": points} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				m.Visibility(points)
			}
		})
	}
}
