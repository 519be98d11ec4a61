package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// kin is a timeline with branches, and what each holds. main has the branches early, child and twin (at one LSN), and late, in
// the order of their LSNs; child has low, below its own branch LSN, and high.
type kin struct {
	testing.TB
	rnd *rand.Rand
	hs  map[string]*history
}

var kinNames = []string{"main", "early", "child", "twin", "late", "low", "high"}

// kinID gives the id of one of them, the same in all runs.
func kinID(name string) page.TimelineID {
	return page.TimelineID{0xd0, byte(slices.Index(kinNames, name) + 1)}
}

// keys of kin: some that branches inherit and some that they do not.
var kinKeys = modelKeys

// grow puts batches, and flushes after each n-th.
func (k *kin) grow(tn *Tenant, name string, batches, n int) {
	h := k.hs[name]
	tl, err := tn.Timeline(name)
	require.NoError(k, err)
	for i := range batches {
		require.NoError(k, k.put(tl, h))
		if (i+1)%n == 0 {
			require.NoError(k, tl.Flush(k.Context()))
		}
	}
}

// put gives a timeline a batch of two LSNs.
func (k *kin) put(tl *timeline.Timeline, h *history) error {
	var b page.Batch
	trial := newHistory(h.name, h.initial, h.parent)
	lsn := h.last
	for range 2 {
		lsn += 8
		for range 3 {
			key := kinKeys[k.rnd.IntN(len(kinKeys))]
			kind := []int{0, 2, 2}[k.rnd.IntN(3)]
			now := trial.values[key]
			if _, ok, broken := h.at(key, h.last); !ok || broken || len(now) > 0 && now[len(now)-1].lsn == lsn {
				kind = 0
			}
			size := 1 + k.rnd.IntN(40)
			if key.Sparse() {
				kind = 0
				size = k.rnd.IntN(4) // at times that it is gone
			}
			trial.put(&b, key, lsn, kind, bytes.Repeat([]byte{byte('a' + k.rnd.IntN(26))}, size))
		}
		b.End = lsn
	}
	if err := tl.Put(k.Context(), &b); err != nil {
		return err
	}
	h.last = lsn
	for key, es := range trial.values {
		h.values[key] = append(h.values[key], es...)
	}
	return nil
}

func (k *kin) branch(tn *Tenant, from, name string, at page.LSN) {
	parent, err := tn.Timeline(from)
	require.NoError(k, err)
	tl, err := tn.Branch(k.Context(), parent, name, kinID(name), at)
	require.NoError(k, err)
	require.Equal(k, at, tl.Meta().AncestorLSN)
	k.hs[name] = newHistory(name, at, k.hs[from])
	k.hs[name].id = tl.ID()
}

// newKin makes them, all flushed.
func newKin(t testing.TB, tn *Tenant, seed uint64) *kin {
	k := &kin{TB: t, rnd: testkit.Rand(t, seed), hs: map[string]*history{}}
	m := meta("main")
	m.Timeline = kinID("main")
	tl, err := tn.Create(t.Context(), m)
	require.NoError(t, err)
	main := newHistory("main", firstLSN, nil)
	main.id = tl.ID()
	k.hs["main"] = main
	k.grow(tn, "main", 12, 4)
	early := main.last - 24
	joint := main.last + 8*7
	k.grow(tn, "main", 6, 6) // in one layer with what is above joint
	k.branch(tn, "main", "early", early)
	k.branch(tn, "main", "child", joint)
	k.branch(tn, "main", "twin", joint)
	k.branch(tn, "main", "late", joint+8)
	k.grow(tn, "main", 4, 4)
	k.branch(tn, "child", "low", early-16)
	k.grow(tn, "child", 8, 4)
	k.branch(tn, "child", "high", k.hs["child"].last-8)
	for _, name := range []string{"early", "twin", "late", "low", "high"} {
		k.grow(tn, name, 3, 3)
	}
	return k
}

// check reads all of timelines, at every LSN.
func (k *kin) check(tn *Tenant, names ...string) {
	if len(names) == 0 {
		names = kinNames
	}
	for _, name := range names {
		tl, err := tn.Timeline(name)
		require.NoError(k, err, name)
		h := k.hs[name]
		require.Equal(k, h.last, tl.LastRecordLSN(), name)
		for lsn := firstLSN; lsn <= h.last; lsn += 8 {
			h.same(k, tl, modelSets[0], lsn)
		}
		for range 20 {
			key, lsn := kinKeys[k.rnd.IntN(len(kinKeys))], firstLSN+page.LSN(k.rnd.IntN(int(h.last-firstLSN)+1))
			v, err := tl.Get(k.Context(), key, lsn)
			want, ok, _ := h.at(key, lsn)
			switch {
			case !h.readable(lsn):
				require.ErrorIs(k, err, timeline.ErrBeforeHistory)
				continue
			case !ok:
				require.ErrorIs(k, err, page.ErrNotFound)
				continue
			}
			require.NoError(k, err)
			require.Equal(k, string(want), string(v), "%s of %s at %s", key.Describe(), name, lsn)
		}
	}
}

// detached wants child to be without ancestor, and those to be its branches that are to be.
func (k *kin) detached(tn *Tenant, out DetachedAncestor) {
	child, err := tn.Timeline("child")
	require.NoError(k, err)
	require.Equal(k, kinID("main"), out.Ancestor)
	require.Equal(k, k.hs["child"].initial, out.LSN)
	require.Equal(k, []page.TimelineID{kinID("early"), kinID("twin")}, out.Reparented)
	m, l := child.Meta(), child.Lineage()
	require.Zero(k, m.AncestorLSN)
	require.Zero(k, m.Ancestor)
	require.Equal(k, firstLSN, m.InitialLSN)
	require.Equal(k, kinID("main"), l.Original)
	require.False(k, l.Unsettled)
	for name, from := range map[string]string{"early": "child", "twin": "child", "late": "main", "low": "child", "high": "child"} {
		if k.hs[name] == nil { // deleted
			continue
		}
		tl, err := tn.Timeline(name)
		require.NoError(k, err)
		require.Equal(k, kinID(from), tl.Meta().Ancestor, name)
		s, err := tn.Status(name)
		require.NoError(k, err)
		require.Equal(k, kinID(from), *s.Ancestor)
		require.Equal(k, k.hs[name].initial, tl.Meta().AncestorLSN)
	}
}

// alone removes what the child came from, and whatever that alone keeps.
func (k *kin) alone(tn *Tenant) {
	require.ErrorIs(k, tn.Delete(k.Context(), "main"), ErrHasBranches)
	require.NoError(k, tn.Delete(k.Context(), "late"))
	require.NoError(k, tn.Delete(k.Context(), "main"))
}

var kinAlone = []string{"child", "early", "twin", "low", "high"}

func kinOptions(fs virtualfile.FS, r remote.Storage) Options {
	o := testOptions(fs)
	if r != nil {
		o = remoteOptions(fs, r)
		hasten(&o)
		o.Config.Upload.CloseTime = 10 * time.Second
	}
	strategy, err := catalog.New("legacy")
	if err != nil {
		panic(err)
	}
	o.Config.Compaction = timeline.CompactionConfig{Strategy: strategy, Options: compaction.Options{CheckpointDistance: 4 << 10, CompactionTargetSize: 64 << 10,
		CompactionThreshold: 2, ImageCreationThreshold: 1, ImageCheckDistance: 1}}
	return o
}

// TestDetachAncestor: a branch and what is to branch from it read the same before, while and after they are detached, without the
// ancestor too, over a restart, and attached elsewhere.
func TestDetachAncestor(t *testing.T) {
	for _, far := range []bool{false, true} {
		t.Run(fmt.Sprintf("remote=%t", far), func(t *testing.T) {
			noLeaks(t)
			ctx := t.Context()
			var store remote.Storage
			if far {
				store = memstore.New()
			}
			mem := virtualfile.NewMem()
			s, tn := openLife(t, ctx, kinOptions(mem, store))
			k := newKin(t, tn, 31)
			k.check(tn)
			snap, err := func() (*timeline.Snapshot, error) {
				tl, err := tn.Timeline("child")
				require.NoError(t, err)
				return tl.Snapshot(ctx, k.hs["child"].last)
			}()
			require.NoError(t, err)
			last := k.hs["child"].last
			var told []timeline.DetachProgress
			var mu sync.Mutex
			out, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{Progress: func(p timeline.DetachProgress) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, p)
			}})
			require.NoError(t, err)
			require.False(t, out.Before)
			k.detached(tn, out)
			require.Len(t, told, told[0].Layers)
			require.Positive(t, told[len(told)-1].Rewritten, "a layer reaches over the branch LSN")
			require.EqualValues(t, 1, s.env.Metrics().DetachedAncestors)
			k.check(tn)
			again, err := tn.DetachAncestor(ctx, kinID("child").String(), DetachAncestorOptions{})
			require.NoError(t, err)
			require.True(t, again.Before)
			require.Equal(t, out.Reparented, again.Reparented)
			k.grow(tn, "child", 2, 2)
			for lsn := firstLSN; lsn <= last; lsn += 8 {
				k.hs["child"].same(t, snap, modelSets[0], lsn)
			}
			k.alone(tn)
			k.check(tn, kinAlone...)
			_, err = snap.Get(ctx, modelKeys[0], last)
			require.ErrorIs(t, err, timeline.ErrClosed, "it reads the ancestor's files")
			snap.Close()
			require.NoError(t, s.Close())
			s, tn = openLife(t, ctx, kinOptions(mem, store))
			k.check(tn, kinAlone...)
			for _, name := range kinAlone {
				tl, err := tn.Timeline(name)
				require.NoError(t, err)
				_, err = tl.Compact(ctx, timeline.CompactRequest{Thorough: true})
				require.NoError(t, err)
			}
			k.check(tn, kinAlone...)
			require.NoError(t, s.Close())
			if !far {
				return
			}
			s, tn = openLife(t, ctx, kinOptions(virtualfile.NewMem(), store))
			_, _, err = s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
			require.NoError(t, err)
			k.check(tn, kinAlone...)
			require.NoError(t, s.Close())
		})
	}
}

// TestDetachAncestorErrors: what cannot be detached is refused, and stays as it is.
func TestDetachAncestorErrors(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	s, tn := openLife(t, ctx, kinOptions(virtualfile.NewMem(), nil))
	defer func() { require.NoError(t, s.Close()) }()
	k := newKin(t, tn, 32)
	detach := func(name string) error {
		_, err := tn.DetachAncestor(ctx, name, DetachAncestorOptions{})
		return err
	}
	require.ErrorIs(t, detach("main"), timeline.ErrNoAncestor)
	require.ErrorIs(t, detach("low"), timeline.ErrTooManyAncestors)
	require.ErrorIs(t, detach("nobody"), ErrTimelineNotFound)
	require.NoError(t, tn.Archive(ctx, "twin"))
	require.ErrorIs(t, detach("twin"), timeline.ErrArchived)
	require.True(t, tn.beginDetaching())
	require.ErrorIs(t, detach("child"), ErrDetachOngoing)
	tn.endDetaching()
	k.check(tn)
	out, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
	require.NoError(t, err)
	k.detached(tn, out)
	require.NoError(t, detach("low"), "its ancestor is a branch no more")
	require.ErrorContains(t, tn.Archive(ctx, "child"), "high")
	k.check(tn)
}

// TestDetachAncestorWhileInUse: others read, put, compact and collect all the while.
func TestDetachAncestorWhileInUse(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	s, tn := openLife(t, ctx, kinOptions(virtualfile.NewMem(), memstore.New()))
	defer func() { require.NoError(t, s.Close()) }()
	k := newKin(t, tn, 33)
	busy, stop := context.WithCancel(ctx)
	var users sync.WaitGroup
	seed, user := k.rnd.Uint64(), uint64(0)
	use := func(do func(rnd *rand.Rand) error) {
		user++
		rnd := rand.New(rand.NewPCG(seed, user))
		users.Go(func() {
			for busy.Err() == nil {
				if err := do(rnd); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, timeline.ErrUnsettled) {
					t.Errorf("%v", err)
					return
				}
			}
		})
	}
	frozen := *k.hs["child"] // what is put meanwhile is above
	frozen.values = map[page.Key][]entry{}
	for key, es := range k.hs["child"].values {
		frozen.values[key] = slices.Clone(es)
	}
	for _, name := range []string{"child", "early", "low"} {
		tl, err := tn.Timeline(name)
		require.NoError(t, err)
		h := k.hs[name]
		switch name {
		case "child":
			h = &frozen
		case "low":
			low := *h
			low.parent = &frozen
			h = &low
		}
		use(func(rnd *rand.Rand) error {
			lsn := firstLSN + page.LSN(rnd.IntN(int(h.last-firstLSN)+1))
			key := kinKeys[rnd.IntN(len(kinKeys))]
			v, err := tl.Get(busy, key, lsn)
			want, ok, _ := h.at(key, lsn)
			switch {
			case !ok && errors.Is(err, page.ErrNotFound):
				return nil
			case err != nil:
				return err
			case !ok || !bytes.Equal(want, v):
				return fmt.Errorf("%s of %s at %s: %q, want %q (%t)", key.Describe(), h.name, lsn, v, want, ok)
			}
			return nil
		})
	}
	child, err := tn.Timeline("child")
	require.NoError(t, err)
	main, err := tn.Timeline("main")
	require.NoError(t, err)
	use(func(*rand.Rand) error {
		time.Sleep(time.Millisecond)
		if err := k.put(child, k.hs["child"]); err != nil {
			return err
		}
		return child.Flush(busy)
	})
	use(func(*rand.Rand) error {
		_, err := child.Compact(busy, timeline.CompactRequest{Thorough: true})
		return err
	})
	use(func(*rand.Rand) error {
		_, err := main.Compact(busy, timeline.CompactRequest{Thorough: true})
		return err
	})
	time.Sleep(5 * time.Millisecond)
	out, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
	require.NoError(t, err)
	time.Sleep(5 * time.Millisecond)
	stop()
	users.Wait()
	k.detached(tn, out)
	_, err = main.GC(ctx, timeline.GCRequest{})
	require.NoError(t, err)
	require.NotContains(t, main.ReadPoints(), k.hs["child"].initial, "nobody needs it any more")
	require.Contains(t, child.ReadPoints(), k.hs["early"].initial)
	k.check(tn, kinAlone...)
}

// TestDetachAncestorCollected: where the ancestor was collected above the branch LSN, the branch begins there, and those at lower LSNs
// have what they had.
func TestDetachAncestorCollected(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem, store := virtualfile.NewMem(), memstore.New()
	s, tn := openLife(t, ctx, kinOptions(mem, store))
	k := newKin(t, tn, 34)
	main, err := tn.Timeline("main")
	require.NoError(t, err)
	_, err = main.Compact(ctx, timeline.CompactRequest{Thorough: true})
	require.NoError(t, err)
	_, err = main.GC(ctx, timeline.GCRequest{})
	require.NoError(t, err)
	k.hs["main"].cutoff = main.Cutoff()
	require.Greater(t, main.Cutoff(), k.hs["child"].initial)
	k.check(tn)
	_, err = tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
	require.NoError(t, err)
	child, err := tn.Timeline("child")
	require.NoError(t, err)
	require.Equal(t, k.hs["child"].initial, child.Cutoff())
	k.alone(tn)
	k.check(tn, kinAlone...)
	_, err = child.GC(ctx, timeline.GCRequest{})
	require.NoError(t, err)
	_, err = child.Compact(ctx, timeline.CompactRequest{Thorough: true})
	require.NoError(t, err)
	k.hs["main"].cutoff = child.Cutoff()
	k.hs["child"].cutoff = child.Cutoff()
	k.check(tn, "early", "twin", "child", "low", "high")
	require.NoError(t, s.Close())
	s, tn = openLife(t, ctx, kinOptions(virtualfile.NewMem(), store))
	_, _, err = s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	k.check(tn, "early", "twin", "child", "low", "high")
	require.NoError(t, s.Close())
}

// TestDetachAncestorAway: layers that are in remote storage only are copied there alone, and what is offloaded stays the ancestor's.
func TestDetachAncestorAway(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem, store := virtualfile.NewMem(), memstore.New()
	s, tn := openLife(t, ctx, kinOptions(mem, store))
	k := newKin(t, tn, 35)
	main, err := tn.Timeline("main")
	require.NoError(t, err)
	require.NoError(t, main.WaitUploads(ctx))
	n, err := main.Evict(ctx, main.Layers()...)
	require.NoError(t, err)
	require.Positive(t, n.Layers)
	require.NoError(t, tn.Archive(ctx, "early"))
	require.NoError(t, tn.Offload(ctx, "early"))
	require.NoError(t, tn.Archive(ctx, "twin"))
	out, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
	require.NoError(t, err)
	require.Equal(t, []page.TimelineID{kinID("twin")}, out.Reparented, "archived or not")
	require.ErrorContains(t, tn.Delete(ctx, "main"), "early")
	require.Contains(t, main.ReadPoints(), k.hs["early"].initial)
	require.Less(t, s.env.Metrics().Downloads.Layers, int64(n.Layers), "most stays away")
	require.NoError(t, s.Close())
	s, tn = openLife(t, ctx, kinOptions(mem, store))
	require.NoError(t, tn.Unarchive(ctx, "early"))
	k.check(tn)
	out, err = tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
	require.NoError(t, err)
	require.True(t, out.Before)
	k.detached(tn, out)
	k.alone(tn)
	k.check(tn, kinAlone...)
	child, err := tn.Timeline("child")
	require.NoError(t, err)
	require.NoError(t, child.WaitUploads(ctx))
	part, _, err := upload.Load(ctx, store, tn.place(kinID("child")), s.env.Generation(tn.ShardID()))
	require.NoError(t, err)
	require.Nil(t, part.Metadata.Ancestor)
	l, err := part.Lineage()
	require.NoError(t, err)
	require.Equal(t, kinID("main"), l.Original)
	on, err := part.Detaching()
	require.NoError(t, err)
	require.False(t, on)
	for x := range part.Layers.All() {
		require.Empty(t, x.Rest)
	}
	require.False(t, slices.ContainsFunc(objectsOf(t, store, kinID("main")), func(string) bool { return true }), "the ancestor is gone")
	named := map[string]bool{tn.place(kinID("child")).IndexKey(s.env.Generation(tn.ShardID())): true}
	for x := range part.Layers.All() {
		named[tn.place(kinID("child")).LayerKey(x.Desc.Name(), x.Desc.Generation, x.Shard)] = true
	}
	for _, key := range objectsOf(t, store, kinID("child")) {
		require.True(t, named[key] || strings.Contains(key, "index_part"), key)
		delete(named, key)
	}
	require.Empty(t, named)
	require.NoError(t, s.Close())
}

// TestDetachAncestorOfShards: each shard does its part, with layers too that are objects of what it was split from.
func TestDetachAncestorOfShards(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	far, mem := memstore.New(), virtualfile.NewMem()
	m := &splitModel{TB: t}
	s := m.open(mem, far)
	m.fill(s)
	m.uploaded(s)
	_, err := s.Split(ctx, page.TenantShardID{Tenant: splitTenant}, SplitOptions{Shards: 2, StripeSize: 2})
	require.NoError(t, err)
	ids := s.Shards(splitTenant)
	require.Len(t, ids, 2)
	for _, id := range ids {
		tn, err := s.Shard(id)
		require.NoError(t, err)
		out, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
		require.NoError(t, err)
		require.Equal(t, m.main[3].lsn, out.LSN)
		m.check(s, true) // the other one is as it was
	}
	for _, id := range ids {
		tn, err := s.Shard(id)
		require.NoError(t, err)
		require.NoError(t, tn.Delete(ctx, "main"))
	}
	m.compare(m.timelines(s, "child"), m.main[:4], m.child)
	for _, tl := range m.timelines(s, "child") {
		require.NoError(t, tl.WaitUploads(ctx))
	}
	require.NoError(t, s.Close())
	s = m.open(mem, far)
	m.compare(m.timelines(s, "child"), m.main[:4], m.child)
	require.NoError(t, s.Close())
	o := splitStoreOptions(virtualfile.NewMem(), far)
	o.DefaultTenant = page.TenantID{1}
	s, err = Open(ctx, o)
	require.NoError(t, err)
	for _, id := range ids {
		_, _, err := s.Attach(ctx, AttachOptions{Tenant: splitTenant, Shard: page.ShardIdentity{ShardIndex: id.Shard}})
		require.NoError(t, err)
	}
	m.compare(m.timelines(s, "child"), m.main[:4], m.child)
	require.NoError(t, s.Close())
}
