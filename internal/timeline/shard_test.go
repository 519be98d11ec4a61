package timeline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// shardTimelines makes a timeline of a tenant's shards with some values on each, up to the same LSN.
func shardTimelines(t *testing.T, e *Env, count uint8) (out []*Timeline) {
	for n := range count {
		shard := page.NewShardIdentity(n, count, 1)
		dir := "shard" + shard.ShardIndex.String()
		require.NoError(t, e.FS.MkdirAll(dir))
		m := manifest.Meta{Tenant: page.TenantID{1}, Shard: shard, Timeline: page.TimelineID{2}, Name: "main", Version: pg.V17, InitialLSN: readFirst, WALSegSize: 16 << 20}
		tl, err := Create(t.Context(), e, dir, m, 0, nil, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tl.Close()) })
		for i := range 4 {
			var b page.Batch
			b.End = readFirst + page.LSN(8*(i+1))
			b.PutImage(page.CheckpointKey, b.End, []byte("value"))
			require.NoError(t, tl.Put(t.Context(), &b))
		}
		require.NoError(t, tl.Flush(t.Context()))
		out = append(out, tl)
	}
	return out
}

// TestShardsKeepByTimeWhatShard0Keeps shows that a shard without a commit log follows shard 0's cutoff, and keeps all while it
// cannot be asked.
func TestShardsKeepByTimeWhatShard0Keeps(t *testing.T) {
	fs := virtualfile.NewMem()
	e := readEnv(t, fs, "store", nil)
	defer func() { require.NoError(t, e.Close()) }()
	tls := shardTimelines(t, e, 2)
	gc := func(n int, r GCRequest) page.LSN {
		r.DryRun = false
		report, err := tls[n].GC(t.Context(), r)
		require.NoError(t, err)
		return report.Cutoff
	}
	week := GCRequest{PITR: 7 * 24 * time.Hour}
	require.EqualValues(t, readFirst, gc(1, week), "shard 0 keeps all so far")
	moved := gc(0, GCRequest{})
	require.Greater(t, moved, page.LSN(readFirst))
	require.Equal(t, moved, gc(1, week))
	require.NoError(t, tls[0].Close())
	more := GCRequest{PITR: time.Nanosecond}
	require.Equal(t, moved, gc(1, more), "nobody knows the times of commits")
}
