package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestDetachAncestorCommand: a branch is detached, again, and read once its ancestor is gone.
func TestDetachAncestorCommand(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "store")
	engine, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true})
	require.NoError(t, err)
	tenant, err := engine.DefaultTenant(ctx)
	require.NoError(t, err)
	tl, err := tenant.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: 0x1000})
	require.NoError(t, err)
	key := page.RelTag{Spc: 1663, DB: 5, Rel: 1}.Block(0)
	var b page.Batch
	b.PutImage(key, 0x1008, make([]byte, 8192))
	require.NoError(t, tl.Put(ctx, &b))
	for _, name := range []string{"b", "c"} {
		_, err = tenant.Branch(ctx, tl, strata.BranchOptions{Name: name, At: 0x1008})
		require.NoError(t, err)
	}
	require.NoError(t, engine.Close())
	say := func(code int, args ...string) string {
		var out, errs bytes.Buffer
		got := run(ctx, append(args, "--store", dir), &out, &errs)
		require.Equal(t, code, got, "%v: %s", args, errs.String())
		return out.String() + errs.String()
	}
	require.Contains(t, say(1, "detach-ancestor", "main"), "has no ancestor")
	require.Contains(t, say(1, "delete", "main"), `"b" (active)`)
	first := say(0, "detach-ancestor", "b")
	require.Contains(t, first, " lsn=0/1008 layers=1 reparented=1 seconds=")
	require.Contains(t, first, "branches from b now")
	require.Contains(t, say(0, "detach-ancestor", "b"), " lsn=0/1008 layers=0 reparented=1 seconds=")
	require.Contains(t, say(1, "detach-ancestor", "nobody"), "no such timeline")
	say(2, "detach-ancestor")
	say(0, "delete", "main")
	engine, err = strata.Open(ctx, strata.Options{Dir: dir})
	require.NoError(t, err)
	tenant, err = engine.DefaultTenant(ctx)
	require.NoError(t, err)
	for _, name := range []string{"b", "c"} {
		tl, err := tenant.Timeline(ctx, name)
		require.NoError(t, err)
		v, err := tl.Get(ctx, key, 0x1008)
		require.NoError(t, err)
		require.Len(t, v, 8192)
	}
	tl, err = tenant.Timeline(ctx, "b")
	require.NoError(t, err)
	i := tl.Info()
	require.Nil(t, i.Ancestor)
	require.NotNil(t, i.DetachedFrom)
	require.EqualValues(t, 0x1008, i.DetachedAtLSN)
	require.NoError(t, engine.Close())
}
