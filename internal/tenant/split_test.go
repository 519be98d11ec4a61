package tenant

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

var splitTenant = page.TenantID{0x59}

// splitModel is what a tenant's two timelines hold: of each, by LSN, what was put there.
type splitModel struct {
	testing.TB
	main, child []splitStep
	durable     int  // so many steps of main are acknowledged as durable, and all of child
	hasty       bool // nothing waits long for remote storage
}

type splitStep struct {
	lsn    page.LSN
	values map[page.Key]string
}

// step makes the next step of a timeline: blocks of several stripes, something that every shard keeps, and something of shard 0's.
func (m *splitModel) step(of *[]splitStep, after page.LSN) splitStep {
	n := len(m.main) + len(m.child)
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	s := splitStep{after + 8, map[page.Key]string{page.CheckpointKey: "checkpoint", page.Clog.Block(0, 0): "clog"}}
	for i := range 4 {
		s.values[rel.Block(uint32(n*3+i*5)%16)] = "block"
	}
	for k, v := range s.values {
		s.values[k] = fmt.Sprintf("%s %s at %s, step %d", v, k, s.lsn, n)
	}
	*of = append(*of, s)
	return s
}

// putStep gives a step to every shard, each its part.
func (m *splitModel) putStep(tls []*timeline.Timeline, s splitStep) error {
	for _, tl := range tls {
		var b page.Batch
		for k, v := range s.values {
			if tl.Shard().Keeps(k) {
				b.PutImage(k, s.lsn, []byte(v))
			}
		}
		b.End = s.lsn
		if err := tl.Put(m.Context(), &b); err != nil {
			return err
		}
	}
	return nil
}

// timelines gives a timeline of all shards that there are.
func (m *splitModel) timelines(s *Store, name string) (out []*timeline.Timeline) {
	for _, id := range s.Shards(splitTenant) {
		t, err := s.Shard(id)
		require.NoError(m, err)
		tl, err := t.Timeline(name)
		require.NoError(m, err)
		out = append(out, tl)
	}
	return out
}

// fill makes the timelines in a new store. The last step of main is in memory alone.
func (m *splitModel) fill(s *Store) {
	ctx := m.Context()
	tn, err := s.DefaultTenant()
	require.NoError(m, err)
	main, err := tn.Create(ctx, meta("main"))
	require.NoError(m, err)
	for range 4 {
		require.NoError(m, m.putStep([]*timeline.Timeline{main}, m.step(&m.main, main.LastRecordLSN())))
		require.NoError(m, main.Flush(ctx))
	}
	child, err := tn.Branch(ctx, main, "child", page.TimelineID{}, main.LastRecordLSN())
	require.NoError(m, err)
	require.NoError(m, m.putStep([]*timeline.Timeline{child}, m.step(&m.child, child.LastRecordLSN())))
	require.NoError(m, child.Flush(ctx))
	m.durable = len(m.main)
	require.NoError(m, m.putStep([]*timeline.Timeline{main}, m.step(&m.main, main.LastRecordLSN())))
}

// check reads everything at every LSN, from all shards that there are. whole says that nothing in memory was lost.
func (m *splitModel) check(s *Store, whole bool) {
	main, child := m.timelines(s, "main"), m.timelines(s, "child")
	steps := m.main[:m.durable]
	if whole {
		steps = m.main
	}
	require.GreaterOrEqual(m, main[0].LastRecordLSN(), steps[len(steps)-1].lsn)
	m.compare(main, nil, steps)
	m.compare(child, m.main[:4], m.child)
}

func (m *splitModel) compare(tls []*timeline.Timeline, before, steps []splitStep) {
	want := map[page.Key]string{}
	for i, step := range append(append([]splitStep(nil), before...), steps...) {
		for k, v := range step.values {
			want[k] = v
		}
		if i < len(before) {
			continue
		}
		for _, tl := range tls {
			for k, v := range want {
				got, err := tl.Get(m.Context(), k, step.lsn)
				if !tl.Shard().Keeps(k) {
					require.ErrorIs(m, err, timeline.ErrWrongShard)
					continue
				}
				require.NoError(m, err, "%s of %s at %s", k.Describe(), tl.Shard(), step.lsn)
				require.Equal(m, v, string(got))
			}
			seen := 0
			require.NoError(m, tl.GetVectored(m.Context(), page.NewSet(page.FullRange), step.lsn, func(k page.Key, v []byte, err error) error {
				require.True(m, tl.Shard().Keeps(k), "%s gives %s", tl.Shard(), k.Describe())
				require.Equal(m, want[k], string(v))
				seen++
				return err
			}))
			require.NotZero(m, seen)
		}
	}
}

// checkNamed makes sure that a program which knows no shards refuses a store by name before there is anything of one.
func (m *splitModel) checkNamed(fs virtualfile.FS) {
	names, err := fs.List("store/tenants")
	require.NoError(m, err)
	f, err := readStoreFile(fs, "store")
	require.NoError(m, err)
	if len(names) > 1 || names[0] != splitTenant.String() {
		require.Equal(m, []string{featureShards}, unknown(f.Incompatible, requiredIncompatible), "there are %v", names)
	}
}

// checkThere makes sure that there is the tenant, or all of its shards, and no folder beside, and says whether it was split.
func (m *splitModel) checkThere(s *Store, fs virtualfile.FS, shards int) (split bool) {
	ids := s.Shards(splitTenant)
	split = len(ids) == shards
	require.True(m, split || len(ids) == 1, "%v", ids)
	names, err := fs.List("store/tenants")
	require.NoError(m, err)
	require.Len(m, names, len(ids), "%v, open are %v", names, ids)
	return split
}

func (m *splitModel) open(fs virtualfile.FS, r remote.Storage) *Store {
	o := splitStoreOptions(fs, r)
	if m.hasty {
		hasten(&o)
	}
	s, err := Open(m.Context(), o)
	require.NoError(m, err)
	return s
}

func splitStoreOptions(fs virtualfile.FS, r remote.Storage) Options {
	o := testOptions(fs)
	if r != nil {
		o = remoteOptions(fs, r)
	}
	o.DefaultTenant = splitTenant
	return o
}

// TestSplitUnderEveryFault splits a tenant over and over, and each time another operation on a file fails: reads are right
// afterwards; the next process, and one after a crash, find the tenant or all of its shards, with all that was acknowledged;
// and a split is done then.
func TestSplitUnderEveryFault(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 7)
	stride := testkit.Size(61, 5, 1)
	for _, c := range []struct {
		name   string
		err    error
		sticky bool
	}{{"EIO once", syscall.EIO, false}, {"full disk from there on", syscall.ENOSPC, true}} {
		t.Run(c.name, func(t *testing.T) {
			split, hits := 0, 0
			for n := 1 + rnd.IntN(stride); ; n += stride {
				done, hit := splitFault(t, &virtualfile.Fault{Err: c.err, Sticky: c.sticky}, n)
				if done {
					split++
				}
				if hits++; !hit {
					break
				}
			}
			t.Logf("of %d runs %d have split at once", hits, split)
			require.Positive(t, split)
			require.Less(t, split, hits)
		})
	}
}

func splitFault(t *testing.T, fault *virtualfile.Fault, n int) (done, hit bool) {
	defer func() {
		if t.Failed() {
			t.Logf("the fault hit operation %d", n)
		}
	}()
	mem := virtualfile.NewMem()
	m := &splitModel{TB: t}
	s := m.open(virtualfile.NewFaulty(mem, fault), nil)
	m.fill(s)
	fault.Arm(n)
	parent := page.TenantShardID{Tenant: splitTenant}
	_, err := s.Split(t.Context(), parent, SplitOptions{Shards: 2, StripeSize: 2})
	fault.Arm(0)
	hit = fault.Hits() > 0
	if err == nil {
		m.durable = len(m.main)
		require.Len(t, s.Shards(splitTenant), 2)
	} else {
		require.True(t, hit, "%v", err)
	}
	for seed := range uint64(testkit.Size(1, 2, 10)) {
		clone := mem.CrashClone(seed + uint64(n)<<8)
		m.checkNamed(clone)
		after := m.open(clone, nil)
		split := m.checkThere(after, clone, 2)
		require.True(t, split || err != nil, "a split that was acknowledged stays")
		m.check(after, split)
		require.NoError(t, after.Close())
	}
	if len(s.Shards(splitTenant)) == 2 || errors.Is(tenantErr(s, parent), nil) {
		m.check(s, true)
	}
	_ = s.Close() // it may have failed to write
	s = m.open(mem, nil)
	defer func() { require.NoError(t, s.Close()) }()
	split := m.checkThere(s, mem, 2)
	m.check(s, split)
	if !split {
		m.main = m.main[:m.durable]
		if len(m.timelines(s, "main")) == 1 && m.timelines(s, "main")[0].LastRecordLSN() > m.main[len(m.main)-1].lsn {
			return err == nil, hit // it was written after all
		}
		_, err := s.Split(t.Context(), parent, SplitOptions{Shards: 2, StripeSize: 2})
		require.NoError(t, err)
		m.check(s, true)
	}
	m.goOn(s)
	return err == nil, hit
}

func tenantErr(s *Store, id page.TenantShardID) error {
	_, err := s.Shard(id)
	return err
}

// goOn puts another step into every shard.
func (m *splitModel) goOn(s *Store) {
	tls := m.timelines(s, "main")
	require.NoError(m, m.putStep(tls, m.step(&m.main, tls[0].LastRecordLSN())))
	for _, tl := range tls {
		require.NoError(m, tl.Flush(m.Context()))
	}
	m.durable = len(m.main)
	m.check(s, true)
}

// TestSplitShardsShareObjects shows that shards name the objects of what they were split from, in its place, and upload
// nothing of them again; that they can be attached elsewhere from their indexes alone, with the files to be fetched from
// there; and that neither their compaction nor the next split removes an object of their forebear's.
func TestSplitShardsShareObjects(t *testing.T) {
	store, mem := memstore.New(), virtualfile.NewMem()
	m := &splitModel{TB: t}
	s := m.open(mem, store)
	m.fill(s)
	parent := page.TenantShardID{Tenant: splitTenant}
	const neonManifest = `{"version":3,"offloaded_timelines":[],"of_a_newer_neon":{"x":[1]}}`
	_, err := store.Put(t.Context(), manifestKey(upload.Place{Tenant: splitTenant}, 1), strings.NewReader(neonManifest), int64(len(neonManifest)), remote.PutOptions{})
	require.NoError(t, err)
	_, err = s.Split(t.Context(), parent, SplitOptions{Shards: 2, StripeSize: 2})
	require.NoError(t, err)
	m.durable = len(m.main)
	m.check(s, true)
	for _, name := range []string{"main", "child"} {
		for _, tl := range m.timelines(s, name) {
			require.NoError(t, tl.WaitUploads(t.Context()))
		}
	}
	layersOf := func(id page.TenantShardID) (n int) {
		for e, err := range store.List(t.Context(), "tenants/"+id.String()+"/", remote.ListOptions{}) {
			require.NoError(t, err)
			if strings.Contains(filepath.Base(e.Key), "__") {
				n++
			}
		}
		return n
	}
	forebears := layersOf(parent)
	require.Positive(t, forebears)
	for _, id := range s.Shards(splitTenant) {
		require.Zero(t, layersOf(id), "nothing of the forebear's is uploaded again")
	}
	m.goOn(s)
	for _, id := range s.Shards(splitTenant) {
		_, err = s.Split(t.Context(), id, SplitOptions{Shards: 4})
		require.NoError(t, err)
	}
	require.Len(t, s.Shards(splitTenant), 4)
	m.goOn(s)
	for _, name := range []string{"main", "child"} {
		for _, tl := range m.timelines(s, name) {
			require.NoError(t, tl.WaitUploads(t.Context()))
		}
	}
	require.NoError(t, s.Close())
	require.Equal(t, forebears, layersOf(parent))

	o := remoteOptions(virtualfile.NewMem(), store)
	o.DefaultTenant = page.TenantID{1}
	elsewhere, err := Open(t.Context(), o)
	require.NoError(t, err)
	for n := range uint8(4) {
		shard := page.ShardIdentity{ShardIndex: page.ShardIndex{Number: n, Count: 4}}
		_, _, err := elsewhere.Attach(t.Context(), AttachOptions{Tenant: splitTenant, Shard: page.NewShardIdentity(n, 4, 4)})
		require.ErrorContains(t, err, "stripes of 2 pages")
		tn, tls, err := elsewhere.Attach(t.Context(), AttachOptions{Tenant: splitTenant, Shard: shard})
		require.NoError(t, err)
		require.Len(t, tls, 2)
		require.EqualValues(t, 2, tn.Shard().StripeSize, "as the manifest says")
		manifest, err := tn.readManifest(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, manifest.stripe)
		require.Equal(t, 3, manifest.version)
		require.JSONEq(t, `{"x":[1]}`, string(manifest.rest["of_a_newer_neon"]))
	}
	_, _, err = elsewhere.Attach(t.Context(), AttachOptions{Tenant: splitTenant, Shard: page.ShardIdentity{ShardIndex: page.ShardIndex{Number: 0, Count: 8}}})
	require.ErrorContains(t, err, "does not say how large")
	m.check(elsewhere, true)
	m.goOn(elsewhere)
	require.NoError(t, elsewhere.Close())
}

// TestSplitIsRefused shows what cannot be split, and that nothing has changed then.
func TestSplitIsRefused(t *testing.T) {
	mem := virtualfile.NewMem()
	m := &splitModel{TB: t}
	s := m.open(mem, nil)
	m.fill(s)
	parent := page.TenantShardID{Tenant: splitTenant}
	for _, o := range []SplitOptions{{}, {Shards: 3}, {Shards: 255}} {
		_, err := s.Split(t.Context(), parent, o)
		require.Error(t, err)
	}
	_, err := s.Split(t.Context(), page.TenantShardID{Tenant: page.TenantID{9}}, SplitOptions{Shards: 2})
	require.ErrorIs(t, err, ErrTenantNotFound)
	m.check(s, true)
	_, err = s.Split(t.Context(), parent, SplitOptions{Shards: 2, StripeSize: 2})
	require.NoError(t, err)
	_, err = s.Tenant(splitTenant)
	require.ErrorIs(t, err, ErrTenantNotFound)
	require.ErrorContains(t, err, "-0102")
	_, err = s.Split(t.Context(), s.Shards(splitTenant)[0], SplitOptions{Shards: 4, StripeSize: 4})
	require.ErrorContains(t, err, "stripes")
	_, err = s.CreateShard(t.Context(), splitTenant, page.NewShardIdentity(3, 4, 2))
	require.ErrorIs(t, err, ErrTenantExists)
	// A batch with another shard's keys is refused whole.
	tl := m.timelines(s, "main")[1]
	var b page.Batch
	b.PutImage(page.Clog.Block(0, 0), tl.LastRecordLSN()+8, []byte("x"))
	err = tl.Put(t.Context(), &b)
	require.ErrorIs(t, err, timeline.ErrRefused)
	require.ErrorIs(t, err, timeline.ErrWrongShard)
	require.NoError(t, s.Close())
	// A store of shards from before there was the feature gets it.
	f, err := readStoreFile(mem, "store")
	require.NoError(t, err)
	f.Incompatible = requiredIncompatible
	require.NoError(t, virtualfile.WriteFileAtomic(mem, "store/"+storeFileName, f.Encode()))
	s = m.open(mem, nil)
	m.checkNamed(mem)
	require.NoError(t, s.Close())
	o := splitStoreOptions(mem, nil)
	o.Config.ReadOnly = true
	s, err = Open(t.Context(), o)
	require.NoError(t, err)
	_, err = s.Split(t.Context(), s.Shards(splitTenant)[0], SplitOptions{Shards: 4})
	require.ErrorIs(t, err, timeline.ErrReadOnly)
	require.NoError(t, s.Close())
}
