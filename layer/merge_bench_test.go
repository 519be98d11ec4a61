package layer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// BenchmarkMerge merges deltas over all keys, as L0s are, of records and of pages, and images. "read" is a walk
// through the same layers one after the other.
func BenchmarkMerge(b *testing.B) {
	for _, c := range []struct {
		layers, values, size int
		image                bool
	}{
		{layers: 16, values: 60_000, size: 100},
		{layers: 200, values: 5_000, size: 100},
		{layers: 16, values: 1_000, size: 8192},
		{layers: 16, values: 1_000, size: 8192, image: true},
	} {
		name := fmt.Sprintf("layers=%d/size=%d/image=%v", c.layers, c.size, c.image)
		disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Mode: virtualfile.DirectRW})
		require.NoError(b, err)
		dir := b.TempDir()
		rnd := rand.New(rand.NewPCG(1, 2))
		var ds []Desc
		var bytes int64
		for i := range c.layers {
			keys := make([]int, c.values)
			for j := range keys {
				keys[j] = rnd.IntN(1 << 30)
			}
			slices.Sort(keys)
			d := benchLayer(b, disk, dir, page.LSN(8*(i+1)), slices.Compact(keys), c.size, c.image)
			ds, bytes = append(ds, d), bytes+d.Size
		}
		readers := openMerged(b, disk, dir, ds)
		for _, merge := range []bool{true, false} {
			b.Run(map[bool]string{true: "merge/", false: "read/"}[merge]+name, func(b *testing.B) {
				b.SetBytes(bytes)
				b.ReportAllocs()
				var entries int64
				for b.Loop() {
					if merge {
						entries += mergeAll(b, readers)
						continue
					}
					for _, r := range readers {
						require.NoError(b, r.IterateStored(context.Background(), func(page.Key, page.LSN, bool, Stored) error {
							entries++
							return nil
						}))
					}
				}
				b.ReportMetric(float64(entries)/b.Elapsed().Seconds()/1e6, "M_entries/s")
			})
		}
	}
}

func mergeAll(b *testing.B, readers []*Reader) int64 {
	m, err := OpenMerge(context.Background(), readers, MergeOptions{Stored: true})
	require.NoError(b, err)
	defer m.Close()
	for {
		_, ok, err := m.Next(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			return m.Stats().Entries
		}
	}
}

func benchLayer(b *testing.B, disk *virtualfile.Disk, dir string, lsn page.LSN, keys []int, size int, image bool) Desc {
	value := make([]byte, size)
	if !image {
		w, err := NewDeltaWriter(disk, dir, testID, page.MinKey, page.LSNRange{Start: lsn, End: lsn + 8}, 1, WriterOptions{})
		require.NoError(b, err)
		for _, k := range keys {
			binary.BigEndian.PutUint32(value, uint32(k))
			require.NoError(b, w.Add(modelKey(k), lsn, false, value))
		}
		d, err := w.Finish(context.Background(), page.MaxKey)
		require.NoError(b, err)
		return d
	}
	w, err := NewImageWriter(disk, dir, testID, page.FullRange, lsn, 1, WriterOptions{})
	require.NoError(b, err)
	value = pgPage(rand.New(rand.NewPCG(1, 2)))
	for _, k := range keys {
		require.NoError(b, w.Add(modelKey(k), value))
	}
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(b, err)
	return d
}
