package tenant

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// spoil changes a byte of a file.
func spoil(t *testing.T, fs virtualfile.FS, name string) {
	b, err := virtualfile.ReadFile(fs, name, 1<<30)
	require.NoError(t, err)
	b[len(b)/3], b[len(b)-20] = ^b[len(b)/3], ^b[len(b)-20]
	require.NoError(t, virtualfile.WriteFileAtomic(fs, name, b))
}

// TestOneBrokenTimelineBreaksNoOther: what cannot be opened says why, and can be deleted; what branches from it is broken too; all
// others are as they were.
func TestOneBrokenTimelineBreaksNoOther(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	for name, file := range map[string]string{"manifest": manifest.FileName, "layer": "0000"} {
		t.Run(name, func(t *testing.T) {
			mem := virtualfile.NewMem()
			o := testOptions(mem)
			s, tn := openLife(t, ctx, o)
			main, _, _ := family(t, tn)
			require.NoError(t, s.Close())
			dir := filepath.Join(tn.dir, main.ID().String())
			names, err := mem.List(dir)
			require.NoError(t, err)
			for _, n := range names {
				if strings.HasPrefix(n, file) {
					file = filepath.Join(dir, n)
				}
			}
			spoil(t, mem, file)
			_, err = Open(ctx, o)
			require.ErrorIs(t, err, timeline.ErrCorrupt, "without Isolate")

			o.Isolate = true
			s, tn = openLife(t, ctx, o)
			want := map[string]State{"main": Broken, "child": Broken, "other": Active}
			if name == "manifest" { // nothing tells its name
				want = map[string]State{"": Broken, "child": Broken, "other": Active}
			}
			require.Equal(t, want, states(tn))
			st, err := tn.Status(main.ID().String())
			require.NoError(t, err)
			require.Contains(t, st.Reason, filepath.Base(file))
			_, err = tn.Timeline("child")
			require.ErrorIs(t, err, ErrBroken)
			require.ErrorIs(t, err, timeline.ErrCorrupt)
			other, err := tn.Timeline("other")
			require.NoError(t, err)
			hasPage(t, other, 3)
			grow(t, other, 4)
			_, err = other.GC(ctx, timeline.GCRequest{})
			if name == "manifest" {
				require.ErrorIs(t, err, timeline.ErrKeepsAll, "the broken one may be a branch of it")
			} else {
				require.NoError(t, err)
			}
			require.ErrorIs(t, tn.Delete(ctx, main.ID().String()), ErrHasBranches)
			require.NoError(t, tn.Delete(ctx, "child"))
			require.NoError(t, tn.Delete(ctx, main.ID().String()))
			require.NoError(t, s.Close())
			s, tn = openLife(t, ctx, o)
			require.Equal(t, map[string]State{"other": Active}, states(tn))
			require.NoError(t, s.Close())
		})
	}
}

// TestABrokenBranchIsKeptFor: its ancestor keeps what it needs.
func TestABrokenBranchIsKeptFor(t *testing.T) {
	noLeaks(t)
	mem := virtualfile.NewMem()
	o := testOptions(mem)
	o.Isolate = true
	s, tn := openLife(t, t.Context(), o)
	_, child, _ := family(t, tn)
	at := child.Meta().AncestorLSN
	dir := filepath.Join(tn.dir, child.ID().String())
	require.NoError(t, s.Close())
	names, err := mem.List(dir)
	require.NoError(t, err)
	for _, n := range names {
		if strings.HasPrefix(n, "0000") {
			require.NoError(t, mem.Remove(filepath.Join(dir, n)))
		}
	}
	s, tn = openLife(t, t.Context(), o)
	require.Equal(t, Broken, states(tn)["child"], "%v", names)
	main, err := tn.Timeline("main")
	require.NoError(t, err)
	require.Contains(t, main.ReadPoints(), at)
	require.NoError(t, s.Close())
}

// TestOneBrokenTenantBreaksNoOther.
func TestOneBrokenTenantBreaksNoOther(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem := virtualfile.NewMem()
	o := testOptions(mem)
	s, tn := openLife(t, ctx, o)
	family(t, tn)
	bad, err := s.CreateTenant(ctx, page.TenantID{7})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, mem.Remove(bad.dir))
	_, err = Open(ctx, o)
	require.ErrorIs(t, err, timeline.ErrCorrupt)
	o.Isolate = true
	s, tn = openLife(t, ctx, o)
	require.Equal(t, Active, states(tn)["main"])
	_, err = s.Tenant(bad.id)
	require.ErrorIs(t, err, ErrBroken)
	for _, st := range s.TenantStatuses() {
		if st.ID == bad.ShardID() {
			require.Equal(t, Broken, st.State)
			require.Contains(t, st.Reason, timelinesName)
		} else {
			require.Equal(t, Active, st.State)
			require.Equal(t, 3, st.Timelines[Active])
		}
	}
	require.NoError(t, s.Close())
}

// TestUnknownFilesAreSetAside: wherever they lie.
func TestUnknownFilesAreSetAside(t *testing.T) {
	noLeaks(t)
	mem := virtualfile.NewMem()
	o := testOptions(mem)
	s, tn := openLife(t, t.Context(), o)
	main, _, _ := family(t, tn)
	require.NoError(t, s.Close())
	dirs := []string{filepath.Join(o.Dir, tenantsName), s.tenantDir(tn.ShardID()), tn.dir, filepath.Join(tn.dir, main.ID().String())}
	for _, d := range dirs {
		require.NoError(t, virtualfile.WriteFileAtomic(mem, filepath.Join(d, "what.is.this"), []byte("?")))
	}
	for range 2 {
		s, tn = openLife(t, t.Context(), o)
		require.Len(t, states(tn), 3)
		require.NoError(t, s.Close())
		for _, d := range dirs {
			_, err := mem.Stat(filepath.Join(d, virtualfile.SetAsideDir, "what.is.this"))
			require.NoError(t, err, d)
		}
	}
}

func TestStateNames(t *testing.T) {
	for s := range States {
		require.NotEmpty(t, s.String())
		b, err := s.MarshalText()
		require.NoError(t, err)
		require.Equal(t, s.String(), string(b))
	}
	require.Equal(t, "state 200", State(200).String())
}

// FuzzTimelinesFile: what is accepted is exactly what would be written.
func FuzzTimelinesFile(f *testing.F) {
	rs := records{}
	for i, word := range []string{wordArchived, wordOffloaded, wordDetached, wordDeleting} {
		r := record{word: word, id: page.TimelineID{byte(i)}, name: "a b\"\n" + word}
		if i > 0 {
			r.ancestor, r.lsn, r.archived = page.TimelineID{9}, 0x1000, time.Unix(int64(i), 7).UTC()
		}
		rs[r.id] = r
	}
	f.Add(rs.encode())
	f.Add(records{}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if i := strings.LastIndex(string(b), "crc32c "); i >= 0 {
			b = sealText(string(b[:i]))
		}
		if rs, err := decodeRecords(b); err == nil {
			require.Equal(t, string(b), string(rs.encode()))
		}
	})
}

// FuzzTenantManifest: no document hurts, and what is not known is kept.
func FuzzTenantManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"offloaded_timelines":[{"timeline_id":"000102030405060708090a0b0c0d0e0f","ancestor_timeline_id":null,"ancestor_retain_lsn":null,"archived_at":"2024-11-01T10:00:00"}]}`))
	f.Add([]byte(`{"version":2,"stripe_size":32768,"offloaded_timelines":[],"x":{"y":[1]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		out, err := m.encode()
		require.NoError(t, err)
		again, err := parseManifest(out)
		require.NoError(t, err)
		require.Equal(t, len(m.offloaded), len(again.offloaded))
		require.Equal(t, m.stripe, again.stripe)
		require.Equal(t, max(m.version, manifestVersion), again.version)
		for name := range m.rest {
			require.Contains(t, again.rest, name)
		}
		for i := range m.offloaded {
			m.offloaded[i].record()
		}
	})
}
