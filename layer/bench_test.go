package layer

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

func realLayers(t testing.TB, name string) (out []Desc) {
	f, err := os.Open(fixture(t, "layermaps/"+name+"-layernames.txt.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for sc := bufio.NewScanner(z); sc.Scan(); {
		d, err := ParseName(sc.Text())
		require.NoError(t, err)
		require.Equal(t, sc.Text(), d.Name())
		out = append(out, d)
	}
	return out
}

func TestRealLayerMaps(t *testing.T) {
	for name, want := range map[string][3]int{"odd-brook": {26690, 24070, 9}, "large-layer-map": {5651, 3878, 6}} {
		ds := realLayers(t, name)
		m, err := NewMap(ds)
		require.NoError(t, err)
		require.Equal(t, want, [3]int{m.Len(), m.images.len(), m.L0().Height()})
		// A point search finds the same as looking at every layer.
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			d := ds[rnd.IntN(len(ds))]
			k, end := d.Keys.Start.Next(), d.LSNs.Start
			var best page.LSN
			for i := range ds {
				if ds[i].LSNs.Start < end && ds[i].Keys.Contains(k) {
					best = max(best, min(ds[i].LSNs.End, end))
				}
			}
			hit, _ := m.Search(k, end)
			require.Equal(t, best, hit.LSNs.End)
		}
	}
}

// pgPage is much like a table's page: a header, pointers, rows that resemble each other.
func pgPage(rnd *rand.Rand) []byte {
	p := make([]byte, blockSize)
	for i := 1000; i+100 < len(p); i += 100 {
		binary.LittleEndian.PutUint32(p[i:], uint32(rnd.IntN(1000)))
		binary.LittleEndian.PutUint32(p[i+20:], rnd.Uint32())
		copy(p[i+30:], "some text of a row, padded with blanks          ")
	}
	return p
}

func BenchmarkImageWriter(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var pages [64][]byte
	for i := range pages {
		pages[i] = pgPage(rnd)
	}
	for _, c := range []Compression{{}, {Disabled: true}} {
		b.Run(map[bool]string{false: "zstd", true: "disabled"}[c.Disabled], func(b *testing.B) {
			dir := b.TempDir()
			fs := virtualfile.NewOS()
			b.SetBytes(blockSize)
			w, err := NewImageWriter(diskFor(b, fs), dir, testID, page.FullRange, 8, 1, WriterOptions{Compression: c})
			require.NoError(b, err)
			n := uint32(0)
			for b.Loop() {
				if err := w.Add(modelKey(int(n)), pages[n%64]); err != nil {
					b.Fatal(err)
				}
				n++
			}
			d, err := w.Finish(context.Background(), page.MaxKey)
			require.NoError(b, err)
			b.ReportMetric(float64(d.Size)/float64(n)/blockSize, "stored/raw")
		})
	}
}

func BenchmarkReaderGet(b *testing.B) {
	ctx := context.Background()
	fs, dir := virtualfile.NewOS(), b.TempDir()
	w, err := NewImageWriter(diskFor(b, fs), dir, testID, page.FullRange, 8, 1, WriterOptions{})
	require.NoError(b, err)
	rnd := rand.New(rand.NewPCG(1, 2))
	const pages = 10000
	for i := range pages {
		require.NoError(b, w.Add(modelKey(i), pgPage(rnd)))
	}
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(b, err)
	r, err := openOn(b, fs, dir, testID, d)
	require.NoError(b, err)
	defer r.Close()
	for name, n := range map[string]int{"one": 1, "run of 32": 32} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(n) * blockSize)
			b.ReportAllocs()
			for b.Loop() {
				i := rnd.IntN(pages - n)
				c := NewCollector(page.NewSet(page.Range{Start: modelKey(i), End: modelKey(i + n)}), 8)
				if err := r.Collect(ctx, c, c.Keys(), page.LSNRange{Start: 0, End: 9}); err != nil || c.Len() != n {
					b.Fatal(err, c.Len())
				}
				if err := c.Fetch(ctx); err != nil {
					b.Fatal(err)
				}
				c.Release()
			}
		})
	}
}
