package layer

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// BenchmarkDeltaWriter writes 128 MiB of values in key order to a disk; ns/entry is the figure.
func BenchmarkDeltaWriter(b *testing.B) {
	for _, size := range []int{100, 8192} {
		for _, unchecked := range []bool{false, true} {
			b.Run(fmt.Sprintf("value=%d/trailer=%t", size, !unchecked), func(b *testing.B) {
				dir := b.TempDir()
				disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{})
				require.NoError(b, err)
				defer disk.Close()
				value := make([]byte, size)
				n := 128 << 20 / size
				b.SetBytes(int64(n * size))
				b.ReportAllocs()
				for b.Loop() {
					w, err := NewDeltaWriter(disk, dir, testID, page.MinKey, page.LSNRange{Start: 1, End: page.MaxLSN}, 1, WriterOptions{Unchecked: unchecked})
					require.NoError(b, err)
					rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
					for i := range n {
						binary.LittleEndian.PutUint64(value, uint64(i)*0x9E3779B97F4A7C15)
						if err := w.Add(rel.Block(uint32(i)), page.LSN(8*i+8), true, value); err != nil {
							b.Fatal(err)
						}
					}
					d, err := w.Finish(context.Background(), page.MaxKey)
					require.NoError(b, err)
					require.NoError(b, disk.Remove(dir+"/"+d.FileName()))
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
			})
		}
	}
}
