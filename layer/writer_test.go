package layer

import (
	"context"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// diskOn gives a Disk of a file system that lives as long as its test.
func diskOn(fs virtualfile.FS) *virtualfile.Disk {
	d, err := virtualfile.NewDisk(fs, virtualfile.DiskOptions{Validate: true})
	if err != nil {
		panic(err)
	}
	return d
}

// diskFor is diskOn, closed when the test ends.
func diskFor(t require.TestingT, fs virtualfile.FS) *virtualfile.Disk {
	d := diskOn(fs)
	t.(interface{ Cleanup(func()) }).Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestWritersRefuse(t *testing.T) {
	fsys := virtualfile.NewMem()
	delta := func() *DeltaWriter {
		w, err := NewDeltaWriter(diskFor(t, fsys), "/", testID, modelKey(2), page.LSNRange{Start: 8, End: 0x40}, 1, WriterOptions{})
		require.NoError(t, err)
		require.NoError(t, w.Add(modelKey(3), 0x10, true, []byte("v")))
		return w
	}
	for name, add := range map[string]func(w *DeltaWriter) error{
		"same place":  func(w *DeltaWriter) error { return w.Add(modelKey(3), 0x10, true, nil) },
		"lower LSN":   func(w *DeltaWriter) error { return w.Add(modelKey(3), 0x8, true, nil) },
		"below start": func(w *DeltaWriter) error { return w.Add(modelKey(1), 0x20, true, nil) },
		"LSN above":   func(w *DeltaWriter) error { return w.Add(modelKey(4), 0x40, true, nil) },
		"end too low": func(w *DeltaWriter) error { _, err := w.Finish(context.Background(), modelKey(3)); return err },
		"end and after": func(w *DeltaWriter) error {
			_, _ = w.Finish(context.Background(), modelKey(3))
			return w.Add(modelKey(9), 0x10, true, nil)
		},
	} {
		w := delta()
		err := add(w)
		require.Error(t, err, name)
		_, err2 := w.Finish(context.Background(), modelKey(9))
		require.Error(t, err2, name)
		w.Abort()
	}
	_, err := NewDeltaWriter(diskFor(t, fsys), "/", testID, page.MinKey, page.LSNRange{Start: 8, End: 8}, 1, WriterOptions{})
	require.ErrorIs(t, err, ErrOrder)
	w, err := NewImageWriter(diskFor(t, fsys), "/", testID, page.FullRange, 8, 1, WriterOptions{})
	require.NoError(t, err)
	_, err = w.Finish(context.Background(), page.MaxKey)
	require.ErrorContains(t, err, "without entries")
	names, err := fsys.List("/")
	require.NoError(t, err)
	require.Empty(t, names, "nothing is left behind")
}

func TestFinishDoesNotReplace(t *testing.T) {
	fsys := virtualfile.NewMem()
	for i := range 2 {
		w, err := NewDeltaWriter(diskFor(t, fsys), "/", testID, page.MinKey, page.LSNRange{Start: 8, End: 16}, 1, WriterOptions{})
		require.NoError(t, err)
		require.NoError(t, w.Add(modelKey(1), 8, true, nil))
		_, err = w.Finish(context.Background(), page.MaxKey)
		if i == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, fs.ErrExist)
		}
	}
	names, err := fsys.List("/")
	require.NoError(t, err)
	require.Len(t, names, 1)
}

// After Finish and a sync of the folder a crash leaves the layer whole; before that, whole or not at all,
// apart from temporary files.
func TestLayersSurviveCrashes(t *testing.T) {
	m := virtualfile.NewMem()
	w := writings()[0]
	d, err := w.write(m)
	require.NoError(t, err)
	check := func(fsys virtualfile.FS) {
		r, err := openOn(t, fsys, "/", testID, d)
		require.NoError(t, err)
		n := 0
		require.NoError(t, r.Iterate(context.Background(), func(page.Key, page.LSN, bool, []byte) error { n++; return nil }))
		require.Equal(t, 100, n)
		require.NoError(t, r.Close())
	}
	for seed := range uint64(30) {
		if c := m.CrashClone(seed); has(t, c, d.FileName()) {
			check(c)
		}
	}
	require.NoError(t, m.SyncDir("/"))
	check(m.CrashClone(1))
}

func has(t testing.TB, fsys virtualfile.FS, name string) bool {
	names, err := fsys.List("/")
	require.NoError(t, err)
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// Images of all sizes around the limits of blobs and buffers come back as they were.
func TestImagesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.SampledFrom([]int{126, 127, 128, 8191, 8192, 8200, packBytes, 512<<10 + 1}))
		var want []string
		fsys := virtualfile.NewMem()
		c := Compression{Disabled: rapid.Bool().Draw(t, "disabled"), Level: rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "level")}
		w, err := NewImageWriter(diskFor(t, fsys), "/", testID, page.FullRange, 8, 1, WriterOptions{Compression: c})
		require.NoError(t, err)
		for i := range rapid.IntRange(1, 60).Draw(t, "n") {
			v := make([]byte, size.Draw(t, "size"))
			if rapid.Bool().Draw(t, "random") {
				for j := range v {
					v[j] = byte(j * (i + j>>3 + 7))
				}
			}
			want = append(want, string(v))
			require.NoError(t, w.Add(modelKey(i), v))
		}
		est := w.EstimatedSize()
		d, err := w.Finish(context.Background(), modelKey(len(want)))
		require.NoError(t, err)
		require.LessOrEqual(t, d.Size, est+2*blockSize)
		require.Zero(t, d.Size%blockSize)
		r, err := openOn(t, fsys, "/", testID, d)
		require.NoError(t, err)
		defer r.Close()
		i := 0
		require.NoError(t, r.Iterate(context.Background(), func(k page.Key, _ page.LSN, _ bool, v []byte) error {
			require.Equal(t, modelKey(i), k)
			require.Equal(t, want[i], string(v))
			i++
			return nil
		}))
		require.Len(t, want, i)
		col := NewCollector(page.NewSet(page.Range{Start: modelKey(0), End: modelKey(100)}), 8)
		defer col.Release()
		require.NoError(t, r.Collect(context.Background(), col, col.Keys(), page.LSNRange{Start: 8, End: 9}))
		require.NoError(t, col.Fetch(context.Background()))
		i = 0
		for k, f := range col.Results() {
			require.Equal(t, modelKey(i), k)
			require.Equal(t, want[i], string(f[0].Value))
			i++
		}
		require.Len(t, want, i)
		rest := page.NewSet(page.Range{Start: modelKey(len(want)), End: modelKey(100)})
		require.Equal(t, rest, col.Open(), "an image settles its range, and no more")
	})
}

func ExampleDesc_Name() {
	d := Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: 0x16B59D8, End: 0x16B5A51}, Generation: 10}
	fmt.Println(d.FileName())
	// Output: 000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__00000000016B59D8-00000000016B5A51-v1-0000000a
}
