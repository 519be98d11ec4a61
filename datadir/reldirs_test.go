package datadir_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/datadir/datadirtest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestRelEntryVectors has keys and values of relations' own entries, written by hand from Neon's layout: 65, tablespace, database,
// relation, fork, 1; the value is the letter r, or nothing.
func TestRelEntryVectors(t *testing.T) {
	for _, v := range []struct {
		rel page.RelTag
		key string
	}{
		{page.RelTag{Spc: 1663, DB: 5, Rel: 16384}, "65 0000067F 00000005 00004000 00 00000001"},
		{page.RelTag{Spc: 1664, DB: 0, Rel: 1262, Fork: page.ForkVM}, "65 00000680 00000000 000004EE 02 00000001"},
		{page.RelTag{Spc: 0xFFFF, DB: 0xFFFFFFFF, Rel: 0xFFFFFFFF, Fork: page.ForkInit}, "65 0000FFFF FFFFFFFF FFFFFFFF 03 00000001"},
	} {
		raw, err := hex.DecodeString(strings.ReplaceAll(v.key, " ", ""))
		require.NoError(t, err)
		k := page.KeyFromBytes(raw)
		require.Equal(t, k, v.rel.RelEntry())
		rel, ok := k.RelEntry()
		require.True(t, ok)
		require.Equal(t, v.rel, rel)
		require.True(t, page.RelEntries(v.rel.Spc, v.rel.DB).Contains(k))
		require.False(t, page.RelEntries(v.rel.Spc, v.rel.DB+1).Contains(k))
		require.True(t, k.Sparse() && k.Storable() && page.RelEntryRange.Contains(k) && !page.NotInherited.Contains(k))
	}
	for _, k := range []page.Key{{F1: 0x65, F2: 1663, F3: 5, F4: 7}, {F1: 0x65, F2: 1663, F3: 5, F6: 1}, {F1: 0x64, F2: 1663, F3: 5, F4: 7, F6: 1}} {
		_, ok := k.RelEntry()
		require.False(t, ok, "%s", k)
	}
	for _, name := range []string{"legacy", "migrating", "migrated"} {
		f, err := page.ParseRelDirForm(name)
		require.NoError(t, err)
		require.Equal(t, name, f.String())
	}
	_, err := page.ParseRelDirForm("v2")
	require.ErrorContains(t, err, "migrating")
}

// putRaw stores one value.
func putRaw(t require.TestingT, s *datadirtest.Store, k page.Key, v []byte) {
	b := &page.Batch{}
	b.PutImage(k, s.Last+8, v)
	b.End, b.Prev = s.Last+8, s.Last
	require.NoError(t, s.Put(context.Background(), b))
}

// TestRelEntriesAreRead reads a timeline as Neon leaves it: an empty value of the database, and entries of which some are
// tombstones. What is none is an error.
func TestRelEntriesAreRead(t *testing.T) {
	ctx := t.Context()
	s := datadirtest.New(pg.V17, pg.Neon, nil)
	require.NoError(t, s.Init(ctx, 4096))
	s.Dirs = page.RelDirs{Form: page.RelDirV2, Since: 4096}
	rel := func(n uint32) page.RelTag { return page.RelTag{Spc: 1663, DB: 5, Rel: n} }
	putRaw(t, s, page.DBDirKey, datadir.EncodeDatabases([]datadir.Database{{Spc: 1663, DB: 5}}))
	putRaw(t, s, page.RelDirKey(1663, 5), datadir.EncodeRelations([]datadir.RelFork{{Rel: 9}})) // from before: not to be believed
	for n, v := range map[uint32]string{1: "r", 2: "", 3: "r"} {
		putRaw(t, s, rel(n).RelEntry(), []byte(v))
		putRaw(t, s, rel(n).SizeKey(), datadir.EncodeSize(n))
	}
	at := func() *datadir.Snapshot { return datadir.At(s, s.Last, pg.V17) }
	rels, err := at().Relations(ctx, 1663, 5)
	require.NoError(t, err)
	require.Equal(t, []page.RelTag{rel(1), rel(3)}, rels)
	for n, want := range map[uint32]bool{1: true, 2: false, 3: true, 4: false, 9: false} {
		ok, err := at().RelExists(ctx, rel(n))
		require.NoError(t, err)
		require.Equal(t, want, ok, n)
	}
	_, err = at().RelSize(ctx, rel(2))
	require.ErrorIs(t, err, page.ErrNotFound, "a dropped relation's last size is not told")
	_, err = at().Relations(ctx, 1663, 6)
	require.ErrorIs(t, err, page.ErrNotFound)
	dense, err := at().DenseKeys(ctx, nil)
	require.NoError(t, err)
	keys := page.NewSet(dense...)
	require.True(t, keys.Contains(rel(3).Block(2)) && keys.Contains(rel(3).SizeKey()) && keys.Contains(page.RelDirKey(1663, 5)))
	require.False(t, keys.Contains(rel(2).SizeKey()) || keys.Contains(rel(1).RelEntry()), "dropped relations and sparse keys are no part of it")

	sound := s.Last
	putRaw(t, s, rel(3).RelEntry(), []byte("x"))
	_, err = at().RelExists(ctx, rel(3))
	require.ErrorIs(t, err, datadir.ErrCorrupt)
	_, err = at().Relations(ctx, 1663, 5)
	require.ErrorContains(t, err, "entry of relation 1663/5/3")
	putRaw(t, s, page.Key{F1: 0x65, F2: 1663, F3: 5, F4: 2, F6: 7}, []byte("r"))
	_, err = at().Relations(ctx, 1663, 5)
	require.ErrorIs(t, err, datadir.ErrCorrupt)

	// The same timeline read as the older form gives other relations, and so does an LSN below Since.
	for _, dirs := range []page.RelDirs{{}, {Form: page.RelDirV2, Since: sound + 1}, {Form: page.RelDirBoth}} {
		s.Dirs = dirs
		rels, err := datadir.At(s, sound, pg.V17).Relations(ctx, 1663, 5)
		require.NoError(t, err)
		require.Equal(t, []page.RelTag{rel(9)}, rels)
	}
	differ, err := differing(ctx, datadir.At(s, sound, pg.V17))
	require.NoError(t, err)
	require.Equal(t, []page.RelTag{rel(1), rel(3), rel(9)}, differ)
}

// relModel is what relations there are, and how long, at each LSN that was committed.
type relModel struct {
	dbs  map[[2]uint32]bool
	rels map[page.RelTag]uint32
}

func (m relModel) clone() relModel { return relModel{maps.Clone(m.dbs), maps.Clone(m.rels)} }

func (m relModel) drop(spc, db uint32) {
	delete(m.dbs, [2]uint32{spc, db})
	maps.DeleteFunc(m.rels, func(r page.RelTag, _ uint32) bool { return r.Spc == spc && r.DB == db })
}

func (m relModel) make(r page.RelTag) {
	m.dbs[[2]uint32{r.Spc, r.DB}] = true
	m.rels[r] += 0
}

// check compares all that a snapshot tells of relations with the model.
func (m relModel) check(t require.TestingT, s *datadir.Snapshot, all []page.RelTag) {
	ctx := context.Background()
	dbs, err := s.Databases(ctx)
	require.NoError(t, err)
	require.Len(t, dbs, len(m.dbs))
	var listed []page.RelTag
	for _, d := range dbs {
		require.True(t, m.dbs[[2]uint32{d.Spc, d.DB}])
		rels, err := s.Relations(ctx, d.Spc, d.DB)
		require.NoError(t, err)
		listed = append(listed, rels...)
	}
	require.Equal(t, slices.SortedFunc(maps.Keys(m.rels), page.RelTag.Compare), listed)
	for _, r := range all {
		want, there := m.rels[r]
		ok, err := s.RelExists(ctx, r)
		require.NoError(t, err)
		require.Equal(t, there, ok, "%s at %s", r, s.LSN())
		n, err := s.RelSize(ctx, r)
		if there {
			require.NoError(t, err)
			require.Equal(t, want, n)
		} else {
			require.ErrorIs(t, err, page.ErrNotFound)
		}
	}
	differ, err := differing(ctx, s)
	require.NoError(t, err)
	require.Empty(t, differ)
}

// differing gives what Differing tells.
func differing(ctx context.Context, s *datadir.Snapshot) (out []page.RelTag, err error) {
	err = s.Differing(ctx, func(r page.RelTag, _ bool) error {
		out = append(out, r)
		return nil
	})
	return out, err
}

// TestFormsOfRelDirsGiveTheSame runs one random history of relations and databases under every form of directories, and
// compares each with a model at every LSN that was committed. A second writer goes on with a store as a restart would.
func TestFormsOfRelDirsGiveTheSame(t *testing.T) {
	ctx := t.Context()
	var all []page.RelTag
	for db := uint32(1); db <= 2; db++ {
		for rel := uint32(1); rel <= 4; rel++ {
			all = append(all, page.RelTag{Spc: 1663, DB: db, Rel: rel}, page.RelTag{Spc: 1663, DB: db, Rel: rel, Fork: page.ForkFSM})
		}
	}
	forms := []page.RelDirForm{page.RelDirV1, page.RelDirBoth, page.RelDirV2}
	rapid.Check(t, func(t *rapid.T) {
		forms := append(slices.Clone(forms), page.RelDirV1, page.RelDirV1) // the last two change: in two steps, and at once
		stores, mods := make([]*datadirtest.Store, len(forms)), make([]*datadir.Modification, len(forms))
		for i, f := range forms {
			stores[i] = datadirtest.New(pg.V16, pg.Stock, nil)
			require.NoError(t, stores[i].Init(ctx, 4096))
			stores[i].Dirs = page.RelDirs{Form: f, Since: 4096}
			mods[i] = datadir.NewModification(stores[i], pg.V16, 2)
		}
		now := relModel{map[[2]uint32]bool{}, map[page.RelTag]uint32{}}
		history := map[page.LSN]relModel{4096: now.clone()}
		page0 := make([]byte, pg.BlockSize)
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [4]uint32 {
			return [4]uint32{rapid.Uint32Range(0, 11).Draw(t, "what"), rapid.Uint32Range(0, uint32(len(all)-1)).Draw(t, "rel"),
				rapid.Uint32Range(0, 9).Draw(t, "blocks"), rapid.Uint32Range(0, 3).Draw(t, "end")}
		}), 1, 60).Draw(t, "steps")
		for _, step := range steps {
			r, n := all[step[1]], step[2]
			each := func(change func(m *datadir.Modification) error) {
				for i, m := range mods {
					due := m.RelDirsDue()
					if due {
						require.NoError(t, m.Commit(ctx))
					}
					require.NoError(t, m.Begin(datadir.RecordSpan{Start: m.LSN(), End: m.LSN() + 64}), forms[i])
					if due {
						require.NoError(t, m.ChangeRelDirs(ctx))
					}
					require.NoError(t, change(m), forms[i])
					m.End()
				}
			}
			_, there := now.rels[r]
			switch step[0] {
			case 10, 11:
				for i, s := range stores[len(forms)-2:] {
					if s.Dirs.Form != page.RelDirV2 {
						s.Wanted = []page.RelDirForm{min(s.Dirs.Form+1, page.RelDirV2), page.RelDirV2}[i]
					}
				}
				continue
			case 0, 1, 2:
				each(func(m *datadir.Modification) error { return m.PutBlockImage(ctx, r, n, page0) })
				now.make(r)
				now.rels[r] = max(now.rels[r], n+1)
			case 3:
				each(func(m *datadir.Modification) error { return m.CreateRelation(ctx, r) })
				now.make(r)
			case 4, 5:
				each(func(m *datadir.Modification) error { return m.TruncateRelation(ctx, r, n) })
				if there {
					now.rels[r] = min(now.rels[r], n)
				}
			case 6, 7:
				each(func(m *datadir.Modification) error { return m.DropRelation(ctx, r) })
				maps.DeleteFunc(now.rels, func(o page.RelTag, _ uint32) bool { return o.WithFork(0) == r.WithFork(0) })
			case 8:
				each(func(m *datadir.Modification) error { return m.DropDatabase(ctx, r.Spc, r.DB) })
				now.drop(r.Spc, r.DB)
			case 9: // as a copied database replaces what was there
				each(func(m *datadir.Modification) error {
					return cmp.Or(m.DropDatabase(ctx, r.Spc, r.DB), m.PutRelMap(ctx, r.Spc, r.DB, []byte("map")), m.CreateRelation(ctx, r))
				})
				now.drop(r.Spc, r.DB)
				now.make(r)
			}
			history[mods[0].LSN()] = now.clone()
			for i, m := range mods {
				if step[3] > 0 {
					require.NoError(t, m.Commit(ctx))
					if step[3] > 2 {
						mods[i] = datadir.NewModification(stores[i], pg.V16, 2)
					}
				}
			}
		}
		for i, s := range stores {
			require.NoError(t, mods[i].Commit(ctx))
			for lsn, m := range history {
				m.check(t, datadir.At(s, lsn, pg.V16), all)
			}
		}
	})
}

// TestFormsWriteTheirOwnKeysAlone looks at what each form stores. Neon expects a value of the database in every form.
func TestFormsWriteTheirOwnKeysAlone(t *testing.T) {
	ctx := t.Context()
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 7}
	for _, form := range []page.RelDirForm{page.RelDirV1, page.RelDirBoth, page.RelDirV2} {
		s := datadirtest.New(pg.V16, pg.Stock, nil)
		require.NoError(t, s.Init(ctx, 4096))
		s.Dirs = page.RelDirs{Form: form, Since: 4096}
		m := datadir.NewModification(s, pg.V16, 0)
		record := func(change func() error) {
			require.NoError(t, m.Begin(datadir.RecordSpan{Start: m.LSN(), End: m.LSN() + 64}))
			require.NoError(t, change())
			m.End()
			require.NoError(t, m.Commit(ctx))
		}
		record(func() error { return m.CreateRelation(ctx, rel) })
		record(func() error { return m.DropRelation(ctx, rel) })
		var dirs, entries []string
		for _, v := range s.Versions(page.RelDirKey(1663, 5)) {
			dirs = append(dirs, imageOf(t, v))
		}
		for _, v := range s.Versions(rel.RelEntry()) {
			entries = append(entries, imageOf(t, v))
		}
		none, one := string(datadir.EncodeRelations(nil)), string(datadir.EncodeRelations([]datadir.RelFork{{Rel: 7}}))
		switch form {
		case page.RelDirV1:
			require.Equal(t, []string{one, none}, dirs)
			require.Empty(t, entries)
		case page.RelDirBoth:
			require.Equal(t, []string{one, none}, dirs)
			require.Equal(t, []string{"r", ""}, entries)
		case page.RelDirV2:
			require.Equal(t, []string{none}, dirs)
			require.Equal(t, []string{"r", ""}, entries)
		}
	}
}

func imageOf(t *testing.T, v datadirtest.Version) string {
	t.Helper()
	value, err := page.DecodeValue(v.Value)
	require.NoError(t, err)
	require.Equal(t, page.KindImage, value.Kind)
	return string(value.Bytes)
}

// TestDatabaseThatComesBackIsEmpty has entries left of a database that was dropped, as Neon leaves them.
func TestDatabaseThatComesBackIsEmpty(t *testing.T) {
	ctx := t.Context()
	s := datadirtest.New(pg.V16, pg.Neon, nil)
	require.NoError(t, s.Init(ctx, 4096))
	s.Dirs = page.RelDirs{Form: page.RelDirV2, Since: 4096}
	old, fresh := page.RelTag{Spc: 1663, DB: 5, Rel: 7}, page.RelTag{Spc: 1663, DB: 5, Rel: 8}
	putRaw(t, s, old.RelEntry(), []byte("r"))
	putRaw(t, s, old.SizeKey(), datadir.EncodeSize(3))
	m := datadir.NewModification(s, pg.V16, 0)
	require.NoError(t, m.Begin(datadir.RecordSpan{Start: m.LSN(), End: m.LSN() + 64}))
	require.NoError(t, m.CreateRelation(ctx, fresh))
	m.End()
	require.NoError(t, m.Commit(ctx))
	rels, err := datadir.At(s, s.Last, pg.V16).Relations(ctx, 1663, 5)
	require.NoError(t, err)
	require.Equal(t, []page.RelTag{fresh}, rels)
}
