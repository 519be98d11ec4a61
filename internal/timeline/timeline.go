package timeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir/relsize"
	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Timeline is one line of history.
type Timeline struct {
	env  *Env
	dir  string
	id   layer.Identity
	meta manifest.Meta // but for where it comes from, which is from's
	// generation is that of the layers it writes.
	generation uint32
	importing  bool // it is none yet: see OpenImport
	kept       kept
	remoteKept remoteKept
	files      *layerFiles
	compact    *compactor
	uploads    *uploads // nil without remote storage
	plans      planning

	// view is what readers see. It is replaced under mu and never changed.
	view atomic.Pointer[view]
	// at is how far the timeline is; durable is what of it is on disk. Whoever holds the writer's turn moves
	// at, after the values are in the view.
	at      atomic.Pointer[position]
	durable atomic.Pointer[position]
	// sizes are those of relations that need not be read.
	sizes   *relsize.Caches
	relDirs atomic.Pointer[manifest.RelDirs] // how relations are listed; whoever holds the writer's turn changes it, as at
	logical logicalSize
	opened  opened
	// lastLSN and durableLSN follow them, for those who wait; ended is closed at Close.
	lastLSN, durableLSN lsnWatch
	ended               chan struct{}
	gone                chan struct{} // closed when nobody has a view any more
	archived            atomic.Int64  // when, in ns since 1970; 0 if it is not
	sealed              atomic.Pointer[error]

	writer     turn // Put, Freeze; guards pace
	pace       pace
	began      time.Time     // when the open layer was given its first batch; guarded by writer
	flusher    turn          // writing layers; guards log, dirFailed and fullPause
	dirFailed  bool          // a sync of the folder has failed
	fullPause  time.Duration // until the next try on a full disk
	meter      flushMeter
	log        *manifest.Log
	tasks      *tasks.Group
	background background
	closed     atomic.Bool
	closing    sync.Once
	closeErr   error

	mu struct {
		sync.Mutex
		flushErr error
		changed  chan struct{} // closed and replaced whenever the view changes or a flush ends
	}
}

// position is a point in the WAL and where the record that ends there begins.
type position struct {
	last, prev page.LSN
	relations  grown // since the timeline was opened; of the end alone
}

// frozen is an in-memory layer that waits to be written. The flusher's turn guards what follows: rects, into which
// deltas it goes, which stay the same for all attempts; written, which is set once their files are there; and placed, once
// the files' entries are durable too. From then on the files stay: a publish that failed may have named them in the
// manifest, and is tried again with them.
type frozen struct {
	mem     *layer.Mem
	lsns    page.LSNRange
	prev    page.LSN
	rects   []compaction.Rect
	records int // that may follow each other in what is written of it; 0 is any number
	written []layer.Desc
	relDirs page.RelDirs      // at its end
	chains  []manifest.Chains // of written
	placed  bool
}

// turn is a lock that one can wait for with a context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) tryTake() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) take(ctx context.Context) error {
	if t.tryTake() {
		return nil
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// newTimeline makes the running form of what a manifest says. The layers must have been checked.
func newTimeline(env *Env, dir string, log *manifest.Log, ancestor *Timeline, archived time.Time) (*Timeline, error) {
	s := log.State()
	t, err := env.timelineOf(dir, s, log.Layers(), log.Remote, ancestor)
	if err != nil {
		return nil, err
	}
	t.log = log
	t.noteArchived(archived)
	err = t.files.countAbsent(s.Remote)
	if !env.ReadOnly && err == nil {
		t.startBackground()
		err = t.startUploads()
	}
	if err != nil {
		env.heights.drop(t)
		t.endViews()
		return t, err
	}
	if ancestor != nil {
		ancestor.addChild(t)
	}
	env.firsts.add(t)
	return t, nil
}

// timelineOf makes a timeline that can be read and no more. remote tells what is known of layers that are in remote
// storage.
func (env *Env) timelineOf(dir string, s manifest.State, m *layer.Map, remote remoteLookup, ancestor *Timeline) (*Timeline, error) {
	tellFaults(env, s.Name, m.L0().Faults())
	t := &Timeline{
		env: env, dir: dir, meta: s.Meta, generation: env.Generation(s.Owner()),
		id:     layer.Identity{Tenant: s.Tenant, Timeline: s.Timeline},
		writer: newTurn(), flusher: newTurn(), tasks: tasks.New(),
		ended: make(chan struct{}), gone: make(chan struct{}),
	}
	t.mu.changed = make(chan struct{})
	t.kept.start(s.Cutoff)
	t.kept.settling.Store(s.Lineage.Unsettled)
	t.opened = opened{s.DiskConsistentLSN, env.Clock()}
	t.sizes, t.logical.asking = relsize.New(env.Shares.Sizes, &env.counters.relSizes), newTurn()
	p := &position{last: s.DiskConsistentLSN, prev: s.PrevRecordLSN}
	t.at.Store(p)
	t.durable.Store(p)
	t.relDirs.Store(&manifest.RelDirs{RelDirs: s.RelDirs, Wanted: s.RelDirsWanted})
	t.lastLSN.advance(p.last)
	t.durableLSN.advance(p.last)
	t.files, t.compact = newLayerFiles(env, dir, t.id, remote), newCompactor(&s)
	t.plans.breakers = newBreakers(env.Clock)
	v := newView(t, layer.NewMem(p.last+1, env.mems), p.last+1, m)
	v.moved, v.from = t.compact.moved, newDescent(&s, ancestor)
	t.meta.Ancestor, t.meta.AncestorLSN, t.meta.InitialLSN = page.TimelineID{}, 0, 0 // nobody is to ask here
	t.view.Store(v)
	env.holds.Add(1)
	env.heights.set(t, m.L0().Height())
	return t, nil
}

// tellFaults logs where the L0 stack is not contiguous. Reads are right all the same; but layers that overlap
// come from two writers, and a gap is where WAL had no values, where a flush was divided, or where a layer is gone.
func tellFaults(env *Env, name string, faults []layer.L0Fault) {
	for i, f := range faults {
		if i == maxFaults {
			env.Logger.Info("further faults of the L0 stack are not listed", "timeline", name, "faults", len(faults))
			return
		}
		if f.Overlap {
			env.Logger.Warn("two L0 layers overlap: were there two writers?", "timeline", name, "fault", f.String())
		} else {
			env.Logger.Info("there is a gap in the L0 stack", "timeline", name, "fault", f.String())
		}
	}
}

// changedLocked wakes those who wait for room.
func (t *Timeline) changedLocked() {
	close(t.mu.changed)
	t.mu.changed = make(chan struct{})
}

// ID is the timeline's id, Name its name.
func (t *Timeline) ID() page.TimelineID { return t.meta.Timeline }
func (t *Timeline) Name() string        { return t.meta.Name }

// LastRecordLSN is the end of the last record put.
func (t *Timeline) LastRecordLSN() page.LSN { return t.at.Load().last }

// PrevRecordLSN is where the record that ends at LastRecordLSN begins, 0 if unknown.
func (t *Timeline) PrevRecordLSN() page.LSN { return t.at.Load().prev }

// DiskConsistentLSN is the LSN at which the timeline ends after a crash.
func (t *Timeline) DiskConsistentLSN() page.LSN { return t.durable.Load().last }

// WaitLSN returns once lsn can be read: at once if the timeline is there already. It ends with the error of
// ctx, or with ErrClosed.
func (t *Timeline) WaitLSN(ctx context.Context, lsn page.LSN) error {
	if err := t.lastLSN.wait(ctx, t.ended, lsn); err != nil {
		return fmt.Errorf("timeline %s: waiting at LSN %s for %s: %w", t.meta.Name, t.LastRecordLSN(), lsn, err)
	}
	return nil
}

// NextDurable gives DiskConsistentLSN and a channel that is closed once it has moved on from there, so that a
// subscriber misses nothing. It stays open when the timeline is closed.
func (t *Timeline) NextDurable() (page.LSN, <-chan struct{}) { return t.durableLSN.next() }

// Layers lists the timeline's own layer files.
func (t *Timeline) Layers() []layer.Desc { return t.view.Load().layers.Layers() }

// Info describes the timeline.
func (t *Timeline) Info() Info {
	v, at, dirs := t.view.Load(), t.at.Load(), t.relDirs.Load()
	i := Info{
		ID: t.meta.Timeline, Name: t.meta.Name, Tenant: t.meta.Tenant,
		Version: t.meta.Version, Flavour: t.meta.Flavour,
		WALSegSize: t.meta.WALSegSize, SystemID: t.meta.SystemID,
		Checksums: t.meta.Checksums, HintBits: t.meta.HintBits,
		RelDirs: dirs.Form, RelDirsSince: dirs.Since, RelDirsWanted: dirs.Wanted,
		InitialLSN: v.from.initial, OldestLSN: t.OldestLSN(),
		LastRecordLSN: at.last, PrevRecordLSN: at.prev, DiskConsistentLSN: t.DiskConsistentLSN(),
		Layers: v.layers.Len(), MemoryBytes: v.open.Size(),
	}
	if err := t.flushError(); err != nil {
		i.WriteError = err.Error()
	}
	if d := v.from; d.ancestor != nil {
		a := d.id
		i.Ancestor, i.AncestorLSN = &a, d.lsn
	}
	if l := v.from.lineage; l.OriginalLSN != 0 {
		i.DetachedFrom, i.DetachedAtLSN = &l.Original, l.OriginalLSN
	}
	for _, d := range v.layers.Layers() {
		i.LayerBytes += d.Size
	}
	for _, f := range v.frozen {
		i.MemoryBytes += f.mem.Size()
	}
	return i
}
