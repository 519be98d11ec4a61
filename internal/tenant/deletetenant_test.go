package tenant

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// requireNothing makes sure that a bucket has nothing of a tenant, and a store no folder.
func requireNothing(t *testing.T, store remote.Storage, fs virtualfile.FS) {
	t.Helper()
	for e, err := range store.List(t.Context(), "tenants/", remote.ListOptions{}) {
		require.NoError(t, err)
		t.Fatalf("%s is left", e.Key)
	}
	names, err := fs.List("store/tenants")
	require.NoError(t, err)
	require.Empty(t, names)
}

// TestDeleteTenant: with all its timelines, archived and offloaded ones too, and its heatmap; nothing is made of it meanwhile, and nothing is
// left, in the bucket or here.
func TestDeleteTenant(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	store, mem := memstore.New(), virtualfile.NewMem()
	m := &splitModel{TB: t}
	s := m.open(mem, store)
	m.fill(s)
	id := page.TenantShardID{Tenant: splitTenant}
	tn, err := s.Shard(id)
	require.NoError(t, err)
	_, err = tn.WriteHeatmap(ctx, time.Minute)
	require.NoError(t, err)
	require.NoError(t, tn.Archive(ctx, "child"))
	require.NoError(t, tn.Offload(ctx, "child"))
	require.NoError(t, s.DeleteTenant(ctx, id))
	requireNothing(t, store, mem)
	require.ErrorIs(t, s.DeleteTenant(ctx, id), ErrTenantNotFound)
	_, err = tn.Create(ctx, manifest.Meta{Name: "late"})
	require.Error(t, err)
	require.NoError(t, s.Close())
	s = m.open(mem, store)
	require.Empty(t, s.Shards(splitTenant))
	require.NoError(t, s.Close())
}

// TestDeleteSplitTenant: what the shards were split from goes with the last of them.
func TestDeleteSplitTenant(t *testing.T) {
	noLeaks(t)
	store, mem := memstore.New(), virtualfile.NewMem()
	m := &splitModel{TB: t}
	s := m.splitInTwo(mem, store)
	shards := s.Shards(splitTenant)
	require.NoError(t, s.DeleteTenant(t.Context(), shards[0]))
	m.compare(m.timelines(s, "main"), nil, m.main) // the other shard's
	require.NoError(t, s.DeleteTenant(t.Context(), shards[1]))
	requireNothing(t, store, mem)
	require.NoError(t, s.Close())
}

// TestStaleWriterDeletesNoTenant: another writer has taken it over.
func TestStaleWriterDeletesNoTenant(t *testing.T) {
	noLeaks(t)
	store := memstore.New()
	m := &splitModel{TB: t}
	s := m.open(virtualfile.NewMem(), store)
	m.fill(s)
	m.uploaded(s)
	o := remoteOptions(virtualfile.NewMem(), store)
	o.DefaultTenant = page.TenantID{1}
	other, err := Open(t.Context(), o)
	require.NoError(t, err)
	_, _, err = other.Attach(t.Context(), AttachOptions{Tenant: splitTenant})
	require.NoError(t, err)
	require.Error(t, s.DeleteTenant(t.Context(), page.TenantShardID{Tenant: splitTenant}))
	m.check(other, false)
	require.NoError(t, other.Close())
	_ = s.Close() // it is stale
}

// TestDeleteTenantUnderEveryFault: whatever fails, on the disk or in remote storage, or ends the process: the deletion goes on by itself in the
// next one, until nothing is left.
func TestDeleteTenantUnderEveryFault(t *testing.T) {
	noLeaks(t)
	stride := testkit.Size(71, 23, 1)
	id := page.TenantShardID{Tenant: splitTenant}
	for name, far := range map[string]bool{"disk": false, "remote": true} {
		t.Run(name, func(t *testing.T) {
			hit, n := true, 1
			for ; hit; n += stride {
				store, mem := memstore.New(), virtualfile.NewMem()
				faulty := faultstore.New(store, 1)
				disk := &virtualfile.Fault{Err: syscall.EIO}
				m := &splitModel{TB: t}
				o := splitStoreOptions(virtualfile.NewFaulty(mem, disk), faulty)
				o.Config.Upload.CloseTime = time.Millisecond
				s, err := Open(t.Context(), o)
				require.NoError(t, err)
				m.fill(s)
				m.uploaded(s)
				lost := &faultstore.Fault{Nth: n, Sticky: true}
				if far {
					faulty.Set(lost)
				} else {
					disk.Arm(n)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				err = s.DeleteTenant(ctx, id)
				cancel()
				disk.Arm(0)
				_, hits := faulty.Seen(lost)
				hit = disk.Hits()+hits > 0
				require.True(t, err == nil || hit || errors.Is(err, context.DeadlineExceeded), "%v", err)
				clone := mem.CrashClone(uint64(n))
				_ = s.Close() // of a disk that has failed
				faulty.Set()
				s = m.open(clone, store)
				if tn := s.tenantOf(id); tn != nil && tn.stateNow() != Deleting {
					require.Error(t, err)
					require.NoError(t, s.DeleteTenant(t.Context(), id))
				}
				require.Eventually(t, func() bool { return s.tenantOf(id) == nil }, time.Minute, time.Millisecond)
				requireNothing(t, store, clone)
				require.NoError(t, s.Close())
			}
			require.Greater(t, n, 10)
		})
	}
}
