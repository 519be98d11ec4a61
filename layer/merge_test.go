package layer

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/cache"
	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// mergeLine is what a merge says of one version.
func mergeLine(e Merged) string {
	return fmt.Sprintf("%s %s image=%v init=%v from %d: %s", e.Key, e.LSN, e.Image, e.WillInit, e.Layer, e.Value)
}

// drain gives all that is left of a merge.
func drain(t require.TestingT, m *Merge) (out []string) {
	for {
		e, ok, err := m.Next(context.Background())
		require.NoError(t, err)
		if !ok {
			return out
		}
		out = append(out, mergeLine(e))
	}
}

// drainSomehow is drain by single versions and by many, as it is drawn.
func drainSomehow(t *rapid.T, m *Merge) (out []string) {
	for single := rapid.Bool(); ; {
		var some []Merged
		if single.Draw(t, "single") {
			e, ok, err := m.Next(context.Background())
			require.NoError(t, err)
			if ok {
				some = append(some, e)
			}
		} else {
			var err error
			some, err = m.NextBatch(context.Background())
			require.NoError(t, err)
		}
		if len(some) == 0 {
			return out
		}
		for _, e := range some {
			out = append(out, mergeLine(e))
		}
		require.Equal(t, int64(len(out)), m.Stats().Entries)
	}
}

// expectMerge gathers everything, sorts it, and drops what comes again.
func expectMerge(t require.TestingT, readers []*Reader, keys page.Range) (out []string, duplicates int) {
	var all []Merged
	for i, r := range readers {
		require.NoError(t, r.Iterate(context.Background(), func(k page.Key, lsn page.LSN, willInit bool, v []byte) error {
			if keys.Contains(k) {
				all = append(all, Merged{Key: k, LSN: lsn, Image: r.desc.Image, WillInit: willInit, Value: slices.Clone(v), Layer: i})
			}
			return nil
		}))
	}
	slices.SortStableFunc(all, func(a, b Merged) int {
		image := 0
		if a.Image != b.Image {
			image = 1
			if a.Image {
				image = -1
			}
		}
		return cmp.Or(a.Key.Compare(b.Key), cmp.Compare(a.LSN, b.LSN), image)
	})
	n := len(all)
	all = slices.CompactFunc(all, func(a, b Merged) bool { return a.Key == b.Key && a.LSN == b.LSN })
	for _, e := range all {
		out = append(out, mergeLine(e))
	}
	return out, n - len(all)
}

// Versions lie in layers that overlap in every way; the merge gives what a sort of everything gives, once.
func TestMergeEqualsSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		fs := virtualfile.NewMem()
		require.NoError(t, fs.MkdirAll("l"))
		ds := rapid.Permutation(drawLayers(t, &m, fs)).Draw(t, "order")
		disk := diskOn(fs)
		defer disk.Close()
		var readers []*Reader
		for _, d := range ds {
			r, err := OpenReader(context.Background(), disk, testBlocks, "l", testID, d)
			require.NoError(t, err)
			defer r.Close()
			readers = append(readers, r)
		}
		o := MergeOptions{Memory: int64(rapid.IntRange(0, 1<<20).Draw(t, "memory"))}
		want := page.FullRange
		if rapid.Bool().Draw(t, "some keys") {
			from, to := drawRange(t, modelKeys, "keys")
			o.Keys = page.Range{Start: modelKey(from), End: modelKey(to)}
			want = o.Keys
		}
		lines, duplicates := expectMerge(t, readers, want)
		merge, err := OpenMerge(context.Background(), readers, o)
		require.NoError(t, err)
		require.Equal(t, lines, drainSomehow(t, merge))
		_, ok, err := merge.Next(context.Background())
		require.NoError(t, err)
		require.False(t, ok, "the end stays the end")
		require.Equal(t, int64(len(lines)), merge.Stats().Entries)
		require.Equal(t, int64(duplicates), merge.Stats().Duplicates)
		merge.Close()
		merge.Close()
		requirePlaces(t, readers, o, lines)
		_, _, err = merge.Next(context.Background())
		require.ErrorIs(t, err, errMergeClosed)
		_, err = merge.NextBatch(context.Background())
		require.ErrorIs(t, err, errMergeClosed)
		require.Zero(t, disk.Metrics().BuffersInUse)
	})
}

// requirePlaces has a merge of the indexes alone say what one with values said, and how long the values are in their
// layers.
func requirePlaces(t *rapid.T, readers []*Reader, o MergeOptions, lines []string) {
	sizes := make([]map[string]int64, len(readers))
	for i, r := range readers {
		sizes[i] = map[string]int64{}
		places := r.Places(page.FullRange)
		for {
			p, ok, err := places.Next(context.Background())
			require.NoError(t, err)
			if !ok {
				break
			}
			sizes[i][fmt.Sprint(p.Key, p.LSN)] = p.Size
		}
		places.Close()
	}
	o.Places = true
	merge, err := OpenMerge(context.Background(), readers, o)
	require.NoError(t, err)
	defer merge.Close()
	for n := 0; ; n++ {
		e, ok, err := merge.Next(context.Background())
		require.NoError(t, err)
		if !ok {
			require.Equal(t, len(lines), n)
			break
		}
		require.Empty(t, e.Value)
		require.True(t, strings.HasPrefix(lines[n], mergeLine(e)), "%s is not %s", lines[n], mergeLine(e))
		require.Equal(t, sizes[e.Layer][fmt.Sprint(e.Key, e.LSN)], e.Size)
	}
	require.Zero(t, merge.Stats().Bytes)
}

// writeMergeDelta writes n values of size bytes for keys first, first+step, … at an LSN.
func writeMergeDelta(t testing.TB, disk *virtualfile.Disk, dir string, keys page.Range, lsn page.LSN, first, step, n, size int) Desc {
	w, err := NewDeltaWriter(disk, dir, testID, keys.Start, page.LSNRange{Start: lsn, End: lsn + 8}, 1, WriterOptions{})
	require.NoError(t, err)
	value := make([]byte, size)
	for i := range n {
		binary.BigEndian.PutUint32(value, uint32(first+i*step))
		binary.BigEndian.PutUint32(value[4:], uint32(lsn))
		require.NoError(t, w.Add(modelKey(first+i*step), lsn, false, value))
	}
	d, err := w.Finish(context.Background(), keys.End)
	require.NoError(t, err)
	return d
}

func openMerged(t testing.TB, disk *virtualfile.Disk, dir string, ds []Desc) (out []*Reader) {
	for _, d := range ds {
		r, err := OpenReader(context.Background(), disk, testBlocks, dir, testID, d)
		require.NoError(t, err)
		t.Cleanup(func() { _ = r.Close() })
		out = append(out, r)
	}
	return out
}

// Hundreds of layers, all open at once, take no more memory than was said; layers side by side take that of
// two, however many there are.
func TestMergeStaysWithinItsMemory(t *testing.T) {
	layers, values := testkit.Size(100, 300, 300), testkit.Size(100, 200, 200)
	const size = 700
	for name, c := range map[string]struct {
		apart bool
		limit int64
	}{
		"one above another": {false, int64(layers) * minMergeInput},
		"side by side":      {true, 2 * minMergeInput},
	} {
		t.Run(name, func(t *testing.T) {
			fs := virtualfile.NewMem()
			disk := diskOn(fs)
			defer disk.Close()
			var ds []Desc
			for i := range layers {
				if c.apart {
					keys := page.Range{Start: modelKey(i * values), End: modelKey((i + 1) * values)}
					ds = append(ds, writeMergeDelta(t, disk, "/", keys, 8, i*values, 1, values, size))
				} else {
					ds = append(ds, writeMergeDelta(t, disk, "/", page.FullRange, page.LSN(8*(i+1)), i%7, 3, values, size))
				}
			}
			b := shares.New(1 << 40)
			share, err := b.Share("merge", 1<<40)
			require.NoError(t, err)
			before := disk.Metrics().BuffersInUse
			m, err := OpenMerge(context.Background(), openMerged(t, disk, "/", ds), MergeOptions{Memory: 1, Budget: share})
			require.NoError(t, err)
			require.Equal(t, c.limit, m.Stats().Memory)
			require.Equal(t, c.limit, share.Used())
			most := int64(0)
			for n := 0; ; n++ {
				e, ok, err := m.Next(context.Background())
				require.NoError(t, err)
				if !ok {
					require.Equal(t, layers*values, n)
					break
				}
				require.Equal(t, uint32(e.LSN), binary.BigEndian.Uint32(e.Value[4:]))
				require.Equal(t, e.Key.F6, binary.BigEndian.Uint32(e.Value))
				used := disk.Metrics().BuffersInUse - before
				for _, in := range m.matches.inputs {
					if in.window != nil {
						used += mergeWindows * int64(cap(in.window.entries)) * mergeEntryBytes
					}
				}
				most = max(most, used)
			}
			require.LessOrEqual(t, most, c.limit)
			require.Equal(t, layers, m.Stats().Opened)
			m.Close()
			require.Zero(t, share.Used())
			require.Equal(t, before, disk.Metrics().BuffersInUse)
		})
	}
}

// A merge waits for memory under its context, and one that is given up in its midst leaves nothing behind.
func TestMergeIsCancelled(t *testing.T) {
	disk := diskOn(virtualfile.NewMem())
	defer disk.Close()
	var ds []Desc
	for i := range 20 {
		ds = append(ds, writeMergeDelta(t, disk, "/", page.FullRange, page.LSN(8*(i+1)), 0, 1, 2000, 100))
	}
	readers := openMerged(t, disk, "/", ds)
	before := disk.Metrics().BuffersInUse
	share, err := shares.New(100).Share("merge", 100)
	require.NoError(t, err)
	o := MergeOptions{Memory: 1, Budget: share}
	first, err := OpenMerge(context.Background(), readers, o) // alone, it may take more than there is
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	second := make(chan error)
	go func() {
		_, err := OpenMerge(ctx, readers, o)
		second <- err
	}()
	for range 100 {
		_, _, err := first.Next(context.Background())
		require.NoError(t, err)
	}
	cancel()
	require.ErrorIs(t, <-second, context.Canceled)
	_, _, err = first.Next(ctx)
	for err == nil { // what is in memory may still be given
		_, _, err = first.Next(ctx)
	}
	require.ErrorIs(t, err, context.Canceled)
	_, _, again := first.Next(context.Background())
	require.Equal(t, err, again)
	first.Close()
	require.Zero(t, share.Used())
	// A read that was given up keeps its buffer until the file system has answered.
	require.Eventually(t, func() bool { return disk.Metrics().BuffersInUse == before }, time.Minute, time.Millisecond)

	ctx, cancel = context.WithCancel(context.Background())
	third, err := OpenMerge(ctx, readers, o)
	require.NoError(t, err)
	cancel() // that of its reads
	_, ok, err := third.Next(context.Background())
	for ok {
		_, ok, err = third.Next(context.Background())
	}
	require.ErrorIs(t, err, context.Canceled)
	third.Close()
	require.Zero(t, share.Used())
}

// Damage anywhere in one of several layers is an error that names the file, or touches nothing that the merge
// reads; it is never another value.
func TestMergeOfDamagedLayers(t *testing.T) {
	fs := virtualfile.NewMem()
	disk := diskOn(fs)
	var ds []Desc
	for i := range 4 {
		ds = append(ds, writeMergeDelta(t, disk, "/", page.FullRange, page.LSN(8*(i+1)), i, 2, 300, 60))
	}
	w, err := NewImageWriter(disk, "/", testID, page.FullRange, 16, 1, WriterOptions{})
	require.NoError(t, err)
	for i := range 40 {
		require.NoError(t, w.Add(modelKey(i), pgPage(rand.New(rand.NewPCG(1, uint64(i))))))
	}
	image, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(t, err)
	ds = append(ds, image)
	want := drain(t, mustMerge(t, openMerged(t, disk, "/", ds)))
	require.NoError(t, disk.Close())
	require.NoError(t, fs.SyncDir("/"))
	rnd := rand.New(rand.NewPCG(3, 4))
	for n, i := 1, 0; ; i++ {
		bad := ds[i%len(ds)]
		fault := &virtualfile.Fault{Op: virtualfile.OpRead, Effect: virtualfile.Flip, Nth: n, Bit: rnd.IntN(1 << 20),
			Path: func(name string) bool { return strings.HasSuffix(name, bad.FileName()) }}
		err := mergeAgain(t, virtualfile.NewFaulty(fs, fault), ds, want)
		if fault.Hits() == 0 {
			require.NoError(t, err)
			if n++; n > 12 {
				break
			}
			continue
		}
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, bad.FileName())
		if i%len(ds) == len(ds)-1 {
			n++
		}
	}
}

// mergeAgain opens and merges layers, and compares what comes until an error with what should.
func mergeAgain(t testing.TB, fs virtualfile.FS, ds []Desc, want []string) error {
	disk := diskOn(fs)
	defer disk.Close()
	blocks, err := cache.New(cache.Options{Bytes: 1 << 20})
	require.NoError(t, err)
	defer blocks.Close()
	var readers []*Reader
	for _, d := range ds {
		r, err := OpenReader(context.Background(), disk, blocks, "/", testID, d)
		if err != nil {
			return err
		}
		defer r.Close()
		readers = append(readers, r)
	}
	m, err := OpenMerge(context.Background(), readers, MergeOptions{Memory: 1})
	require.NoError(t, err)
	defer m.Close()
	for i := 0; ; i++ {
		e, ok, err := m.Next(context.Background())
		if err != nil {
			return err
		}
		if !ok {
			require.Len(t, want, i)
			return nil
		}
		require.Equal(t, want[i], mergeLine(e))
	}
}

func mustMerge(t testing.TB, readers []*Reader) *Merge {
	m, err := OpenMerge(context.Background(), readers, MergeOptions{})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// A read that fails, whichever it is, is the merge's error.
func TestMergeOfLayersThatCannotBeRead(t *testing.T) {
	mem := virtualfile.NewMem()
	disk := diskOn(mem)
	var ds []Desc
	for i := range 3 {
		ds = append(ds, writeMergeDelta(t, disk, "/", page.FullRange, page.LSN(8*(i+1)), i, 2, 500, 200))
	}
	want := drain(t, mustMerge(t, openMerged(t, disk, "/", ds)))
	for n := 1; ; n++ {
		fault := &virtualfile.Fault{Op: virtualfile.OpRead, Nth: n}
		err := mergeAgain(t, virtualfile.NewFaulty(mem, fault), ds, want)
		if fault.Hits() == 0 {
			require.NoError(t, err)
			require.Greater(t, n, 20)
			break
		}
		require.ErrorIs(t, err, virtualfile.ErrInjected)
	}
}

// Compressed images come as they lie in their layer where that is wanted.
func TestMergeLeavesImagesStored(t *testing.T) {
	disk := diskOn(virtualfile.NewMem())
	defer disk.Close()
	w, err := NewImageWriter(disk, "/", testID, page.FullRange, 8, 1, WriterOptions{})
	require.NoError(t, err)
	want := pgPage(rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, w.Add(modelKey(1), want))
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(t, err)
	readers := openMerged(t, disk, "/", []Desc{d})
	for _, stored := range []bool{false, true} {
		m, err := OpenMerge(context.Background(), readers, MergeOptions{Stored: stored})
		require.NoError(t, err)
		e, ok, err := m.Next(context.Background())
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, stored, e.Zstd)
		got, err := Stored{Data: e.Value, Zstd: e.Zstd}.Plain(nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
		m.Close()
	}
}
