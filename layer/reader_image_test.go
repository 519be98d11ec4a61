package layer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// imageFile is an image layer of every other key up to keys, and what it holds.
func imageFile(t *testing.T, fs virtualfile.FS, disk *virtualfile.Disk, keys int, o WriterOptions) (Desc, map[page.Key][]byte) {
	rnd := rand.New(rand.NewPCG(7, 8))
	w, err := NewImageWriter(disk, "/", testID, page.Range{Start: modelKey(0), End: modelKey(2 * keys)}, 0x10, 1, o)
	require.NoError(t, err)
	values := map[page.Key][]byte{}
	for k := range keys {
		v := make([]byte, 1+rnd.IntN(9000))
		for i := range v {
			v[i] = byte(rnd.Uint32N(4))
		}
		values[modelKey(2*k)] = v
		require.NoError(t, w.Add(modelKey(2*k), v))
	}
	d, err := w.Finish(context.Background(), modelKey(2*keys))
	require.NoError(t, err)
	return d, values
}

// The short way gives the image or nothing, in every kind of file; nothing where checksums are not in memory.
func TestReadImage(t *testing.T) {
	ctx := context.Background()
	keys := testkit.Size(1000, 2000, 20000) // so many that not all checksums lie in the block of the footer
	for _, o := range []WriterOptions{
		{}, {Compression: Compression{Disabled: true}}, {Unchecked: true}, {Unchecked: true, Compression: Compression{Disabled: true}},
	} {
		t.Run(fmt.Sprintf("unchecked=%v,plain=%v", o.Unchecked, o.Compression.Disabled), func(t *testing.T) {
			fs := virtualfile.NewMem()
			disk := diskOn(fs)
			t.Cleanup(func() { require.NoError(t, disk.Close()) })
			d, values := imageFile(t, fs, disk, keys, o)
			blocks, err := cache.New(cache.Options{Bytes: 512 * blockSize})
			require.NoError(t, err)
			r, err := OpenReader(ctx, disk, blocks, "/", testID, d)
			require.NoError(t, err)
			all := page.NewSet(page.Range{Start: modelKey(0), End: modelKey(2 * keys)})
			var m Image
			cold := r.ReadImage(ctx, modelKey(0), &m)
			m.Release()
			require.Equal(t, o.Unchecked, cold)
			c := NewCollector(all, 0x10)
			require.NoError(t, r.Collect(ctx, c, all, d.LSNs))
			require.NoError(t, c.Fetch(ctx))
			c.Release()
			given := 0
			for k := range 2*keys + 2 {
				if r.ReadImage(ctx, modelKey(k), &m) {
					require.True(t, bytes.Equal(values[modelKey(k)], m.Value), "key %d", k)
					given++
				}
				m.Release()
			}
			require.GreaterOrEqual(t, given, keys-int(r.sum.indexRoot)-1, "only the last of a leaf takes the other way, not what has two blocks of checksums")
			stopped, cancel := context.WithCancel(ctx)
			cancel()
			require.False(t, r.ReadImage(stopped, modelKey(0), &m))
			m.Release()
			require.NoError(t, r.Close())
			require.NoError(t, blocks.Close())
			require.Zero(t, disk.Metrics().BuffersInUse)
		})
	}
}

// What is damaged is never given: the short way leaves it to the one that tells.
func TestReadImageOfDamage(t *testing.T) {
	ctx := context.Background()
	const keys = 64
	fs := virtualfile.NewMem()
	disk := diskOn(fs)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	d, values := imageFile(t, fs, disk, keys, WriterOptions{})
	f, err := fs.OpenFile("/"+d.FileName(), virtualfile.FlagWrite)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	rnd := rand.New(rand.NewPCG(9, 10))
	refused := 0
	for range testkit.Size(20, 200, 2000) {
		blocks, err := cache.New(cache.Options{Bytes: 64 * blockSize})
		require.NoError(t, err)
		r, err := OpenReader(ctx, disk, blocks, "/", testID, d)
		require.NoError(t, err)
		all := page.NewSet(page.Range{Start: modelKey(0), End: modelKey(2 * keys)})
		c := NewCollector(all, 0x10)
		require.NoError(t, r.Collect(ctx, c, all, d.LSNs))
		require.NoError(t, c.Fetch(ctx))
		c.Release()
		var b [1]byte
		at := dataStart + rnd.Int64N(r.dataEnd()-dataStart)
		_, err = f.ReadAt(b[:], at)
		require.NoError(t, err)
		good := b[0]
		b[0] ^= 1 << rnd.IntN(8)
		_, err = f.WriteAt(b[:], at)
		require.NoError(t, err)
		for k, v := range values {
			var m Image
			if r.ReadImage(ctx, k, &m) {
				require.True(t, bytes.Equal(v, m.Value))
			} else {
				refused++
			}
			m.Release()
		}
		b[0] = good
		_, err = f.WriteAt(b[:], at)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.NoError(t, blocks.Close())
	}
	require.Positive(t, refused)
}

// Has knows every key that was put, whatever its LSN, and no other.
func TestMemHas(t *testing.T) {
	m := NewMem(0x10, nil)
	require.False(t, m.Has(modelKey(1)))
	for k := 0; k < 100; k += 3 {
		memPutRaw(t, m, modelKey(k), page.LSN(0x20+k), true, []byte("value"))
	}
	for k := range 110 {
		require.Equal(t, k < 100 && k%3 == 0, m.Has(modelKey(k)), "key %d", k)
	}
	m.Release()
}
