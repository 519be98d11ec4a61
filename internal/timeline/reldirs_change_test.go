package timeline

import (
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// writerOf goes on with a timeline whose relations are now, and were so at the LSNs of history.
func writerOf(t *testing.T, tl *Timeline, now map[page.RelTag]uint32, history map[page.LSN]map[page.RelTag]uint32) *relWriter {
	return &relWriter{t, tl, datadir.NewModification(tl, pg.V17, 3), maps.Clone(now), maps.Clone(history)}
}

// steps makes so many changes.
func (w *relWriter) steps(rnd *rand.Rand, n int) {
	for range n {
		w.step(rnd)
	}
}

// goOver has the timeline list its relations in each further form, with changes before and after.
func (w *relWriter) goOver(rnd *rand.Rand, acknowledged func(page.RelDirForm)) {
	for _, form := range []page.RelDirForm{page.RelDirBoth, page.RelDirV2} {
		if w.tl.RelDirs().Form >= form {
			continue
		}
		require.NoError(w, w.tl.WantRelDirs(w.Context(), form))
		acknowledged(form)
		before := w.tl.RelDirs()
		w.steps(rnd, 1)
		require.Equal(w, page.RelDirs{Form: form, Since: w.tl.LastRecordLSN()}, w.tl.RelDirs(), "from %s", before.Form)
		require.Equal(w, page.RelDirV1, w.tl.WantedRelDirs())
		w.steps(rnd, 5)
	}
}

// TestRelDirsGoOver has a timeline and branches from before, between and after go over from one form to the next, with flushes,
// compaction and restarts: every answer at every LSN equals the model's. A branch from before has keys of its ancestor's that
// say what is long not true there, once its ancestor has them; they are put right as it goes over itself.
func TestRelDirsGoOver(t *testing.T) {
	ctx, rnd := t.Context(), testkit.Rand(t, 66)
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	w := writerOf(t, newListed(t, e, "store", page.RelDirV1), nil, nil)
	w.now, w.history = map[page.RelTag]uint32{}, map[page.LSN]map[page.RelTag]uint32{}
	n := byte(20)
	branch := func(w *relWriter, at page.LSN) *relWriter {
		n++
		tl, err := w.tl.Branch(ctx, "store", string(rune('a'+n)), page.TimelineID{n}, at)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tl.Close()) })
		b := writerOf(t, tl, w.history[at], nil)
		b.history = map[page.LSN]map[page.RelTag]uint32{}
		b.note()
		return b
	}
	none := func(page.RelDirForm) {}
	w.steps(rnd, 20)
	first := branch(w, w.tl.LastRecordLSN())
	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirBoth))
	wishing := branch(w, w.tl.LastRecordLSN())
	require.Equal(t, page.RelDirBoth, wishing.tl.WantedRelDirs(), "a branch inherits what is asked for")
	w.steps(rnd, 10)
	both := w.tl.LastRecordLSN()
	require.Equal(t, page.RelDirBoth, w.tl.RelDirs().Form)
	between := branch(w, both)
	require.Equal(t, w.tl.RelDirs(), between.tl.RelDirs())
	require.NoError(t, w.tl.Flush(ctx))
	w.goOver(rnd, none)
	late := branch(w, both) // its ancestor lists relations by keys alone, and since later
	require.Equal(t, page.RelDirs{}, late.tl.RelDirs())
	after := branch(w, w.tl.LastRecordLSN())
	require.Equal(t, page.RelDirV2, after.tl.RelDirs().Form)
	all := []*relWriter{first, wishing, between, late, after, w}
	for i, b := range all {
		b.steps(rnd, 15) // without keys on some
		if i%2 == 0 {
			require.NoError(t, b.tl.Flush(ctx))
		}
		b.goOver(rnd, none)
		require.Equal(t, page.RelDirV2, b.tl.RelDirs().Form)
		b.check(0)
	}
	// Compaction at the end of the first one, which keeps all that branches read.
	foldAtEnd(t, w.tl)
	for _, b := range all[:5] {
		b.check(0)
	}
	w.check(w.tl.LastRecordLSN())
	for _, b := range all {
		require.NoError(t, b.tl.Close())
	}
	w.tl = reopened(t, e, w.tl, nil)
	for _, b := range all[:5] {
		b.tl = reopened(t, e, b.tl, w.tl)
		require.Equal(t, page.RelDirV2, b.tl.RelDirs().Form)
		b.check(0)
	}
	w.check(w.tl.LastRecordLSN())
}

// crashed is a store as a crash left it.
type crashed struct {
	fs      *virtualfile.MemFS
	asked   page.RelDirForm // what was acknowledged before
	history map[page.LSN]map[page.RelTag]uint32
}

// TestRelDirsGoOverThroughCrashes has a crash before every change of the file system while a timeline goes over, is flushed, and
// goes on. What the crash left is a timeline that tells the truth at all LSNs that are durable, that has the form or the wish that
// was acknowledged, and that goes over when WAL comes again from its durable end.
func TestRelDirsGoOverThroughCrashes(t *testing.T) {
	ctx, rnd := t.Context(), testkit.Rand(t, 67)
	mem := virtualfile.NewMem()
	fault := &virtualfile.Fault{}
	e := readEnv(t, virtualfile.NewFaulty(mem, fault), "store", func(c *Config) { c.MinManifestRewrite = 1 })
	w := writerOf(t, newListed(t, e, "store", page.RelDirV1), nil, nil)
	w.now, w.history = map[page.RelTag]uint32{}, map[page.LSN]map[page.RelTag]uint32{}
	require.NoError(t, mem.SyncDir(""))
	require.NoError(t, mem.SyncDir("store"))
	w.note()
	var mu sync.Mutex // files change in the background too
	var left []crashed
	asked, history := page.RelDirV1, maps.Clone(w.history)
	crash := func() {
		mu.Lock()
		defer mu.Unlock()
		left = append(left, crashed{mem.CrashClone(uint64(len(left))), asked, history})
	}
	flush := func() {
		mu.Lock()
		history = maps.Clone(w.history)
		mu.Unlock()
		require.NoError(t, w.tl.Flush(ctx))
		crash()
	}
	*fault = virtualfile.Fault{Op: virtualfile.OpAny, Nth: 1, Sticky: true, Effect: virtualfile.Delay, Before: crash}
	for range 2 {
		w.steps(rnd, 4)
		flush()
		w.goOver(rnd, func(f page.RelDirForm) {
			mu.Lock()
			asked = f
			mu.Unlock()
			crash()
			if f == page.RelDirV2 {
				flush()
			}
		})
		crash()
		flush()
	}
	require.NoError(t, w.tl.Close()) // nothing runs any more
	require.Greater(t, len(left), 40)
	forms := map[page.RelDirForm]int{}
	for n := range left {
		forms[w.afterCrash(&left[n], rnd)]++
	}
	require.Len(t, forms, 3, "crashes hit every form: %v", forms)
}

// afterCrash opens what a crash left, and goes on with it. It gives the form that the timeline was found in.
func (w *relWriter) afterCrash(c *crashed, rnd *rand.Rand) page.RelDirForm {
	t := w.T
	e := readEnv(t, c.fs, "store", nil)
	a := &relWriter{T: t, tl: reopened(t, e, w.tl, nil), now: map[page.RelTag]uint32{}, history: map[page.LSN]map[page.RelTag]uint32{}}
	last, found := a.tl.LastRecordLSN(), a.tl.RelDirs()
	require.LessOrEqual(t, found.Since, last, "a form is durable with the records from which it is")
	require.GreaterOrEqual(t, max(found.Form, a.tl.WantedRelDirs()), c.asked, "what was acknowledged")
	if last == readFirst {
		require.NoError(t, a.tl.Close())
		return found.Form // before the first flush there are no directories
	}
	for lsn, rels := range c.history {
		if lsn <= last {
			a.history[lsn] = rels
		}
	}
	require.Contains(t, a.history, last)
	a.now = maps.Clone(a.history[last])
	a.mod = datadir.NewModification(a.tl, pg.V17, 3)
	a.check(0)
	a.steps(rnd, 2)
	require.GreaterOrEqual(t, a.tl.RelDirs().Form, c.asked)
	a.goOver(rnd, func(page.RelDirForm) {})
	a.check(0)
	require.NoError(t, a.tl.Close())
	return found.Form
}

// TestRelDirsRefuse: no step back, none left out, none while the directories differ. What was refused has changed nothing.
func TestRelDirsRefuse(t *testing.T) {
	ctx, rnd := t.Context(), testkit.Rand(t, 68)
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	w := writerOf(t, newListed(t, e, "store", page.RelDirV1), nil, nil)
	w.now, w.history = map[page.RelTag]uint32{}, map[page.LSN]map[page.RelTag]uint32{}
	refused := func(form page.RelDirForm, says string) {
		t.Helper()
		before, wanted := w.tl.RelDirs(), w.tl.WantedRelDirs()
		err := w.tl.WantRelDirs(ctx, form)
		require.ErrorIs(t, err, ErrRelDirs)
		require.ErrorContains(t, err, says)
		require.Equal(t, before, w.tl.RelDirs())
		require.Equal(t, wanted, w.tl.WantedRelDirs())
	}
	refused(page.RelDirV2, "ask for migrating first")
	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirBoth))
	refused(page.RelDirV2, "ask for migrating first")
	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirV1))
	w.steps(rnd, 3)
	require.Equal(t, page.RelDirs{}, w.tl.RelDirs(), "it was called off")
	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirBoth))
	w.steps(rnd, 20)
	refused(page.RelDirV1, "no way back")

	// A relation that only one of the directories has.
	planted := page.RelTag{Spc: 1663, DB: 1, Rel: 77}
	lost := page.RelTag{Spc: 1663, DB: 1, Rel: 3}
	if _, there := w.now[lost]; !there {
		require.NoError(t, w.mod.Begin(datadir.RecordSpan{Start: w.mod.LSN(), End: w.mod.LSN() + 32}))
		require.NoError(t, w.mod.PutBlockImage(ctx, lost, 0, make([]byte, pg.BlockSize)))
		w.mod.End()
		require.NoError(t, w.mod.Commit(ctx))
		w.now[lost] = 1
		w.note()
	}
	var b page.Batch
	b.PutImage(lost.RelEntry(), w.tl.LastRecordLSN()+8, nil)
	b.PutImage(planted.RelEntry(), w.tl.LastRecordLSN()+8, []byte(page.RelEntryExists))
	b.Prev = w.tl.LastRecordLSN()
	require.NoError(t, w.tl.Put(ctx, &b))
	refused(page.RelDirV2, "differ in 2 relations, 1663/1/3 the first")
	differ, err := differing(ctx, datadir.At(w.tl, w.tl.LastRecordLSN(), pg.V17))
	require.NoError(t, err)
	require.Equal(t, []page.RelTag{lost, planted}, differ)

	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirBoth))
	w.mod = datadir.NewModification(w.tl, pg.V17, 3)
	w.steps(rnd, 1)
	require.Equal(t, page.RelDirs{Form: page.RelDirBoth, Since: w.tl.LastRecordLSN()}, w.tl.RelDirs(), "below, the keys are not to be believed")
	w.goOver(rnd, func(page.RelDirForm) {})
	w.check(0)
	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirV2), "it is there")
	require.Equal(t, page.RelDirV1, w.tl.WantedRelDirs())
	refused(page.RelDirBoth, "no way back")
}

// TestFailedRelDirsChange: a record that fails takes the change of form with it, and so does a batch that is not stored.
func TestFailedRelDirsChange(t *testing.T) {
	ctx, rnd := t.Context(), testkit.Rand(t, 69)
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	w := writerOf(t, newListed(t, e, "store", page.RelDirV1), nil, nil)
	w.now, w.history = map[page.RelTag]uint32{}, map[page.LSN]map[page.RelTag]uint32{}
	w.steps(rnd, 10)
	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirBoth))
	require.NoError(t, w.mod.Begin(datadir.RecordSpan{Start: w.mod.LSN(), End: w.mod.LSN() + 32}))
	require.NoError(t, w.mod.ChangeRelDirs(ctx))
	require.NoError(t, w.mod.Abort(ctx))
	require.Equal(t, page.RelDirs{}, w.tl.RelDirs())
	require.NoError(t, w.tl.WantRelDirs(ctx, page.RelDirV1))
	// Nothing says from now on that relations have keys of their own, and none is written.
	w.steps(rnd, 10)
	entries := 0
	require.NoError(t, w.tl.GetVectored(ctx, page.NewSet(page.RelEntryRange), w.tl.LastRecordLSN(), func(page.Key, []byte, error) error {
		entries++
		return nil
	}))
	require.Zero(t, entries)
	w.goOver(rnd, func(page.RelDirForm) {})
	w.check(0)
}

// TestWantedRelDirsInIndex brings form and wish to an index, and back.
func TestWantedRelDirsInIndex(t *testing.T) {
	part := index.New()
	part.Metadata = index.Metadata{DiskConsistentLSN: 0x3000, InitdbLSN: 0x1000, GCCutoffLSN: 0x1000, PgVersion: 17}
	s := manifest.State{Meta: manifest.Meta{Name: "main", Version: pg.V17, InitialLSN: 0x1000, RelDirsWanted: page.RelDirBoth}, DiskConsistentLSN: 0x3000}
	describe(part, &s, 0x1000)
	read := func() manifest.State {
		t.Helper()
		b, err := part.Encode()
		require.NoError(t, err)
		again, err := index.Parse(b)
		require.NoError(t, err)
		s, err := (&Adoption{ID: uploadTimeline, Name: "main", Index: again}).state()
		require.NoError(t, err)
		return s
	}
	require.Equal(t, page.RelDirBoth, read().RelDirsWanted)
	want := page.RelDirs{Form: page.RelDirBoth, Since: 0x3008}
	amend(part, &manifest.Edit{Position: &manifest.Position{DiskConsistentLSN: 0x3010}, RelDirs: &manifest.RelDirs{RelDirs: want}})
	require.Equal(t, want, read().RelDirs)
	require.Equal(t, page.RelDirV1, read().RelDirsWanted)
}
