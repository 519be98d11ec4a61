package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

var key = page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}.Block(3)

// put opens a store, makes one layer more with a byte in it, and closes it.
func put(ctx context.Context, dir string, b byte) error {
	e, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true})
	if err != nil {
		return err
	}
	tn, err := e.DefaultTenant(ctx)
	if err != nil {
		return errors.Join(err, e.Close())
	}
	tl, err := tn.Timeline(ctx, "main")
	if err != nil {
		tl, err = tn.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: 0x1000000})
	}
	if err == nil {
		var batch page.Batch
		batch.PutImage(key, tl.LastRecordLSN()+8, []byte{b})
		err = errors.Join(tl.Put(ctx, &batch), tl.Flush(ctx))
	}
	return errors.Join(err, e.Close())
}

// value reads what was put last.
func value(t *testing.T, dir string) byte {
	e, err := strata.Open(t.Context(), strata.Options{Dir: dir, ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	v, err := tl.Get(t.Context(), key, tl.LastRecordLSN())
	require.NoError(t, err)
	return v[0]
}

func make1(t *testing.T, dir string) Info {
	i, err := Create(t.Context(), dir, Info{Workload: "one", Seed: 7}, func(ctx context.Context, store string) error { return put(ctx, store, 1) })
	require.NoError(t, err)
	return i
}

// TestUseEachWay: what is done to a copy, however it was made, leaves the snapshot and the other copies as they are.
func TestUseEachWay(t *testing.T) {
	dir := t.TempDir()
	snap := filepath.Join(dir, "snap")
	made := make1(t, snap)
	require.NotEmpty(t, made.Files)
	for n, m := range []Method{Auto, Link} {
		to := filepath.Join(dir, "use"+string(m))
		i, how, err := Use(t.Context(), snap, to, UseOptions{Method: m, Digest: made.Digest, Trust: n%2 == 0})
		require.NoError(t, err)
		require.Equal(t, made, i)
		if m == Link {
			require.Equal(t, m, how)
		}
		require.NoError(t, put(t.Context(), to, byte(2+n)))
		require.EqualValues(t, 2+n, value(t, to))
	}
	_, _, err := Use(t.Context(), snap, filepath.Join(dir, "last"), UseOptions{})
	require.NoError(t, err, "the snapshot is what it was")
	_, _, err = Use(t.Context(), snap, filepath.Join(dir, "last"), UseOptions{})
	require.ErrorIs(t, err, fs.ErrExist)
	_, _, err = Use(t.Context(), snap, filepath.Join(dir, "x"), UseOptions{Method: "wish"})
	require.ErrorContains(t, err, "no way")
	halves, err := filepath.Glob(filepath.Join(dir, "*half*"))
	require.NoError(t, err)
	require.Empty(t, halves)
}

// TestRefusals: a snapshot that is not what is wanted, or was changed, is not used.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	snap := filepath.Join(dir, "snap")
	made := make1(t, snap)
	name := filepath.Join(snap, infoName)
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	refused := func(says string, o UseOptions) {
		t.Helper()
		_, _, err := Use(t.Context(), snap, filepath.Join(dir, "to"), o)
		require.ErrorIs(t, err, ErrOther)
		require.ErrorContains(t, err, says)
		require.NoDirExists(t, filepath.Join(dir, "to"))
	}
	refused("is wanted", UseOptions{Digest: "abc"})
	change := func(fn func(*Info)) {
		i := made
		fn(&i)
		b, err := json.Marshal(i)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, b, 0o644))
	}
	change(func(i *Info) { i.Version++ })
	refused("version 2, not 1", UseOptions{})
	change(func(i *Info) { i.Format = "99 " })
	refused("make it anew", UseOptions{})
	change(func(i *Info) { i.Digest = strings.Repeat("0", 64) })
	refused("says digest", UseOptions{})
	change(func(i *Info) { i.Files = i.Files[1:] })
	refused("files, not", UseOptions{Trust: true})
	require.NoError(t, os.WriteFile(name, text, 0o644))

	layer := filepath.Join(snap, storeName, made.Files[len(made.Files)-1].Name)
	b, err := os.ReadFile(layer)
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(layer, b, 0o644))
	refused("is not what it was", UseOptions{})
	require.NoError(t, os.WriteFile(layer, b[1:], 0o644))
	refused("is not what it was", UseOptions{Trust: true})
}

// TestCreateIsWholeOrNothing: after an error nothing is left, and what is there is not touched.
func TestCreateIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	fail := errors.New("no")
	_, err := Create(t.Context(), filepath.Join(dir, "snap"), Info{}, func(ctx context.Context, store string) error {
		return errors.Join(os.MkdirAll(filepath.Join(store, "tenants"), 0o755), fail)
	})
	require.ErrorIs(t, err, fail)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = Create(t.Context(), dir, Info{}, nil)
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = Read(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
