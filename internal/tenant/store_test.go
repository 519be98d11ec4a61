package tenant

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

func osOptions(dir string) Options {
	o := testOptions(virtualfile.NewOS())
	o.Dir = dir
	return o
}

func readOnly(o Options) Options {
	o.CreateIfMissing, o.Config.ReadOnly = false, true
	return o
}

// filled makes a store with a timeline of two layers and a branch, closed again, and gives its model.
func filled(t *testing.T, o Options) *history {
	ctx := context.Background()
	s, err := Open(ctx, o)
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Create(ctx, meta("main"))
	require.NoError(t, err)
	h := newHistory("main", firstLSN, nil)
	h.id = tl.ID()
	for i := range 2 {
		var b page.Batch
		h.put(&b, modelKeys[0], h.last+8, 2*i, fmt.Appendf(nil, "value %d", i))
		require.NoError(t, tl.Put(ctx, &b))
		require.NoError(t, tl.Flush(ctx))
		h.last += 8
	}
	_, err = tn.Branch(ctx, tl, "branch", page.TimelineID{}, h.last)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "twice")
	return h
}

// timelineDir is where filled has put the timeline.
func timelineDir(t *testing.T, dir string, h *history) string {
	m, err := filepath.Glob(filepath.Join(dir, "tenants/*/timelines", h.id.String()))
	require.NoError(t, err)
	require.Len(t, m, 1)
	return m[0]
}

func TestReadOnlyChangesNothing(t *testing.T) {
	noLeaks(t)
	dir := filepath.Join(t.TempDir(), "s")
	h := filled(t, osOptions(dir))
	tdir := timelineDir(t, dir, h)
	// What a crash leaves must stay, too: a torn edit, a temporary file, an unfinished timeline.
	f, err := os.OpenFile(filepath.Join(tdir, manifest.FileName), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("EDITtorn")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.WriteFile(filepath.Join(tdir, "x.___temp"), nil, 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(tdir), strings.Repeat("ab", 16)+".___temp"), 0o755))
	before := tree(t, dir)

	ctx := context.Background()
	s, err := Open(ctx, readOnly(osOptions(dir)))
	require.NoError(t, err)
	second, err := Open(ctx, readOnly(osOptions(dir)))
	require.NoError(t, err, "readers do not keep each other out")
	require.NoError(t, second.Close())
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	for _, name := range []string{"main", "branch", h.id.String()} {
		tl, err := tn.Timeline(name)
		require.NoError(t, err)
		h.same(t, tl, modelSets[0], h.last)
		var b page.Batch
		b.PutImage(modelKeys[0], h.last+8, nil)
		require.ErrorIs(t, tl.Put(ctx, &b), timeline.ErrReadOnly)
		require.ErrorIs(t, tl.Flush(ctx), timeline.ErrReadOnly)
		require.ErrorIs(t, tl.Freeze(ctx), timeline.ErrReadOnly)
		_, err = tn.Branch(ctx, tl, "no", page.TimelineID{}, h.last)
		require.ErrorIs(t, err, timeline.ErrReadOnly)
	}
	_, err = tn.Create(ctx, meta("no"))
	require.ErrorIs(t, err, timeline.ErrReadOnly)
	_, err = s.CreateTenant(ctx, page.TenantID{1})
	require.ErrorIs(t, err, timeline.ErrReadOnly)
	require.NoError(t, s.Close())
	require.Equal(t, before, tree(t, dir))

	// A writer then removes them, and says so.
	o := osOptions(dir)
	var left []string
	cut := 0
	o.Config.Events.LeftOver = func(i timeline.LeftOverInfo) { left = append(left, filepath.Base(i.File)) }
	o.Config.Events.ManifestCut = func(i timeline.ManifestCutInfo) { cut++; require.EqualValues(t, 8, i.Bytes) }
	s, err = Open(ctx, o)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.ElementsMatch(t, []string{"x.___temp", strings.Repeat("ab", 16) + ".___temp"}, left)
	require.Equal(t, 1, cut)
}

func TestLockKeepsOthersOut(t *testing.T) {
	noLeaks(t)
	for name, fs := range map[string]virtualfile.FS{"os": virtualfile.NewOS(), "mem": virtualfile.NewMem()} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(fs)
			if name == "os" {
				o.Dir = filepath.Join(t.TempDir(), "s")
			}
			ctx := context.Background()
			s, err := Open(ctx, o)
			require.NoError(t, err)
			for _, other := range []Options{o, readOnly(o)} {
				_, err := Open(ctx, other)
				require.ErrorIs(t, err, virtualfile.ErrLocked)
				require.ErrorContains(t, err, "in use by another process")
				require.ErrorContains(t, err, o.Dir)
			}
			require.NoError(t, s.Close())
			r, err := Open(ctx, readOnly(o))
			require.NoError(t, err)
			_, err = Open(ctx, o)
			require.ErrorIs(t, err, virtualfile.ErrLocked)
			require.NoError(t, r.Close())
			s, err = Open(ctx, o)
			require.NoError(t, err)
			require.NoError(t, s.Close())
		})
	}
}

func TestWhatIsNoStore(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	root := t.TempDir()
	missing := filepath.Join(root, "missing")
	o := osOptions(missing)
	o.CreateIfMissing = false
	for _, o := range []Options{o, readOnly(o)} {
		_, err := Open(ctx, o)
		require.ErrorIs(t, err, ErrNotAStore)
		require.ErrorContains(t, err, missing)
		require.NoFileExists(t, missing)
		o.Dir = root
		_, err = Open(ctx, o)
		require.ErrorIs(t, err, ErrNotAStore)
	}
	require.Equal(t, 1, strings.Count(tree(t, root), "\n"), "nothing was made")
	file := filepath.Join(root, "file")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o644))
	for _, dir := range []string{root, file} {
		o := osOptions(dir) // with CreateIfMissing
		_, err := Open(ctx, o)
		require.ErrorIs(t, err, ErrNotAStore)
	}
}

func TestDamageIsNamedAtOpen(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	image := func(dir string) string {
		m, err := filepath.Glob(filepath.Join(dir, "0000*"))
		require.NoError(t, err)
		return m[0]
	}
	other := t.TempDir()
	foreign := filled(t, osOptions(filepath.Join(other, "s")))
	foreignDir := timelineDir(t, filepath.Join(other, "s"), foreign)
	for name, c := range map[string]struct {
		damage func(t *testing.T, store, dir string) (named string)
		err    error
	}{
		"layer is missing": {func(t *testing.T, _, dir string) string {
			f := image(dir)
			require.NoError(t, os.Remove(f))
			return filepath.Base(f)
		}, timeline.ErrCorrupt},
		"layer is too short": {func(t *testing.T, _, dir string) string {
			require.NoError(t, os.Truncate(image(dir), 8192))
			return filepath.Base(image(dir))
		}, timeline.ErrCorrupt},
		"layer of another timeline in its place": {func(t *testing.T, _, dir string) string {
			b, err := os.ReadFile(image(foreignDir))
			require.NoError(t, err)
			require.Equal(t, filepath.Base(image(foreignDir)), filepath.Base(image(dir)))
			require.NoError(t, os.WriteFile(image(dir), b, 0o644))
			return filepath.Base(image(dir))
		}, timeline.ErrCorrupt},
		"layer of another generation in its place": {func(t *testing.T, _, dir string) string {
			require.NoError(t, os.Rename(regenerate(t, image(dir), value("c", 5)), image(dir)))
			return filepath.Base(image(dir))
		}, timeline.ErrCorrupt},
		"manifest is missing": {func(t *testing.T, _, dir string) string {
			require.NoError(t, os.Remove(filepath.Join(dir, manifest.FileName)))
			return manifest.FileName
		}, os.ErrNotExist},
		"manifest is damaged": {func(t *testing.T, _, dir string) string {
			f := filepath.Join(dir, manifest.FileName)
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			b[50] ^= 1
			require.NoError(t, os.WriteFile(f, b, 0o644))
			return f + ": corrupt manifest: offset 16"
		}, timeline.ErrCorrupt},
		"last edit of the manifest is damaged": {func(t *testing.T, _, dir string) string {
			f := filepath.Join(dir, manifest.FileName)
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			const seal, insideOfTheEdit = 24, 10
			b[len(b)-seal-insideOfTheEdit] ^= 1
			require.NoError(t, os.WriteFile(f, b, 0o644))
			return f + ": corrupt manifest: offset "
		}, timeline.ErrCorrupt},
		"ancestor is missing": {func(t *testing.T, _, dir string) string {
			require.NoError(t, os.RemoveAll(dir))
			return filepath.Base(dir)
		}, timeline.ErrCorrupt},
		"tenant is missing": {func(t *testing.T, store, dir string) string {
			require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(dir))))
			return "default tenant"
		}, timeline.ErrCorrupt},
		"store file is damaged": {func(t *testing.T, store, _ string) string {
			f := filepath.Join(store, storeFileName)
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(f, []byte(strings.Replace(string(b), "id ", "id f", 1)), 0o644))
			return f
		}, ErrCorruptStoreFile},
	} {
		t.Run(name, func(t *testing.T) {
			store := filepath.Join(t.TempDir(), "s")
			h := filled(t, osOptions(store))
			named := c.damage(t, store, timelineDir(t, store, h))
			before := tree(t, store)
			for _, o := range []Options{osOptions(store), readOnly(osOptions(store))} {
				_, err := Open(ctx, o)
				require.ErrorIs(t, err, c.err)
				require.ErrorContains(t, err, named)
			}
			require.Equal(t, before, tree(t, store), "the store stays as it was")
		})
	}
}

func TestOrphanOfAnUnpublishedFlushIsRemoved(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	store := filepath.Join(t.TempDir(), "s")
	h := filled(t, osOptions(store))
	dir := timelineDir(t, store, h)
	m, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	require.NoError(t, err)
	s, err := Open(ctx, osOptions(store))
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Timeline("main")
	require.NoError(t, err)
	var b page.Batch
	b.PutImage(modelKeys[1], h.last+8, []byte("new"))
	require.NoError(t, tl.Put(ctx, &b))
	require.NoError(t, s.Close())
	// As if the process had ended between the file and the manifest.
	require.NoError(t, os.WriteFile(filepath.Join(dir, manifest.FileName), m, 0o644))
	layers := func() int {
		names, err := filepath.Glob(filepath.Join(dir, "0000*"))
		require.NoError(t, err)
		return len(names)
	}
	require.Equal(t, 3, layers())
	r, err := Open(ctx, readOnly(osOptions(store)))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, 3, layers())
	o := osOptions(store)
	var left []string
	o.Config.Events.LeftOver = func(i timeline.LeftOverInfo) { left = append(left, i.File) }
	s, err = Open(ctx, o)
	require.NoError(t, err)
	require.Equal(t, 2, layers())
	require.Len(t, left, 1)
	tn, err = s.DefaultTenant()
	require.NoError(t, err)
	tl, err = tn.Timeline("main")
	require.NoError(t, err)
	h.same(t, tl, modelSets[0], h.last)
	require.NoError(t, s.Close())
}

func TestFeaturesByName(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	store := filepath.Join(t.TempDir(), "s")
	filled(t, osOptions(store))
	path := filepath.Join(store, storeFileName)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, c := range []struct {
		add         func(*StoreFile)
		write, read string // parts of the errors; none if empty
	}{
		{func(s *StoreFile) { s.Compatible = []string{"hints-9"} }, "", ""},
		{func(s *StoreFile) { s.ReadCompatible = []string{"counts-9"} }, "counts-9", ""},
		{func(s *StoreFile) { s.Incompatible = append(s.Incompatible, "zip-9") }, "zip-9", "zip-9"},
		{func(s *StoreFile) { s.Version = 2 }, "version 2", "version 2"},
	} {
		s, err := DecodeStoreFile(b)
		require.NoError(t, err)
		c.add(&s)
		require.NoError(t, os.WriteFile(path, s.Encode(), 0o644))
		for i, want := range []string{c.write, c.read} {
			st, err := Open(ctx, []Options{osOptions(store), readOnly(osOptions(store))}[i])
			if want == "" {
				require.NoError(t, err)
				require.NoError(t, st.Close())
				continue
			}
			require.ErrorIs(t, err, ErrUnsupported)
			require.ErrorContains(t, err, want)
		}
	}
}

func TestStoreFileOfTheDocument(t *testing.T) {
	noLeaks(t)
	doc, err := os.ReadFile("../../docs/formats/store.md")
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(doc), "```\n"+storeMagic)
	require.True(t, ok)
	text, _, ok = strings.Cut(storeMagic+text, "```")
	require.True(t, ok)
	s, err := DecodeStoreFile([]byte(text))
	require.NoError(t, err)
	require.NoError(t, s.Check(false))
	require.Equal(t, requiredIncompatible, s.Incompatible)
	require.Equal(t, text, string(s.Encode()))
}

func FuzzStoreFile(f *testing.F) {
	s := StoreFile{Version: 1, Compatible: []string{"a"}, Incompatible: knownIncompatible}
	f.Add(s.Encode())
	f.Add([]byte(storeMagic + "\nversion 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if i := strings.LastIndex(string(b), "crc32c "); i >= 0 {
			b = fmt.Appendf(b[:i:i], "crc32c %08x\n", crc32.Checksum(b[:i], crc32.MakeTable(crc32.Castagnoli)))
		}
		if s, err := DecodeStoreFile(b); err == nil {
			require.Equal(t, string(b), string(s.Encode()))
		}
	})
}

func TestNamesAreUnique(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	s, err := Open(ctx, testOptions(virtualfile.NewMem()))
	require.NoError(t, err)
	defer s.Close()
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Create(ctx, meta("main"))
	require.NoError(t, err)
	_, err = tn.Create(ctx, meta("main"))
	require.ErrorIs(t, err, ErrTimelineExists)
	_, err = tn.Branch(ctx, tl, "main", page.TimelineID{}, firstLSN)
	require.ErrorIs(t, err, ErrTimelineExists)
	_, err = tn.Branch(ctx, tl, "other", tl.ID(), firstLSN)
	require.ErrorIs(t, err, ErrTimelineExists)
	_, err = tn.Timeline("other")
	require.ErrorIs(t, err, ErrTimelineNotFound)
	_, err = tn.Timeline(strings.Repeat("0a", 16))
	require.ErrorIs(t, err, ErrTimelineNotFound)

	id := page.TenantID{7}
	_, err = s.Tenant(id)
	require.ErrorIs(t, err, ErrTenantNotFound)
	second, err := s.CreateTenant(ctx, id)
	require.NoError(t, err)
	_, err = s.CreateTenant(ctx, id)
	require.ErrorIs(t, err, ErrTenantExists)
	_, err = second.Create(ctx, meta("main"))
	require.NoError(t, err, "each tenant has names of its own")
	_, err = second.Branch(ctx, tl, "b", page.TimelineID{}, firstLSN)
	require.ErrorContains(t, err, "belongs to tenant")
	require.Len(t, s.Tenants(), 2)
}
