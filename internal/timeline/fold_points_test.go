package timeline

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// foldTo is foldOnce up to a horizon below the cutoff, cut behind every few keys.
type foldTo struct {
	horizon page.LSN // 0 is the cutoff
	keys    int
}

func (foldTo) Name() string { return "fold to" }

func (f foldTo) Plan(s *compaction.Snapshot) compaction.Plan {
	p := foldOnce{}.Plan(s)
	for i := range p.Jobs {
		j := &p.Jobs[i]
		if f.horizon != 0 {
			j.Fold.Horizon = f.horizon
		}
		if f.keys != 0 {
			j.Cut = func() compaction.Cutter { return &keysCut{n: f.keys, lsns: j.Rect.LSNs} }
		}
	}
	return p
}

// TestFoldsAskWholeDirectories: where a branch has released the directories at its branch LSN but not the pages, what directories
// say there is that of an older state. A fold that believed them would forget what the branch still reads.
func TestFoldsAskWholeDirectories(t *testing.T) {
	const blocks = 3
	clock := newHandClock()
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Clock = clock.Now })
	c := &cluster{t: t, tl: newCluster(t, e, "store")}
	first, later := cachedRel(0), cachedRel(2)
	low := c.write(first, blocks)
	_, err := c.tl.Lease(t.Context(), low, time.Hour)
	require.NoError(t, err)
	at := c.write(later, blocks)
	child := newTestTimeline(t, e, "store", "child", at, c.tl)
	makeImage(t, child, at, page.Range{Start: page.MinKey, End: page.RelTag{Spc: later.Spc, DB: later.DB, Rel: 1}.Block(0)})
	c.drop(later)
	foldAtEnd(t, c.tl)
	size, err := datadir.At(pinnedAt(t, c.tl, at), at, c.tl.meta.Version).RelSize(t.Context(), later)
	require.True(t, err != nil || size != blocks, "the directories are not those of the branch point any more")

	c.write(first, blocks)
	foldAtEnd(t, c.tl)
	b := &cluster{t: t, tl: child}
	b.reads(later, blocks, at)
	b.reads(first, blocks, at)
	c.reads(first, blocks, low)
	require.Zero(t, entriesOf(t, c.tl)[later.Block(blocks)])
}

// pinnedAt reads at an LSN whatever is refused to others.
func pinnedAt(t *testing.T, tl *Timeline, lsn page.LSN) pinned {
	l, err := tl.pin(lsn)
	require.NoError(t, err)
	t.Cleanup(l.release)
	return pinned{t: tl, l: l}
}

// TestFoldsAskAtTheCutoff: a fold's horizon may lie below the cutoff. What is dropped between the two nobody reads any more.
func TestFoldsAskAtTheCutoff(t *testing.T) {
	const blocks = 3
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	c := &cluster{t: t, tl: newCluster(t, e, "store")}
	stays, dropped, late := cachedRel(0), cachedRel(2), cachedRel(4)
	c.write(stays, blocks)
	horizon := c.write(dropped, blocks)
	c.drop(dropped)
	end := c.write(late, blocks)
	require.NoError(t, c.tl.moveCutoff(t.Context(), end))
	_, err := c.tl.Compact(t.Context(), CompactRequest{Strategy: foldTo{horizon: horizon}})
	require.NoError(t, err)
	entries := entriesOf(t, c.tl)
	for n := range uint32(blocks) {
		require.Zero(t, entries[dropped.Block(n)])
		require.Equal(t, 1, entries[stays.Block(n)])
		require.Equal(t, 3, entries[late.Block(n)], "above the horizon all stays")
	}
	c.reads(stays, blocks, end)
	c.reads(late, blocks, end)
}

// TestFoldsKeepWhatImagesLack: that a key of metadata was removed may stand nowhere but in an image layer which lacks it, once what
// removed it was collected. Where an older state is kept too, a fold writes it down.
func TestFoldsKeepWhatImagesLack(t *testing.T) {
	ctx := t.Context()
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	require.NoError(t, putOne(tl, settings, []byte("one")))
	low := putLayer(t, tl, 2, true)
	_, err := tl.Lease(ctx, low, time.Hour)
	require.NoError(t, err)
	require.NoError(t, putOne(tl, settings, nil))
	at := putLayer(t, tl, 2, false)
	makeImage(t, tl, at, page.FullRange)
	r, err := tl.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Equal(t, 1, r.Removed, "the delta that removed the key")
	end := putLayer(t, tl, 2, false)
	foldAtEnd(t, tl)
	v, err := tl.Get(ctx, settings, low)
	require.NoError(t, err)
	require.Equal(t, "one", string(v))
	_, err = tl.Get(ctx, settings, end)
	require.ErrorIs(t, err, page.ErrNotFound)
	require.Equal(t, 2, entriesOf(t, tl)[settings], "that it was there, and that it is not")
}

// TestFoldsInPartKeepWhatImagesLack: as long as a fold is published in part, older records of its inputs are still found. That a key
// exists no more at a read point must then stand in the outputs, also where nobody reads the key at the lowest.
func TestFoldsInPartKeepWhatImagesLack(t *testing.T) {
	ctx := t.Context()
	var creates failing
	e := readEnv(t, virtualfile.NewFaulty(virtualfile.NewMem(), creates.fault(virtualfile.OpCreate, syscall.EIO)), "store", func(c *Config) { c.Compaction.Lanes = 1 })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	a, b := settings, settings.Next()
	require.NoError(t, putOne(tl, blockKey(0), []byte("page")))
	require.NoError(t, putOne(tl, a, []byte("a, long ago")))
	require.NoError(t, putOne(tl, b, []byte("b")))
	low := tl.LastRecordLSN()
	require.NoError(t, putOne(tl, a, []byte("a")))
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, putOne(tl, a, nil))
	require.NoError(t, tl.Flush(ctx))
	at := tl.LastRecordLSN()
	child := newTestTimeline(t, e, "store", "child", low, tl)
	makeImage(t, child, low, single(a))
	makeImage(t, tl, at, page.Range{Start: page.MinKey, End: b})
	makeImage(t, tl, at, page.Range{Start: b, End: page.MaxKey})
	r, err := tl.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Equal(t, 1, r.Removed, "the delta that removed the key")
	require.NoError(t, putOne(tl, b, []byte("c")))
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, tl.moveCutoff(ctx, tl.LastRecordLSN()))

	removed := func() {
		t.Helper()
		_, err := tl.Get(ctx, a, tl.LastRecordLSN())
		require.ErrorIs(t, err, page.ErrNotFound)
		v, err := tl.Get(ctx, b, tl.LastRecordLSN())
		require.NoError(t, err)
		require.Equal(t, "c", string(v))
		v, err = child.Get(ctx, b, low)
		require.NoError(t, err)
		require.Equal(t, "b", string(v))
		v, err = child.Get(ctx, a, low)
		require.NoError(t, err)
		require.Equal(t, "a, long ago", string(v))
	}
	removed()
	require.Equal(t, page.NewSet(page.NotInherited, single(a)).Ranges(), tl.readPoints()[0].Released)
	// The second key's files cannot be made.
	creates.begin(func(name string) bool { return strings.HasPrefix(filepath.Base(name), b.String()+"-") })
	layers := tl.Layers()
	_, err = tl.Compact(ctx, CompactRequest{Strategy: foldTo{keys: 2}})
	require.ErrorIs(t, err, syscall.EIO)
	creates.begin(nil)
	require.NotEqual(t, layers, tl.Layers(), "the first two are done")
	removed()
	_, err = tl.Compact(ctx, CompactRequest{Strategy: foldTo{keys: 2}})
	require.NoError(t, err)
	removed()
}

// TestFoldsHeedWhatIsReleased: of keys that a branch has covered itself no state is kept for it, of others it is.
func TestFoldsHeedWhatIsReleased(t *testing.T) {
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	const keys = 5
	putLayer(t, tl, keys, true)
	at := putLayer(t, tl, keys, false)
	child := newTestTimeline(t, e, "store", "child", at, tl)
	want := map[page.Key]int{}
	for i := range keys {
		want[blockKey(i)] = 2
		if i == 1 || i == 3 {
			makeImage(t, child, at, single(blockKey(i)))
			want[blockKey(i)] = 1
		}
	}
	for range compaction.FoldThreshold + 1 {
		putLayer(t, tl, keys, false)
	}
	read := func() (all []string) {
		for _, x := range []*Timeline{tl, child} {
			for i := range keys {
				v, err := x.Get(t.Context(), blockKey(i), x.LastRecordLSN())
				require.NoError(t, err)
				all = append(all, string(v))
			}
		}
		return all
	}
	before := read()
	foldAtEnd(t, tl)
	require.Equal(t, want, entriesOf(t, tl), "images of the end, and of the branch point where the branch has none")
	require.Equal(t, before, read())
}

// TestFoldsForgetTheRestOfWhatIsDropped: of a relation that was dropped no more is kept than what is read of it; metadata, of which the
// directories say nothing, stay.
func TestFoldsForgetTheRestOfWhatIsDropped(t *testing.T) {
	const blocks = 3
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	c := &cluster{t: t, tl: newCluster(t, e, "store")}
	rel := cachedRel(0)
	require.NoError(t, putOne(c.tl, settings, []byte("one")))
	leased := c.write(rel, blocks)
	_, err := c.tl.Lease(t.Context(), leased, time.Hour)
	require.NoError(t, err)
	c.write(rel, blocks)
	end := c.drop(rel)
	foldAtEnd(t, c.tl)
	c.reads(rel, blocks, leased)
	entries := entriesOf(t, c.tl)
	for n := range uint32(blocks) {
		require.Equal(t, 1, entries[rel.Block(n)])
	}
	v, err := c.tl.Get(t.Context(), settings, end)
	require.NoError(t, err)
	require.Equal(t, "one", string(v))
}

// TestFoldsBeginWithWhatLiesBelow: on a branch a long history becomes an image, of the page as the ancestor has it and all records
// since; a short one stays, and so does the ancestor's.
func TestFoldsBeginWithWhatLiesBelow(t *testing.T) {
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	putLayer(t, tl, 2, true)
	child := newTestTimeline(t, e, "store", "child", putLayer(t, tl, 2, false), tl)
	for i := range compaction.FoldThreshold + 1 {
		putLayer(t, child, 2-min(i, 1), false)
	}
	get := func(i int) string {
		v, err := child.Get(t.Context(), blockKey(i), child.LastRecordLSN())
		require.NoError(t, err)
		return string(v)
	}
	long, short := get(0), get(1)
	foldAtEnd(t, child)
	require.Equal(t, map[page.Key]int{blockKey(0): 1, blockKey(1): 1}, entriesOf(t, child))
	require.Equal(t, long, get(0))
	require.Equal(t, short, get(1))
	alone := map[page.Key]int{}
	for _, d := range child.Layers() {
		_, err := child.VerifyLayer(t.Context(), d, func(k page.Key, _ page.LSN, willInit bool, _ layer.Stored) error {
			if willInit {
				alone[k]++
			}
			return nil
		})
		require.NoError(t, err)
	}
	require.Equal(t, map[page.Key]int{blockKey(0): 1}, alone, "the other is a record still")
}

// unable is redo that cannot do one page.
type unable struct{ joiner }

func (u unable) Redo(ctx context.Context, dst []byte, r *walredo.Request) ([]byte, error) {
	if r.Key == blockKey(1) {
		return nil, fmt.Errorf("%w: it is a test", walredo.ErrCorrupt)
	}
	return u.joiner.Redo(ctx, dst, r)
}

// TestFoldsLeaveOutWhatIsBroken: the history of a page that cannot be rebuilt stays, and all else is folded.
func TestFoldsLeaveOutWhatIsBroken(t *testing.T) {
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Redoer = unable{} })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	const keys, layers = 4, 4
	for i := range layers {
		putLayer(t, tl, keys, i == 0)
	}
	foldAtEnd(t, tl)
	require.Equal(t, map[page.Key]int{blockKey(0): 1, blockKey(1): layers, blockKey(2): 1, blockKey(3): 1}, needed(t, tl))
	for i := range keys {
		_, err := tl.Get(t.Context(), blockKey(i), tl.LastRecordLSN())
		require.Equal(t, i != 1, err == nil, "%v", err)
	}
}

// needed is entriesOf without what has moved.
func needed(t *testing.T, tl *Timeline) map[page.Key]int {
	n := map[page.Key]int{}
	for _, d := range tl.Layers() {
		_, err := tl.VerifyLayer(t.Context(), d, func(k page.Key, _ page.LSN, _ bool, _ layer.Stored) error {
			if !tl.compact.moved[idOf(&d)].Contains(k) {
				n[k]++
			}
			return nil
		})
		require.NoError(t, err)
	}
	return n
}
