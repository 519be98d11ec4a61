package timeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

const readFirst page.LSN = 0x1000

// joiner makes a page of its base and all records, one behind the other.
type joiner struct{}

func (joiner) Redo(_ context.Context, dst []byte, r *walredo.Request) ([]byte, error) {
	dst = append(dst, r.Base...)
	for _, rec := range r.Records {
		dst = append(append(dst, '|'), rec.Value.Bytes...)
	}
	return dst, nil
}
func (joiner) Close() error { return nil }

// readEnv makes an Env in dir, closed at the end of the test, when nothing may be left open.
func readEnv(t testing.TB, fsys virtualfile.FS, dir string, change func(*Config)) *Env {
	c := Config{
		FS: fsys, CheckpointDistance: 1 << 30, MaxFrozen: 2, MaxOpenFiles: 64, Scratch: filepath.Join(dir, "scratch"),
		Memory: 64 << 20, ValidateIO: true, MinManifestRewrite: 1 << 20, Redoer: joiner{},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: time.Now,
	}
	require.NoError(t, fsys.MkdirAll(c.Scratch))
	if change != nil {
		change(&c)
	}
	e, err := NewEnv(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, e.Close())
		m := e.Disk.Metrics()
		require.Zero(t, m.Handles, "a layer was not closed")
		require.Zero(t, m.Descriptors)
		require.Zero(t, m.BuffersInUse, "a buffer was not given back")
		require.Zero(t, e.counters.heldBytes.Load())
	})
	return e
}

func newTestTimeline(t testing.TB, e *Env, dir, name string, at page.LSN, ancestor *Timeline) *Timeline {
	m := manifest.Meta{Name: name, Timeline: page.TimelineID{byte(len(name)), name[0]}, Version: pg.V17, InitialLSN: at, WALSegSize: 16 << 20}
	if ancestor != nil {
		m.Ancestor, m.AncestorLSN = ancestor.ID(), at
	}
	tl, err := Create(context.Background(), e, dir, m, 0, ancestor, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tl.Close()) })
	return tl
}

func blockKey(i int) page.Key {
	return page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(uint32(i))
}

// putLayer puts one record, or image, of each key at the next LSN, and flushes.
func putLayer(t *testing.T, tl *Timeline, keys int, image bool) page.LSN {
	lsn := tl.LastRecordLSN() + 8
	var b page.Batch
	for i := range keys {
		v := fmt.Appendf(nil, "%d@%d %0400d", i, lsn, i)
		if image {
			b.PutImage(blockKey(i), lsn, v)
		} else {
			b.PutRecord(blockKey(i), lsn, false, v)
		}
	}
	require.NoError(t, tl.Put(context.Background(), &b))
	require.NoError(t, tl.Flush(context.Background()))
	return lsn
}

// TestReadIsOneRound reads through twenty layers and an ancestor's.
func TestReadIsOneRound(t *testing.T) {
	fsys, dir := virtualfile.NewMem(), "store"
	e := readEnv(t, fsys, dir, nil)
	parent := newTestTimeline(t, e, dir, "parent", readFirst, nil)
	const keys, height = 500, 20
	for l := range height / 2 {
		putLayer(t, parent, keys, l == 0)
	}
	child := newTestTimeline(t, e, dir, "child", parent.LastRecordLSN(), parent)
	for range height / 2 {
		putLayer(t, child, keys, false)
	}
	ctx := context.Background()
	lsn := child.LastRecordLSN()
	_, err := child.Get(ctx, blockKey(7), lsn)
	require.NoError(t, err)
	var tr layer.Trace
	before := e.Disk.Metrics()
	v, err := child.Get(layer.WithTrace(ctx, &tr), blockKey(7), lsn)
	require.NoError(t, err)
	after := e.Disk.Metrics()
	require.Equal(t, height-1, strings.Count(string(v), "|"))
	require.EqualValues(t, 1, after.Batches-before.Batches, "one round of reads")
	require.EqualValues(t, height, after.Reads-before.Reads)
	require.Equal(t, 1, tr.Rounds)
	require.Len(t, tr.Visited, height)
	require.Zero(t, tr.IndexLoads)
	require.Contains(t, tr.String(), "20 reads")

	// Many keys are read likewise, window by window.
	before = e.Disk.Metrics()
	n := 0
	require.NoError(t, child.GetVectored(ctx, page.NewSet(page.Range{Start: blockKey(0), End: blockKey(200)}), lsn, func(k page.Key, v []byte, err error) error {
		require.Equal(t, blockKey(n), k)
		require.Equal(t, height-1, strings.Count(string(v), "|"))
		n++
		return err
	}))
	require.Equal(t, 200, n)
	require.EqualValues(t, 1, e.Disk.Metrics().Batches-before.Batches)

	_, err = child.Get(ctx, blockKey(keys+1), lsn)
	require.ErrorIs(t, err, page.ErrNotFound)
	for _, tl := range []*Timeline{parent, child} {
		for _, d := range tl.Layers() {
			require.ErrorContains(t, err, d.Name(), "the read path")
		}
	}
}

// TestBrokenChainTellsTheReadPath reads a record that has nothing below it.
func TestBrokenChainTellsTheReadPath(t *testing.T) {
	fsys, dir := virtualfile.NewMem(), "store"
	e := readEnv(t, fsys, dir, nil)
	tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
	putLayer(t, tl, 3, false)
	var b page.Batch
	b.PutRecord(blockKey(1), tl.LastRecordLSN()+8, false, []byte("in memory"))
	require.NoError(t, tl.Put(context.Background(), &b))
	_, err := tl.Get(context.Background(), blockKey(1), tl.LastRecordLSN())
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "2 records down to")
	require.ErrorContains(t, err, tl.Layers()[0].Name())
	require.ErrorContains(t, err, "memory for LSNs")
}

// TestViewsHoldWhatReadersSee removes layers under a pinned view.
func TestViewsHoldWhatReadersSee(t *testing.T) {
	fsys, dir := virtualfile.NewMem(), "store"
	e := readEnv(t, fsys, dir, nil)
	tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
	ctx := context.Background()
	putLayer(t, tl, 10, true)
	lsn := putLayer(t, tl, 10, false)
	want, err := tl.Get(ctx, blockKey(3), lsn)
	require.NoError(t, err)
	require.EqualValues(t, 2, e.Disk.Metrics().Handles)

	s, err := tl.Snapshot(ctx, lsn)
	require.NoError(t, err)
	gone := tl.Layers()[:1]
	layers, err := tl.view.Load().layers.Apply(nil, gone)
	require.NoError(t, err)
	tl.update(func(v *view) { v.layers = layers }, gone...)
	for range 3 { // later views change nothing
		putLayer(t, tl, 10, false)
	}
	require.Equal(t, gone[0].Size+memHeld(s), e.Metrics().HeldBytes)
	require.EqualValues(t, 1, e.Metrics().Snapshots)
	got, err := s.Get(ctx, blockKey(3), lsn)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = s.Get(ctx, blockKey(3), lsn+8)
	require.ErrorContains(t, err, "through a snapshot")

	// A read that runs outlives the snapshot's end.
	require.NoError(t, s.GetVectored(ctx, page.SetOfKeys(blockKey(3)), lsn, func(_ page.Key, v []byte, err error) error {
		s.Close()
		require.Positive(t, e.Metrics().HeldBytes)
		require.Equal(t, want, v)
		return err
	}))
	require.Zero(t, e.Metrics().HeldBytes)
	require.Nil(t, tl.files.find(&gone[0]), "the file is closed")
	s.Close()
	_, err = s.Get(ctx, blockKey(3), lsn)
	require.ErrorIs(t, err, ErrClosed)
	require.Zero(t, e.Metrics().Snapshots)
}

// memHeld gives the memory of in-memory layers that views between a snapshot's and the present one hold.
func memHeld(s *Snapshot) (n int64) {
	for v := s.l.views[0]; v != nil; v = v.next {
		for _, m := range v.gone.mems {
			n += m.Size()
		}
	}
	return n
}

func TestSnapshotsEnd(t *testing.T) {
	fsys, dir := virtualfile.NewMem(), "store"
	now := time.Unix(1000, 0)
	e := readEnv(t, fsys, dir, func(c *Config) {
		c.MaxSnapshotAge, c.MaxHeldBytes = time.Hour, 1
		c.Clock = func() time.Time { return now }
	})
	tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
	ctx := context.Background()
	lsn := putLayer(t, tl, 10, true)
	old, err := tl.Snapshot(ctx, lsn)
	require.NoError(t, err)
	now = now.Add(2 * time.Hour)
	require.Equal(t, 2*time.Hour, e.Metrics().OldestSnapshot)
	young, err := tl.Snapshot(ctx, lsn)
	require.NoError(t, err)
	_, err = old.Get(ctx, blockKey(0), lsn)
	require.ErrorIs(t, err, ErrSnapshotEnded)
	require.ErrorContains(t, err, "2h0m0s old")
	_, err = young.Get(ctx, blockKey(0), lsn)
	require.NoError(t, err)
	gone := tl.Layers()[:1]
	layers, err := tl.view.Load().layers.Apply(nil, gone)
	require.NoError(t, err)
	tl.update(func(v *view) { v.layers = layers }, gone...)
	_, err = young.Get(ctx, blockKey(0), lsn)
	require.ErrorIs(t, err, ErrSnapshotEnded)
	require.Zero(t, e.Metrics().HeldBytes)
	old.Close()
	young.Close()
}

// TestFilesChangedBehindTheEngine damages a layer in every way, after the store was opened, before or after
// it is first read: a read gives the right value or an error that names the file.
func TestFilesChangedBehindTheEngine(t *testing.T) {
	const keys = 400
	ctx := context.Background()
	damages := map[string]struct {
		do func(t *testing.T, file, other string)
		is error // if the layer was never read
	}{
		"deleted":   {func(t *testing.T, file, _ string) { require.NoError(t, os.Remove(file)) }, fs.ErrNotExist},
		"truncated": {func(t *testing.T, file, _ string) { require.NoError(t, os.Truncate(file, 3*8192)) }, ErrCorrupt},
		"emptied":   {func(t *testing.T, file, _ string) { require.NoError(t, os.Truncate(file, 0)) }, ErrCorrupt},
		"swapped":   {func(t *testing.T, file, other string) { require.NoError(t, os.Rename(other, file)) }, ErrCorrupt},
		"overwritten": {func(t *testing.T, file, other string) {
			b, err := os.ReadFile(other)
			require.NoError(t, err)
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt(b, 0)
			require.NoError(t, errors.Join(err, f.Close()))
		}, ErrCorrupt},
	}
	for name, d := range damages {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/warm=%v", name, warm), func(t *testing.T) {
				dir := t.TempDir()
				e := readEnv(t, virtualfile.NewOS(), dir, nil)
				tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
				putLayer(t, tl, keys, true)
				lsn := putLayer(t, tl, keys, true)
				want := map[int][]byte{}
				for i := range keys {
					want[i] = fmt.Appendf(nil, "%d@%d %0400d", i, lsn, i)
				}
				l0 := tl.Layers()
				file := filepath.Join(tl.dir, l0[1].FileName())
				other := filepath.Join(tl.dir, l0[0].FileName())
				if warm {
					_, err := tl.Get(ctx, blockKey(keys-1), lsn)
					require.NoError(t, err)
				}
				d.do(t, file, other)
				failed := 0
				for i := range keys {
					v, err := tl.Get(ctx, blockKey(i), lsn)
					if err == nil {
						require.Equal(t, want[i], v)
						continue
					}
					failed++
					require.ErrorContains(t, err, l0[1].FileName())
					if !warm {
						require.ErrorIs(t, err, d.is)
					}
				}
				if !warm {
					require.Equal(t, keys, failed)
				} else if name != "deleted" && name != "swapped" { // an open file is the one it was
					require.Positive(t, failed)
				}
			})
		}
	}
}

// TestReadersBesideAWriter has eight read while one puts and flushes and layers leave the map.
func TestReadersBesideAWriter(t *testing.T) {
	const keys, readers = 60, 8
	rounds := testkit.Size(30, 60, 60)
	dir := t.TempDir()
	e := readEnv(t, virtualfile.NewOS(), dir, func(c *Config) { c.MaxOpenFiles = 8 })
	tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
	putLayer(t, tl, keys, true)
	ctx := context.Background()
	var stop atomic.Bool
	var floor atomic.Uint64
	lastImage := uint64(readFirst)
	var wg sync.WaitGroup
	for n := range readers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			check := func(k page.Key, lsn page.LSN, v []byte) error {
				// All versions up to lsn, from the last image on.
				prefix := fmt.Sprintf("%d@", k.F6)
				parts := strings.Split(string(v), "|")
				if last := parts[len(parts)-1]; !strings.HasPrefix(last, fmt.Sprintf("%s%d ", prefix, lsn)) {
					return fmt.Errorf("%s at LSN %s ends in %.40s", k, lsn, last)
				}
				return nil
			}
			for !stop.Load() {
				lsn := tl.LastRecordLSN()
				i := r.IntN(keys)
				set := page.NewSet(page.Range{Start: blockKey(i), End: blockKey(i + 1 + r.IntN(keys-i))})
				see := func(k page.Key, v []byte, err error) error {
					if err == nil {
						err = check(k, lsn, v)
					}
					return err
				}
				var err error
				if r.IntN(4) == 0 {
					var s *Snapshot
					if s, err = tl.Snapshot(ctx, lsn); err == nil {
						err = errors.Join(s.GetVectored(ctx, set, lsn, see), s.GetVectored(ctx, set, lsn, see))
						s.Close()
					}
				} else {
					err = tl.GetVectored(ctx, set, lsn, see)
				}
				if err != nil && uint64(lsn) >= floor.Load() {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range rounds {
		if t.Failed() {
			break
		}
		image := n%10 == 9
		lsn := putLayer(t, tl, keys, image)
		if !image {
			continue
		}
		// What is older than the image before this one is not read at floor or above.
		var gone []layer.Desc
		for _, d := range tl.Layers() {
			if d.LSNs.End <= page.LSN(lastImage) {
				gone = append(gone, d)
			}
		}
		floor.Store(lastImage)
		lastImage = uint64(lsn)
		layers, err := tl.view.Load().layers.Apply(nil, gone)
		require.NoError(t, err)
		tl.update(func(v *view) { v.layers = layers }, gone...)
	}
	stop.Store(true)
	wg.Wait()
	require.Less(t, len(tl.Layers()), rounds/2, "layers were removed")
	require.Zero(t, e.Metrics().HeldBytes)
	require.LessOrEqual(t, e.Disk.Metrics().Descriptors, int64(8))
}
