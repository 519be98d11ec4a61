package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// opened gives a store with one empty timeline, closed at the end of the test.
func opened(t *testing.T, o Options) (*Store, *Tenant, *timeline.Timeline) {
	s, err := Open(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Create(context.Background(), meta("main"))
	require.NoError(t, err)
	return s, tn, tl
}

func putImage(tl *timeline.Timeline, k page.Key, lsn page.LSN, v []byte) error {
	var b page.Batch
	b.PutImage(k, lsn, v)
	return tl.Put(context.Background(), &b)
}

func TestPutRefusesBeforeItStores(t *testing.T) {
	noLeaks(t)
	_, _, tl := opened(t, testOptions(virtualfile.NewMem()))
	ctx := context.Background()
	k := modelKeys[0]
	require.NoError(t, putImage(tl, k, firstLSN+8, []byte("first")))
	for name, fill := range map[string]func(b *page.Batch){
		"not above":        func(b *page.Batch) { b.PutImage(k, firstLSN+8, nil) },
		"multiple of 8":    func(b *page.Batch) { b.PutImage(k, firstLSN+17, nil); b.End = firstLSN + 24 },
		"no valid form":    func(b *page.Batch) { b.PutImage(page.Key{F1: 0x80}, firstLSN+16, nil) },
		"at most":          func(b *page.Batch) { b.PutImage(k, firstLSN+16, make([]byte, page.MaxValueSize)) },
		"the batch ends":   func(b *page.Batch) { b.PutImage(k, firstLSN+24, nil); b.End = firstLSN + 16 },
		"before the timel": func(b *page.Batch) { b.End = firstLSN },
		"begins at":        func(b *page.Batch) { b.End, b.Prev = firstLSN+16, firstLSN+16 },
	} {
		t.Run(name, func(t *testing.T) {
			var b page.Batch
			b.PutImage(modelKeys[1], firstLSN+16, []byte("never")) // a sound value before the bad one
			fill(&b)
			err := tl.Put(ctx, &b)
			require.ErrorIs(t, err, timeline.ErrRefused)
			require.ErrorContains(t, err, name)
			require.Equal(t, firstLSN+8, tl.LastRecordLSN())
		})
	}
	var b page.Batch
	b.PutImage(k, firstLSN+16, []byte("one"))
	b.PutImage(k, firstLSN+16, []byte("two"))
	require.NoError(t, tl.Put(ctx, &b))
	_, err := tl.Get(ctx, modelKeys[1], firstLSN+16)
	require.ErrorIs(t, err, page.ErrNotFound)
	for range 2 {
		v, err := tl.Get(ctx, k, firstLSN+16)
		require.NoError(t, err)
		require.Equal(t, "two", string(v), "the last of two wins")
		require.NoError(t, tl.Flush(ctx))
	}
}

func TestRecordsWithoutValuesMoveTheEnd(t *testing.T) {
	noLeaks(t)
	_, _, tl := opened(t, testOptions(virtualfile.NewMem()))
	ctx := context.Background()
	b := page.Batch{End: firstLSN + 64, Prev: firstLSN + 32}
	require.NoError(t, tl.Put(ctx, &b))
	require.Equal(t, firstLSN+64, tl.LastRecordLSN())
	require.Equal(t, firstLSN+32, tl.PrevRecordLSN())
	require.NoError(t, tl.Flush(ctx))
	require.Equal(t, firstLSN+64, tl.DiskConsistentLSN())
	require.Empty(t, tl.Layers())
	require.NoError(t, tl.Put(ctx, &b), "nothing has happened")
}

func TestFullDiskLosesNothing(t *testing.T) {
	noLeaks(t)
	var disk tap
	s, _, tl := opened(t, testOptions(disk.wrap(virtualfile.NewMem())))
	ctx := context.Background()
	disk.fill(0)
	lsn := firstLSN
	var err error
	for err == nil {
		if err = putImage(tl, modelKeys[0], lsn+8, fmt.Appendf(nil, "%0500d", lsn+8)); err == nil {
			lsn += 8
		}
		require.Less(t, lsn, firstLSN+8*1000, "the failure never shows")
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, tl.Flush(ctx), syscall.ENOSPC)
	check := func() {
		require.Equal(t, lsn, tl.LastRecordLSN())
		for l := firstLSN + 8; l <= lsn; l += 8 {
			v, err := tl.Get(ctx, modelKeys[0], l)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%0500d", l), string(v))
		}
	}
	check()
	require.Positive(t, s.Metrics().FlushErrors)
	disk.shut()
	require.NoError(t, tl.Flush(ctx))
	check()
	require.Equal(t, lsn, tl.DiskConsistentLSN())
	require.NoError(t, putImage(tl, modelKeys[0], lsn+8, nil))
}

func TestPutWaitsForTheFlush(t *testing.T) {
	noLeaks(t)
	gate := make(chan struct{})
	o := testOptions(virtualfile.NewMem())
	o.Config.MaxFrozen = 1
	o.Config.Events.FlushBegin = func(timeline.FlushInfo) { <-gate }
	s, _, tl := opened(t, o)
	big := bytes.Repeat([]byte("x"), 5<<10) // over checkpoint_distance: each put fills a layer
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, big))
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+16, big))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var b page.Batch
	b.PutImage(modelKeys[0], firstLSN+24, big)
	require.ErrorIs(t, tl.Put(ctx, &b), context.Canceled)
	require.Equal(t, firstLSN+16, tl.LastRecordLSN())
	v, err := tl.Get(context.Background(), modelKeys[0], firstLSN+16)
	require.NoError(t, err, "readers do not wait")
	require.Equal(t, big, v)
	require.LessOrEqual(t, s.Metrics().MemoryBytes, int64(3*len(big)))
	close(gate)
	require.NoError(t, tl.Put(context.Background(), &b))
	require.NoError(t, tl.Flush(context.Background()))
	require.Positive(t, s.Metrics().PutWaits)
	require.LessOrEqual(t, s.Metrics().MemoryBytes, int64(1<<10))
}

// TestReadersDuringPutsAndFlushes is for the race detector; each reader also checks what it sees. Eight read,
// one puts, one flushes, one branches; a snapshot sees the same while layers come and go.
func TestReadersDuringPutsAndFlushes(t *testing.T) {
	noLeaks(t)
	t.Run("memory", func(t *testing.T) { readersAndWriter(t, testOptions(virtualfile.NewMem())) })
	t.Run("scratch files", func(t *testing.T) {
		o := testOptions(virtualfile.NewOS())
		o.Dir = filepath.Join(t.TempDir(), "s")
		tinyMemory(&o)
		o.Config.CheckpointDistance = 64 << 10
		readersAndWriter(t, o)
	})
}

func readersAndWriter(t *testing.T, o Options) {
	s, tn, tl := opened(t, o)
	ctx := context.Background()
	keys := make([]page.Key, 40)
	for i := range keys {
		keys[i] = page.RelTag{Spc: 1663, DB: 5, Rel: 1}.Block(uint32(i))
	}
	set := page.SetOfKeys(keys...)
	put := func(lsn page.LSN) error {
		var b page.Batch
		for _, k := range keys {
			b.PutImage(k, lsn, fmt.Appendf(nil, "%d", lsn))
		}
		return tl.Put(ctx, &b)
	}
	check := func(p pages, lsn page.LSN) error {
		n := 0
		err := p.GetVectored(ctx, set, lsn, func(_ page.Key, v []byte, err error) error {
			n++
			if err == nil && string(v) != fmt.Sprint(uint64(lsn)) {
				err = fmt.Errorf("at %d: %q", lsn, v)
			}
			return err
		})
		if err == nil && n != len(keys) {
			err = fmt.Errorf("%d keys of %d", n, len(keys))
		}
		return err
	}
	require.NoError(t, put(firstLSN+8))
	done := make(chan struct{})
	var wg sync.WaitGroup
	background := func(fn func() error) {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := fn(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 8 {
		background(func() error {
			last := tl.LastRecordLSN()
			if i%4 != 3 {
				return check(tl, last)
			}
			old := firstLSN + 8 + (last-firstLSN-8)/16*8
			sn, err := tl.Snapshot(ctx, last)
			if err != nil {
				return err
			}
			defer sn.Close()
			return errors.Join(check(sn, last), check(sn, old), check(tl, old), check(sn, last))
		})
	}
	background(func() error { return tl.Flush(ctx) })
	background(func() error { _ = tl.Info(); _ = s.Metrics(); return nil })
	wg.Go(func() {
		for i := range 5 {
			at := tl.LastRecordLSN()
			b, err := tn.Branch(ctx, tl, fmt.Sprint("b", i), page.TimelineID{}, at)
			if err == nil {
				err = check(b, at)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	// However slow the machine, there are to be many flushes among the puts.
	const least, most = 11, 1_000_000
	for i := page.LSN(0); i < page.LSN(testkit.Size(200, 50, 20_000)) || len(tl.Layers()) < least && i < most; i++ {
		require.NoError(t, put(firstLSN+16+8*i))
	}
	close(done)
	wg.Wait()
	require.GreaterOrEqual(t, len(tl.Layers()), least)
	require.Zero(t, s.Metrics().HeldBytes, "nobody holds anything any more")
	require.NoError(t, tl.Close())
	_, err := tl.Get(ctx, keys[0], firstLSN+8)
	require.ErrorIs(t, err, timeline.ErrClosed)
	require.ErrorIs(t, putImage(tl, keys[0], 1<<20, nil), timeline.ErrClosed)
}

func TestImportTilesTheKeySpace(t *testing.T) {
	noLeaks(t)
	mem := virtualfile.NewMem()
	s, tn, _ := opened(t, testOptions(mem))
	ctx := context.Background()
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 1}
	const pages = 300
	source := func(fail bool) func(context.Context, *timeline.ImageSink) error {
		return func(ctx context.Context, sink *timeline.ImageSink) error {
			buf := make([]byte, 8192)
			for i := range uint32(pages) {
				for j := range buf {
					buf[j] = byte(uint32(j*j)*i>>3 ^ uint32(j))
				}
				if err := sink.PutImage(ctx, rel.Block(i), buf); err != nil {
					return err
				}
				if fail && i == pages/2 {
					return syscall.EIO
				}
			}
			return nil
		}
	}
	const layerSize = 256 << 10
	plain := layer.Compression{Disabled: true}
	dir := "store/tenants/" + tn.ID().String() + "/timelines"
	before, err := mem.List(dir)
	require.NoError(t, err)
	_, err = importAll(ctx, tn, meta("imported"), firstLSN-64, layerSize, plain, source(true))
	require.ErrorIs(t, err, syscall.EIO)
	after, err := mem.List(dir)
	require.NoError(t, err)
	require.Equal(t, before, after, "nothing is left")

	tl, err := importAll(ctx, tn, meta("imported"), firstLSN-64, layerSize, plain, source(false))
	require.NoError(t, err)
	ds := tl.Layers()
	require.Greater(t, len(ds), 5)
	require.Equal(t, page.MinKey, ds[0].Keys.Start)
	require.Equal(t, page.MaxKey, ds[len(ds)-1].Keys.End)
	for i, d := range ds {
		require.True(t, d.Image)
		require.Equal(t, firstLSN, d.LSNs.Start)
		if i > 0 {
			require.Equal(t, ds[i-1].Keys.End, d.Keys.Start)
		}
	}
	require.Equal(t, firstLSN-64, tl.PrevRecordLSN())
	n := uint32(0)
	require.NoError(t, tl.GetVectored(ctx, page.NewSet(page.FullRange), firstLSN, func(k page.Key, v []byte, err error) error {
		require.Equal(t, rel.Block(n), k)
		require.Equal(t, byte(uint32(100*100)*n>>3^100), v[100])
		n++
		return err
	}))
	require.EqualValues(t, pages, n)
	require.LessOrEqual(t, s.Metrics().OpenFiles, int64(8), "the number of open files is bounded")

	// A crash right after shows all of it; one in the middle, nothing.
	again, err := Open(ctx, testOptions(mem.CrashClone(1)))
	require.NoError(t, err)
	tn, err = again.DefaultTenant()
	require.NoError(t, err)
	_, err = tn.Timeline("imported")
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// TestAnyNumberOfKeysInBoundedSteps reads far more than one window at once, and a page whose chain is long.
func TestAnyNumberOfKeysInBoundedSteps(t *testing.T) {
	noLeaks(t)
	o := testOptions(virtualfile.NewMem())
	o.Config.CheckpointDistance = 8 << 20
	_, _, tl := opened(t, o)
	ctx := context.Background()
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 1}
	const pages, size = 6000, 8000
	img := make([]byte, size)
	var b page.Batch
	lsn := firstLSN
	for i := range uint32(pages) {
		lsn += 8
		copy(img, fmt.Sprint(i))
		b.PutImage(rel.Block(i), lsn, img)
		if b.Bytes() > 1<<20 {
			require.NoError(t, tl.Put(ctx, &b))
			b.Reset()
		}
	}
	for i := range uint32(pages) {
		lsn += 8
		b.PutRecord(rel.Block(i), lsn, false, []byte("tail"))
	}
	require.NoError(t, tl.Put(ctx, &b))
	require.NoError(t, tl.Flush(ctx))
	n := uint32(0)
	require.NoError(t, tl.GetVectored(ctx, page.NewSet(page.FullRange), lsn, func(k page.Key, v []byte, err error) error {
		require.NoError(t, err)
		require.Equal(t, rel.Block(n), k)
		require.Len(t, v, size+4)
		require.True(t, bytes.HasPrefix(v, fmt.Append(nil, n)))
		n++
		return nil
	}))
	require.EqualValues(t, pages, n)
	stop := fmt.Errorf("enough")
	require.ErrorIs(t, tl.GetVectored(ctx, page.NewSet(page.FullRange), lsn, func(page.Key, []byte, error) error { return stop }), stop)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, tl.GetVectored(cancelled, page.NewSet(page.FullRange), lsn, func(page.Key, []byte, error) error { return nil }), context.Canceled)
}
