package layer

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// A damaged chunk fails the values that touch it, and no others of those that were read with them in one go.
func TestDamageFailsOnlyWhatItTouches(t *testing.T) {
	ctx := context.Background()
	const keys, size = 64, 3000
	const blob = size + longBlobHeader
	rnd := rand.New(rand.NewPCG(5, 6))
	fs := virtualfile.NewMem()
	disk := diskOn(fs)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	w, err := NewImageWriter(disk, "/", testID, page.FullRange, 0x10, 1, WriterOptions{Compression: Compression{Disabled: true}})
	require.NoError(t, err)
	values := make([][]byte, keys)
	for k := range values {
		values[k] = make([]byte, size)
		for i := range values[k] {
			values[k][i] = byte(rnd.Uint32())
		}
		require.NoError(t, w.Add(modelKey(k), values[k]))
	}
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(t, err)
	f, err := fs.OpenFile("/"+d.FileName(), virtualfile.FlagWrite)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	flip := func(at int64, bit int) {
		var b [1]byte
		_, err := f.ReadAt(b[:], at)
		require.NoError(t, err)
		b[0] ^= 1 << bit
		_, err = f.WriteAt(b[:], at)
		require.NoError(t, err)
	}
	all := page.NewSet(page.Range{Start: modelKey(0), End: modelKey(keys)})
	for range testkit.Size(30, 200, 2000) {
		at, bit := int64(dataStart+rnd.IntN(keys*blob)), rnd.IntN(8)
		flip(at, bit)
		blocks, err := cache.New(cache.Options{Bytes: 64 * blockSize})
		require.NoError(t, err)
		r, err := OpenReader(ctx, disk, blocks, "/", testID, d)
		require.NoError(t, err)
		chunk := int64(r.sums.chunk())
		c := NewCollector(all, 0x10)
		require.NoError(t, r.Collect(ctx, c, all, d.LSNs))
		require.NoError(t, c.Fetch(ctx))
		seen, failed := 0, 0
		for k, found := range c.Results() {
			first, last := int64(dataStart+seen*blob)/chunk, int64(dataStart+(seen+1)*blob-1)/chunk
			require.Equal(t, modelKey(seen), k)
			require.Len(t, found, 1)
			if at/chunk >= first && at/chunk <= last {
				require.ErrorIs(t, found[0].Err, ErrCorrupt)
				require.Nil(t, found[0].Value)
				failed++
			} else {
				require.NoError(t, found[0].Err, "byte %d was damaged", at)
				require.True(t, bytes.Equal(values[seen], found[0].Value))
			}
			seen++
		}
		require.Equal(t, keys, seen)
		require.Positive(t, failed)
		require.Less(t, c.path.reads, keys/2, "neighbours come in one read")
		c.Release()
		require.NoError(t, r.Close())
		require.NoError(t, blocks.Close())
		flip(at, bit)
	}
}
