package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/wal"
)

// relsAt is all that a timeline says of relations as of an LSN.
func relsAt(t *testing.T, tl *strata.Timeline, lsn page.LSN) map[page.RelTag]uint32 {
	t.Helper()
	ctx, s, out := t.Context(), tl.Cluster(lsn), map[page.RelTag]uint32{}
	dbs, err := s.Databases(ctx)
	require.NoError(t, err)
	for _, db := range dbs {
		rels, err := s.Relations(ctx, db.Spc, db.DB)
		require.NoError(t, err)
		sizes, err := s.RelSizes(ctx, rels)
		require.NoError(t, err)
		for i, r := range rels {
			out[r] = sizes[i]
		}
	}
	return out
}

// requireSameRels compares what two timelines say of relations: lists, sizes, and at each which of those of the LSN before exist.
func requireSameRels(t *testing.T, want, got *strata.Timeline, lsns []page.LSN) {
	t.Helper()
	var before map[page.RelTag]uint32
	for _, lsn := range lsns {
		rels := relsAt(t, want, lsn)
		require.Equal(t, rels, relsAt(t, got, lsn), "at %s", lsn)
		for r := range before {
			if _, there := rels[r]; there {
				continue
			}
			ok, err := got.Cluster(lsn).RelExists(t.Context(), r)
			require.NoError(t, err)
			require.False(t, ok, "%s at %s", r, lsn)
		}
		before = rels
		require.NoError(t, got.VerifyRelDirs(t.Context(), lsn, func(r page.RelTag, _ bool) error { return fmt.Errorf("%s differs at %s", r, lsn) }))
	}
}

// someEnds gives about n ends of records of a folder, the last among them.
func someEnds(t *testing.T, dir string, from page.LSN, n int) (all []page.LSN) {
	r, err := wal.OpenDir(dir, wal.DirOptions{Version: sample.Version, Start: from})
	require.NoError(t, err)
	defer r.Close()
	var rec wal.Record
	var rest []page.LSN
	for {
		ok, err := r.Next(t.Context(), &rec)
		require.NoError(t, err)
		if !ok {
			break
		}
		rest = append(rest, rec.End)
	}
	for i, lsn := range rest {
		if i%(len(rest)/n) == 0 || i == len(rest)-1 {
			all = append(all, lsn)
		}
	}
	return all
}

// TestRelDirsGoOverRealWAL has a timeline take in a server's WAL while it goes over from one value for each database to a key for each
// relation, and compares it with one that stays as it was, as it does with branches from before and between. The store is copied at each
// step as a process that is killed there leaves it: the copies go on from what they find, and come to the same.
func TestRelDirsGoOverRealWAL(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	ctx, s, dir := t.Context(), unpackSample(t), t.TempDir()
	open := func(dir string) *strata.Tenant {
		e, err := strata.Open(ctx, strata.Options{Dir: dir, CreateIfMissing: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		tn, err := e.DefaultTenant(ctx)
		require.NoError(t, err)
		return tn
	}
	store := filepath.Join(dir, "store")
	tn := open(store)
	plain, first, err := tn.Import(ctx, strata.ImportOptions{PGData: s.pgdata, Name: "plain"})
	require.NoError(t, err)
	going, _, err := tn.Import(ctx, strata.ImportOptions{PGData: s.pgdata, Name: "going"})
	require.NoError(t, err)
	ingest := func(tl *strata.Timeline, until page.LSN) {
		t.Helper()
		_, err := tl.Ingest(ctx, strata.IngestOptions{Dir: s.wal, Until: until, AncestorWAL: true})
		require.NoError(t, err)
	}
	ingest(plain, 0)
	require.NoError(t, plain.Flush(ctx))
	ends := someEnds(t, s.wal, first.LSN, testkit.Size(24, 24, 1000))

	asked, killed := page.RelDirV1, 0
	kill := func() {
		copied := filepath.Join(dir, fmt.Sprintf("killed%d", killed))
		killed++
		testkit.CopyTree(t, copied, store)
		asked := asked
		t.Run(fmt.Sprintf("killed %d", killed), func(t *testing.T) {
			e, err := strata.Open(t.Context(), strata.Options{Dir: copied})
			require.NoError(t, err)
			defer func() { require.NoError(t, e.Close()) }()
			tn, err := e.DefaultTenant(t.Context())
			require.NoError(t, err)
			want, err := tn.Timeline(t.Context(), "plain")
			require.NoError(t, err)
			got, err := tn.Timeline(t.Context(), "going")
			require.NoError(t, err)
			require.GreaterOrEqual(t, max(got.RelDirs().Form, got.WantedRelDirs()), asked)
			require.LessOrEqual(t, got.RelDirs().Since, got.LastRecordLSN())
			_, err = got.Ingest(t.Context(), strata.IngestOptions{Dir: s.wal})
			require.NoError(t, err)
			require.Equal(t, asked, got.RelDirs().Form)
			var some []page.LSN
			for i := 0; i < len(ends); i += 6 {
				some = append(some, ends[i])
			}
			requireSameRels(t, want, got, append(some, ends[len(ends)-1]))
		})
	}
	lsns := s.LSNs()
	ingest(going, lsns[0])
	var since []page.LSN
	for i, form := range []page.RelDirForm{page.RelDirBoth, page.RelDirV2} {
		require.NoError(t, going.WantRelDirs(ctx, form))
		asked = form
		kill()
		ingest(going, lsns[i+1])
		require.Equal(t, form, going.RelDirs().Form)
		since = append(since, going.RelDirs().Since)
		kill()
		require.NoError(t, going.Flush(ctx))
		kill()
	}
	branches := map[string]page.LSN{"before": lsns[0], "between": lsns[1], "after": lsns[2]}
	for name, at := range branches {
		b, err := tn.Branch(ctx, going, strata.BranchOptions{Name: name, At: at})
		require.NoError(t, err)
		require.Equal(t, at >= since[1], b.RelDirs().Form == page.RelDirV2, name)
		for b.RelDirs().Form != page.RelDirV2 {
			require.NoError(t, b.WantRelDirs(ctx, b.RelDirs().Form+1))
			ingest(b, b.LastRecordLSN()+(lsns[4]-lsns[3])/4)
		}
		ingest(b, 0)
		var own []page.LSN
		for _, lsn := range ends {
			if lsn >= at {
				own = append(own, lsn)
			}
		}
		requireSameRels(t, plain, b, own)
	}
	ingest(going, 0)
	requireSameRels(t, plain, going, ends)
	for _, lsn := range since {
		span, err := plain.ResolveLSN(ctx, lsn-1)
		require.NoError(t, err)
		requireSameRels(t, plain, going, []page.LSN{span, lsn})
	}
	want, err := s.Pages(lsns[4])
	require.NoError(t, err)
	r, err := sample.Check(ctx, going, sample.Version, want)
	require.NoError(t, err)
	require.Zero(t, r.Different, "%v", r.First)
}
