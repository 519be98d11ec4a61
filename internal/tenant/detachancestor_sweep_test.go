package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// TestDetachAncestorUnderEveryFault detaches a branch over and over, and each time another operation on a file fails, once or from there
// on: what can be read is right afterwards, in this process, in the next one, and in one after a crash; and it is detached when that is repeated.
func TestDetachAncestorUnderEveryFault(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 41)
	stride := testkit.Size(29, 5, 1)
	for _, c := range []struct {
		name   string
		err    error
		sticky bool
	}{{"EIO once", syscall.EIO, false}, {"full disk from there on", syscall.ENOSPC, true}} {
		t.Run(c.name, func(t *testing.T) {
			done, runs := 0, 0
			for n := 1 + rnd.IntN(stride); ; n += stride {
				ok, hit := detachFault(t, &virtualfile.Fault{Err: c.err, Sticky: c.sticky}, n)
				if ok {
					done++
				}
				if runs++; !hit {
					break
				}
			}
			t.Logf("of %d runs %d have detached at once", runs, done)
			require.Positive(t, done)
			require.Less(t, done, runs)
		})
	}
}

func detachFault(t *testing.T, fault *virtualfile.Fault, n int) (done, hit bool) {
	defer func() {
		if t.Failed() {
			t.Logf("the fault hit operation %d", n)
		}
	}()
	ctx, mem := t.Context(), virtualfile.NewMem()
	s, tn := openLife(t, ctx, kinOptions(virtualfile.NewFaulty(mem, fault), nil))
	k := newKin(t, tn, 42)
	fault.Arm(n)
	_, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
	fault.Arm(0)
	hit, done = fault.Hits() > 0, err == nil
	if err != nil {
		require.True(t, hit, "%v", err)
	}
	k.check(tn)
	crashed := mem.CrashClone(uint64(n))
	if n%2 == 0 {
		out, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
		if err == nil {
			k.detached(tn, out)
		} else { // a folder of which a sync has failed is not written to before the next start
			require.ErrorIs(t, err, virtualfile.ErrBroken, "again")
		}
		k.check(tn)
	}
	require.NoError(t, s.Close())
	for _, fs := range []*virtualfile.MemFS{mem, crashed} {
		s, tn := openLife(t, ctx, kinOptions(fs, nil))
		k.check(tn)
		k.again(ctx, tn)
		k.alone(tn)
		k.check(tn, kinAlone...)
		k.noRubbish(s, tn, fs)
		require.NoError(t, s.Close())
	}
	return done, hit
}

// again ends what a process has begun, which the background may do at the same time.
func (k *kin) again(ctx context.Context, tn *Tenant) {
	require.Eventually(k, func() bool {
		out, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
		if err == nil {
			k.detached(tn, out)
		} else {
			require.ErrorIs(k, err, ErrDetachOngoing)
		}
		return err == nil
	}, 20*time.Second, time.Millisecond)
}

// noRubbish wants the folders of timelines to have nothing but their layers.
func (k *kin) noRubbish(s *Store, tn *Tenant, fs virtualfile.FS) {
	require.Eventually(k, func() bool {
		for _, tl := range tn.Timelines() {
			names, err := fs.List(tn.dir + "/" + tl.ID().String())
			require.NoError(k, err)
			left := 0
			for _, name := range names {
				if strings.Contains(name, "__") {
					left++
				}
			}
			if left > len(tl.Layers()) {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
}

// TestDetachAncestorRemoteSweep fails the n-th call of remote storage while a branch is detached and all is uploaded, for every n: done or
// not done, once or until the process is killed. Whoever attaches the tenant elsewhere at any moment reads all of it; it is
// detached when that is repeated; and nothing is left in remote storage that no index names.
func TestDetachAncestorRemoteSweep(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 43)
	stride := testkit.Size(13, 3, 1)
	for _, effect := range []faultstore.Effect{faultstore.Fail, faultstore.LostReply} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("effect=%d dies=%t", effect, dies), func(t *testing.T) {
				n := 1 + rnd.IntN(stride)
				for ; detachSweepAt(t, effect, n, dies); n += stride {
				}
				require.Greater(t, n, 10)
				t.Logf("%d calls", n-1)
			})
		}
	}
}

// detachSweepAt reports whether there was an n-th call.
func detachSweepAt(t *testing.T, effect faultstore.Effect, n int, dies bool) (hit bool) {
	defer func() {
		if t.Failed() {
			t.Logf("the fault hit call %d", n)
		}
	}()
	far, mem := memstore.New(), virtualfile.NewMem()
	faulty := faultstore.New(far, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := kinOptions(mem, faulty)
	if dies {
		o.Config.Upload.CloseTime = sweepDelay
	}
	s, tn := openLife(t, ctx, o)
	k := newKin(t, tn, 44)
	for _, tl := range tn.Timelines() {
		require.NoError(t, tl.WaitUploads(ctx))
		if tl.Name() == "main" { // some are to be copied without a file
			_, err := tl.Evict(ctx, tl.Layers()[:1]...)
			require.NoError(t, err)
		}
	}
	fault := &faultstore.Fault{Nth: n, Effect: effect}
	faults := []*faultstore.Fault{fault}
	ran, stop := context.WithCancel(ctx)
	defer stop()
	if dies {
		faults = append(faults, &faultstore.Fault{Nth: n + 1, Sticky: true})
		go stopOnceHit(ran, faulty, fault, stop)
	}
	faulty.Set(faults...)
	_, err := tn.DetachAncestor(ran, "child", DetachAncestorOptions{})
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
		if n%2 == 0 { // the local disk is lost too
			clone = virtualfile.NewMem()
		}
		mem, s, tn = clone, nil, nil
		s, tn = openLife(t, ctx, kinOptions(mem, far))
		if n%2 == 0 {
			_, _, err := s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
			require.NoError(t, err)
		}
	} else {
		faulty.Set()
	}
	k.check(tn)
	k.again(ctx, tn)
	k.check(tn)
	k.alone(tn)
	for _, tl := range tn.Timelines() {
		require.NoError(t, tl.WaitUploads(ctx))
	}
	require.NoError(t, s.env.Deletions().Flush(ctx))
	k.namedAlone(s, tn, far)
	require.NoError(t, s.Close())
	s, tn = openLife(t, ctx, kinOptions(virtualfile.NewMem(), far))
	_, _, err = s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	k.check(tn, kinAlone...)
	require.NoError(t, s.Close())
	return hit
}

// namedAlone wants remote storage to have what indexes name, and nothing else of the timelines.
func (k *kin) namedAlone(s *Store, tn *Tenant, far remote.Storage) {
	for _, name := range kinNames {
		if !slices.Contains(kinAlone, name) {
			require.Empty(k, objectsOf(k, far, kinID(name)), name)
			continue
		}
		p := tn.place(kinID(name))
		part, _, err := upload.Load(k.Context(), far, p, s.env.Generation(tn.ShardID()))
		require.NoError(k, err)
		named := map[string]bool{}
		for l := range part.Layers.All() {
			named[p.LayerKey(l.Desc.Name(), l.Desc.Generation, l.Shard)] = true
		}
		for _, key := range objectsOf(k, far, kinID(name)) {
			if strings.Contains(key, "/index_part.json") {
				continue
			}
			require.True(k, named[key], "%s: %s is named by no index", name, key)
			delete(named, key)
		}
		require.Empty(k, named)
	}
}

// renames tells of files that have got new names, before that is durable.
type renames struct {
	virtualfile.FS
	done func(name string)
}

func (r *renames) Rename(from, to string) error {
	err := r.FS.Rename(from, to)
	r.done(to)
	return err
}

// TestDetachAncestorDurable crashes a store at the moment of the step that counts, when it is not certain yet: what is found has the
// layers that it names.
func TestDetachAncestorDurable(t *testing.T) {
	noLeaks(t)
	ctx, mem := t.Context(), virtualfile.NewMem()
	var crashed []*virtualfile.MemFS
	on := false
	s, tn := openLife(t, ctx, kinOptions(&renames{mem, func(name string) {
		if on && strings.HasSuffix(name, kinID("child").String()+"/"+manifest.FileName) {
			for seed := range uint64(12) {
				crashed = append(crashed, mem.CrashClone(seed))
			}
		}
	}}, nil))
	k := newKin(t, tn, 45)
	on = true
	_, err := tn.DetachAncestor(ctx, "child", DetachAncestorOptions{})
	require.NoError(t, err)
	on = false
	require.NoError(t, s.Close())
	require.NotEmpty(t, crashed)
	found := map[bool]int{}
	for _, fs := range crashed {
		s, tn := openLife(t, ctx, kinOptions(fs, nil))
		child, err := tn.Timeline("child")
		require.NoError(t, err)
		found[child.Meta().AncestorLSN == 0]++
		k.check(tn, "child", "low", "early")
		require.NoError(t, s.Close())
	}
	require.Len(t, found, 2, "before or after: %v", found)
}
