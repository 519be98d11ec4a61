package timeline

import (
	"context"
	"math/rand/v2"
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

// newListed is newCluster with a form of directories.
func newListed(t *testing.T, e *Env, dir string, form page.RelDirForm) *Timeline {
	m := manifest.Meta{Name: "main", Timeline: page.TimelineID{4}, Version: pg.V17, InitialLSN: readFirst, WALSegSize: 16 << 20}
	if form != page.RelDirV1 {
		m.RelDirs = page.RelDirs{Form: form, Since: readFirst}
	}
	tl, err := Create(t.Context(), e, dir, m, 0, nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tl.Close()) })
	var b page.Batch
	b.PutImage(page.DBDirKey, readFirst+8, datadir.EncodeDatabases(nil))
	b.PutImage(page.ControlFileKey, readFirst+8, []byte("control"))
	b.PutImage(page.CheckpointKey, readFirst+8, []byte("checkpoint"))
	b.PutImage(page.TwoPhaseDirKey, readFirst+8, datadir.EncodeTwoPhase(pg.V17, nil))
	for _, kind := range page.SLRUs {
		b.PutImage(kind.DirKey(), readFirst+8, datadir.EncodeSegments(nil))
	}
	require.NoError(t, tl.Put(t.Context(), &b))
	return tl
}

// relWriter makes a history of relations on a timeline, and knows what is to be read of it.
type relWriter struct {
	*testing.T
	tl      *Timeline
	mod     *datadir.Modification
	now     map[page.RelTag]uint32
	history map[page.LSN]map[page.RelTag]uint32
}

func (w *relWriter) step(rnd *rand.Rand) {
	rel := page.RelTag{Spc: 1663, DB: uint32(1 + rnd.IntN(2)), Rel: uint32(1 + rnd.IntN(5))}
	n := uint32(rnd.IntN(6))
	ctx, m := w.Context(), w.mod
	old, there := w.now[rel]
	require.NoError(w, m.Begin(datadir.RecordSpan{Start: m.LSN(), End: m.LSN() + 32}))
	require.NoError(w, m.ChangeRelDirs(ctx)) // if one is asked for
	switch rnd.IntN(8) {
	default:
		require.NoError(w, m.PutBlockImage(ctx, rel, n, make([]byte, pg.BlockSize)))
		w.now[rel] = max(old, n+1)
	case 4:
		require.NoError(w, m.TruncateRelation(ctx, rel, n))
		if there {
			w.now[rel] = min(old, n)
		}
	case 5, 6:
		require.NoError(w, m.DropRelation(ctx, rel))
		delete(w.now, rel)
	case 7:
		require.NoError(w, m.DropDatabase(ctx, rel.Spc, rel.DB))
		for r := range w.now {
			if r.DB == rel.DB {
				delete(w.now, r)
			}
		}
	}
	m.End()
	require.NoError(w, m.Commit(ctx))
	w.note()
}

func (w *relWriter) note() {
	at := make(map[page.RelTag]uint32, len(w.now))
	for r, n := range w.now {
		at[r] = n
	}
	w.history[w.tl.LastRecordLSN()] = at
}

// check compares every LSN from oldest on with the model, in the order of a map: the caches see old and new ones mixed.
func (w *relWriter) check(oldest page.LSN) {
	w.Helper()
	ctx := w.Context()
	for lsn, want := range w.history {
		if lsn < oldest {
			continue
		}
		s := datadir.At(w.tl, lsn, pg.V17)
		got := map[page.RelTag]uint32{}
		dbs, err := s.Databases(ctx)
		require.NoError(w, err)
		for _, db := range dbs {
			rels, err := s.Relations(ctx, db.Spc, db.DB)
			require.NoError(w, err)
			for _, r := range rels {
				got[r], err = s.RelSize(ctx, r)
				require.NoError(w, err)
			}
		}
		require.Equal(w, want, got, "at %s", lsn)
		for db := uint32(1); db <= 2; db++ {
			for n := uint32(1); n <= 5; n++ {
				r := page.RelTag{Spc: 1663, DB: db, Rel: n}
				ok, err := s.RelExists(ctx, r)
				require.NoError(w, err)
				_, there := want[r]
				require.Equal(w, there, ok, "%s at %s", r, lsn)
			}
		}
		differ, err := differing(ctx, s)
		require.NoError(w, err)
		require.Empty(w, differ)
	}
}

// differing gives what Differing tells.
func differing(ctx context.Context, s *datadir.Snapshot) (out []page.RelTag, err error) {
	err = s.Differing(ctx, func(r page.RelTag, _ bool) error {
		out = append(out, r)
		return nil
	})
	return out, err
}

// reopened starts a timeline that was closed.
func reopened(t *testing.T, e *Env, old, ancestor *Timeline) *Timeline {
	o, err := Open(t.Context(), e, old.dir, old.meta.Owner(), old.ID())
	require.NoError(t, err)
	tl, err := o.Start(ancestor)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tl.Close()) })
	return tl
}

// TestRelDirsThroughLayers has a random history of relations under each form go through flushes, a branch, compaction that forgets
// what was dropped, and a restart: every answer equals the model's, of the branch too, which lists relations as its ancestor.
func TestRelDirsThroughLayers(t *testing.T) {
	for _, form := range []page.RelDirForm{page.RelDirV1, page.RelDirBoth, page.RelDirV2} {
		t.Run(form.String(), func(t *testing.T) {
			ctx, rnd := t.Context(), testkit.Rand(t, 65)
			e := readEnv(t, virtualfile.NewMem(), "store", nil)
			tl := newListed(t, e, "store", form)
			w := &relWriter{t, tl, datadir.NewModification(tl, pg.V17, 3), map[page.RelTag]uint32{}, map[page.LSN]map[page.RelTag]uint32{}}
			for n := range 60 {
				w.step(rnd)
				if n%20 == 19 {
					require.NoError(t, tl.Flush(ctx))
				}
			}
			at := tl.LastRecordLSN()
			child, err := tl.Branch(ctx, "store", "child", page.TimelineID{5}, at)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, child.Close()) })
			require.Equal(t, tl.RelDirs(), child.RelDirs())
			c := &relWriter{t, child, datadir.NewModification(child, pg.V17, 3), map[page.RelTag]uint32{}, map[page.LSN]map[page.RelTag]uint32{}}
			for r, n := range w.now {
				c.now[r] = n
			}
			c.note()
			for range 30 {
				c.step(rnd)
				w.step(rnd)
			}
			w.check(0)
			c.check(0)
			require.NoError(t, child.Flush(ctx))
			foldAtEnd(t, tl)
			w.check(tl.LastRecordLSN())
			c.check(0)
			exist, want := 0, len(w.now)
			require.NoError(t, tl.GetVectored(ctx, page.NewSet(page.RelEntryRange), tl.LastRecordLSN(), func(_ page.Key, v []byte, err error) error {
				exist += len(v) // a dropped relation's is empty, or gone
				return err
			}))
			if form == page.RelDirV1 {
				want = 0
			}
			require.Equal(t, want, exist)
			require.NoError(t, child.Close())
			require.NoError(t, tl.Close())
			w.tl = reopened(t, e, tl, nil)
			c.tl = reopened(t, e, child, w.tl)
			require.Equal(t, form, c.tl.RelDirs().Form)
			w.check(w.tl.LastRecordLSN())
			c.check(0)
		})
	}
}

// TestRelDirsAreAdopted takes the form from Neon's index and gives it back. One whose first LSN is not durable yet has not begun.
func TestRelDirsAreAdopted(t *testing.T) {
	for _, c := range []struct {
		since, durable page.LSN
		want           page.RelDirs
	}{
		{0x2000, 0x3000, page.RelDirs{Form: page.RelDirBoth, Since: 0x2000}},
		{0x3008, 0x3000, page.RelDirs{}},
	} {
		part := index.New()
		part.Metadata = index.Metadata{DiskConsistentLSN: c.durable, InitdbLSN: 0x1000, GCCutoffLSN: 0x1000, PgVersion: 17}
		part.SetRelDirs(page.RelDirs{Form: page.RelDirBoth, Since: c.since})
		s, err := (&Adoption{ID: uploadTimeline, Name: "main", Index: part}).state()
		require.NoError(t, err)
		require.Equal(t, c.want, s.RelDirs)
		describe(part, &s, 0x1000)
		got, err := part.RelDirs()
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	part := index.New()
	part.Metadata = index.Metadata{DiskConsistentLSN: 0x3000, InitdbLSN: 0x1000, PgVersion: 17}
	part.Rest["rel_size_migration"] = []byte(`"v9"`)
	_, err := (&Adoption{ID: uploadTimeline, Name: "main", Index: part}).state()
	require.ErrorContains(t, err, "rel_size_migration")
}

// TestBranchBeforeRelEntries branches where relations have no keys of their own yet.
func TestBranchBeforeRelEntries(t *testing.T) {
	d := page.RelDirs{Form: page.RelDirV2, Since: 0x2000}
	require.Equal(t, page.RelDirs{}, d.Of(0x1FF8))
	require.Equal(t, d, d.Of(0x2000))
	require.Equal(t, page.RelDirV1, d.At(0x1FFF))
}
