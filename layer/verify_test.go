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
		v, err := Verify(context.Background(), diskFor(t, fs), "/", id, d, func(page.Key, page.LSN, bool, Stored) error { n++; return nil })
		require.NoError(t, err)
		require.Equal(t, Verified{Desc: d, Identity: id, Entries: n}, v)
		require.NotZero(t, n)
	})
	require.Equal(t, 103, files)
	for _, l := range corpus(t, testkit.Size(10, 40, 200)) {
		v, err := Verify(context.Background(), diskFor(t, l.fs()), "/", testID, l.desc, nil)
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
			l.desc, err = w.Finish(context.Background(), page.MaxKey)
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
			l.desc, err = w.Finish(context.Background(), page.MaxKey)
			require.NoError(t, err)
		}
		l.content = get(t, fs, l.desc.FileName())
		l.name = fmt.Sprintf("layer %d: image=%t entries=%d chunk=%d bytes=%d", i, l.desc.Image, entries, max(minChunk, align), len(l.content))
		require.NoError(t, disk.Close())
		out = append(out, l)
	}
	return out
}

// smallFile is the most bytes of a file of which the long form flips every bit.
const smallFile = 64 << 10

// flips gives the bits to flip of a file: in the long form every one of a small file, else one of every
// step-th byte, and as many at the start of the summary, the root of the index, the checksums and the footer.
func flips(r *rand.Rand, size, step int) func(yield func(bit int) bool) {
	return func(yield func(bit int) bool) {
		if testkit.Long() && size <= smallFile {
			for bit := range size * 8 {
				if !yield(bit) {
					return
				}
			}
			return
		}
		for at := r.IntN(step); at < size; at += step {
			if !yield(at*8 + r.IntN(8)) {
				return
			}
		}
		for _, from := range []int{0, size - blockSize, size - 2*blockSize, size - 3*blockSize} {
			for range max(1, size/step/10) {
				if !yield((from+r.IntN(100))*8 + r.IntN(8)) {
					return
				}
			}
		}
	}
}

// Whichever bit of a file is flipped, Verify finds it, whether or not the manifest promises a trailer.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	tried, layers := 0, corpus(t, testkit.Size(10, 200, 200))
	for i, l := range layers {
		b := bytes.Clone(l.content)
		mem := virtualfile.NewMem()
		put(t, mem, l.desc.FileName(), b)
		f, err := mem.OpenAppend(l.desc.FileName())
		require.NoError(t, err)
		disk := diskOn(mem)
		step := max(1, len(b)/testkit.Size(25, 100, 100))
		if i == 0 {
			step = testkit.Size(16, 1, 1) // every byte
		}
		for bit := range flips(r, len(b), step) {
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

// Whichever bit of a file is flipped, a read of all its keys gives each value as it was, or an error for it:
// never another value, and never none.
func TestReadsOfFlippedFilesGiveErrorsOrTheTruth(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	layers := corpus(t, testkit.Size(10, 200, 200))
	tried, errs, right := 0, 0, 0
	for _, l := range layers {
		b := bytes.Clone(l.content)
		mem := virtualfile.NewMem()
		put(t, mem, l.desc.FileName(), b)
		f, err := mem.OpenAppend(l.desc.FileName())
		require.NoError(t, err)
		for bit := range flips(r, len(b), max(1, len(b)/4)) {
			flip := func() {
				b[bit/8] ^= 1 << (bit % 8)
				_, err := f.WriteAt(b[bit/8:bit/8+1], int64(bit/8))
				require.NoError(t, err)
			}
			flip()
			e, n, err := l.read(mem)
			if err != nil {
				t.Fatalf("%s: bit %d of byte %d is flipped: %v", l.name, bit%8, bit/8, err)
			}
			flip()
			tried, errs, right = tried+1, errs+e, right+n
		}
		require.NoError(t, f.Close())
	}
	t.Logf("%d layers, %d flips: %d errors, %d values, all right", len(layers), tried, errs, right)
}

// read reads all keys of the layer as a timeline does, and counts errors and right values. The error says
// that something is neither.
func (l *sampleLayer) read(fs virtualfile.FS) (errs, right int, err error) {
	ctx := context.Background()
	corrupt := func(err error) error {
		if !errors.Is(err, ErrCorrupt) {
			return fmt.Errorf("another error than of corruption: %w", err)
		}
		errs++
		return nil
	}
	disk := diskOn(fs)
	defer disk.Close()
	rd, err := OpenReader(ctx, disk, testBlocks, "/", testID, l.desc)
	if err != nil {
		return errs, 0, corrupt(err)
	}
	defer rd.Close()
	keys := page.NewSet(page.Range{Start: modelKey(0), End: modelKey(1 << 20)})
	c := NewCollector(keys, 0x1000)
	defer c.Release()
	if err := rd.Collect(ctx, c, keys, page.LSNRange{Start: 1, End: 0x1001}); err != nil {
		return errs, 0, corrupt(err)
	}
	if err := c.Fetch(ctx); err != nil {
		return errs, 0, corrupt(err)
	}
	for k, found := range c.Results() {
		for i, v := range found {
			if v.Err != nil {
				if err := corrupt(v.Err); err != nil {
					return errs, right, err
				}
				continue
			}
			name := fmt.Sprint(k, v.LSN)
			init := l.desc.Image || i == len(found)-1
			if want := fmt.Sprint(init, v.Value); l.want[name] != want {
				return errs, right, fmt.Errorf("%s is %.60q, not %.60q", name, want, l.want[name])
			}
			right++
		}
	}
	if errs == 0 && right != len(l.want) {
		return errs, right, fmt.Errorf("%d values without an error, there are %d", right, len(l.want))
	}
	return errs, right, nil
}
