package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestLivesOfTimelines: a branch is archived, offloaded, brought back, detached, attached and deleted by commands, each of which
// says how it stands.
func TestLivesOfTimelines(t *testing.T) {
	ctx := t.Context()
	dir, url := filepath.Join(t.TempDir(), "store"), "file://"+filepath.Join(t.TempDir(), "remote")
	engine, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true, Remote: strata.RemoteOptions{URL: url, Open: openRemote}})
	require.NoError(t, err)
	tenant, err := engine.DefaultTenant(ctx)
	require.NoError(t, err)
	tl, err := tenant.Create(ctx, strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: 0x1000})
	require.NoError(t, err)
	var b page.Batch
	b.PutImage(page.RelTag{Spc: 1663, DB: 5, Rel: 1}.Block(0), 0x1008, make([]byte, 8192))
	require.NoError(t, tl.Put(ctx, &b))
	_, err = tenant.Branch(ctx, tl, strata.BranchOptions{Name: "b", At: 0x1008})
	require.NoError(t, err)
	require.NoError(t, engine.Close())

	say := func(code int, args ...string) string {
		var out, errs bytes.Buffer
		got := run(ctx, append(args, "--store", dir), &out, &errs)
		require.Equal(t, code, got, "%v: %s", args, errs.String())
		return out.String() + errs.String()
	}
	require.Contains(t, say(1, "delete", "main"), `"b" (active)`)
	require.Contains(t, say(0, "archive", "b"), "archive: timeline=b state=active seconds=")
	require.Contains(t, say(0, "offload", "b"), "offload: timeline=b state=offloaded")
	require.Contains(t, say(1, "branch", "--timeline", "b", "c"), "unarchive it first")
	require.Equal(t, map[string]string{"main": "active", "b": "offloaded"}, statesOf(t, say(0, "timelines", "--json")))
	require.Contains(t, say(0, "unarchive", "b"), "unarchive: timeline=b state=active")
	require.Contains(t, say(0, "detach", "--timeline", "b"), "timeline=b timelines=1 seconds=")
	list := say(0, "timelines")
	require.Contains(t, list, "detached")
	require.Contains(t, list, "timelines: timelines=2 active=1\n")
	id := tenant.ID().String()
	st, err := tenant.Status("b")
	require.ErrorIs(t, err, strata.ErrClosed)
	require.Empty(t, st.Name)
	say(0, "attach", "--tenant", id, "--remote", url)
	require.Equal(t, map[string]string{"main": "active", "b": "active"}, statesOf(t, say(0, "timelines", "--json")))
	require.Contains(t, say(0, "delete", "b"), "delete: timeline=b state=gone")
	require.Contains(t, say(1, "delete", "b"), "no such timeline")
	require.Contains(t, say(0, "detach"), "detach: tenant="+id+" timelines=1")
	require.Contains(t, say(1, "info"), "no such tenant")
	say(0, "attach", "--tenant", id, "--remote", url)
	require.Contains(t, say(0, "info"), "main")
}

// statesOf reads the list of timelines.
func statesOf(t *testing.T, out string) map[string]string {
	var all []struct{ Name, State string }
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	states := map[string]string{}
	for _, s := range all {
		states[s.Name] = s.State
	}
	return states
}
