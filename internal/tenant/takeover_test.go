package tenant

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// splitInTwo makes a store with a tenant of two shards that have all their layers of the tenant that was split.
func (m *splitModel) splitInTwo(fs virtualfile.FS, r remote.Storage) *Store {
	s := m.open(fs, r)
	m.fill(s)
	_, err := s.Split(m.Context(), page.TenantShardID{Tenant: splitTenant}, SplitOptions{Shards: 2, StripeSize: 2})
	require.NoError(m, err)
	m.durable = len(m.main)
	m.check(s, true)
	m.uploaded(s)
	return s
}

// uploaded waits until remote storage has all.
func (m *splitModel) uploaded(s *Store) {
	for _, name := range []string{"main", "child"} {
		for _, tl := range m.timelines(s, name) {
			require.NoError(m, tl.WaitUploads(m.Context()))
		}
	}
}

// takeOver has all shards take over all layers. It gives how many there were, and the bytes of what became of them.
func (m *splitModel) takeOver(s *Store) (layers int, in, out int64) {
	for _, name := range []string{"main", "child"} {
		for _, tl := range m.timelines(s, name) {
			n := len(tl.Inherited())
			r, err := tl.TakeOver(m.Context(), 0)
			require.NoError(m, err)
			require.Equal(m, n, r.Layers+r.Dropped)
			require.Zero(m, r.Left)
			require.Empty(m, tl.Inherited())
			layers, in, out = layers+n, in+r.BytesIn, out+r.BytesOut
		}
	}
	return layers, in, out
}

// checkOwn makes sure that the layers which shards have written hold what is theirs alone.
func (m *splitModel) checkOwn(s *Store) {
	for _, name := range []string{"main", "child"} {
		for _, tl := range m.timelines(s, name) {
			meta := tl.Meta()
			dir := filepath.Join(s.tenantDir(meta.Owner()), timelinesName, tl.ID().String())
			for _, d := range tl.Layers() {
				r, err := layer.OpenReader(m.Context(), s.env.Disk, s.env.Blocks, dir, layer.Identity{Tenant: meta.Tenant, Timeline: meta.Timeline}, d)
				require.NoError(m, err)
				require.NoError(m, r.Iterate(m.Context(), func(k page.Key, _ page.LSN, _ bool, _ []byte) error {
					require.True(m, meta.Shard.Keeps(k), "%s of %s holds %s", d.Name(), meta.Shard, k.Describe())
					return nil
				}))
				require.NoError(m, r.Close())
			}
		}
	}
}

// TestShardsTakeOver: shards write what is theirs of the layers that they share with others; nothing of what is read changes, what the
// tenant had that was split is named by nobody then, and whoever attaches the shards elsewhere has all of it.
func TestShardsTakeOver(t *testing.T) {
	noLeaks(t)
	store := memstore.New()
	m := &splitModel{TB: t}
	s := m.splitInTwo(virtualfile.NewMem(), store)
	n, in, out := m.takeOver(s)
	require.Positive(t, n)
	require.LessOrEqual(t, out, in)
	m.checkOwn(s)
	require.EqualValues(t, s.Metrics().TakenOverBytes, out)
	m.check(s, true)
	m.goOn(s)
	m.uploaded(s)
	require.NoError(t, s.Close())

	o := remoteOptions(virtualfile.NewMem(), store)
	o.DefaultTenant = page.TenantID{1}
	elsewhere, err := Open(t.Context(), o)
	require.NoError(t, err)
	for n := range uint8(2) {
		_, tls, err := elsewhere.Attach(t.Context(), AttachOptions{Tenant: splitTenant, Shard: page.NewShardIdentity(n, 2, 2)})
		require.NoError(t, err)
		for _, tl := range tls {
			require.Empty(t, tl.Inherited())
		}
	}
	m.check(elsewhere, true)
	require.NoError(t, elsewhere.Close())
}

// TestTakeOverUnderEveryFault: whatever operation on a file fails while layers are taken over, reads are right then, in the next
// process and in one after a crash; and the rest is taken over later.
func TestTakeOverUnderEveryFault(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 11)
	stride := testkit.Size(97, 7, 1)
	n := 1 + rnd.IntN(stride)
	for hit := true; hit; n += stride {
		mem, store := virtualfile.NewMem(), memstore.New()
		fault := &virtualfile.Fault{Err: syscall.EIO}
		m := &splitModel{TB: t}
		s := m.splitInTwo(virtualfile.NewFaulty(mem, fault), store)
		fault.Arm(n)
		var failed error
		for _, name := range []string{"main", "child"} {
			for _, tl := range m.timelines(s, name) {
				if _, err := tl.TakeOver(t.Context(), 0); err != nil {
					failed = err
				}
			}
		}
		fault.Arm(0)
		hit = fault.Hits() > 0
		if failed != nil {
			require.ErrorIs(t, failed, syscall.EIO, "operation %d", n)
		}
		m.check(s, true)
		clone := mem.CrashClone(uint64(n))
		_ = s.Close() // of a disk that has failed
		after := m.open(clone, store)
		m.check(after, true)
		m.takeOver(after)
		m.check(after, true)
		m.checkOwn(after)
		require.NoError(t, after.Close())
	}
	require.Greater(t, n, stride+1, "nothing was ever hit")
}
