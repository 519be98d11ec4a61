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

// readKeys reads keys of one layer and gives what each has, or why not.
func readKeys(ctx context.Context, r *Reader, keys page.Set, lsns page.LSNRange) (map[string]string, error) {
	c := NewCollector(keys, lsns.End-1)
	defer c.Release()
	if err := r.Collect(ctx, c, keys, lsns); err != nil {
		return nil, err
	}
	if err := c.Fetch(ctx); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for k, found := range c.Results() {
		for _, f := range found {
			if f.Err != nil {
				return nil, f.Err
			}
			out[fmt.Sprint(k, f.LSN)] = string(f.Value)
		}
	}
	return out, nil
}

// Any bit of a file with a trailer is flipped, before the file is opened or after: a read says so and names
// the file, or gives the right values, as it did not come across the bit.
func TestReadsSeeEveryFlip(t *testing.T) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(1, 2))
	lsns := page.LSNRange{Start: 0x10, End: 0x41}
	sets := []page.Set{
		page.SetOfKeys(modelKey(7)),
		page.SetOfKeys(modelKey(0), modelKey(21), modelKey(39)),
		page.NewSet(page.Range{Start: modelKey(0), End: modelKey(50)}),
	}
	for _, image := range []bool{false, true} {
		d, good := smallLayerWith(t, image, WriterOptions{})
		require.True(t, d.Checked)
		open := func(fs virtualfile.FS) (r *Reader, done func(), err error) {
			blocks, err := cache.New(cache.Options{Bytes: 64 * blockSize})
			require.NoError(t, err)
			disk := diskOn(fs)
			r, err = OpenReader(ctx, disk, blocks, "/", testID, d)
			return r, func() {
				if r != nil {
					require.NoError(t, r.Close())
				}
				require.NoError(t, blocks.Close())
				require.NoError(t, disk.Close())
			}, err
		}
		var want []map[string]string
		fs := virtualfile.NewMem()
		put(t, fs, d.FileName(), good)
		r, done, err := open(fs)
		require.NoError(t, err)
		for _, s := range sets {
			m, err := readKeys(ctx, r, s, lsns)
			require.NoError(t, err)
			require.NotEmpty(t, m)
			want = append(want, m)
		}
		done()
		found, rounds := 0, testkit.Size(200, 1500, 20_000)
		for i := range rounds {
			bit := rnd.IntN(8 * len(good))
			if i%3 == 0 { // small values lie thick at the beginning
				bit = 8*dataStart + rnd.IntN(8*4096)
			}
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			fs := virtualfile.NewMem()
			before := rnd.IntN(2) == 0
			if before {
				put(t, fs, d.FileName(), bad)
			} else {
				put(t, fs, d.FileName(), good)
			}
			r, done, err := open(fs)
			if !before {
				require.NoError(t, err)
				f, err := fs.OpenFile(d.FileName(), virtualfile.FlagWrite)
				require.NoError(t, err)
				_, err = f.WriteAt(bad[bit/8:bit/8+1], int64(bit/8))
				require.NoError(t, err)
				require.NoError(t, f.Close())
			}
			if err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
				require.ErrorContains(t, err, d.FileName())
				found++
				done()
				continue
			}
			n := rnd.IntN(len(sets))
			got, err := readKeys(ctx, r, sets[n], lsns)
			if err != nil {
				found++
				require.ErrorIs(t, err, ErrCorrupt)
				require.ErrorContains(t, err, d.FileName())
				require.ErrorContains(t, err, "offset")
			} else {
				require.Equal(t, want[n], got, "bit %d", bit)
			}
			done()
		}
		require.Greater(t, found, rounds/5)
	}
}

// The same layers read through every mode and engine, with trailers and without, give the same values.
func TestReadsAreEqualUnderAllOptions(t *testing.T) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(3, 4))
	value := func(k, v int) []byte {
		b := make([]byte, (k*7919+v*131)%3000)
		for i := range b {
			b[i] = byte(i * (k + v))
		}
		return b
	}
	const versions = 5
	keys := testkit.Size(100, 300, 300)
	write := func(d *virtualfile.Disk, dir string, o WriterOptions) (ds []Desc) {
		for l := range 4 {
			lsns := page.LSNRange{Start: page.LSN(1 + l*versions), End: page.LSN(1 + (l+1)*versions)}
			w, err := NewDeltaWriter(d, dir, testID, page.MinKey, lsns, 1, o)
			require.NoError(t, err)
			for k := range keys {
				for v := range versions {
					require.NoError(t, w.Add(modelKey(k), lsns.Start+page.LSN(v), (k+v)%4 == 0, value(k, l*versions+v)))
				}
			}
			desc, err := w.Finish(context.Background(), page.MaxKey)
			require.NoError(t, err)
			ds = append(ds, desc)
		}
		w, err := NewImageWriter(d, dir, testID, page.FullRange, 3, 1, o)
		require.NoError(t, err)
		for k := range keys {
			require.NoError(t, w.Add(modelKey(k), value(k, 99)))
		}
		desc, err := w.Finish(context.Background(), page.MaxKey)
		require.NoError(t, err)
		return append(ds, desc)
	}
	var sets []page.Set
	for range testkit.Size(3, 20, 100) {
		a := rnd.IntN(keys)
		sets = append(sets, page.SetOfKeys(modelKey(a), modelKey(rnd.IntN(keys))), page.NewSet(page.Range{Start: modelKey(a), End: modelKey(a + 1 + rnd.IntN(keys-a))}))
	}
	var want []map[page.Key][]string
	for _, mode := range []virtualfile.Mode{virtualfile.Buffered, virtualfile.Direct, virtualfile.DirectRW} {
		for _, engine := range []virtualfile.EngineKind{virtualfile.EngineStd, virtualfile.EngineURing} {
			for _, o := range []WriterOptions{{}, {Unchecked: true}, {Compression: Compression{Disabled: true}}} {
				disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Mode: mode, Engine: engine, Validate: true, MaxDescriptors: 3})
				require.NoError(t, err)
				dir := t.TempDir()
				m, err := NewMap(write(disk, dir, o))
				require.NoError(t, err)
				readers := map[string]*Reader{}
				for _, d := range m.Layers() {
					readers[d.Name()], err = OpenReader(ctx, disk, testBlocks, dir, testID, d)
					require.NoError(t, err)
				}
				for i, s := range sets {
					lsn := page.LSN(3 + i%18)
					c := NewCollector(s, lsn)
					for v := range m.Visits(c, lsn+1) {
						require.NoError(t, readers[v.Desc.Name()].Collect(ctx, c, v.Keys, v.LSNs))
					}
					require.NoError(t, c.Fetch(ctx))
					got := map[page.Key][]string{}
					for k, found := range c.Results() {
						for _, f := range found {
							require.NoError(t, f.Err)
							got[k] = append(got[k], fmt.Sprintf("%s %v %x", f.LSN, f.Raw, f.Value))
						}
					}
					c.Release()
					if len(want) <= i {
						require.NotEmpty(t, got)
						want = append(want, got)
					}
					require.Equal(t, want[i], got, "mode %d, engine %d, %+v", mode, engine, o)
				}
				for _, r := range readers {
					require.NoError(t, r.Close())
				}
				require.Zero(t, disk.Metrics().BuffersInUse, "a buffer was not given back")
				require.NoError(t, disk.Close())
			}
		}
	}
}

// However many layers and keys, values come in one batch; a block of checksums that is not in memory comes
// in the same.
func TestFetchIsOneRound(t *testing.T) {
	ctx := context.Background()
	disk := diskOn(virtualfile.NewMem())
	blocks, err := cache.New(cache.Options{Bytes: 8 << 20})
	require.NoError(t, err)
	const height, keys = 20, 5000
	var rs []*Reader
	for l := range height {
		lsn := page.LSN(1 + l)
		w, err := NewDeltaWriter(disk, "/", testID, page.MinKey, page.LSNRange{Start: lsn, End: lsn + 1}, 1, WriterOptions{})
		require.NoError(t, err)
		for k := range keys {
			require.NoError(t, w.Add(modelKey(k), lsn, l == 0, bytes.Repeat([]byte{byte(k), byte(l)}, 300)))
		}
		d, err := w.Finish(context.Background(), page.MaxKey)
		require.NoError(t, err)
		r, err := OpenReader(ctx, disk, blocks, "/", testID, d)
		require.NoError(t, err)
		rs = append(rs, r)
	}
	read := func(set page.Set) Trace {
		c := NewCollector(set, height)
		defer c.Release()
		for _, r := range rs {
			require.NoError(t, r.Collect(ctx, c, set, r.desc.LSNs))
		}
		before := disk.Metrics().Batches
		require.NoError(t, c.Fetch(ctx))
		require.EqualValues(t, 1, disk.Metrics().Batches-before)
		for k, found := range c.Results() {
			require.Len(t, found, height)
			for i, f := range found {
				require.NoError(t, f.Err)
				require.Equal(t, bytes.Repeat([]byte{byte(k.F6), byte(height - 1 - i)}, 300), f.Value)
			}
		}
		var tr Trace
		c.Trace(&tr)
		require.Equal(t, 1, tr.Rounds)
		require.Len(t, tr.Visited, height)
		return tr
	}
	cold := read(page.SetOfKeys(modelKey(777)))
	require.Equal(t, height, cold.SumLoads)
	require.Equal(t, 2*height, cold.Reads)
	warm := read(page.SetOfKeys(modelKey(777)))
	require.Zero(t, warm.SumLoads)
	require.Zero(t, warm.IndexLoads)
	require.Equal(t, height, warm.Reads)
	wide := read(page.NewSet(page.Range{Start: modelKey(100), End: modelKey(200)}))
	require.Equal(t, height, wide.Reads, "neighbours come in one read")
	read(page.SetOfKeys(modelKey(1), modelKey(2000), modelKey(4999)))
	for _, r := range rs {
		require.NoError(t, r.Close())
	}
	require.NoError(t, blocks.Close())
	require.Zero(t, disk.Metrics().BuffersInUse)
	require.NoError(t, disk.Close())
}
