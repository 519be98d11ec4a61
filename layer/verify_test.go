package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Neon's files hold, and so do ours of the same values, with a trailer.
func TestVerifyPassesWhatIsWhole(t *testing.T) {
	files := 0
	neonLayers(t, func(d Desc, id Identity, content []byte) {
		files++
		fs := virtualfile.NewMem()
		put(t, fs, d.FileName(), content)
		n := int64(0)
		v, err := Verify(context.Background(), diskOn(fs), "/", id, d, func(page.Key, page.LSN, bool, Stored) error { n++; return nil })
		require.NoError(t, err)
		require.Equal(t, Verified{Desc: d, Identity: id, Entries: n}, v)
		require.NotZero(t, n)
	})
	require.Equal(t, 103, files)
	for _, l := range corpus(t, 40) {
		v, err := Verify(context.Background(), diskOn(l.fs()), "/", testID, l.desc, nil)
		require.NoError(t, err, l.name)
		require.Equal(t, l.desc, v.Desc)
		require.Equal(t, int64(len(l.want)), v.Entries)
	}
}

// sampleLayer is a layer file in memory and what it holds.
type sampleLayer struct {
	name    string
	desc    Desc
	content []byte
	want    map[string]string // "key lsn" to "will_init value"
}

func (l *sampleLayer) fs() virtualfile.FS { return fileFS(l.desc, l.content) }

func fileFS(d Desc, content []byte) virtualfile.FS {
	fs := virtualfile.NewMem()
	f, err := fs.Create("/" + d.FileName())
	if err == nil {
		_, err = f.Write(content)
	}
	if err != nil {
		panic(err)
	}
	return fs
}

// corpus gives n layers, deltas and images, of one value to several thousand, empty to large, compressed and
// not, with chunks of all sizes.
func corpus(t testing.TB, n int) (out []sampleLayer) {
	r := rand.New(rand.NewPCG(4, 2))
	for i := range n {
		align := []int{512, 1024, 2048, 4096}[r.IntN(4)]
		fs := virtualfile.NewMem()
		disk, err := virtualfile.NewDisk(fs, virtualfile.DiskOptions{Align: align, Validate: true})
		require.NoError(t, err)
		l := sampleLayer{want: map[string]string{}}
		entries := 1 + r.IntN([]int{3, 50, 400, 3000}[i%4])
		sizes := []int{1, 60, 300, 9000}[r.IntN(4)]
		if entries > 1000 {
			sizes = 40
		}
		value := func() []byte {
			b := make([]byte, r.IntN(sizes+1))
			if r.IntN(3) > 0 {
				for j := range b {
					b[j] = byte(r.Uint32())
				}
			}
			return b
		}
		if i%2 == 0 {
			w, err := NewDeltaWriter(disk, "/", testID, page.MinKey, page.LSNRange{Start: 8, End: 0x1000}, 1, WriterOptions{})
			require.NoError(t, err)
			for j := range entries {
				k, lsn, init, v := modelKey(j/4), page.LSN(16+8*(j%4)), j%4 == 0, value()
				require.NoError(t, w.Add(k, lsn, init, v))
				l.want[fmt.Sprint(k, lsn)] = fmt.Sprint(init, v)
			}
			l.desc, err = w.Finish(page.MaxKey)
			require.NoError(t, err)
		} else {
			c := Compression{Disabled: r.IntN(2) == 0, Level: r.IntN(5)}
			w, err := NewImageWriter(disk, "/", testID, page.FullRange, 0x40, 1, WriterOptions{Compression: c})
			require.NoError(t, err)
			for j := range entries {
				k, v := modelKey(j), value()
				require.NoError(t, w.Add(k, v))
				l.want[fmt.Sprint(k, page.LSN(0x40))] = fmt.Sprint(true, v)
			}
			l.desc, err = w.Finish(page.MaxKey)
			require.NoError(t, err)
		}
		l.content = get(t, fs, l.desc.FileName())
		l.name = fmt.Sprintf("layer %d: image=%t entries=%d chunk=%d bytes=%d", i, l.desc.Image, entries, max(minChunk, align), len(l.content))
		require.NoError(t, disk.Close())
		out = append(out, l)
	}
	return out
}

// flips gives the bits to flip of a file: all of a small one or where every is set, else of each kind of
// block some.
func flips(r *rand.Rand, size int, every bool) func(yield func(bit int) bool) {
	return func(yield func(bit int) bool) {
		if every {
			for bit := range size * 8 {
				if !yield(bit) {
					return
				}
			}
			return
		}
		for range 60 {
			if !yield(r.IntN(size * 8)) {
				return
			}
		}
		for _, from := range []int{0, size - blockSize, size - 2*blockSize, size - 3*blockSize} {
			for range 30 {
				if !yield((from + r.IntN(100)) * 8) {
					return
				}
			}
		}
	}
}

// Whichever bit of a file is flipped, Verify finds it, whether or not the manifest promises a trailer.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	every := testkit.Long()
	tried, layers := 0, corpus(t, 200)
	for i, l := range layers {
		b := bytes.Clone(l.content)
		mem := virtualfile.NewMem()
		put(t, mem, l.desc.FileName(), b)
		f, err := mem.OpenAppend(l.desc.FileName())
		require.NoError(t, err)
		disk := diskOn(mem)
		for bit := range flips(r, len(b), every) {
			flip := func() {
				b[bit/8] ^= 1 << (bit % 8)
				_, err := f.WriteAt(b[bit/8:bit/8+1], int64(bit/8))
				require.NoError(t, err)
			}
			flip()
			d := l.desc
			if bit%2 == 0 {
				d.Checked, d.Size = false, 0
			}
			if _, err := Verify(context.Background(), disk, "/", testID, d, nil); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s (layer %d): bit %d of byte %d is flipped, and Verify says: %v", l.name, i, bit%8, bit/8, err)
			}
			flip()
			tried++
		}
		require.NoError(t, f.Close())
	}
	t.Logf("%d layers, %d flips, all found", len(layers), tried)
}
