package main

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestSecondaryTakesOver: what a heatmap names is fetched by a store beside, which then attaches the tenant; and a tenant is deleted with
// all that there is of it.
func TestSecondaryTakesOver(t *testing.T) {
	ctx := t.Context()
	far := filepath.Join(t.TempDir(), "remote")
	dir, beside, url := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "beside"), "file://"+far
	engine, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true, Remote: strata.RemoteOptions{URL: url, Open: openRemote}})
	require.NoError(t, err)
	tenant, err := engine.DefaultTenant(ctx)
	require.NoError(t, err)
	tl, err := tenant.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: 0x1000})
	require.NoError(t, err)
	var b page.Batch
	b.PutImage(page.RelTag{Spc: 1663, DB: 5, Rel: 1}.Block(0), 0x1008, make([]byte, 8192))
	require.NoError(t, tl.Put(ctx, &b))
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, tl.WaitUploads(ctx))
	require.NoError(t, engine.Close())
	id := tenant.ID().String()

	say := func(code int, args ...string) string {
		var out, errs bytes.Buffer
		require.Equal(t, code, run(ctx, args, &out, &errs), "%v: %s", args, errs.String())
		return out.String() + errs.String()
	}
	secondary := []string{"secondary", "--store", beside, "--remote", url, "--tenant", id}
	require.Contains(t, say(0, secondary...), "layers=0 of=0", "there is no heatmap yet")
	require.Contains(t, say(0, "heatmap", "--store", dir), "heatmap: timelines=1 layers=1 bytes=")
	require.Contains(t, say(0, append(secondary, "--wait", "1m")...), "layers=1 of=1")
	require.Contains(t, say(0, append(secondary, "--forget")...), "layers=0")
	require.Contains(t, say(0, secondary...), "layers=1 of=1")
	require.Contains(t, say(1, "secondary", "--store", dir, "--remote", url, "--tenant", id), "it is attached here")
	say(2, "secondary", "--store", beside)
	say(0, "attach", "--store", beside, "--remote", url, "--tenant", id)
	require.Contains(t, say(0, "download", "--store", beside, "--tenant", id), "layers=0", "all are here")

	say(2, "delete-tenant", "--store", beside)
	require.Contains(t, say(0, "delete-tenant", "--store", beside, "--tenant", id), "delete-tenant: tenant="+id)
	require.Contains(t, say(1, "delete-tenant", "--store", beside, "--tenant", id), "no such tenant")
	require.NoError(t, filepath.WalkDir(filepath.Join(far, "tenants", id), func(path string, d fs.DirEntry, err error) error {
		require.True(t, err != nil || d.IsDir(), "%s is left", path)
		return nil
	}))
}
