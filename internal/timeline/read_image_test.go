package timeline

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// TestReadImageOfTheTop reads single keys of an image layer alone and beneath newer versions: in memory, frozen,
// on disk, in a branch. The short way must be taken where it may be, and nowhere else.
func TestReadImageOfTheTop(t *testing.T) {
	ctx := context.Background()
	fsys, dir := virtualfile.NewMem(), "store"
	e := readEnv(t, fsys, dir, nil)
	m := manifest.Meta{Name: "main", Timeline: page.TimelineID{1}, Version: pg.V17, InitialLSN: readFirst, WALSegSize: 16 << 20}
	const keys = 100
	tl, err := Create(ctx, e, dir, m, 0, nil, func(dir string) ([]layer.Desc, error) {
		sink := NewImageSink(e, dir, &m, page.FullRange, 1<<30, layer.Compression{})
		for i := range keys {
			if err := sink.PutImage(ctx, blockKey(i), fmt.Appendf(nil, "image %d", i)); err != nil {
				return nil, err
			}
		}
		return sink.Close(context.Background())
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tl.Close()) })
	child := newTestTimeline(t, e, dir, "child", readFirst, tl)

	// read gives the value of a key, and whether the short way gave it.
	read := func(tl *Timeline, i int, lsn page.LSN) (v string, short bool) {
		l, err := tl.beginRead(lsn)
		require.NoError(t, err)
		defer l.release()
		fn := func(k page.Key, b []byte, err error) error {
			require.Equal(t, blockKey(i), k)
			v = string(b)
			return err
		}
		short, err = l.readImage(ctx, blockKey(i), lsn, fn)
		require.NoError(t, err)
		if !short {
			require.Empty(t, v)
		}
		given := v
		v = ""
		require.NoError(t, l.getVectored(ctx, page.SetOfKeys(blockKey(i)), lsn, fn))
		if short {
			require.Equal(t, given, v)
		}
		got, err := l.get(ctx, blockKey(i), lsn)
		require.NoError(t, err)
		require.Equal(t, v, string(got))
		return v, short
	}
	expect := func(tl *Timeline, i int, lsn page.LSN, want string, short bool) {
		t.Helper()
		v, took := read(tl, i, lsn)
		require.Equal(t, want, v)
		require.Equal(t, short, took)
	}
	read(tl, 7, readFirst) // brings checksums and index into memory
	expect(tl, 7, readFirst, "image 7", true)
	expect(child, 7, readFirst, "image 7", false)

	put := func(i int) page.LSN {
		lsn := tl.LastRecordLSN() + 8
		var b page.Batch
		b.PutRecord(blockKey(i), lsn, false, []byte("record"))
		require.NoError(t, tl.Put(ctx, &b))
		return lsn
	}
	lsn := put(7)
	expect(tl, 7, lsn, "image 7|record", false)
	expect(tl, 8, lsn, "image 8", true)
	v := tl.view.Load()
	require.False(t, v.inMemory(blockKey(8)))
	require.True(t, v.inMemory(blockKey(7)))
	require.True(t, (&view{open: layer.NewMem(lsn+8, nil), frozen: []*frozen{{mem: v.open}}}).inMemory(blockKey(7)))
	require.NoError(t, tl.Flush(ctx))
	expect(tl, 7, lsn, "image 7|record", false)
	expect(tl, 8, lsn, "image 8", false)
	expect(tl, 8, readFirst, "image 8", true)
	expect(tl, 7, readFirst, "image 7", true)
}
