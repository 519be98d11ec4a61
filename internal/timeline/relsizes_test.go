package timeline

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/datadir/relsize"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// newCluster makes a timeline with an empty directory of databases.
func newCluster(t testing.TB, e *Env, dir string) *Timeline {
	tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
	var b page.Batch
	b.PutImage(page.DBDirKey, readFirst+8, datadir.EncodeDatabases(nil))
	require.NoError(t, tl.Put(t.Context(), &b))
	return tl
}

func cachedRel(i int) page.RelTag {
	return page.RelTag{Spc: 1663, DB: uint32(1 + i%2), Rel: uint32(16384 + i)}
}

// sizeModel says what every relation's size is at every LSN.
type sizeModel struct {
	mu   sync.Mutex
	sums []sizeChange                 // of all relations
	rels map[page.RelTag][]sizeChange // ascending
}

type sizeChange struct {
	lsn    page.LSN
	blocks int64 // -1: dropped
}

func (m *sizeModel) set(rel page.RelTag, lsn page.LSN, blocks int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.rels[rel]
	sum := max(blocks, 0)
	if len(h) > 0 {
		sum -= max(h[len(h)-1].blocks, 0)
	}
	if len(m.sums) > 0 {
		sum += m.sums[len(m.sums)-1].blocks
	}
	m.sums = append(m.sums, sizeChange{lsn, sum})
	m.rels[rel] = append(h, sizeChange{lsn, blocks})
}

func last(h []sizeChange, lsn page.LSN, none int64) int64 {
	for _, c := range h {
		if c.lsn <= lsn {
			none = c.blocks
		}
	}
	return none
}

func (m *sizeModel) at(rel page.RelTag, lsn page.LSN) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return last(m.rels[rel], lsn, -1)
}

func (m *sizeModel) sum(lsn page.LSN) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return last(m.sums, lsn, 0)
}

// change is one record that makes, extends, cuts or drops a relation.
func (m *sizeModel) change(ctx context.Context, mod *datadir.Modification, rel page.RelTag, r *rand.Rand) error {
	lsn, due := mod.LSN()+32, mod.RelDirsDue()
	if due {
		if err := mod.Commit(ctx); err != nil {
			return err
		}
	}
	if err := mod.Begin(datadir.RecordSpan{Start: mod.LSN(), End: lsn}); err != nil {
		return err
	}
	if due {
		if err := mod.ChangeRelDirs(ctx); err != nil {
			return err
		}
	}
	old, n := max(m.at(rel, page.MaxLSN), 0), int64(-1)
	var err error
	switch {
	case r.IntN(20) == 0:
		err = mod.DropRelation(ctx, rel)
	case r.IntN(3) == 0:
		n = r.Int64N(old + 1)
		if err = mod.CreateRelation(ctx, rel); err == nil {
			err = mod.TruncateRelation(ctx, rel, uint32(n))
		}
	default:
		n = old + 1 + r.Int64N(3)
		err = mod.PutBlockImage(ctx, rel, uint32(n-1), make([]byte, pg.BlockSize))
	}
	mod.End()
	m.set(rel, lsn, n)
	return err
}

// TestSizesBesideAWriter has relations extended, cut, dropped and made anew while readers ask for their sizes at old and
// new LSNs, through both caches, and compares every answer with the model: in each form of directories, and on a timeline that goes
// over from the first to the last. A cache that reads and ingest share fails here.
func TestSizesBesideAWriter(t *testing.T) {
	for _, form := range []page.RelDirForm{page.RelDirV1, page.RelDirBoth, page.RelDirV2} {
		t.Run(form.String(), func(t *testing.T) { sizesBesideAWriter(t, form, false) })
	}
	t.Run("changing", func(t *testing.T) { sizesBesideAWriter(t, page.RelDirV1, true) })
}

func sizesBesideAWriter(t *testing.T, form page.RelDirForm, changing bool) {
	const rels = 12
	records := testkit.Size(200, 1500, 50_000)
	fsys := virtualfile.NewMem()
	e := readEnv(t, fsys, "store", func(c *Config) { c.CheckpointDistance = 1 << 20 })
	tl := newListed(t, e, "store", form)
	m := &sizeModel{rels: map[page.RelTag][]sizeChange{}}
	var done atomic.Bool
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error {
		defer done.Store(true)
		r := rand.New(rand.NewPCG(1, 2))
		mod := datadir.NewModification(tl, pg.V17, 4)
		for i := range records {
			if err := m.change(ctx, mod, cachedRel(r.IntN(rels)), r); err != nil {
				return err
			}
			if r.IntN(8) == 0 {
				if err := mod.Commit(ctx); err != nil {
					return err
				}
			}
			if changing && (i == records/3 || i == records*2/3) {
				if err := tl.WantRelDirs(ctx, tl.RelDirs().Form+1); err != nil {
					return err
				}
			}
			if i%64 == 63 {
				if err := tl.Freeze(ctx); err != nil {
					return err
				}
			}
		}
		return mod.Commit(ctx)
	})
	for n := range 3 {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(3, uint64(n)))
			for asked := 0; !done.Load() || asked < 300; asked++ { // some when all is there, whoever was faster
				lsn := tl.LastRecordLSN()
				if n > 0 && r.IntN(2) == 0 {
					lsn = readFirst + 8 + page.LSN(r.Int64N(int64(lsn-readFirst)/32+1)*32)
				}
				lsn = min(lsn, tl.LastRecordLSN())
				for range 4 { // several, so that an exact LSN is asked for again
					rel := cachedRel(r.IntN(rels))
					want := m.at(rel, lsn)
					got, err := datadir.At(tl, lsn, pg.V17).RelSize(ctx, rel)
					if datadir.IsNotFound(err) {
						require.EqualValues(t, -1, want, "relation %s at %s", rel, lsn)
						continue
					}
					if err != nil {
						return err
					}
					require.Equal(t, want, int64(got), "relation %s at %s", rel, lsn)
				}
				if r.IntN(16) == 0 {
					s, err := tl.LogicalSize(ctx)
					if err != nil {
						return err
					}
					require.Equal(t, m.sum(s.LSN)*pg.BlockSize, s.Bytes)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, changing, tl.RelDirs().Form > form)
	s, ok := tl.KnownLogicalSize()
	require.True(t, ok)
	again, err := tl.LogicalSizeAt(t.Context(), tl.LastRecordLSN())
	require.NoError(t, err)
	require.Equal(t, again, s)
	stats := e.Metrics().RelSizes
	require.Positive(t, stats.Primary.Hits)
	require.Positive(t, stats.Replica.Hits)
	require.Positive(t, stats.Newer)
}

// TestSizesOfAStandby shows a standby that reads what has changed since, on a timeline that was just opened, and a primary
// that must not be told of it. A cache that both share fails here: see relsize.TestStandbyDoesNotSpoilThePrimary.
func TestSizesOfAStandby(t *testing.T) {
	ctx, fsys := t.Context(), virtualfile.NewMem()
	e := readEnv(t, fsys, "store", nil)
	tl := newCluster(t, e, "store")
	rel, mod := cachedRel(0), datadir.NewModification(tl, pg.V17, 0)
	record := func(fn func() error) page.LSN {
		require.NoError(t, mod.Begin(datadir.RecordSpan{Start: mod.LSN(), End: mod.LSN() + 32}))
		require.NoError(t, fn())
		mod.End()
		require.NoError(t, mod.Commit(ctx))
		return tl.LastRecordLSN()
	}
	extend := func(n uint32) page.LSN {
		return record(func() error { return mod.PutBlockImage(ctx, rel, n-1, make([]byte, pg.BlockSize)) })
	}
	old, now := extend(10), extend(30)
	tl.sizes.Close() // forgets everything, as opening the store again does
	tl.sizes = relsize.New(e.Shares.Sizes, &e.counters.relSizes)
	size := func(lsn page.LSN) uint32 {
		n, err := datadir.At(tl, lsn, pg.V17).RelSize(ctx, rel)
		require.NoError(t, err)
		return n
	}
	require.EqualValues(t, 10, size(old))
	require.EqualValues(t, 30, size(now))
	require.EqualValues(t, 10, size(old), "from the replica cache")
	require.EqualValues(t, 1, e.Metrics().RelSizes.Replica.Hits)
	require.EqualValues(t, 31, size(extend(31)))
	require.EqualValues(t, 1, e.Metrics().RelSizes.Primary.Hits)
	gone := record(func() error { return mod.DropRelation(ctx, rel) })
	require.EqualValues(t, 30, size(now))
	_, err := datadir.At(tl, gone, pg.V17).RelSize(ctx, rel)
	require.ErrorIs(t, err, page.ErrNotFound)
	_, _, err = tl.CachedRelSize(rel, gone+8)
	require.ErrorIs(t, err, ErrFutureLSN)
}

// TestSizesOfForeignBatches shows that what an embedder puts himself, without a word on relations, is noticed too.
func TestSizesOfForeignBatches(t *testing.T) {
	ctx, fsys := t.Context(), virtualfile.NewMem()
	e := readEnv(t, fsys, "store", nil)
	tl := newCluster(t, e, "store")
	kept, dropped, elsewhere := cachedRel(0), cachedRel(2), cachedRel(1)
	fork := func(r page.RelTag) datadir.RelFork { return datadir.RelFork{Rel: r.Rel, Fork: uint8(r.Fork)} }
	put := func(fill func(b *page.Batch, lsn page.LSN)) page.LSN {
		var b page.Batch
		lsn := tl.LastRecordLSN() + 8
		fill(&b, lsn)
		b.End = lsn
		require.NoError(t, tl.Put(ctx, &b))
		return lsn
	}
	one := datadir.Database{Spc: 1663, DB: 1}
	two := datadir.Database{Spc: 1663, DB: 2}
	put(func(b *page.Batch, lsn page.LSN) {
		b.PutImage(page.DBDirKey, lsn, datadir.EncodeDatabases([]datadir.Database{one, two}))
		b.PutImage(page.RelDirKey(1663, 1), lsn, datadir.EncodeRelations([]datadir.RelFork{fork(kept), fork(dropped)}))
		b.PutImage(page.RelDirKey(1663, 2), lsn, datadir.EncodeRelations([]datadir.RelFork{fork(elsewhere)}))
		for i, r := range []page.RelTag{kept, dropped, elsewhere} {
			b.PutImage(r.SizeKey(), lsn, datadir.EncodeSize(uint32(i+1)))
		}
	})
	check := func(lsn page.LSN, total int64, exist ...bool) {
		for i, r := range []page.RelTag{kept, dropped, elsewhere} {
			n, err := datadir.At(tl, lsn, pg.V17).RelSize(ctx, r)
			require.Equal(t, !exist[i], datadir.IsNotFound(err), "%s: %v", r, err)
			if exist[i] {
				require.EqualValues(t, i+1, n)
			}
		}
		_, ok := tl.KnownLogicalSize()
		require.False(t, ok)
		s, err := tl.LogicalSize(ctx)
		require.NoError(t, err)
		require.Equal(t, LogicalSize{lsn, total * pg.BlockSize}, s)
	}
	check(tl.LastRecordLSN(), 6, true, true, true)
	check(put(func(b *page.Batch, lsn page.LSN) {
		b.PutImage(page.RelDirKey(1663, 1), lsn, datadir.EncodeRelations([]datadir.RelFork{fork(kept)}))
	}), 4, true, false, true)
	check(put(func(b *page.Batch, lsn page.LSN) {
		b.PutImage(page.DBDirKey, lsn, datadir.EncodeDatabases([]datadir.Database{one}))
	}), 1, true, false, false)
}

// TestSizesOfABranch shows that a branch asks its ancestor's caches below the branch point, and nobody else's above.
func TestSizesOfABranch(t *testing.T) {
	ctx, fsys := t.Context(), virtualfile.NewMem()
	e := readEnv(t, fsys, "store", nil)
	tl := newCluster(t, e, "store")
	rel := cachedRel(0)
	extend := func(tl *Timeline, n uint32) page.LSN {
		mod := datadir.NewModification(tl, pg.V17, 0)
		require.NoError(t, mod.Begin(datadir.RecordSpan{Start: mod.LSN(), End: mod.LSN() + 32}))
		require.NoError(t, mod.PutBlockImage(ctx, rel, n-1, make([]byte, pg.BlockSize)))
		mod.End()
		require.NoError(t, mod.Commit(ctx))
		return tl.LastRecordLSN()
	}
	at := extend(tl, 5)
	require.NoError(t, tl.Flush(ctx))
	child := newTestTimeline(t, e, filepath.Join("store", "child"), "child", at, tl)
	extend(tl, 9)
	mine := extend(child, 7)
	for lsn, want := range map[page.LSN]uint32{at: 5, mine: 7} {
		n, err := datadir.At(child, lsn, pg.V17).RelSize(ctx, rel)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	s, err := child.LogicalSize(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 7*pg.BlockSize, s.Bytes)
}

// BenchmarkRelSize asks a timeline for the size of one of 1,000 relations.
func BenchmarkRelSize(b *testing.B) {
	ctx := b.Context()
	e := readEnv(b, virtualfile.NewMem(), "store", nil)
	tl := newCluster(b, e, "store")
	mod := datadir.NewModification(tl, pg.V17, 0)
	require.NoError(b, mod.Begin(datadir.RecordSpan{Start: mod.LSN(), End: mod.LSN() + 32}))
	for i := range 1000 {
		require.NoError(b, mod.PutBlockImage(ctx, cachedRel(i), 0, make([]byte, pg.BlockSize)))
	}
	mod.End()
	require.NoError(b, mod.Commit(ctx))
	s := datadir.At(tl, tl.LastRecordLSN(), pg.V17)
	for _, kind := range []string{"primary", "replica", "miss"} {
		b.Run(kind, func(b *testing.B) {
			if kind != "primary" {
				tl.sizes.Prune(page.MaxLSN, func(page.RelTag) bool { return true })
			}
			for i := range 1000 {
				if _, err := s.RelSize(ctx, cachedRel(i)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if kind == "miss" && i%1000 == 0 {
					tl.sizes.Close()
					tl.sizes = relsize.New(e.Shares.Sizes, &e.counters.relSizes)
				}
				if n, err := s.RelSize(ctx, cachedRel(i%1000)); err != nil || n != 1 {
					b.Fatal(n, err)
				}
			}
		})
	}
}
