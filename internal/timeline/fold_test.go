package timeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// foldOnce folds everything up to the cutoff, which all layers must end at, into one piece. With images it takes the image
// layers of a branch away too, which it must not.
type foldOnce struct{ images bool }

func (foldOnce) Name() string { return "fold" }

func (f foldOnce) Plan(s *compaction.Snapshot) (p compaction.Plan) {
	j := compaction.Job{Kind: compaction.Fold, Reason: "it is a test", Rect: compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.MaxLSN}}}
	l0s := 0
	for i := range s.Layers {
		l := &s.Layers[i]
		if l.L0() {
			l0s++
		}
		j.Inputs = append(j.Inputs, i)
		if !l.Image || f.images || s.AncestorLSN == 0 {
			j.Obsolete = append(j.Obsolete, i)
		}
		j.Rect.LSNs.Start, j.Rect.LSNs.End = min(j.Rect.LSNs.Start, l.LSNs.Start), max(j.Rect.LSNs.End, l.LSNs.End)
	}
	if l0s == 0 && !f.images {
		return p
	}
	j.Fold = &compaction.FoldSpec{Horizon: s.Cutoff, Below: s.AncestorLSN != 0}
	for _, r := range s.Retain {
		if r.LSN >= j.Rect.LSNs.Start && r.LSN < s.Cutoff {
			j.Fold.Retain = append(j.Fold.Retain, r.LSN)
		}
	}
	j.Cut = func() compaction.Cutter { return &wholeCut{lsns: j.Rect.LSNs} }
	p.Jobs = []compaction.Job{j}
	return p
}

// wholeCut makes one output of all entries, named so that it is no L0.
type wholeCut struct {
	lsns page.LSNRange
	keys page.Range
}

func (c *wholeCut) Add(e compaction.Entry, _ func(compaction.Rect)) {
	if c.keys.Empty() {
		c.keys.Start = e.Key
	}
	c.keys.End = e.Key.Next()
}

func (c *wholeCut) Finish(emit func(compaction.Rect)) {
	if !c.keys.Empty() {
		emit(compaction.Rect{Keys: c.keys, LSNs: c.lsns})
	}
}

// foldAtEnd moves the cutoff to the end and folds.
func foldAtEnd(t *testing.T, tl *Timeline) {
	t.Helper()
	require.NoError(t, tl.Flush(t.Context()))
	require.NoError(t, tl.moveCutoff(t.Context(), tl.LastRecordLSN()))
	r, err := tl.Compact(t.Context(), CompactRequest{Strategy: foldOnce{}})
	require.NoError(t, err)
	require.Equal(t, 1, r.Jobs)
}

// entriesOf counts what the timeline's own layers hold of each key.
func entriesOf(t *testing.T, tl *Timeline) map[page.Key]int {
	n := map[page.Key]int{}
	for _, d := range tl.Layers() {
		_, err := tl.VerifyLayer(t.Context(), d, func(k page.Key, _ page.LSN, _ bool, _ layer.Stored) error {
			n[k]++
			return nil
		})
		require.NoError(t, err)
	}
	return n
}

// cluster is a timeline with a data directory, and what is done to it.
type cluster struct {
	t   *testing.T
	tl  *Timeline
	mod *datadir.Modification
}

func (c *cluster) record(fn func(ctx context.Context, m *datadir.Modification) error) page.LSN {
	c.t.Helper()
	if c.mod == nil {
		c.mod = datadir.NewModification(c.tl, pg.V17, 0)
	}
	require.NoError(c.t, c.mod.Begin(datadir.RecordSpan{Start: c.mod.LSN(), End: c.mod.LSN() + 32}))
	require.NoError(c.t, fn(c.t.Context(), c.mod))
	c.mod.End()
	require.NoError(c.t, c.mod.Commit(c.t.Context()))
	return c.tl.LastRecordLSN()
}

// write makes blocks of a relation, with some versions of each.
func (c *cluster) write(rel page.RelTag, blocks uint32) (last page.LSN) {
	for range 3 {
		for n := range blocks {
			last = c.record(func(ctx context.Context, m *datadir.Modification) error {
				return m.PutBlockImage(ctx, rel, n, fmt.Appendf(nil, "%s %d %s", rel, n, strings.Repeat("x", 100)))
			})
		}
	}
	require.NoError(c.t, c.tl.Flush(c.t.Context()))
	return last
}

func (c *cluster) drop(rel page.RelTag) page.LSN {
	return c.record(func(ctx context.Context, m *datadir.Modification) error { return m.DropRelation(ctx, rel) })
}

func (c *cluster) reads(rel page.RelTag, blocks uint32, lsn page.LSN) {
	c.t.Helper()
	for n := range blocks {
		v, err := c.tl.Get(c.t.Context(), rel.Block(n), lsn)
		require.NoError(c.t, err)
		require.Contains(c.t, string(v), fmt.Sprintf("%s %d ", rel, n))
	}
	size, err := datadir.At(c.tl, lsn, pg.V17).RelSize(c.t.Context(), rel)
	require.NoError(c.t, err)
	require.Equal(c.t, blocks, size)
}

// entriesIn counts entries of a relation's blocks and size.
func entriesIn(entries map[page.Key]int, rel page.RelTag, blocks uint32) (n int) {
	for b := range blocks {
		n += entries[rel.Block(b)]
	}
	return n + entries[rel.SizeKey()]
}

// TestFoldsForgetWhatIsDropped: of relations that are dropped nothing is left where nobody reads them any more, on a branch either,
// which may have dropped what its ancestor still has.
func TestFoldsForgetWhatIsDropped(t *testing.T) {
	const blocks = 6
	clock := newHandClock()
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Clock = clock.Now })
	c := &cluster{t: t, tl: newCluster(t, e, "store")}
	dropped, stays, late := cachedRel(0), cachedRel(2), cachedRel(4)
	c.record(func(ctx context.Context, m *datadir.Modification) error { return m.CreateRelation(ctx, stays) })
	c.write(stays, blocks)
	alive := c.write(dropped, blocks)
	_, err := c.tl.Lease(t.Context(), alive, time.Minute)
	require.NoError(t, err)
	c.write(late, blocks)
	c.drop(dropped)
	end := c.drop(late)
	branch, err := c.tl.Branch(t.Context(), "store", "branch", page.TimelineID{9}, end)
	require.NoError(t, err)
	defer func() { require.NoError(t, branch.Close()) }()

	foldAtEnd(t, c.tl)
	c.reads(stays, blocks, end)
	c.reads(dropped, blocks, alive)
	entries := entriesOf(t, c.tl)
	require.Positive(t, entriesIn(entries, dropped, blocks), "a lease reads it")
	require.Zero(t, entriesIn(entries, late, blocks), "nobody does")
	require.Positive(t, entriesIn(entries, stays, blocks))

	clock.pass(time.Minute)
	c.write(stays, blocks)
	foldAtEnd(t, c.tl)
	c.reads(stays, blocks, c.tl.LastRecordLSN())
	require.Zero(t, entriesIn(entriesOf(t, c.tl), dropped, blocks), "nobody any more")

	// The branch drops what its ancestor has, and something of its own.
	b, own := &cluster{t: t, tl: branch}, cachedRel(6)
	b.write(stays, blocks)
	b.write(own, blocks)
	b.drop(own)
	kept := cachedRel(8)
	b.write(kept, blocks)
	b.drop(stays)
	foldAtEnd(t, branch)
	entries = entriesOf(t, branch)
	require.Zero(t, entriesIn(entries, own, blocks))
	require.Zero(t, entriesIn(entries, stays, blocks))
	b.reads(kept, blocks, branch.LastRecordLSN())
	_, err = datadir.At(branch, branch.LastRecordLSN(), pg.V17).RelSize(t.Context(), stays)
	require.True(t, datadir.IsNotFound(err), "%v", err)
	c.reads(stays, blocks, c.tl.LastRecordLSN())
}

// TestFoldsForgetMetadata: what was removed of the metadata goes altogether, but on a branch, where the ancestor has it.
func TestFoldsForgetMetadata(t *testing.T) {
	ctx := t.Context()
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	other := page.ClusterFileKey("pg_hba.conf")
	require.NoError(t, putOne(tl, settings, []byte("one")))
	require.NoError(t, putOne(tl, settings, []byte("two")))
	require.NoError(t, putOne(tl, other, []byte("other")))
	brief := page.ClusterFileKey("postgresql.auto.conf")
	require.NoError(t, putOne(tl, brief, []byte("for a moment")))
	require.NoError(t, putOne(tl, brief, nil))
	branch, err := tl.Branch(ctx, "store", "branch", page.TimelineID{9}, tl.LastRecordLSN())
	require.NoError(t, err)
	defer func() { require.NoError(t, branch.Close()) }()
	for _, x := range []*Timeline{tl, branch} {
		require.NoError(t, putOne(x, settings, []byte("three")))
		require.NoError(t, putOne(x, settings, nil))
		require.NoError(t, putOne(x, blockKey(0), []byte("page")))
		foldAtEnd(t, x)
		_, err = x.Get(ctx, settings, x.LastRecordLSN())
		require.ErrorIs(t, err, page.ErrNotFound)
		v, err := x.Get(ctx, other, x.LastRecordLSN())
		require.NoError(t, err)
		require.Equal(t, "other", string(v))
	}
	require.Equal(t, map[page.Key]int{settings: 2, other: 1, blockKey(0): 1}, entriesOf(t, tl), "the branch reads the second state of the settings")
	require.Equal(t, map[page.Key]int{settings: 1, blockKey(0): 1}, entriesOf(t, branch), "that they were removed")
	v, err := branch.Get(ctx, other, branch.LastRecordLSN())
	require.NoError(t, err)
	require.Equal(t, "other", string(v))
}

// TestFoldsLeaveImagesOfBranches: an image of a branch that lacks a key says so against the ancestor, where no delta does any more. A
// strategy that folds it away is refused.
func TestFoldsLeaveImagesOfBranches(t *testing.T) {
	ctx := t.Context()
	f := newFamily(t, nil)
	require.NoError(t, putOne(f.child, settings, nil))
	putLayer(t, f.child, 3, false)
	end := putLayer(t, f.child, 3, false)
	makeImage(t, f.child, end, page.FullRange)
	_, err := f.child.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Len(t, f.child.Layers(), 1, "the image hides all else")
	gone := func() {
		t.Helper()
		_, err := f.child.Get(ctx, settings, end)
		require.ErrorIs(t, err, page.ErrNotFound)
	}
	gone()
	_, err = f.child.Compact(ctx, CompactRequest{Strategy: foldOnce{images: true}})
	require.ErrorContains(t, err, "may not be removed: reads at")
	gone()
	require.Len(t, f.child.Layers(), 1)
}

// narrow is redo that notes how much it was given at once.
type narrow struct {
	joiner
	records, bytes int
}

func (n *narrow) Redo(ctx context.Context, dst []byte, r *walredo.Request) ([]byte, error) {
	sum := 0
	for _, x := range r.Records {
		sum += len(x.Value.Bytes)
	}
	n.records, n.bytes = max(n.records, len(r.Records)), max(n.bytes, sum)
	return n.last(dst, r), nil
}

// last keeps of a page its last record and how many there were.
func (n *narrow) last(dst []byte, r *walredo.Request) []byte {
	count := 0
	if i := slices.Index(r.Base, ' '); i > 0 {
		_, _ = fmt.Sscan(string(r.Base[:i]), &count)
	}
	return fmt.Appendf(dst, "%d %s", count+len(r.Records), r.Records[len(r.Records)-1].Value.Bytes[:20])
}

// TestFoldsStreamAKeysHistory: one page has a history that is many times what is redone at once, and that no job holds in memory.
func TestFoldsStreamAKeysHistory(t *testing.T) {
	const value = 4 << 10
	versions := testkit.Size(600, 4000, 100_000)
	redo := &narrow{}
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Redoer, c.CheckpointDistance = redo, 4<<20 })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	k := blockKey(7)
	require.NoError(t, putOne(tl, k, []byte("0 ")))
	var b page.Batch
	var leased page.LSN
	for i := range versions {
		b.Reset()
		b.PutRecord(k, tl.LastRecordLSN()+8, false, fmt.Appendf(nil, "%020d%0*d", i, value-20, 0))
		require.NoError(t, tl.Put(t.Context(), &b))
		if i == versions/2 {
			l, err := tl.Lease(t.Context(), tl.LastRecordLSN(), time.Hour)
			require.NoError(t, err)
			leased = l.LSN
		}
	}
	foldAtEnd(t, tl)
	for lsn, want := range map[page.LSN]int{leased: versions/2 + 1, tl.LastRecordLSN(): versions} {
		v, err := tl.Get(t.Context(), k, lsn)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%d %020d", want, want-1), string(v))
	}
	require.LessOrEqual(t, entriesOf(t, tl)[k], 2, "an image for each of two states")
	require.Less(t, int64(redo.bytes), int64(versions)*value/2)
	require.LessOrEqual(t, redo.records, foldRecords)
	require.LessOrEqual(t, redo.bytes, foldBytes+value)
}
