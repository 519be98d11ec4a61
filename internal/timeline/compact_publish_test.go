package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// isLayerName tells the name of a layer file, also while it is written.
func isLayerName(name string) bool { return strings.Contains(name, "__") }

// strategyNamed gives a strategy of the catalogue.
func strategyNamed(t *testing.T, name string) compaction.Strategy {
	s, err := catalog.New(name)
	require.NoError(t, err)
	return s
}

// failing has operations on some files fail from a moment on, also while there is work in the background.
type failing struct {
	files atomic.Pointer[func(name string) bool]
}

// begin has operations fail on files whose path the function picks; nil is none.
func (f *failing) begin(files func(name string) bool) {
	if files == nil {
		f.files.Store(nil)
	} else {
		f.files.Store(&files)
	}
}

func (f *failing) fault(op virtualfile.Op, err error) *virtualfile.Fault {
	return &virtualfile.Fault{Op: op, Nth: 1, Sticky: true, Err: err, Path: func(name string) bool {
		files := f.files.Load()
		return files != nil && (*files)(name)
	}}
}

// published is a timeline in memory, of which files cannot be made or removed, with EIO, or not be synced, with ENOSPC, when tests
// want it.
type published struct {
	*testing.T
	mem                    *virtualfile.MemFS
	creates, sync, removes failing
	tl                     *Timeline
	keys                   int
}

func newPublished(t *testing.T, change func(*Config)) *published {
	p := &published{T: t, mem: virtualfile.NewMem(), keys: 8}
	fsys := virtualfile.NewFaulty(p.mem, p.creates.fault(virtualfile.OpCreate, syscall.EIO), p.sync.fault(virtualfile.OpSync, syscall.ENOSPC),
		p.removes.fault(virtualfile.OpRemove, syscall.EIO))
	e := readEnv(t, fsys, "store", func(c *Config) {
		c.Compaction.Lanes = 1
		if change != nil {
			change(c)
		}
	})
	p.tl = newTestTimeline(t, e, "store", "main", readFirst, nil)
	for i := range 4 {
		putLayer(t, p.tl, p.keys, i == 0)
	}
	return p
}

// retile makes deltas of so many keys each of all deltas.
func (p *published) retile(keys int) (CompactReport, error) {
	once := false
	return p.tl.Compact(context.Background(), CompactRequest{Strategy: &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job {
		if once {
			return nil
		}
		once = true
		return retileAll(s, keys)
	}}})
}

// retileAll is retileJob of all deltas, L0 or not.
func retileAll(s *compaction.Snapshot, keys int) []compaction.Job {
	j := compaction.Job{Kind: compaction.Retile, Reason: "it is a test", Rect: compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.MaxLSN}}}
	for i := range s.Layers {
		if l := &s.Layers[i]; !l.Image {
			j.Inputs = append(j.Inputs, i)
			j.Rect.LSNs.Start, j.Rect.LSNs.End = min(j.Rect.LSNs.Start, l.LSNs.Start), max(j.Rect.LSNs.End, l.LSNs.End)
		}
	}
	j.Obsolete = j.Inputs
	j.Cut = func() compaction.Cutter { return &keysCut{n: keys, lsns: j.Rect.LSNs} }
	return []compaction.Job{j}
}

// reads gives all that can be read, at each LSN.
func (p *published) reads() (all []string) {
	for lsn := readFirst + 8; lsn <= p.tl.LastRecordLSN(); lsn += 8 {
		for i := range p.keys {
			v, err := p.tl.Get(context.Background(), blockKey(i), lsn)
			require.NoError(p, err)
			all = append(all, string(v))
		}
	}
	return all
}

// visits is how many layers a read of a key asks.
func visits(t *testing.T, tl *Timeline, key int) int {
	n := &tl.env.counters.layerVisits
	before := n.Load()
	_, err := tl.Get(t.Context(), blockKey(key), tl.LastRecordLSN())
	require.NoError(t, err)
	return int(n.Load() - before)
}

// there reports whether the file of a layer is.
func (p *published) there(d layer.Desc) bool {
	_, err := p.mem.Stat(filepath.Join(p.tl.dir, d.FileName()))
	if err != nil {
		require.ErrorIs(p, err, fs.ErrNotExist)
	}
	return err == nil
}

// whole demands that each layer has its file, and that no other file is there.
func (p *published) whole() {
	p.Helper()
	require.Zero(p, p.tl.removeDead())
	var want []string
	for _, d := range p.tl.Layers() {
		want = append(want, d.FileName())
	}
	names, err := p.mem.List(p.tl.dir)
	require.NoError(p, err)
	require.ElementsMatch(p, want, slices.DeleteFunc(names, func(n string) bool { return !isLayerName(n) }))
}

// TestFilesStayForReaders: the file of a layer that is no more in the manifest is there for as long as a view has the layer, and its
// name belongs to no other.
func TestFilesStayForReaders(t *testing.T) {
	p := newPublished(t, nil)
	before, old := p.reads(), p.tl.Layers()
	snapshot, err := p.tl.Snapshot(t.Context(), p.tl.LastRecordLSN())
	require.NoError(t, err)
	_, err = p.retile(2)
	require.NoError(t, err)
	twos := p.tl.Layers()
	require.Len(t, twos, 4)
	require.Zero(t, p.tl.removeDead())
	for _, d := range old {
		require.True(t, p.there(d), "%s is read", d.Name())
	}
	require.Len(t, p.tl.compact.doomed(), len(old))
	v, err := snapshot.Get(t.Context(), blockKey(1), p.tl.LastRecordLSN())
	require.NoError(t, err)
	require.Equal(t, before[len(before)-p.keys+1], string(v))

	// Layers that would have the names of others which are read still are made otherwise.
	second, err := p.tl.Snapshot(t.Context(), p.tl.LastRecordLSN())
	require.NoError(t, err)
	_, err = p.retile(4)
	require.NoError(t, err)
	_, err = p.retile(2)
	require.NoError(t, err)
	for _, d := range p.tl.Layers() {
		require.NotContains(t, twos, d)
	}
	for _, d := range append(old, twos...) {
		require.True(t, p.there(d))
	}
	snapshot.Close()
	second.Close()
	p.whole()
	require.Empty(t, p.tl.compact.doomed())
	require.Equal(t, before, p.reads())
}

// TestEditInDoubtKeepsNames: a crash may bring back an edit that failed, so the files it names stay until another edit is durable in its
// place, and their names are not given again before they are gone: deleting them would delete their namesakes.
func TestEditInDoubtKeepsNames(t *testing.T) {
	p := newPublished(t, nil)
	before, at := p.reads(), p.tl.LastRecordLSN()
	image := func() error {
		_, err := p.tl.Compact(t.Context(), CompactRequest{Strategy: imageAt{at, page.FullRange}})
		return err
	}
	p.sync.begin(func(name string) bool {
		return strings.Contains(filepath.Base(name), manifest.FileName) // also one that is written anew
	})
	require.ErrorIs(t, image(), syscall.ENOSPC)
	require.Len(t, p.tl.compact.suspects, 1)
	suspect := p.tl.compact.suspects[0]
	require.Zero(t, p.tl.removeDead())
	require.True(t, p.there(suspect), "the edit may be found after a crash")
	require.Equal(t, []compaction.ID{idOf(&suspect)}, p.tl.compact.doomed())
	require.ErrorIs(t, image(), syscall.ENOSPC, "the edit is still in doubt")
	require.True(t, p.there(suspect))
	p.sync.begin(nil)

	p.tl.compact.removing.Lock() // nothing is deleted yet
	err := image()
	p.tl.compact.removing.Unlock()
	require.ErrorContains(t, err, "waits for its deletion")
	require.Empty(t, p.tl.compact.suspects)
	p.whole()
	require.False(t, p.there(suspect))
	require.NoError(t, image())
	require.True(t, p.there(suspect), "the same name, another file")
	p.whole()
	require.Equal(t, before, p.reads())
}

// TestOutputsAreJudged: what a cutter gives is known only once it has seen the entries. An output that would do harm is not published,
// and its file goes.
func TestOutputsAreJudged(t *testing.T) {
	p := newPublished(t, nil)
	before, layers := p.reads(), p.tl.Layers()
	_, err := p.tl.Compact(t.Context(), CompactRequest{Strategy: &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job {
		jobs := retileJob(s, 2)
		rect := jobs[0].Rect
		jobs[0].Cut = func() compaction.Cutter { return oneRect(rect) }
		return jobs
	}}})
	require.ErrorContains(t, err, "would look like an L0")
	require.Equal(t, layers, p.tl.Layers())
	p.whole()
	require.Equal(t, before, p.reads())
}

// oneRect is a cutter that gives what it is, whatever there is.
type oneRect compaction.Rect

func (oneRect) Add(compaction.Entry, func(compaction.Rect)) {}
func (r oneRect) Finish(emit func(compaction.Rect))         { emit(compaction.Rect(r)) }

// TestOutputsAreDurable: what the manifest names is there after a crash, of compaction's outputs as of all else.
func TestOutputsAreDurable(t *testing.T) {
	p := newPublished(t, nil)
	require.NoError(t, errors.Join(p.mem.SyncDir(""), p.mem.SyncDir("store")))
	for _, keys := range []int{2, 3} {
		_, err := p.retile(keys)
		require.NoError(t, err)
		for seed := range uint64(20) {
			clone := p.mem.CrashClone(seed)
			for _, d := range p.tl.Layers() {
				_, err := clone.Stat(filepath.Join(p.tl.dir, d.FileName()))
				require.NoError(t, err)
			}
		}
	}
}

// TestInterruptedWorkGoesOn breaks off a job that has published a part, by its context and by a fault, at each of its files. What was
// published stays, and is not written again: what is lost is the file that was being written. The next plan, of whatever strategy, does
// the rest.
func TestInterruptedWorkGoesOn(t *testing.T) {
	const outputs = 4
	next := map[string]compaction.Strategy{"itself": nil}
	for _, name := range []string{"legacy", "tiered", "partitioned"} {
		next[name] = strategyNamed(t, name)
	}
	for by, strategy := range next {
		for n := range outputs {
			for _, cancelled := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s after %d, cancelled %t", by, n, cancelled), func(t *testing.T) {
					p := newPublished(t, func(c *Config) { c.Compaction.Options.CompactionThreshold = 2 })
					before, old := p.reads(), p.tl.Layers()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var mu sync.Mutex
					made := map[string]bool{}
					p.creates.begin(func(name string) bool {
						mu.Lock()
						defer mu.Unlock()
						if !isLayerName(filepath.Base(name)) {
							return false
						}
						made[name] = true
						if len(made) <= n {
							return false
						}
						if cancelled {
							cancel()
						}
						return !cancelled
					})
					_, err := p.tl.Compact(ctx, CompactRequest{Strategy: &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job { return retileJob(s, p.keys/outputs) }}})
					p.creates.begin(nil)
					require.GreaterOrEqual(t, len(made), n+1)
					some := slices.DeleteFunc(p.tl.Layers(), func(d layer.Desc) bool { return slices.Contains(old, d) })
					done := len(some) // who cancels may come too late for the file that is being written
					require.True(t, done == n || cancelled && done == n+1, "what was done before is published")
					if done < outputs {
						require.Truef(t, errors.Is(err, context.Canceled) || errors.Is(err, syscall.EIO), "%v", err)
					}
					p.whole()
					require.Equal(t, before, p.reads())

					// The inputs stay, and it is known what of them is needed no more.
					s, _ := p.snapshot()
					for i := range s.Layers {
						l := &s.Layers[i]
						for k := range p.keys {
							want := l.L0() && k < done*p.keys/outputs
							require.Equal(t, want, page.NewSet(l.Moved...).Contains(blockKey(k)), "%s, key %d", l.ID, k)
						}
					}
					// Reads of what is done do not ask them, nor do they after a crash.
					require.NoError(t, errors.Join(p.mem.SyncDir(""), p.mem.SyncDir("store")))
					env := readEnv(t, p.mem.CrashClone(1), "store", nil)
					o, err := Open(t.Context(), env, p.tl.dir, p.tl.meta.Owner(), p.tl.ID())
					require.NoError(t, err)
					again, err := o.Start(nil)
					require.NoError(t, err)
					for k := range p.keys {
						layers := len(old)
						if k < done*p.keys/outputs {
							layers = 1
						}
						require.Equal(t, layers, visits(t, p.tl, k), "key %d", k)
						require.Equal(t, layers, visits(t, again, k), "key %d", k)
					}
					require.NoError(t, again.Close())
					if strategy == nil {
						_, err = p.retileRest()
					} else {
						_, err = p.tl.Compact(t.Context(), CompactRequest{Strategy: strategy})
					}
					require.NoError(t, err)
					for _, d := range p.tl.Layers() {
						require.False(t, done > 0 && slices.Contains(old, d), "what was begun is finished")
					}
					for id := range p.tl.compact.moved {
						live := slices.ContainsFunc(p.tl.Layers(), func(d layer.Desc) bool { return idOf(&d) == id })
						require.True(t, live, "%s is gone: what had moved of it says nothing of the next layer of that name", id)
					}
					if by != "partitioned" { // which may find that another merge is worth it
						require.Subset(t, p.tl.Layers(), some, "nothing is done twice")
					}
					p.whole()
					require.Equal(t, before, p.reads())
				})
			}
		}
	}
}

// snapshot is what planners see.
func (p *published) snapshot() (*compaction.Snapshot, []layer.Desc) {
	v, err := p.tl.pinView()
	require.NoError(p, err)
	defer v.release()
	require.NoError(p, p.tl.compact.turn.take(context.Background()))
	defer p.tl.compact.turn.give()
	return p.tl.layersSnapshot(v)
}

// retileRest makes deltas of what L0s have that has not moved.
func (p *published) retileRest() (CompactReport, error) {
	return p.tl.Compact(context.Background(), CompactRequest{Strategy: &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job {
		jobs := retileJob(s, 2)
		for i := range jobs {
			jobs[i].Rect.Keys = s.Layers[jobs[i].Inputs[0]].Rest().Ranges()[0]
		}
		return jobs
	}}})
}

// TestPlansSeeWhatIsDurable: what waits to be flushed is not durable yet, and nothing is made of it.
func TestPlansSeeWhatIsDurable(t *testing.T) {
	p := newPublished(t, nil)
	durable := p.tl.LastRecordLSN()
	require.NoError(t, p.tl.flusher.take(t.Context())) // nothing is flushed
	require.NoError(t, putOne(p.tl, blockKey(0), []byte("page")))
	require.NoError(t, p.tl.Freeze(t.Context()))
	require.NoError(t, putOne(p.tl, blockKey(0), []byte("page")))
	s, _ := p.snapshot()
	p.tl.flusher.give()
	require.Equal(t, durable, s.DiskConsistentLSN)
	require.Equal(t, p.tl.LastRecordLSN(), s.LastRecordLSN)
	require.Positive(t, s.UnflushedBytes)
	require.NoError(t, p.tl.Flush(t.Context()))
	s, _ = p.snapshot()
	require.Equal(t, p.tl.LastRecordLSN(), s.DiskConsistentLSN)
	require.Zero(t, s.UnflushedBytes)
}

// TestFilesThatCannotBeDeleted are tried again, and keep their names meanwhile.
func TestFilesThatCannotBeDeleted(t *testing.T) {
	p := newPublished(t, nil)
	before, old := p.reads(), p.tl.Layers()
	p.removes.begin(isLayerName)
	_, err := p.retile(2)
	require.NoError(t, err)
	require.Equal(t, len(old), p.tl.removeDead())
	require.Len(t, p.tl.compact.doomed(), len(old))
	require.Positive(t, p.tl.env.Metrics().RemoveErrors)
	p.removes.begin(nil)
	p.whole()
	require.Empty(t, p.tl.compact.doomed())
	require.EqualValues(t, len(old), p.tl.env.Metrics().RemovedLayers)
	require.Equal(t, before, p.reads())
}
