package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// TestSplitRemoteSweep fails the n-th call of remote storage while a tenant is split and its shards upload what they have, for every n:
// done or not done, once or until the process is killed. There is the tenant then or there are all of its shards, nothing that was
// acknowledged is lost, the split is done when it is tried again, and whoever attaches the shards elsewhere has all of it. What is
// left in remote storage once the shards have taken over what is theirs is what their indexes name, and nothing of an attempt that failed.
func TestSplitRemoteSweep(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 17)
	stride := testkit.Size(17, 3, 1)
	for _, effect := range []faultstore.Effect{faultstore.Fail, faultstore.LostReply} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("effect=%d dies=%t", effect, dies), func(t *testing.T) {
				n := 1 + rnd.IntN(stride)
				for ; splitSweepAt(t, effect, n, dies); n += stride {
				}
				require.Greater(t, n, 20)
				t.Logf("%d calls", n-1)
			})
		}
	}
}

var sweepSplit = SplitOptions{Shards: 2, StripeSize: 2}

// splitSweepAt reports whether there was an n-th call.
func splitSweepAt(t *testing.T, effect faultstore.Effect, n int, dies bool) (hit bool) {
	defer func() {
		if t.Failed() {
			t.Logf("the fault hit call %d", n)
		}
	}()
	far, mem := memstore.New(), virtualfile.NewMem()
	faulty := faultstore.New(far, 1)
	m := &splitModel{TB: t, hasty: true}
	s := m.open(mem, faulty)
	m.fill(s)
	m.uploaded(s)
	fault := &faultstore.Fault{Nth: n, Effect: effect}
	faults := []*faultstore.Fault{fault}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ran, stop := context.WithCancel(ctx)
	defer stop()
	if dies {
		faults = append(faults, &faultstore.Fault{Nth: n + 1, Sticky: true})
		go stopOnceHit(ran, faulty, fault, stop)
	}
	faulty.Set(faults...)
	parent := page.TenantShardID{Tenant: splitTenant}
	_, err := s.Split(ran, parent, sweepSplit)
	if err == nil {
		err = m.waitUploads(ran, s)
	}
	_, hits := faulty.Seen(fault)
	hit = hits > 0
	if err != nil {
		require.True(t, hit, "%v", err)
	}
	if dies {
		stop()
		faulty.Set(&faultstore.Fault{Nth: 1, Sticky: true}) // nobody of that process changes anything any more
		clone := mem.CrashClone(uint64(n))
		_ = s.Close()
		m.checkNamed(clone)
		mem = clone
		s = m.open(mem, far)
		m.check(s, m.checkThere(s, mem, 2))
	} else {
		faulty.Set()
		m.check(s, true)
	}
	if len(s.Shards(splitTenant)) == 1 {
		tl := m.timelines(s, "main")[0]
		for len(m.main) > m.durable && m.main[len(m.main)-1].lsn > tl.LastRecordLSN() { // it was in memory
			m.main = m.main[:len(m.main)-1]
		}
		_, err := s.Split(ctx, parent, sweepSplit)
		require.NoError(t, err)
	}
	m.durable = len(m.main)
	m.uploaded(s)
	m.takeOver(s)
	m.uploaded(s)
	m.removeForebears(s)
	require.NoError(t, s.env.Deletions().Flush(ctx))
	m.check(s, true)
	m.requireNoneLeft(s, far)
	require.NoError(t, s.Close())
	m.attachShards(far)
	return hit
}

// waitUploads waits until remote storage has all of the shards.
func (m *splitModel) waitUploads(ctx context.Context, s *Store) error {
	var errs []error
	for _, name := range []string{"main", "child"} {
		for _, tl := range m.timelines(s, name) {
			errs = append(errs, tl.WaitUploads(ctx))
		}
	}
	return errors.Join(errs...)
}

// requireNoneLeft wants remote storage to have of the shards what their indexes name, one index of each timeline, one manifest and one
// generation, and nothing of whom they were split from.
func (m *splitModel) requireNoneLeft(s *Store, far remote.Storage) {
	want := map[string]bool{}
	for _, name := range []string{"main", "child"} {
		for _, tl := range m.timelines(s, name) {
			meta := tl.Meta()
			id := meta.Owner()
			p := upload.Place{Tenant: id.Tenant, Shard: id.Shard.Suffix(), Timeline: tl.ID()}
			part, g, err := upload.Load(m.Context(), far, p, s.env.Generation(id))
			require.NoError(m, err)
			want[p.IndexKey(g)] = true
			for l := range part.Layers.All() {
				want[p.LayerKey(l.Desc.Name(), l.Desc.Generation, l.Shard)] = true
			}
			want[manifestKey(p, s.env.Generation(id))] = true
		}
	}
	for e, err := range far.List(m.Context(), "tenants/", remote.ListOptions{}) {
		require.NoError(m, err)
		_, name, _ := strings.Cut(strings.TrimPrefix(e.Key, "tenants/"), "/")
		if upload.IsLease(name) || name == index.HeatmapName {
			continue
		}
		require.True(m, want[e.Key], "%s is named by no index; those name %v", e.Key, want)
		delete(want, e.Key)
	}
	require.Empty(m, want)
}

// attachShards makes a store of remote storage alone, and compares.
func (m *splitModel) attachShards(far remote.Storage) {
	o := splitStoreOptions(virtualfile.NewMem(), far)
	o.DefaultTenant = page.TenantID{1}
	hasten(&o)
	s, err := Open(m.Context(), o)
	require.NoError(m, err)
	for n := range uint8(2) {
		_, _, err := s.Attach(m.Context(), AttachOptions{Tenant: splitTenant, Shard: page.ShardIdentity{ShardIndex: page.ShardIndex{Number: n, Count: 2}}})
		require.NoError(m, err)
	}
	m.check(s, true)
	m.goOn(s)
	require.NoError(m, s.Close())
}
