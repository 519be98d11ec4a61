package layer

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

func FuzzName(f *testing.F) {
	d := Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: 0x10, End: 0x21}, Generation: 10}
	f.Add(d.Name())
	f.Add(d.FileName())
	f.Add(d.FileName() + ".old")
	d.Image, d.LSNs.End = true, d.LSNs.Start+1
	f.Add(d.Name() + "-00000020")
	f.Add(d.FileName())
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseName(s)
		if err != nil {
			require.ErrorIs(t, err, ErrBadName)
			return
		}
		require.False(t, d.Keys.Empty() || d.LSNs.Empty())
		again, err := ParseName(d.FileName())
		require.NoError(t, err)
		require.Equal(t, d, again)
		remote := d.Name() + d.FileName()[len(d.Name())+len("-v1"):]
		require.Contains(t, []string{d.Name(), d.FileName(), remote}, s)
	})
}

func FuzzBlob(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{3, 1, 2, 3})
	f.Add(append([]byte{0x80, 0, 0, 0x80}, make([]byte, 128)...))
	b := &packBatch{raw: make([]byte, blockSize), items: []packItem{{size: blockSize}}}
	require.NoError(f, b.compress(1, true))
	s := b.stored(0)
	f.Add(append(appendBlobHeader(nil, len(s.Data), s.Zstd), s.Data...))
	f.Add([]byte{0xA0, 0, 0, 0})
	f.Add([]byte("\x90\x00\x00\x0f(\xb5/\xfd\xb0000\f\f\f\f\f\f\f0000000")) // says that it holds 204 MB
	f.Fuzz(func(t *testing.T, in []byte) {
		s, size, err := parseBlob(in)
		if err != nil {
			return
		}
		require.LessOrEqual(t, size, len(in))
		if s.Zstd {
			asked := 0
			out, err := decompress(s.Data, false, func(n int) []byte { asked += n; return make([]byte, n) })
			if err == nil {
				require.LessOrEqual(t, len(out), asked)
			}
			// What is asked for the last time is at most what the frame can hold, and what was before it an eighth.
			require.LessOrEqual(t, asked, (len(s.Data)/4+1)*128<<10*8/7+usualImage)
			return
		}
		h := appendBlobHeader(nil, len(s.Data), false)
		if len(h) == size-len(s.Data) { // a short value may stand behind a long header
			require.Equal(t, in[:size], append(h, s.Data...))
		}
	})
}

// smallLayer writes a layer of a few entries and gives its bytes, without a trailer, which would
// find all damage before anything else does.
func smallLayer(t testing.TB, image bool) (Desc, []byte) {
	return smallLayerWith(t, image, WriterOptions{Unchecked: true})
}

func smallLayerWith(t testing.TB, image bool, o WriterOptions) (Desc, []byte) {
	fs := virtualfile.NewMem()
	var d Desc
	if image {
		w, err := NewImageWriter(diskFor(t, fs), "/", testID, page.FullRange, 0x40, 1, o)
		require.NoError(t, err)
		for i := range 40 {
			require.NoError(t, w.Add(modelKey(i), bytes.Repeat([]byte{byte(i)}, 10*i)))
		}
		d, err = w.Finish(context.Background(), page.MaxKey)
		require.NoError(t, err)
	} else {
		w, err := NewDeltaWriter(diskFor(t, fs), "/", testID, page.MinKey, page.LSNRange{Start: 8, End: 0x1000}, 1, o)
		require.NoError(t, err)
		for i := range 400 {
			require.NoError(t, w.Add(modelKey(i/8), page.LSN(8+8*(i%8)), i%3 == 0, bytes.Repeat([]byte{byte(i)}, i)))
		}
		d, err = w.Finish(context.Background(), page.MaxKey)
		require.NoError(t, err)
	}
	return d, get(t, fs, d.FileName())
}

// readDamaged reads a file that may hold anything: it may refuse, but not panic, hang or read without end.
func readDamaged(t testing.TB, d Desc, content []byte) {
	fs := virtualfile.NewMem()
	put(t, fs, d.FileName(), content)
	d.Size = 0
	r, err := openOn(t, fs, "/", testID, d)
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
		return
	}
	defer r.Close()
	ctx := context.Background()
	n := 0
	err = r.Iterate(ctx, func(page.Key, page.LSN, bool, []byte) error { n++; return nil })
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, d.FileName())
	}
	require.LessOrEqual(t, n, len(content))
	mergeDamaged(t, r, n, err)
	c := NewCollector(page.NewSet(page.Range{Start: modelKey(3), End: modelKey(6)}, page.Range{Start: modelKey(20), End: modelKey(30)}), 0x40)
	if err := r.Collect(ctx, c, c.Keys(), page.LSNRange{Start: 0x10, End: 0x41}); err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
	}
	require.NoError(t, c.Fetch(ctx))
	for _, found := range c.Results() {
		for _, f := range found {
			if f.Err != nil {
				require.ErrorIs(t, f.Err, ErrCorrupt)
				require.ErrorContains(t, f.Err, d.FileName())
			}
		}
	}
	c.Release()
}

// mergeDamaged merges a layer with itself: that gives what a walk gives, or refuses what it refuses.
func mergeDamaged(t testing.TB, r *Reader, entries int, walk error) {
	m, err := OpenMerge(context.Background(), []*Reader{r, r}, MergeOptions{Memory: 1})
	require.NoError(t, err)
	defer m.Close()
	for ok := true; ok && err == nil; {
		_, ok, err = m.Next(context.Background())
	}
	if walk == nil {
		require.NoError(t, err)
		require.EqualValues(t, entries, m.Stats().Entries)
		return
	}
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, r.desc.FileName())
}

// fuzzReader damages a small layer: at each place of edits (offset, new byte), three bytes each.
func fuzzReader(f *testing.F, image bool) {
	d, good := smallLayer(f, image)
	last := len(good) - blockSize
	f.Add([]byte{})
	f.Add([]byte{byte(last >> 8), byte(last), 0xFF})             // number of children
	f.Add([]byte{byte(last >> 8), byte(last) + 2, 1})            // level
	f.Add([]byte{byte(last >> 8), byte(last) + 3, 200})          // prefix length
	f.Add([]byte{blockSize >> 8, 0, 0xFF, blockSize >> 8, 1, 3}) // blob header
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := bytes.Clone(good)
		for ; len(edits) >= 3; edits = edits[3:] {
			b[(int(edits[0])<<8|int(edits[1]))%len(b)] = edits[2]
		}
		readDamaged(t, d, b)
		readDamaged(t, d, b[:len(b)-len(edits)*blockSize])
	})
}

func FuzzDeltaReader(f *testing.F) { fuzzReader(f, false) }
func FuzzImageReader(f *testing.F) { fuzzReader(f, true) }

// FuzzValue reads what a delta may hold through the reader's path and page's decoder together.
func FuzzValue(f *testing.F) {
	for _, v := range []page.Value{
		{Kind: page.KindImage, Bytes: []byte("page")},
		{Kind: page.KindPostgres, WillInit: true, Bytes: []byte("record")},
		{Kind: page.KindClogAborted, Xids: []uint32{3}},
	} {
		f.Add(v.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := page.DecodeValue(b)
		if err != nil {
			return
		}
		if init, err := page.ValueInitializes(b); err == nil {
			require.Equal(t, v.Initializes(), init)
		}
	})
}

// Each byte of the summary, of the first blobs and of the index header is flipped.
func TestReadersRefuseDamage(t *testing.T) {
	for _, image := range []bool{false, true} {
		d, good := smallLayer(t, image)
		try := func(off int, bits byte) {
			b := bytes.Clone(good)
			b[off] ^= bits
			readDamaged(t, d, b)
		}
		for _, bits := range []byte{1, 0x80, 0xFF} {
			for off := 0; off < 100; off += testkit.Size(5, 1, 1) {
				try(off, bits)
				try(dataStart+off, bits)
				try(len(good)-blockSize+off, bits)
			}
		}
		for n := 0; n < len(good); n += 4096 {
			readDamaged(t, d, good[:n])
		}
		for off := range 92 {
			if off >= timelineOffset && off < keysOffset || image && off >= 88 {
				continue // another timeline's file is welcome; an image's summary is shorter
			}
			b := bytes.Clone(good)
			b[off] ^= 0x10
			fs := virtualfile.NewMem()
			put(t, fs, d.FileName(), b)
			_, err := openOn(t, fs, "/", testID, d)
			require.ErrorIs(t, err, ErrCorrupt, "offset %d", off)
			require.ErrorContains(t, err, "offset 0")
		}
	}
}
