package timeline

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/legacy"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// coarseDistance is the size of outputs at which two layers of small records are told of by leaves.
const coarseDistance = 8 << 20

// newCoarse makes two L0 deltas: small records of many keys, and in the middle one key with more of them than an output takes.
func newCoarse(t *testing.T) *Timeline {
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) {
		c.ValidateIO = false
		c.Compaction = CompactionConfig{Strategy: legacy.New(), Options: compaction.Options{CheckpointDistance: coarseDistance, CompactionThreshold: 1}}
	})
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	const records, each, hot, every = 120_000, 512, 1 << 19, 3
	lsn, value := readFirst, make([]byte, 100)
	for l := range 2 {
		var b page.Batch
		for i := range records {
			lsn += 8
			k := hot
			if i%every > 0 {
				k = int(uint32(l*records+i)*2654435761) >> 12
			}
			binary.BigEndian.PutUint64(value, uint64(lsn))
			b.PutRecord(blockKey(k), lsn, false, value)
			if i%each == each-1 || i == records-1 {
				require.NoError(t, tl.Put(context.Background(), &b))
				b.Reset()
			}
		}
		require.NoError(t, tl.Flush(context.Background()))
	}
	return tl
}

// everything is a digest of all that deltas hold, and how much that is.
func everything(t *testing.T, tl *Timeline) (sum uint64, entries int64) {
	var readers []*layer.Reader
	for _, d := range tl.Layers() {
		r, err := tl.files.reader(context.Background(), &d)
		require.NoError(t, err)
		readers = append(readers, r)
	}
	m, err := layer.OpenMerge(context.Background(), readers, layer.MergeOptions{})
	require.NoError(t, err)
	defer m.Close()
	h := xxhash.New()
	for {
		e, ok, err := m.Next(context.Background())
		require.NoError(t, err)
		if !ok {
			return h.Sum64(), m.Stats().Entries
		}
		_, _ = h.Write(binary.BigEndian.AppendUint64(e.Key.Append(nil), uint64(e.LSN)))
		_, _ = h.Write(e.Value)
	}
}

// told counts what a cutter is told of at once, and entry by entry.
type told struct {
	compaction.CoarseCutter
	whole, single int
}

func (c *told) Add(e compaction.Entry, emit func(compaction.Rect)) {
	c.single++
	c.CoarseCutter.Add(e, emit)
}

func (c *told) AddWhole(keys page.Range, size int64, emit func(compaction.Rect)) {
	c.whole++
	c.CoarseCutter.AddWhole(keys, size, emit)
}

// onlyEntries hides that a cutter need not see all.
type onlyEntries struct{ compaction.Cutter }

// Cutting by leaves of indexes gives about the outputs that cutting by entries does, with a hot key cut by LSN at the same places, and
// what is written by it is all there was.
func TestCutByLeaves(t *testing.T) {
	ctx := context.Background()
	tl := newCoarse(t)
	before, entries := everything(t, tl)
	require.NoError(t, tl.compact.turn.take(ctx))
	p, err := tl.plan(ctx, legacy.New(), false)
	require.NoError(t, err)
	require.Len(t, p.Jobs, 1)
	job := p.Jobs[0]
	cut := func(wrap func(compaction.Cutter) compaction.Cutter) []region {
		j := job
		j.Cut = func() compaction.Cutter { return wrap(job.Cut()) }
		regions, err := tl.cut(ctx, &jobRun{snap: p.snap, descs: p.descs, job: &j, progress: &progress{t: tl}})
		require.NoError(t, err)
		return regions
	}
	c := &told{}
	coarse := cut(func(inner compaction.Cutter) compaction.Cutter {
		c.CoarseCutter = inner.(compaction.CoarseCutter)
		return c
	})
	exact := cut(func(inner compaction.Cutter) compaction.Cutter { return onlyEntries{inner} })
	requireEntriesThatCount(t, tl, p, job)
	p.view.release()
	tl.compact.turn.give()

	require.Greater(t, c.whole, 20)
	require.Less(t, int64(c.single), entries/2)
	require.Greater(t, len(exact), 4)
	require.InDelta(t, len(exact), len(coarse), 1)
	pieces := func(all []region) (out []compaction.Rect) {
		for _, r := range all {
			if r.rect.Keys.Start.Next() == r.rect.Keys.End {
				out = append(out, r.rect)
			}
		}
		return out
	}
	require.Greater(t, len(pieces(exact)), 1, "of the hot key")
	require.Equal(t, pieces(exact), pieces(coarse))

	r, err := tl.Compact(ctx, CompactRequest{})
	require.NoError(t, err)
	require.Zero(t, r.L0Height)
	after, n := everything(t, tl)
	require.Equal(t, entries, n)
	require.Equal(t, before, after)
	for _, d := range tl.Layers() {
		require.LessOrEqual(t, d.Size, int64(coarseDistance)*5/4, d.FileName())
	}
}

// requireEntriesThatCount shows that leaves are not enough where some of their entries count for nothing in a job: those outside its
// LSNs, and those of other shards. Images are no records, and have one of each key.
func requireEntriesThatCount(t *testing.T, tl *Timeline, p *planned, job compaction.Job) {
	c := job.Cut().(compaction.CoarseCutter)
	pieces := func(change func(j *compaction.Job, s *compaction.Snapshot)) []stretch {
		j, s := job, *p.snap
		s.Layers = slices.Clone(s.Layers)
		change(&j, &s)
		r := &jobRun{snap: &s, descs: p.descs, job: &j}
		all, err := tl.stretches(t.Context(), r, keySpan{page.FullRange, j.Inputs}, c)
		require.NoError(t, err)
		return all
	}
	require.NotEmpty(t, pieces(func(*compaction.Job, *compaction.Snapshot) {}))
	require.Empty(t, pieces(func(j *compaction.Job, _ *compaction.Snapshot) { j.Rect.LSNs.Start++ }))
	require.Empty(t, pieces(func(j *compaction.Job, _ *compaction.Snapshot) { j.Rect.LSNs.End-- }))
	require.Empty(t, pieces(func(j *compaction.Job, s *compaction.Snapshot) { s.Layers[j.Inputs[0]].Image = true }))
	tl.meta.Shard = page.NewShardIdentity(0, 2, 1)
	defer func() { tl.meta.Shard = page.ShardIdentity{} }()
	require.Empty(t, pieces(func(*compaction.Job, *compaction.Snapshot) {}))
}

// grained is a cutter that takes up to 100 bytes at once of all keys but one.
type grained struct {
	compaction.CoarseCutter
	hot page.Key
}

func (grained) Grain() int64              { return 100 }
func (g grained) Whole(k page.Range) bool { return !k.Contains(g.hot) }

// TestPiecesAreJoined: what is too large, holds a key that the cutter wants to see, or comes last is looked at, neighbours of that kind
// in one; and if that is half of all, or too many stretches, everything is.
func TestPiecesAreJoined(t *testing.T) {
	pieces := func(sizes ...int64) (all []layer.Piece) {
		for i, n := range sizes {
			all = append(all, layer.Piece{First: blockKey(10 * i), Bytes: n})
		}
		return all
	}
	keys := func(from, to int) page.Range { return page.Range{Start: blockKey(10 * from), End: blockKey(10 * to)} }
	join := func(hot int, sizes ...int64) []stretch {
		return joinPieces(pieces(sizes...), blockKey(10*len(sizes)), grained{hot: blockKey(hot)})
	}
	require.Equal(t, []stretch{{keys(0, 1), 100, true}, {keys(1, 2), 100, true}, {keys(2, 3), 90, true}, {keys(3, 4), 10, false}}, join(-1, 100, 100, 90, 10))
	require.Equal(t, []stretch{{keys(0, 1), 100, true}, {keys(1, 2), 90, false}, {keys(2, 3), 100, true}, {keys(3, 4), 1, false}}, join(15, 100, 90, 100, 1))
	require.Equal(t, []stretch{{keys(0, 1), 100, true}, {keys(1, 2), 100, true}, {keys(2, 4), 90, false}}, join(25, 100, 100, 90, 1))
	require.Len(t, join(-1, 100, 100, 100, 100, 101, 100, 1), 7, "one is too large")
	require.False(t, join(-1, 100, 100, 100, 100, 101, 100, 1)[4].whole)
	require.Nil(t, join(-1, 100, 201, 100, 1), "more than half")
	var many []int64
	for range maxLooks {
		many = append(many, 101, 100, 100)
	}
	require.Nil(t, join(-1, append(many, 1)...), "one stretch too many")
	require.NotNil(t, join(-1, append(many[3:], 1)...))
}
