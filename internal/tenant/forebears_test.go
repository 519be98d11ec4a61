package tenant

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// shards gives the shards that are there.
func (m *splitModel) shards(s *Store) (out []*Tenant) {
	for _, id := range s.Shards(splitTenant) {
		t, err := s.Shard(id)
		require.NoError(m, err)
		out = append(out, t)
	}
	return out
}

// removeForebears has every shard remove what it can.
func (m *splitModel) removeForebears(s *Store) (sum ForebearReport) {
	for _, t := range m.shards(s) {
		r, err := t.RemoveForebears(m.Context())
		require.NoError(m, err)
		sum.Timelines, sum.Objects, sum.Needed = sum.Timelines+r.Timelines, sum.Objects+r.Objects, sum.Needed+r.Needed
	}
	return sum
}

// keysOf lists the objects of a timeline, of whatever shard, or of all.
func keysOf(t testing.TB, store remote.Storage, shard page.TenantShardID, timeline string) (keys []string) {
	for e, err := range store.List(t.Context(), "tenants/"+shard.String(), remote.ListOptions{}) {
		require.NoError(t, err)
		if strings.Contains(e.Key, timeline) && strings.Contains(e.Key, "/timelines/") {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// TestForebearsGo: the objects of a tenant that was split, and of shards that were split again, go once all shards have taken over what is
// theirs, and none before; what Neon keeps in their place stays.
func TestForebearsGo(t *testing.T) {
	noLeaks(t)
	store, ctx := memstore.New(), t.Context()
	m := &splitModel{TB: t}
	s := m.splitInTwo(virtualfile.NewMem(), store)
	parent := page.TenantShardID{Tenant: splitTenant}
	own := func(prefix string) (n int) {
		for _, k := range keysOf(t, store, parent, "") {
			if strings.HasPrefix(k, prefix+"/") {
				n++
			}
		}
		return n
	}
	prefix := "tenants/" + parent.String()
	initdb := prefix + "/timelines/" + m.timelines(s, "main")[0].ID().String() + "/initdb.tar.zst"
	_, err := store.Put(ctx, initdb, strings.NewReader("x"), 1, remote.PutOptions{})
	require.NoError(t, err)
	before := own(prefix)
	require.Zero(t, m.removeForebears(s).Objects)
	for _, tl := range []*timeline.Timeline{m.timelines(s, "main")[0], m.timelines(s, "child")[0]} {
		_, err := tl.TakeOver(ctx, 0)
		require.NoError(t, err)
	}
	m.uploaded(s)
	r := m.removeForebears(s)
	require.Zero(t, r.Objects, "the other shard has not taken over")
	require.Positive(t, r.Needed)
	require.Equal(t, before, own(prefix))

	for _, id := range s.Shards(splitTenant) {
		_, err := s.Split(ctx, id, SplitOptions{Shards: 4})
		require.NoError(t, err)
	}
	m.uploaded(s)
	m.takeOver(s)
	m.uploaded(s)
	r = m.removeForebears(s)
	require.Positive(t, r.Objects)
	require.Zero(t, r.Needed)
	require.Equal(t, 1, own(prefix))
	require.Equal(t, 0, own(prefix+"-0002")+own(prefix+"-0102"))
	_, err = store.Head(ctx, initdb)
	require.NoError(t, err)
	require.Zero(t, m.removeForebears(s).Objects, "nothing is left to be done")
	m.goOn(s)
	m.uploaded(s)
	require.NoError(t, s.Close())

	o := remoteOptions(virtualfile.NewMem(), store)
	o.DefaultTenant = page.TenantID{1}
	elsewhere, err := Open(ctx, o)
	require.NoError(t, err)
	for n := range uint8(4) {
		_, _, err := elsewhere.Attach(ctx, AttachOptions{Tenant: splitTenant, Shard: page.NewShardIdentity(n, 4, 2)})
		require.NoError(t, err)
	}
	m.check(elsewhere, true)
	require.NoError(t, elsewhere.Close())
}

// TestDeletedOnAllShards: a timeline that one shard deletes is the others' still; with the last one nothing of it is left, nor of what
// the tenant had that was split.
func TestDeletedOnAllShards(t *testing.T) {
	noLeaks(t)
	store, ctx := memstore.New(), t.Context()
	m := &splitModel{TB: t}
	s := m.splitInTwo(virtualfile.NewMem(), store)
	parent := page.TenantShardID{Tenant: splitTenant}
	id := m.timelines(s, "child")[0].ID().String()
	shards := m.shards(s)
	require.NoError(t, shards[0].Delete(ctx, "child"))
	require.NotEmpty(t, keysOf(t, store, parent, id))
	tl, err := shards[1].Timeline("child")
	require.NoError(t, err)
	require.NotEmpty(t, tl.Inherited())
	m.compare([]*timeline.Timeline{tl}, m.main[:4], m.child)
	require.NoError(t, shards[1].Delete(ctx, "child"))
	require.Empty(t, keysOf(t, store, parent, id))
	m.compare(m.timelines(s, "main"), nil, m.main)
	require.NoError(t, s.Close())
}

// TestForebearsUnderEveryFault: whatever call of remote storage fails while shards remove what they were split from, or is answered as if it
// had, all is there that any of them needs; and it is removed when that is tried again.
func TestForebearsUnderEveryFault(t *testing.T) {
	noLeaks(t)
	stride := testkit.Size(29, 7, 1)
	for _, effect := range []faultstore.Effect{faultstore.Fail, faultstore.LostReply} {
		hit := true
		for n := 3; hit; n += stride {
			far := memstore.New()
			faulty := faultstore.New(far, 1)
			m := &splitModel{TB: t}
			s := m.splitInTwo(virtualfile.NewMem(), faulty)
			m.takeOver(s)
			m.uploaded(s)
			fault := &faultstore.Fault{Nth: n, Effect: effect}
			faulty.Set(fault)
			for _, x := range m.shards(s) {
				if _, err := x.RemoveForebears(t.Context()); err != nil {
					require.ErrorIs(t, err, remote.ErrUnavailable)
				}
			}
			_, hits := faulty.Seen(fault)
			hit = hits > 0
			faulty.Set()
			m.check(s, true)
			m.removeForebears(s)
			for _, key := range keysOf(t, far, page.TenantShardID{Tenant: splitTenant}, "") {
				require.False(t, strings.HasPrefix(key, "tenants/"+splitTenant.String()+"/"), key)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			for _, tl := range m.timelines(s, "main") {
				require.NoError(t, tl.WaitUploads(ctx))
			}
			cancel()
			require.NoError(t, s.Close())
		}
	}
}
