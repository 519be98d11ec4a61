package tenant

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// old is a store with a history to be compacted, folded and collected, as a process has left it.
type old struct {
	mem *virtualfile.MemFS
	hs  []*history
	at  map[*history][]page.LSN // where it is looked at: the end of each batch
}

// newOld makes one: a timeline with many layers, and a branch of its middle with some.
func newOld(t *testing.T, seed uint64) *old {
	s := &script{TestingT: t, rnd: rand.New(rand.NewPCG(seed, 1)), options: oldOptions(nil), mem: virtualfile.NewMem(), chaos: newChaos(rand.New(rand.NewPCG(1, 2)))}
	o := &old{mem: s.mem, at: map[*history][]page.LSN{}}
	s.begin()
	main := s.hs[0]
	grow := func(h *history, flushes int) {
		for range flushes {
			for range 3 {
				s.put(h)
				o.at[h] = append(o.at[h], h.last)
			}
			s.flush(h)
		}
	}
	grow(main, 4)
	child := newHistory("child", main.last, main)
	tl, err := s.tenant().Branch(context.Background(), s.timeline(main), "child", page.TimelineID{}, main.last)
	require.NoError(t, err)
	child.id = tl.ID()
	s.hs = append(s.hs, child)
	grow(main, 4)
	grow(child, 3)
	o.hs = s.hs
	require.NoError(t, s.store.Close())
	return o
}

func oldOptions(fs virtualfile.FS) Options {
	o := testOptions(fs)
	o.Config.CheckpointDistance = 1 << 20 // flushed when it is told to
	o.Config.Compaction.Options = eager()
	return o
}

// work is what is done to an old store, and fails or is cut short.
type work struct {
	name string
	do   func(ctx context.Context, tl *timeline.Timeline) error
}

// works are compaction under each strategy, one after another, collection and folding.
func works(t require.TestingT) []work {
	compact := func(s compaction.Strategy) func(context.Context, *timeline.Timeline) error {
		return func(ctx context.Context, tl *timeline.Timeline) error {
			_, err := tl.Compact(ctx, timeline.CompactRequest{Strategy: s, Thorough: s.Name() != foldAll{}.Name()})
			return err
		}
	}
	collect := func(ctx context.Context, tl *timeline.Timeline) error {
		_, err := tl.GC(ctx, timeline.GCRequest{Horizon: int64(tl.LastRecordLSN()-tl.Meta().InitialLSN) / 3})
		return err
	}
	fold := compact(foldAll{l0s: 1, keys: 4})
	var ws []work
	for _, name := range catalog.Names() {
		ws = append(ws, work{name, compact(strategyNamed(t, name))})
	}
	return append(ws,
		work{"gc", func(ctx context.Context, tl *timeline.Timeline) error {
			return errors.Join(compact(strategyNamed(t, "legacy"))(ctx, tl), collect(ctx, tl))
		}},
		work{"fold", func(ctx context.Context, tl *timeline.Timeline) error {
			return errors.Join(collect(ctx, tl), fold(ctx, tl))
		}},
	)
}

// run does the work on all timelines, the branch last.
func (o *old) run(t *testing.T, fs virtualfile.FS, w work, then func(st *Store)) error {
	st, err := Open(context.Background(), oldOptions(fs))
	if err != nil {
		return err
	}
	tn, err := st.DefaultTenant()
	require.NoError(t, err)
	for _, h := range o.hs {
		tl, e := tn.Timeline(h.id.String())
		require.NoError(t, e)
		err = errors.Join(err, w.do(context.Background(), tl))
	}
	if then != nil {
		then(st)
	}
	return errors.Join(err, st.Close())
}

// same reads everything at every LSN that can be read.
func (o *old) same(t *testing.T, st *Store) {
	tn, err := st.DefaultTenant()
	require.NoError(t, err)
	for _, h := range o.hs {
		tl, err := tn.Timeline(h.id.String())
		require.NoError(t, err)
		require.Equal(t, h.last, tl.LastRecordLSN())
		h.cutoff = tl.Cutoff()
	}
	for _, h := range o.hs {
		tl, err := tn.Timeline(h.id.String())
		require.NoError(t, err)
		for i, lsn := range o.at[h] {
			if testkit.UnderRace && i%3 != 2 && lsn != h.last {
				continue
			}
			h.same(t, tl, modelSets[0], lsn)
		}
		if h.parent != nil { // the branch point stays readable, whatever is collected
			h.same(t, tl, modelSets[0], h.initial)
		}
	}
}

// after looks at what a process has left: reads are the same, no file lies about, the work can go on, and then as well.
func (o *old) after(t *testing.T, mem *virtualfile.MemFS, w work) {
	look := func(st *Store) {
		o.same(t, st)
		o.noOrphans(t, mem, st)
	}
	st, err := Open(context.Background(), oldOptions(mem))
	require.NoError(t, err)
	look(st)
	require.NoError(t, st.Close())
	require.NoError(t, o.run(t, mem, w, func(st *Store) { o.same(t, st) }))
	st, err = Open(context.Background(), oldOptions(mem))
	require.NoError(t, err)
	look(st)
	require.NoError(t, st.Close())
}

// noOrphans: each file with the name of a layer is one of the timeline's.
func (o *old) noOrphans(t *testing.T, fs virtualfile.FS, st *Store) {
	tn, err := st.DefaultTenant()
	require.NoError(t, err)
	for _, h := range o.hs {
		tl, err := tn.Timeline(h.id.String())
		require.NoError(t, err)
		live := map[string]bool{}
		for _, d := range tl.Layers() {
			live[d.FileName()] = true
		}
		names, err := fs.List(filepath.Join("store", "tenants", tn.ID().String(), "timelines", h.id.String()))
		require.NoError(t, err)
		for _, n := range names {
			if strings.Contains(n, "__") {
				require.True(t, live[n], "%s is no layer of %s", n, h.name)
				delete(live, n)
			}
		}
		require.Empty(t, live, "layers without files")
	}
}

// TestCompactionCrashes cuts compaction, collection and folding short at every operation on a file that changes something, with
// all that was not made durable lost or kept at random: each edit of the manifest is among them, before and after.
func TestCompactionCrashes(t *testing.T) {
	noLeaks(t)
	seed := testkit.Rand(t, 5).Uint64()
	stride := testkit.Size(81, 23, 1)
	for _, w := range works(t) {
		t.Run(w.name, func(t *testing.T) {
			o := newOld(t, seed)
			mem := o.mem.CrashClone(seed)
			var mu sync.Mutex
			var crashes []*virtualfile.MemFS
			ops, edits := 0, 0
			point := &virtualfile.Fault{Op: virtualfile.OpAny, Path: func(name string) bool {
				mu.Lock()
				defer mu.Unlock()
				ops++
				edit := strings.Contains(name, "MANIFEST")
				if edit {
					edits++
				}
				if edit || ops%stride == 0 {
					crashes = append(crashes, mem.CrashClone(seed+uint64(ops)))
				}
				return false
			}}
			require.NoError(t, o.run(t, virtualfile.NewFaulty(mem, point), w, func(st *Store) { o.same(t, st) }))
			crashes = append(crashes, mem)
			require.Greater(t, edits, 4)
			step := max(1, len(crashes)/testkit.Size(4, 12, len(crashes)))
			n := 0
			for i := 0; i < len(crashes); i += step {
				o.after(t, crashes[i], w)
				n++
			}
			t.Logf("%d operations on files, %d on manifests, %d crashes", ops, edits, n)
		})
	}
}

// TestCompactionFaults lets the n-th operation on a file fail, for all n: reads stay right, at once and after a restart, and
// the work can be done then.
func TestCompactionFaults(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 6)
	seed := rnd.Uint64()
	stride := testkit.Size(1009, 151, 1)
	for _, f := range []struct {
		name string
		*virtualfile.Fault
	}{
		{"EIO once", &virtualfile.Fault{Err: syscall.EIO}},
		{"full disk from there on", &virtualfile.Fault{Err: syscall.ENOSPC, Sticky: true, Torn: 700}},
		{"lost sync", &virtualfile.Fault{Op: virtualfile.OpSync, Effect: virtualfile.Lose, Err: syscall.EIO}},
	} {
		for _, w := range works(t) {
			t.Run(f.name+"/"+w.name, func(t *testing.T) {
				o := newOld(t, seed)
				hits := 0
				for n := 1 + rnd.IntN(stride); ; n += stride {
					fault := &virtualfile.Fault{Op: f.Op, Effect: f.Effect, Err: f.Err, Sticky: f.Sticky, Torn: f.Torn, Nth: n}
					mem := o.mem.CrashClone(seed)
					var over atomic.Bool
					fault.Path = func(string) bool { return !over.Load() }
					err := o.run(t, virtualfile.NewFaulty(mem, fault), w, func(st *Store) {
						over.Store(true)
						o.same(t, st)
					})
					if fault.Hits() == 0 {
						require.NoError(t, err)
						break
					}
					hits++
					if err != nil {
						require.True(t, slices.ContainsFunc([]error{f.Err, virtualfile.ErrBroken}, func(e error) bool { return errors.Is(err, e) }), "%v", err)
					}
					crashed := mem.CrashClone(uint64(n))
					o.after(t, mem, w)
					o.after(t, crashed, w)
				}
				t.Logf("%d operations failed", hits)
			})
		}
	}
}
