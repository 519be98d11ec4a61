package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// An import, step by step. A crash, an error or an end of the context after any of them leaves what was done; the timeline
// cannot be used, and is listed as Importing, until the last step is.
//
//  1. A folder that is no timeline's gets a file IMPORT with its id and name. Whoever imports may put files of his own there.
//  2. The source is planned. The plan of an import that goes on must be the one that it began with.
//  3. Jobs write image layers, several at once. Each that is done is noted in IMPORT, durably.
//  4. Of a base backup, WAL is put over them. This step begins anew when the import goes on.
//  5. The folder gets a manifest, and then the timeline's name.
//
// Meanwhile remote storage, if there is any, is told of jobs that are done (importremote.go).

// ErrImportChanged says that an import cannot go on because its source is not what it was.
var ErrImportChanged = errors.New("the source of the import has changed")

// ImportPlan is what a source gives.
type ImportPlan struct {
	// Meta is the timeline's; InitialLSN is that of all values. Name, id, tenant and ancestor do not count.
	Meta manifest.Meta
	// Prev is where the record that ends at InitialLSN begins, 0 if that is not known.
	Prev page.LSN
	// Digest is the same if, and only if, the jobs would be the same.
	Digest string
	Jobs   []ImportJob
	// Run does a job. It may be called again after an error.
	Run func(ctx context.Context, job int, sink *timeline.ImageSink, took func(pages, bytes int64)) (ImportedJob, error)
	// Check is called once all jobs are done: it says what was wrong with all of them.
	Check func(ctx context.Context) error
	// Recover, if set, puts the WAL of a base backup over what the jobs made, and gives the LSN from which it can be read.
	Recover func(ctx context.Context, tl *timeline.Timeline, suspect []page.Key) (page.LSN, error)
	// Lasting says whether an error is one that no other attempt mends.
	Lasting func(error) bool
}

// ImportJob is a part of an import.
type ImportJob struct {
	Keys         page.Range
	Pages, Bytes int64
}

// ImportOptions say how an import is done.
type ImportOptions struct {
	LayerSize   int64 // bytes, about, of one layer file at the most
	Compression layer.Compression
	// Jobs is how many jobs run at once; JobBytes is about the memory of one.
	Jobs     int
	JobBytes int64
	// Resume goes on with an import of that name that was not finished; without, such an import is given up.
	Resume bool
	// Attempts is how often a job is tried, Pause how long is waited after the first failure; it doubles.
	Attempts int
	Pause    time.Duration
	// Checkpoint is after how many jobs remote storage, if there is any, is told of what is done.
	Checkpoint int
	// Progress is called now and then, from one goroutine at a time.
	Progress func(ImportProgress)
}

// Defaults of ImportOptions.
const (
	defaultImportJobs     = 2
	defaultImportAttempts = 5
	defaultImportPause    = 200 * time.Millisecond
	longestImportPause    = 10 * time.Second
)

func (o ImportOptions) withDefaults(memory int64) ImportOptions {
	if o.Jobs <= 0 {
		o.Jobs = defaultImportJobs
	}
	if o.JobBytes > 0 && memory > 0 {
		o.Jobs = max(1, min(o.Jobs, int(memory/o.JobBytes)))
	}
	if o.Attempts <= 0 {
		o.Attempts = defaultImportAttempts
	}
	if o.Pause <= 0 {
		o.Pause = defaultImportPause
	}
	if o.Checkpoint <= 0 {
		o.Checkpoint = defaultImportCheckpoint
	}
	return o
}

// importing is an import at work.
type importing struct {
	t       *Tenant
	o       ImportOptions
	dir     string
	file    *importFile
	plan    *ImportPlan
	tracker *importTracker
	telling chan struct{} // held by whoever tells remote storage
	due     chan struct{} // it is time to
	mu      sync.Mutex    // guards what follows, and file
	sealed  bool          // no layer leaves the disk any more by evict
	untold  int           // jobs that are done since remote storage was last to be told
}

// ImportDir is a folder in which whoever imports may keep files, whose names begin with ImportFilePrefix and a dot. Those of
// an import that goes on are there still.
type ImportDir struct {
	FS   virtualfile.FS
	Path string
}

// ImportFilePrefix begins the names of such files.
const ImportFilePrefix = timeline.ImportFilePrefix

// Import makes a timeline of what a source gives, which open looks over. Nothing is visible until all of it is durable. Made again with the id and all else that it has, a timeline is given as it is, with zeros for what was
// taken. Deleting it meanwhile calls it off.
func (t *Tenant) Import(ctx context.Context, name string, id page.TimelineID, o ImportOptions, open func(ctx context.Context, dir ImportDir) (*ImportPlan, error)) (*timeline.Timeline, ImportedJob, error) {
	o = o.withDefaults(t.store.env.Shares.Jobs.Limit())
	if err := t.yieldImport(ctx, name, &id, o.Resume); err != nil {
		return nil, ImportedJob{}, err
	}
	ctx, s, there, err := t.reserve(ctx, record{id: id, name: name}, Creating, func(tl *timeline.Timeline) bool {
		m := tl.Meta()
		return m.Name == name && m.AncestorLSN == 0
	})
	if s == nil {
		return there, ImportedJob{}, err
	}
	i := newImporting(t, timeline.ImportDir(t.dir, s.id), nil)
	i.o, i.tracker = o, newImportTracker(t.store.env.Clock, o.Progress)
	t.set(s, func() { s.importing = i.tracker })
	tl, sum, err := i.run(ctx, s, open)
	t.store.imports.ended(err)
	tl, err = t.imported(s, i, tl, err)
	return tl, sum, err
}

// yieldImport finds an import of a name that was not finished: id becomes its own if it is to go on, else it is removed.
func (t *Tenant) yieldImport(ctx context.Context, name string, id *page.TimelineID, resume bool) error {
	if t.store.env.ReadOnly {
		return nil // reserve says it
	}
	if err := t.take(ctx); err != nil {
		return err
	}
	defer t.give()
	s := t.unfinished(name, *id)
	if s == nil {
		return nil
	}
	if s.name != name || *id != (page.TimelineID{}) && *id != s.id {
		return fmt.Errorf("%w: %q (id %s) is an unfinished import; go on with it, or delete it", ErrTimelineExists, s.name, s.id)
	}
	*id = s.id
	if s.files != nil {
		s.files.seal()
	}
	if !resume {
		if err := t.dropRemote(ctx, s); err != nil {
			return err
		}
		if err := t.store.dropUnfinished(timeline.ImportDir(t.dir, s.id)); err != nil {
			return err
		}
	}
	t.set(s, func() { delete(t.mu.slots, s.id) })
	return nil
}

// unfinished gives an import of a name or an id that nobody goes on with.
func (t *Tenant) unfinished(name string, id page.TimelineID) *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.mu.slots {
		if s.state == Importing && (s.name == name || s.id == id) {
			return s
		}
	}
	return nil
}

// imported gives a timeline its place. One that was not finished and can go on keeps it; else nothing is left of it.
func (t *Tenant) imported(s *slot, i *importing, tl *timeline.Timeline, err error) (*timeline.Timeline, error) {
	if err == nil {
		return t.made(s, tl, nil)
	}
	f, readErr := t.store.readImport(i.dir)
	keep := readErr == nil && (len(f.done) > 0 || f.inRemote() || t.hasOwnFiles(i.dir)) || readErr != nil && !errors.Is(readErr, fs.ErrNotExist)
	if !keep {
		return t.made(s, nil, errors.Join(err, t.store.fs.RemoveAll(i.dir)))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.state, s.err, s.importing = Importing, err, nil
	if s.files = nil; i.file != nil {
		s.files = i
	}
	s.stop()
	s.stop = nil
	close(s.made)
	t.makers.Done()
	return nil, fmt.Errorf("%w (what was imported stays: go on with it, or delete timeline %s)", err, s.label())
}

// hasOwnFiles says whether whoever imports has put files of his own.
func (t *Tenant) hasOwnFiles(dir string) bool {
	names, err := t.store.fs.List(dir)
	for _, n := range names {
		if n != importFileName && filepath.Ext(n) != "" && n[:min(len(n), len(importFileName))] == importFileName {
			return true
		}
	}
	return err != nil
}

func (i *importing) run(ctx context.Context, s *slot, open func(ctx context.Context, dir ImportDir) (*ImportPlan, error)) (*timeline.Timeline, ImportedJob, error) {
	if err := i.begin(s); err != nil {
		return nil, ImportedJob{}, err
	}
	if err := i.bringFiles(ctx); err != nil {
		return nil, ImportedJob{}, err
	}
	var err error
	if i.plan, err = open(ctx, ImportDir{i.t.store.fs, i.dir}); err != nil {
		return nil, ImportedJob{}, err
	}
	m := &i.plan.Meta
	m.Tenant, m.Shard, m.Ancestor, m.AncestorLSN = i.t.id, i.t.shard, page.TimelineID{}, 0
	m.Name, m.Timeline = s.name, s.id
	if !m.InitialLSN.Aligned() || m.InitialLSN == page.InvalidLSN {
		return nil, ImportedJob{}, fmt.Errorf("it cannot begin at LSN %s: not a multiple of 8 above 0", m.InitialLSN)
	}
	if err := i.match(ctx); err != nil {
		return nil, ImportedJob{}, err
	}
	i.t.set(s, func() { s.files = i })
	if err := i.runJobs(ctx); err != nil {
		return nil, ImportedJob{}, err
	}
	if err := i.plan.Check(ctx); err != nil {
		return nil, ImportedJob{}, err
	}
	return i.finish(ctx)
}

// begin makes the folder, or finds it.
func (i *importing) begin(s *slot) (err error) {
	store := i.t.store
	i.file, err = store.readImport(i.dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := store.fs.RemoveAll(i.dir); err != nil {
		return err
	}
	if err := store.fs.MkdirAll(i.dir); err != nil {
		return err
	}
	i.file = &importFile{id: s.id, name: s.name, begun: store.env.Clock(), done: map[int]ImportedJob{}}
	if err := store.writeImport(i.dir, i.file); err != nil {
		return err
	}
	return store.fs.SyncDir(i.t.dir)
}

// match compares the plan with the one that the import began with, and makes sure of what was done.
func (i *importing) match(ctx context.Context) error {
	f, env := i.file, i.t.store.env
	if f.digest == "" {
		f.digest, f.jobs = i.plan.Digest, len(i.plan.Jobs)
		if err := i.t.store.writeImport(i.dir, f); err != nil {
			return err
		}
	}
	if f.digest != i.plan.Digest || f.jobs != len(i.plan.Jobs) {
		return fmt.Errorf("%w: it was begun at %s with plan %.16s of %d jobs, and what is there now gives plan %.16s of %d: import anew, without going on",
			ErrImportChanged, f.begun.Format(time.RFC3339), f.digest, f.jobs, i.plan.Digest, len(i.plan.Jobs))
	}
	for n, j := range f.done {
		for _, d := range j.layers {
			if whole, err := i.isThere(ctx, d); err != nil {
				return err
			} else if !whole {
				env.Logger.Warn("a layer of an unfinished import is not what was written; its job is done again", "timeline", f.name, "job", n, "layer", d.FileName())
				f.undo(n)
			}
		}
	}
	var keep []layer.Desc
	p := ImportProgress{Jobs: len(i.plan.Jobs)}
	for n, j := range i.plan.Jobs {
		p.Pages += j.Pages
		p.Bytes += j.Bytes
		if done, ok := f.done[n]; ok {
			p.JobsDone++
			p.PagesDone += j.Pages
			p.BytesDone += j.Bytes
			keep = append(keep, done.layers...)
		}
	}
	i.tracker.start(p)
	return timeline.TidyImport(env, i.dir, keep)
}

// isWhole opens a layer, which checks its size, its summary and whose it is.
func (i *importing) isWhole(ctx context.Context, d layer.Desc) bool {
	m, env := i.plan.Meta, i.t.store.env
	r, err := layer.OpenReader(ctx, env.Disk, env.Blocks, i.dir, layer.Identity{Tenant: m.Tenant, Timeline: m.Timeline}, d)
	return err == nil && r.Close() == nil
}

// runJobs does all jobs that are not done.
func (i *importing) runJobs(ctx context.Context) error {
	defer i.tellNowAndThen(ctx)()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(i.o.Jobs)
	for n := range i.plan.Jobs {
		if i.isDone(n) || gctx.Err() != nil {
			continue
		}
		g.Go(func() error { return i.job(gctx, n) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (i *importing) isDone(n int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, ok := i.file.done[n]
	return ok
}

// job does a job, again if that fails.
func (i *importing) job(ctx context.Context, n int) error {
	pause := i.o.Pause
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := i.attempt(ctx, n)
		if err == nil {
			err = i.note(n, done)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if attempt >= i.o.Attempts || i.plan.Lasting != nil && i.plan.Lasting(err) {
			return fmt.Errorf("import job %d of %d (keys %s), attempt %d: %w", n+1, len(i.plan.Jobs), i.plan.Jobs[n].Keys, attempt, err)
		}
		i.t.store.env.Logger.Warn("a job of an import failed and is begun again", "timeline", i.file.name, "job", n, "attempt", attempt, "err", err)
		i.tracker.change(func(p *ImportProgress) { p.Retries++ })
		i.t.store.imports.retries.Add(1)
		if err := clock.Sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestImportPause)
	}
}

// attempt does a job once. After an error nothing of it is left.
func (i *importing) attempt(ctx context.Context, n int) (done ImportedJob, err error) {
	env, j := i.t.store.env, i.plan.Jobs[n]
	sink := timeline.NewImageSink(env, i.dir, &i.plan.Meta, j.Keys, i.o.LayerSize, i.o.Compression)
	var pages, bytes int64
	took := func(p, b int64) {
		pages, bytes = pages+p, bytes+b
		i.tracker.change(func(all *ImportProgress) { all.PagesDone, all.BytesDone = all.PagesDone+p, all.BytesDone+b })
	}
	done, err = i.plan.Run(ctx, n, sink, took)
	if err == nil {
		done.layers, err = sink.Close(ctx)
	}
	if err != nil {
		err = errors.Join(err, sink.Discard())
		i.tracker.change(func(all *ImportProgress) { all.PagesDone, all.BytesDone = all.PagesDone-pages, all.BytesDone-bytes })
	}
	return done, err
}

// note makes durable that a job is done.
func (i *importing) note(n int, done ImportedJob) error {
	i.mu.Lock()
	i.file.done[n] = done
	err := i.t.store.writeImport(i.dir, i.file)
	if err != nil {
		delete(i.file.done, n) // the layers are made again, over those that are there
	} else if i.untold++; i.untold >= i.o.Checkpoint {
		i.untold = 0
		select {
		case i.due <- struct{}{}:
		default:
		}
	}
	i.mu.Unlock()
	if err != nil {
		j := i.plan.Jobs[n]
		i.tracker.change(func(all *ImportProgress) { all.PagesDone, all.BytesDone = all.PagesDone-j.Pages, all.BytesDone-j.Bytes })
		return errors.Join(err, timeline.RemoveLayers(i.t.store.env, i.dir, done.layers))
	}
	i.tracker.change(func(p *ImportProgress) { p.JobsDone++ })
	i.t.store.imports.jobs.Add(1)
	i.t.store.imports.pages.Add(done.Pages)
	return nil
}

// finish makes the timeline.
func (i *importing) finish(ctx context.Context) (*timeline.Timeline, ImportedJob, error) {
	var sum ImportedJob
	for n := range i.plan.Jobs {
		j := i.file.done[n]
		sum.Relations, sum.Pages = sum.Relations+j.Relations, sum.Pages+j.Pages
		sum.layers, sum.Suspect = append(sum.layers, j.layers...), append(sum.Suspect, j.Suspect...)
	}
	m, env := i.plan.Meta, i.t.store.env
	i.seal()
	if i.plan.Recover != nil {
		i.tracker.change(func(p *ImportProgress) { p.Replaying = true })
		end, err := i.recover(ctx, sum)
		if err != nil {
			return nil, sum, err
		}
		m.InitialLSN = end
	}
	tl, err := timeline.FinishImport(ctx, env, i.t.dir, m, i.plan.Prev, sum.layers, i.away(sum.layers), i.plan.Recover != nil)
	return tl, sum, err
}

// recover puts WAL over what the jobs made.
func (i *importing) recover(ctx context.Context, sum ImportedJob) (end page.LSN, err error) {
	env := i.t.store.env
	if err := timeline.TidyImport(env, i.dir, sum.layers); err != nil {
		return 0, err
	}
	tl, err := timeline.OpenImport(env, i.dir, i.plan.Meta, i.plan.Prev, sum.layers, i.away(sum.layers))
	if err != nil {
		return 0, err
	}
	if end, err = i.plan.Recover(ctx, tl, sum.Suspect); err == nil {
		err = tl.Flush(ctx)
	}
	if err != nil {
		return 0, errors.Join(err, tl.Abandon())
	}
	return end, tl.Close()
}
