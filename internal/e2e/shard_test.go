package e2e

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// sampleWork is the sample cluster, unpacked.
type sampleWork struct {
	*sample.Sample
	pgdata, wal string
}

func unpackSample(t testing.TB) sampleWork {
	s, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	w := sampleWork{s, filepath.Join(t.TempDir(), "cluster"), filepath.Join(t.TempDir(), "wal")}
	require.NoError(t, s.ExtractCluster(w.pgdata))
	require.NoError(t, s.ExtractWAL(w.wal))
	return w
}

// shardStore opens a store whose layers are small.
func shardStore(t testing.TB, dir string) *strata.Engine {
	e, err := strata.Open(t.Context(), strata.Options{Dir: dir, CreateIfMissing: true, CheckpointDistance: mib, ImageLayerSize: mib})
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// shardTenant is the tenant of all of these tests.
var shardTenant = page.TenantID{0x5A, 0xAD}

// newShards makes a tenant of so many shards; 0 is one that is not sharded.
func newShards(t testing.TB, e *strata.Engine, count uint8, stripe uint32) *strata.ShardSet {
	for n := range max(count, 1) {
		shard := page.ShardIdentity{}
		if count > 0 {
			shard = page.NewShardIdentity(n, count, stripe)
		}
		_, err := e.CreateShard(t.Context(), shardTenant, shard)
		require.NoError(t, err)
	}
	set, err := e.ShardSet(t.Context(), shardTenant)
	require.NoError(t, err)
	return set
}

// requireSample compares a timeline of the sample with PostgreSQL's own pages, at every LSN that there are digests of up to
// its end.
func requireSample(t testing.TB, s sampleWork, tl *strata.ShardedTimeline) {
	checked := 0
	for _, lsn := range s.LSNs() {
		if lsn > tl.LastRecordLSN() {
			continue
		}
		want, err := s.Pages(lsn)
		require.NoError(t, err)
		r, err := sample.Check(t.Context(), tl, sample.Version, want)
		require.NoError(t, err)
		require.Zero(t, r.Different, "at %s: %v", lsn, r.First)
		require.NotZero(t, r.Pages)
		checked++
	}
	require.NotZero(t, checked)
}

// requireOwnPages asks every shard for pages of one relation, each of which one alone gives, as the set does.
func requireOwnPages(t testing.TB, tl *strata.ShardedTimeline) {
	ctx, lsn := t.Context(), tl.LastRecordLSN()
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 1255}
	size, err := tl.Cluster(lsn).RelSize(ctx, rel)
	if err != nil || size == 0 {
		rel.DB = 1
		size, err = tl.Cluster(lsn).RelSize(ctx, rel)
		require.NoError(t, err)
	}
	for block := range size {
		want, err := tl.Page(ctx, rel, block, lsn)
		require.NoError(t, err)
		for n, p := range tl.Parts() {
			got, err := p.Page(ctx, rel, block, lsn)
			if p.Shard().Keeps(rel.Block(block)) {
				require.NoError(t, err)
				require.Equal(t, want, got)
				continue
			}
			require.ErrorIs(t, err, strata.ErrWrongShard, "shard %d", n)
			require.ErrorContains(t, err, page.TenantShardID{Tenant: shardTenant, Shard: page.ShardIndex{Number: p.Shard().Owner(rel.Block(block)), Count: p.Shard().Count}}.String())
		}
	}
}

func backupOf(t testing.TB, tl *strata.ShardedTimeline, lsn page.LSN) []byte {
	var b bytes.Buffer
	_, err := tl.BaseBackup(t.Context(), &b, strata.BaseBackupOptions{LSN: lsn})
	require.NoError(t, err)
	return b.Bytes()
}

// compactAll compacts every shard.
func compactAll(t testing.TB, tl *strata.ShardedTimeline) {
	for _, p := range tl.Parts() {
		_, err := p.Compact(t.Context(), strata.CompactOptions{})
		require.NoError(t, err)
	}
}

// TestShardedClusterIsTheSame takes a server's work in by tenants of different numbers of shards: every page is
// PostgreSQL's, each from the shard that has it, the base backup is byte for byte that of the tenant without shards, and so
// it stays after compaction and a restart.
func TestShardedClusterIsTheSame(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	s := unpackSample(t)
	type form struct {
		count  uint8
		stripe uint32
	}
	forms := []form{{0, 0}, {4, 8}}
	if testkit.Long() {
		forms = []form{{0, 0}, {1, 8}, {2, 1}, {4, 8}, {8, 64}, {3, 2048}}
	}
	var want []byte
	for _, f := range forms {
		t.Run(fmt.Sprintf("%d shards of stripes of %d", f.count, f.stripe), func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			e := shardStore(t, dir)
			set := newShards(t, e, f.count, f.stripe)
			tl, _, err := set.Import(ctx, strata.ImportOptions{PGData: s.pgdata, Name: "main", ID: page.TimelineID{0x44}})
			require.NoError(t, err)
			_, err = tl.Ingest(ctx, strata.IngestOptions{Dir: s.wal})
			require.NoError(t, err)
			require.NoError(t, tl.Flush(ctx))
			requireSample(t, s, tl)
			requireOwnPages(t, tl)
			backup := backupOf(t, tl, 0)
			if want == nil {
				want = backup
			}
			require.True(t, bytes.Equal(want, backup), "the base backup is that of a tenant without shards")
			if f.count > 1 {
				_, err := tl.Parts()[1].BaseBackup(ctx, &bytes.Buffer{}, strata.BaseBackupOptions{})
				require.ErrorIs(t, err, strata.ErrWrongShard)
			}
			compactAll(t, tl)
			require.NoError(t, e.Close())
			e = shardStore(t, dir)
			set, err = e.ShardSet(ctx, shardTenant)
			require.NoError(t, err)
			tl, err = set.Timeline(ctx, "main")
			require.NoError(t, err)
			requireSample(t, s, tl)
		})
	}
}

// TestSplitInMidIngest splits a tenant after half of a server's work, twice, the shards taking in the other half: every
// page is PostgreSQL's at once after each split, with what was made before it and with what comes after, and after compaction,
// which leaves nothing of other shards.
func TestSplitInMidIngest(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	s := unpackSample(t)
	ctx, dir := t.Context(), t.TempDir()
	e := shardStore(t, dir)
	tl, _, err := newShards(t, e, 0, 0).Import(ctx, strata.ImportOptions{PGData: s.pgdata, Name: "main"})
	require.NoError(t, err)
	for i, count := range []uint8{1, 4, 8} {
		_, err = tl.Ingest(ctx, strata.IngestOptions{Dir: s.wal, Until: s.LSNs()[i+1]})
		require.NoError(t, err)
		requireSample(t, s, tl)
		before, end := tl, tl.LastRecordLSN()
		_, err = e.Split(ctx, shardTenant, strata.SplitOptions{Shards: count, StripeSize: 8})
		require.NoError(t, err)
		set, err := e.ShardSet(ctx, shardTenant)
		require.NoError(t, err)
		require.Len(t, set.Tenants(), int(count))
		tl, err = set.Timeline(ctx, "main")
		require.NoError(t, err)
		require.Equal(t, end, tl.LastRecordLSN())
		_, err = before.Get(ctx, page.DBDirKey, end)
		require.ErrorIs(t, err, strata.ErrClosed)
		requireSample(t, s, tl)
		requireOwnPages(t, tl)
	}
	_, err = tl.Ingest(ctx, strata.IngestOptions{Dir: s.wal})
	require.NoError(t, err)
	require.NoError(t, tl.Flush(ctx))
	requireSample(t, s, tl)
	compactAll(t, tl)
	requireSample(t, s, tl)
	require.NoError(t, e.Close())
	e = shardStore(t, dir)
	set, err := e.ShardSet(ctx, shardTenant)
	require.NoError(t, err)
	tl, err = set.Timeline(ctx, "main")
	require.NoError(t, err)
	requireSample(t, s, tl)
}
