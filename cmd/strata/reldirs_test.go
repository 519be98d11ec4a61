package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// TestRelDirsOfAStore has a store go over to keys of relations' own by the command line. A difference that is planted between the two
// directories is found by its relation's name, keeps the timeline from going on.
func TestRelDirsOfAStore(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	work := t.TempDir()
	store, wal := filepath.Join(work, "store"), filepath.Join(work, "wal")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractWAL(wal))
	lsns := s.LSNs()
	at := func(args ...string) []string { return append(args, "--store", store) }
	refused := func(says string, args ...string) {
		t.Helper()
		code, _, errs := command(t, at(args...)...)
		require.Equal(t, exitFailed, code)
		require.Contains(t, errs, says)
	}
	must(t, at("import", "--pgdata", sampleCluster(t))...)
	require.Equal(t, "rel-dirs: timeline=main form=legacy since=0/0 wanted=legacy", lastLine(must(t, at("rel-dirs")...)))
	refused("ask for migrating first", "rel-dirs", "--to", "migrated")
	require.Contains(t, must(t, at("rel-dirs", "--to", "migrating")...), "form=legacy since=0/0 wanted=migrating")
	must(t, at("ingest", "--wal", wal, "--until", lsns[1].String())...)
	require.Regexp(t, `form=migrating since=0/\S+ wanted=migrating`, must(t, at("rel-dirs")...))
	require.Contains(t, must(t, at("verify", "directories")...), "directories: form=migrating lsn="+lsns[1].String()+" different=0")
	refused("no way back", "rel-dirs", "--to", "legacy")

	planted := plant(t, store)
	code, out, errs := command(t, at("verify", "directories")...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "different=1")
	require.Contains(t, errs, "relation "+planted.String()+" at LSN ")
	require.Contains(t, errs, "its own key alone says that it exists")
	require.Contains(t, must(t, at("verify", "directories", "--lsn", lsns[1].String())...), "different=0")
	refused("differ in 1 relations, "+planted.String(), "rel-dirs", "--to", "migrated")

	code, _, _ = command(t, at("rel-dirs", "--to", "v2")...)
	require.Equal(t, exitUsage, code)
}

// plant writes a key of a relation that the database's value does not know.
func plant(t *testing.T, store string) page.RelTag {
	ctx := t.Context()
	e, err := strata.Open(ctx, strata.Options{Dir: store})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	tn, err := e.DefaultTenant(ctx)
	require.NoError(t, err)
	tl, err := tn.Timeline(ctx, "main")
	require.NoError(t, err)
	dbs, err := tl.Cluster(tl.LastRecordLSN()).Databases(ctx)
	require.NoError(t, err)
	last := dbs[len(dbs)-1]
	rel := page.RelTag{Spc: last.Spc, DB: last.DB, Rel: 99999}
	var b page.Batch
	b.PutImage(rel.RelEntry(), tl.LastRecordLSN()+8, []byte(page.RelEntryExists))
	require.NoError(t, tl.Put(ctx, &b))
	require.NoError(t, tl.Flush(ctx))
	return rel
}
