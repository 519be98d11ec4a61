package timeline

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// imageAt makes one image layer of some keys.
type imageAt struct {
	lsn  page.LSN
	keys page.Range
}

func (imageAt) Name() string { return "image" }

func (i imageAt) Plan(s *compaction.Snapshot) (p compaction.Plan) {
	for k := range s.Layers {
		if s.Layers[k].Image && s.Layers[k].LSNs.Start == i.lsn && s.Layers[k].Keys == i.keys {
			return p
		}
	}
	p.Jobs = []compaction.Job{{Kind: compaction.Image, Reason: "it is a test",
		Rect: compaction.Rect{Keys: i.keys, LSNs: page.LSNRange{Start: i.lsn, End: i.lsn + 1}}}}
	return p
}

func makeImage(t *testing.T, tl *Timeline, lsn page.LSN, keys page.Range) {
	_, err := tl.Compact(context.Background(), CompactRequest{Strategy: imageAt{lsn, keys}})
	require.NoError(t, err)
}

// family is a timeline and a branch of its middle. The timeline is collected but for what the branch needs.
type family struct {
	t             *testing.T
	dir           string
	fault         *virtualfile.Fault
	clock         *handClock
	parent, child *Timeline
	at            page.LSN // where the branch begins
}

// settings is a key of metadata that the branch inherits.
var settings = page.ClusterFileKey("postgresql.conf")

func newFamily(t *testing.T, change func(*Config)) *family {
	f := &family{t: t, dir: "store", fault: &virtualfile.Fault{}, clock: newHandClock()}
	e := readEnv(t, virtualfile.NewFaulty(virtualfile.NewMem(), f.fault), f.dir, func(c *Config) {
		c.Clock = f.clock.Now
		if change != nil {
			change(c)
		}
	})
	f.parent = newTestTimeline(t, e, f.dir, "parent", readFirst, nil)
	require.NoError(t, putOne(f.parent, settings, []byte("of the parent")))
	putLayer(t, f.parent, 3, true)
	f.at = putLayer(t, f.parent, 3, false)
	f.child = newTestTimeline(t, e, f.dir, "child", f.at, f.parent)
	putLayer(t, f.parent, 3, false)
	end := putLayer(t, f.parent, 3, false)
	makeImage(t, f.parent, end, page.FullRange)
	return f
}

func putOne(tl *Timeline, k page.Key, v []byte) error {
	var b page.Batch
	b.PutImage(k, tl.LastRecordLSN()+8, v)
	return tl.Put(context.Background(), &b)
}

// grow gives the branch some layers of its own, and their LSNs.
func (f *family) grow() (lsns []page.LSN) {
	for range 4 {
		lsns = append(lsns, putLayer(f.t, f.child, 3, false))
	}
	return lsns
}

// released are the keys at the branch point that nobody reads in the parent.
func (f *family) released() page.Set {
	for _, p := range f.parent.readPoints() {
		if p.LSN == f.at {
			return page.NewSet(p.Released...)
		}
	}
	require.Fail(f.t, "the branch point is no read point")
	return page.Set{}
}

// pins demands that the branch still has its parent keep what it began with, and reads it, and all else of the branch at
// some LSNs, after the parent was collected.
func (f *family) pins(lsns ...page.LSN) {
	f.t.Helper()
	require.Equal(f.t, page.NewSet(page.NotInherited), f.released())
	f.collected(0, lsns...)
}

func (f *family) collected(removed int, lsns ...page.LSN) {
	f.t.Helper()
	before := f.read(lsns)
	r, err := f.parent.GC(context.Background(), GCRequest{})
	require.NoError(f.t, err)
	require.Equal(f.t, removed, r.Removed, "%+v", r)
	require.Equal(f.t, before, f.read(lsns))
}

func (f *family) read(lsns []page.LSN) (all []string) {
	for _, lsn := range lsns {
		for _, k := range []page.Key{blockKey(0), blockKey(1), blockKey(2), settings} {
			v, err := f.child.Get(context.Background(), k, lsn)
			require.NoError(f.t, err, "%s at %s", k.Describe(), lsn)
			all = append(all, string(v))
		}
	}
	return all
}

// old are the layers of the parent that only the branch needs: one below its beginning, and the one across that.
const old = 2

// TestBranchesReleaseWhatTheyCover goes through what has to be before a branch stops keeping its ancestor's layers.
func TestBranchesReleaseWhatTheyCover(t *testing.T) {
	ctx := context.Background()
	all := []page.Range{page.FullRange}
	t.Run("an image at the cutoff", func(t *testing.T) {
		f := newFamily(t, nil)
		_, err := f.parent.GC(ctx, GCRequest{})
		require.NoError(t, err)
		lsns := f.grow()
		f.pins(append(lsns, f.at)...)
		makeImage(t, f.child, lsns[1], page.FullRange)
		f.pins(append(lsns, f.at)...) // states below the image can be read
		require.NoError(t, f.child.moveCutoff(ctx, lsns[0]))
		f.pins(lsns...)
		require.NoError(t, f.child.moveCutoff(ctx, lsns[1]))
		require.Equal(t, all, f.released().Ranges())
		f.collected(old, lsns[1:]...)
	})
	t.Run("a lease below the image", func(t *testing.T) {
		f := newFamily(t, nil)
		_, err := f.parent.GC(ctx, GCRequest{})
		require.NoError(t, err)
		lsns := f.grow()
		_, err = f.child.Lease(ctx, lsns[0], time.Minute)
		require.NoError(t, err)
		makeImage(t, f.child, lsns[1], page.FullRange)
		require.NoError(t, f.child.moveCutoff(ctx, lsns[2]))
		f.pins(lsns[0], lsns[2])
		f.clock.pass(time.Minute)
		require.Equal(t, all, f.released().Ranges())
		f.collected(old, lsns[2])
	})
	t.Run("a branch of the branch below the image", func(t *testing.T) {
		f := newFamily(t, nil)
		_, err := f.parent.GC(ctx, GCRequest{})
		require.NoError(t, err)
		lsns := f.grow()
		grand := newTestTimeline(t, f.child.env, f.dir, "grandchild", lsns[0], f.child)
		makeImage(t, f.child, lsns[1], page.FullRange)
		require.NoError(t, f.child.moveCutoff(ctx, lsns[2]))
		f.pins(lsns[2])
		v, err := grand.Get(ctx, settings, lsns[0])
		require.NoError(t, err)
		require.Equal(t, "of the parent", string(v))
		// It covers itself: then nobody reads the child there either.
		makeImage(t, grand, lsns[0], page.FullRange)
		require.Equal(t, all, f.released().Ranges())
		f.collected(old, lsns[2])
		v, err = grand.Get(ctx, settings, lsns[0])
		require.NoError(t, err)
		require.Equal(t, "of the parent", string(v))
	})
	t.Run("a branch of a branch of the branch below the beginnings of both", func(t *testing.T) {
		f := newFamily(t, nil)
		_, err := f.parent.GC(ctx, GCRequest{})
		require.NoError(t, err)
		lsns := f.grow()
		grand := newTestTimeline(t, f.child.env, f.dir, "grandchild", lsns[1], f.child)
		great := newTestTimeline(t, f.child.env, f.dir, "of the parent itself", f.at-8, grand)
		makeImage(t, f.child, lsns[1], page.FullRange)
		require.NoError(t, f.child.moveCutoff(ctx, lsns[1]))
		require.Equal(t, all, f.released().Ranges())
		f.collected(old-1, lsns[1:]...)
		for _, k := range []page.Key{blockKey(0), settings} {
			_, err := great.Get(ctx, k, f.at-8)
			require.NoError(t, err)
		}
	})
	t.Run("metadata and pages each for themselves", func(t *testing.T) {
		f := newFamily(t, nil)
		_, err := f.parent.GC(ctx, GCRequest{})
		require.NoError(t, err)
		lsns := f.grow()
		require.NoError(t, f.child.moveCutoff(ctx, lsns[0]))
		first := page.Range{Start: page.MinKey, End: compaction.SparseKeys.Start}
		makeImage(t, f.child, lsns[0], first)
		require.True(t, f.released().Contains(blockKey(0)))
		require.False(t, f.released().Contains(settings))
		f.collected(0, lsns...)
		makeImage(t, f.child, lsns[0], page.Range{Start: compaction.SparseKeys.Start, End: page.MaxKey})
		require.True(t, f.released().Contains(settings))
		f.collected(old, lsns...)
	})
	t.Run("an image that is durable", func(t *testing.T) {
		f := newFamily(t, nil)
		_, err := f.parent.GC(ctx, GCRequest{})
		require.NoError(t, err)
		lsns := f.grow()
		require.NoError(t, f.child.moveCutoff(ctx, lsns[1]))
		*f.fault = virtualfile.Fault{Op: virtualfile.OpWrite, Nth: 1, Err: syscall.ENOSPC, Path: isManifest}
		_, err = f.child.Compact(ctx, CompactRequest{Strategy: imageAt{lsns[1], page.FullRange}})
		require.ErrorIs(t, err, syscall.ENOSPC)
		*f.fault = virtualfile.Fault{}
		f.pins(lsns[1:]...)
	})
}

// TestBranchesOfOnePoint: of what several branches begin with at one LSN only that is needed no more which each of them has covered.
func TestBranchesOfOnePoint(t *testing.T) {
	f := newFamily(t, nil)
	ctx := context.Background()
	_, err := f.parent.GC(ctx, GCRequest{})
	require.NoError(t, err)
	second := newTestTimeline(t, f.child.env, f.dir, "second", f.at, f.parent)
	pages := page.Range{Start: page.MinKey, End: compaction.SparseKeys.Start}
	metadata := page.Range{Start: compaction.SparseKeys.Start, End: page.MaxKey}
	read := func() {
		t.Helper()
		for _, tl := range []*Timeline{f.child, second} {
			for _, k := range []page.Key{blockKey(0), settings} {
				_, err := tl.Get(ctx, k, f.at)
				require.NoError(t, err)
			}
		}
	}
	makeImage(t, f.child, f.at, pages)
	f.pins(f.at)
	makeImage(t, second, f.at, metadata)
	f.pins(f.at)
	read()
	makeImage(t, second, f.at, pages)
	require.True(t, f.released().Contains(blockKey(0)))
	require.False(t, f.released().Contains(settings), "the first needs it")
	f.collected(0, f.at)
	read()
	makeImage(t, f.child, f.at, metadata)
	f.collected(old, f.at)
	read()
}

func isManifest(name string) bool {
	return len(name) >= len(manifest.FileName) && name[len(name)-len(manifest.FileName):] == manifest.FileName
}

// TestBranchesReleaseWhatIsUploaded: with remote storage what counts is what an index there has, the branch's images and its cutoff:
// whoever attaches the branch from there finds no more than that.
func TestBranchesReleaseWhatIsUploaded(t *testing.T) {
	ctx := context.Background()
	store := memstore.New()
	faults := faultstore.New(store, 1)
	f := newFamily(t, func(c *Config) {
		c.Remote, c.Sleep, c.Upload = faults, shortly, UploadConfig{CloseTime: testDelay, DeleteDelay: testDelay}
	})
	down := func() { faults.Set(&faultstore.Fault{Nth: 1, Sticky: true}) }
	up := func() {
		faults.Set()
		require.NoError(t, f.child.WaitUploads(ctx))
		require.NoError(t, f.parent.WaitUploads(ctx))
	}
	up()
	_, err := f.parent.GC(ctx, GCRequest{})
	require.NoError(t, err)
	lsns := f.grow()
	require.NoError(t, f.child.moveCutoff(ctx, lsns[0]))
	require.Eventually(t, func() bool { return f.child.surelyFrom() == lsns[0] }, time.Minute, time.Millisecond)
	down()
	makeImage(t, f.child, lsns[0], page.FullRange)
	f.pins(lsns...)
	up()
	require.Eventually(t, func() bool { return f.released().Contains(settings) }, time.Minute, time.Millisecond, "it is up now")
	makeImage(t, f.child, lsns[2], page.FullRange)
	up()
	require.True(t, f.released().Contains(settings))
	f.collected(old, lsns...)
}

// TestCutoffsOfRemoteStorage: an image between the cutoff in effect and that of the index in remote storage is not enough.
func TestCutoffsOfRemoteStorage(t *testing.T) {
	ctx := context.Background()
	faults := faultstore.New(memstore.New(), 1)
	f := newFamily(t, func(c *Config) {
		c.Remote, c.Sleep, c.Upload = faults, shortly, UploadConfig{CloseTime: testDelay, DeleteDelay: testDelay}
	})
	_, err := f.parent.GC(ctx, GCRequest{})
	require.NoError(t, err)
	lsns := f.grow()
	makeImage(t, f.child, lsns[2], page.FullRange)
	require.NoError(t, f.child.WaitUploads(ctx))
	faults.Set(&faultstore.Fault{Nth: 1, Sticky: true})
	require.NoError(t, f.child.moveCutoff(ctx, lsns[2]))
	f.pins(lsns[2:]...)
	faults.Set()
	require.Eventually(t, func() bool { return f.released().Contains(settings) }, time.Minute, time.Millisecond)

	// Another process does find it so.
	require.NoError(t, f.child.WaitUploads(ctx))
	part, _, err := upload.Load(ctx, f.child.env.Remote, upload.Place{Tenant: f.child.id.Tenant, Timeline: f.child.id.Timeline}, f.child.generation)
	require.NoError(t, err)
	require.Equal(t, lsns[2], part.Origin.Cutoff)
	require.Equal(t, int(pg.V17), part.Metadata.PgVersion, fmt.Sprint(part.Metadata))
}
