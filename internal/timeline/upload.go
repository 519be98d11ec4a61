package timeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// UploadConfig says how timelines go to Config.Remote. Zeros are defaults.
type UploadConfig struct {
	// Parallel is how many layers of a timeline are uploaded at once; default upload.DefaultParallel.
	Parallel int
	// BytesPerSecond bounds the uploads of all timelines together; 0 is no bound.
	BytesPerSecond int64
	// MaxDebt is how many bytes of layers of a timeline may wait for their upload, beside those that waited already when it was
	// opened, before no more are written from memory, and Put waits in turn. Default: 64 times the checkpoint distance; a
	// negative one is no bound but the disk.
	MaxDebt int64
	// CloseTime is how long Close waits for uploads; what is left then is uploaded once the timeline is opened
	// again. Default 10 s.
	CloseTime time.Duration
	// Validator says whether a generation is the last; default upload.Leases.
	Validator upload.Validator
	// DeleteDelay is how long objects wait for others that are deleted with them; default upload.DefaultDeleteDelay.
	DeleteDelay time.Duration
}

const (
	defaultCloseTime = 10 * time.Second
	// defaultDebt is MaxDebt in checkpoint distances: hours at the pace of most clusters.
	defaultDebt = 64
)

// uploadEnv is what the uploads of a store have in common. Nil is a store without a remote, or one that is only read.
type uploadEnv struct {
	c         UploadConfig
	sleep     func(ctx context.Context, d time.Duration) error
	bandwidth *upload.Bandwidth
	documents *upload.Documents
	deletions *upload.Deletions
	counters  upload.Counters
	waits     atomic.Int64
}

// deletionDir is the folder of the lists of what is to be deleted from remote storage.
const deletionDir = "deletion"

func newUploadEnv(c *Config) (*uploadEnv, error) {
	if c.Remote == nil || c.ReadOnly {
		return nil, nil
	}
	u := &uploadEnv{c: c.Upload, sleep: c.Sleep, bandwidth: upload.NewBandwidth(c.Upload.BytesPerSecond, c.Clock),
		documents: upload.NewDocuments(upload.DefaultDocuments)}
	if u.c.CloseTime == 0 {
		u.c.CloseTime = defaultCloseTime
	}
	if u.c.MaxDebt == 0 {
		u.c.MaxDebt = defaultDebt * c.CheckpointDistance
	}
	if u.sleep == nil {
		u.sleep = clock.Sleep
	}
	if u.c.Validator == nil {
		u.c.Validator = upload.Leases{Remote: c.Remote}
	}
	var err error
	u.deletions, err = upload.NewDeletions(upload.DeletionsConfig{Remote: c.Remote, FS: c.FS, Dir: filepath.Join(c.Scratch, deletionDir),
		Validator: u.c.Validator, Delay: u.c.DeleteDelay, Sleep: u.sleep, Logger: c.Logger, Clock: c.Clock})
	return u, err
}

// stop ends the deletions.
func (u *uploadEnv) stop() {
	if u != nil {
		u.deletions.Stop()
	}
}

// UploadMetrics tell what went to remote storage since the store was opened, and what is owed.
type UploadMetrics struct {
	upload.Counts
	Deletions upload.DeletionCounts
	// Waits are flushes that waited for UploadConfig.MaxDebt.
	Waits int64
}

func (u *uploadEnv) metrics() (m UploadMetrics) {
	if u != nil {
		m = UploadMetrics{u.counters.Counts(), u.deletions.Counts(), u.waits.Load()}
	}
	return m
}

// Deletions are what is to be deleted from remote storage; nil without one.
func (e *Env) Deletions() *upload.Deletions {
	if e.uploads == nil {
		return nil
	}
	return e.uploads.deletions
}

// Validator says whether a generation is the last; nil without remote storage.
func (e *Env) Validator() upload.Validator {
	if e.uploads == nil {
		return nil
	}
	return e.uploads.c.Validator
}

// uploads is a timeline's way to remote storage. Until the index there has been read there is no queue; what is published
// meanwhile is found in the manifest then.
type uploads struct {
	t     *Timeline
	tasks *tasks.Group
	ready chan struct{} // closed once mu.queue or mu.err is set

	mu struct {
		sync.Mutex
		queue *upload.Queue
		err   error                        // why there is none
		trial error                        // why there is none yet
		freed []layer.Desc                 // removed before there was one
		names map[upload.Object]layer.Desc // whose names wait for a deletion
		// ahead are the bytes published while there is no queue, backlog those that waited when it came and still do.
		ahead, backlog int64
	}
}

// startUploads begins to bring the timeline to remote storage, if there is one.
func (t *Timeline) startUploads() error {
	if t.env.uploads == nil {
		return nil
	}
	u := &uploads{t: t, tasks: tasks.New(), ready: make(chan struct{})}
	u.mu.names = map[upload.Object]layer.Desc{}
	t.uploads = u
	return u.tasks.Go(u.begin)
}

func (u *uploads) place() upload.Place {
	return placeOf(&u.t.meta)
}

// Pauses between attempts to read the index.
const (
	firstIndexPause   = 100 * time.Millisecond
	longestIndexPause = 10 * time.Second
)

// begin reads the index, for as long as it takes, and schedules what the manifest has and the index has not.
func (u *uploads) begin(ctx context.Context) {
	defer close(u.ready)
	for wait := firstIndexPause; ; wait = min(2*wait, longestIndexPause) {
		err := u.read(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		u.t.env.Logger.Warn("nothing is uploaded", "timeline", u.t.meta.Name, "err", err)
		final := errors.Is(err, upload.ErrStale)
		u.failed(err, final)
		if final || u.t.env.uploads.sleep(ctx, wait) != nil {
			return
		}
	}
}

// read reads what the remote has, and makes the queue.
func (u *uploads) read(ctx context.Context) error {
	part, wrote, err := upload.Load(ctx, u.t.env.Remote, u.place(), u.t.generation)
	if errors.Is(err, remote.ErrNotFound) {
		part, err = nil, nil
	}
	if err != nil {
		return err
	}
	objects, err := upload.Objects(ctx, u.t.env.Remote, u.place(), u.t.generation)
	if err != nil {
		return err
	}
	return u.reconcile(ctx, part, wrote, objects)
}

func (u *uploads) failed(err error, final bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.trial = err; final {
		u.mu.err = err
	}
}

// reconcile makes the queue, and schedules in it what the manifest has and the index has not, and the deletion of objects
// that no manifest names: a process that was killed may have left any, and so may a writer that was replaced.
func (u *uploads) reconcile(ctx context.Context, part *index.Part, wrote uint32, objects []upload.Object) error {
	t := u.t
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	s := t.log.State()
	if err := u.checkDisk(part, wrote, &s); err != nil {
		return err
	}
	layers, surplus := t.log.Layers(), surplusOf(part, t.log.Layers())
	lacking := slices.DeleteFunc(s.Layers, func(d layer.Desc) bool { return t.isThere(part, &d) })
	q := upload.New(upload.Config{Remote: t.env.Remote, FS: t.env.FS, Place: u.place(), Generation: t.generation,
		Validator: t.env.uploads.c.Validator, Deletions: t.env.uploads.deletions, Parallel: t.env.uploads.c.Parallel,
		Bandwidth: t.env.uploads.bandwidth, Documents: t.env.uploads.documents, Counters: &t.env.uploads.counters, Logger: t.env.Logger, Clock: t.env.Clock,
		Sleep: t.env.uploads.sleep, Released: u.released, Indexed: u.indexed}, part)
	q.Forget(surplus...)
	for _, d := range lacking {
		if u.inherits(q, d) || u.isAway(q, d) {
			continue
		}
		if err := q.Layer(d, filepath.Join(t.dir, d.FileName())); err != nil {
			return errors.Join(err, q.Shutdown(ctx, false))
		}
	}
	q.Index(func(p *index.Part) {
		describe(p, &s, t.initdbLSN())
		p.ArchivedAt = t.Archived()
		if err := p.EndImport(t.env.Clock()); err != nil {
			t.env.Logger.Warn("the index keeps a mark of an import", "timeline", t.meta.Name, "err", err)
		}
	})
	u.open(q, slices.DeleteFunc(objects, func(o upload.Object) bool { return namesObject(layers, o) || o == upload.IndexObject(t.generation) }))
	t.env.uploads.deletions.Resume(u.place(), t.generation, func(o upload.Object) bool { return namesObject(layers, o) })
	return nil
}

// checkDisk makes sure that the local disk has what remote storage has, and notes it. An index below the noted generation may be that of a
// writer that we have replaced: what it has added since then is not ours.
func (u *uploads) checkDisk(part *index.Part, wrote uint32, s *manifest.State) error {
	t := u.t
	noted, err := t.readGeneration()
	if err != nil {
		return err
	}
	const cure = "detach the timeline, and attach it from remote storage"
	switch {
	case part == nil:
	case wrote > noted:
		return fmt.Errorf("%w: the index in remote storage is of generation %d, the local disk of %d: another writer has had the timeline meanwhile; %s",
			upload.ErrStale, wrote, noted, cure)
	case wrote == noted && part.Metadata.DiskConsistentLSN > s.DiskConsistentLSN:
		return fmt.Errorf("%w: the index in remote storage is at LSN %s, the local disk at %s only: is it an old copy? %s",
			upload.ErrStale, part.Metadata.DiskConsistentLSN, s.DiskConsistentLSN, cure)
	}
	if noted == t.generation {
		return nil
	}
	return t.env.writeGeneration(t.dir, t.meta.Owner())
}

// open lets the queue be used, and deletes what nobody names.
func (u *uploads) open(q *upload.Queue, surplus []upload.Object) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.queue, u.mu.trial = q, nil
	u.mu.backlog = max(0, q.Owed()-u.mu.ahead)
	q.Delete(surplus...)
	for i := range u.mu.freed {
		u.deleteLocked(&u.mu.freed[i])
	}
	u.mu.freed = nil
}

func (u *uploads) get() *upload.Queue {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mu.queue
}

// published hands an edit over that is durable in the manifest. The caller has the flusher's turn.
func (u *uploads) published(e *manifest.Edit) {
	q := u.get()
	if q == nil && u != nil {
		u.early(e)
	}
	if q == nil || len(e.Add)+len(e.Remove)+len(e.Moved) == 0 && e.Position == nil && e.Cutoff == 0 && e.RelDirs == nil && e.Descent == nil {
		return
	}
	q.Forget(e.Remove...)
	there := remoteOf(e)
	for _, d := range e.Add {
		if r, ok := there[idOf(&d)]; ok {
			q.Inherit(d, shardText(r.Shard), index.Sum(r.Sum))
			continue
		}
		if err := q.Layer(d, filepath.Join(u.t.dir, d.FileName())); err != nil {
			u.t.env.Logger.Error("a layer is not uploaded before the timeline is opened again", "timeline", u.t.meta.Name, "layer", d.FileName(), "err", err)
		}
	}
	q.Index(func(p *index.Part) { amend(p, e) })
}

// remoteOf gives the layers of which an edit says that remote storage has them.
func remoteOf(e *manifest.Edit) map[compaction.ID]manifest.Remote {
	there := make(map[compaction.ID]manifest.Remote, len(e.Remote))
	for _, r := range e.Remote {
		there[idOf(&r.Layer)] = r
	}
	return there
}

// early counts what is published before there is a queue, which finds it in the manifest then.
func (u *uploads) early(e *manifest.Edit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range e.Add {
		u.mu.ahead += e.Add[i].Size
	}
}

// debt is what was published and is to be uploaded, but for what waited when the timeline was opened.
func (u *uploads) debt() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.mu.err != nil:
		return 0 // nothing is uploaded any more
	case u.mu.queue == nil:
		return u.mu.ahead
	}
	owed := u.mu.queue.Owed()
	u.mu.backlog = min(u.mu.backlog, owed)
	return owed - u.mu.backlog
}

// removed has the object deleted of a layer that no reader has any more. It reports whether the layer's name is taken until that
// has happened.
func (u *uploads) removed(d layer.Desc) (taken bool) {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.queue == nil {
		u.mu.freed = append(u.mu.freed, d)
	} else {
		u.deleteLocked(&d)
	}
	return true
}

func (u *uploads) deleteLocked(d *layer.Desc) {
	o := upload.ObjectOf(d)
	u.mu.names[o] = *d
	u.mu.queue.Delete(o)
}

// released frees the names of layers whose deletion is in a list.
func (u *uploads) released(objects []upload.Object) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, o := range objects {
		if d, ok := u.mu.names[o]; ok {
			delete(u.mu.names, o)
			u.t.compact.undoom(d)
		}
	}
}

// indexed notes in the manifest what remote storage has for good.
func (u *uploads) indexed(ctx context.Context, landed []upload.Landed) {
	t := u.t
	if t.flusher.take(ctx) != nil {
		return
	}
	defer t.flusher.give()
	var e manifest.Edit
	now := t.env.Clock().UnixNano()
	for _, l := range landed {
		d, ok := t.log.Layers().Find(l.Desc)
		if !ok || d.Generation != l.Desc.Generation {
			continue
		}
		t.files.add(&d).note(now) // from now on it may be evicted: it is not one that nobody has read for long
		l.Desc.Size = 0
		e.Remote = append(e.Remote, manifest.Remote{Layer: l.Desc, Sum: uint64(l.Sum), Shard: shardBits(t.meta.Shard)})
	}
	if len(e.Remote) == 0 {
		return
	}
	if err := t.publish(&e); err != nil {
		t.env.Logger.Warn("cannot note what was uploaded; it is not evicted, and uploaded again when the timeline is opened", "timeline", t.meta.Name, "err", err)
	}
}

// room waits until there is less debt than UploadConfig.MaxDebt, or the timeline is closed.
func (u *uploads) room(ctx context.Context) error {
	if u == nil {
		return nil
	}
	most := u.t.env.uploads.c.MaxDebt
	if most < 0 || u.debt() < most {
		return nil
	}
	u.t.env.uploads.waits.Add(1)
	const look = 20 * time.Millisecond
	for !u.t.closed.Load() && u.debt() >= most {
		if err := clock.Sleep(ctx, look); err != nil {
			return fmt.Errorf("waiting for uploads: %w", err)
		}
	}
	return nil
}

// stop ends the uploads, with flush once all are up; what is not up when ctx ends is scheduled again with the next start.
func (u *uploads) stop(ctx context.Context, flush bool) {
	if u == nil {
		return
	}
	if flush {
		u.t.removeDead()
		select {
		case <-u.ready:
		case <-ctx.Done():
		}
	}
	u.tasks.Stop()
	if q := u.get(); q != nil {
		if err := q.Shutdown(ctx, flush); err != nil {
			u.t.env.Logger.Warn("closed before all was uploaded", "timeline", u.t.meta.Name, "err", err)
		}
	}
}

// RemoteConsistentLSN is up to where remote storage alone is enough: WAL below it need not be kept for this timeline. It is 0 without a
// remote, and until an index was uploaded and validated since the timeline was opened.
func (t *Timeline) RemoteConsistentLSN() page.LSN {
	if q := t.uploads.get(); q != nil {
		return q.RemoteConsistentLSN()
	}
	return 0
}

// UploadStatus is what the timeline owes to remote storage. While its index could not be read yet, all but Err is zero.
func (t *Timeline) UploadStatus() (s upload.Status) {
	u := t.uploads
	if u == nil {
		return s
	}
	if q := u.get(); q != nil {
		return q.Status()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s.Index, s.Err, s.Stale = true, u.mu.trial, u.mu.err != nil
	return s
}

// WaitUploads returns once all that is durable now is in remote storage as well, and our generation was found to be the last
// after that. Without a remote it returns at once.
func (t *Timeline) WaitUploads(ctx context.Context) error {
	u := t.uploads
	if u == nil {
		return nil
	}
	select {
	case <-u.ready:
	case <-ctx.Done():
		return fmt.Errorf("timeline %s: waiting for its index in remote storage: %w (%v)", t.meta.Name, ctx.Err(), t.UploadStatus().Err)
	}
	u.mu.Lock()
	q, err := u.mu.queue, u.mu.err
	u.mu.Unlock()
	switch {
	case q != nil:
		return q.Wait(ctx)
	case err != nil:
		return fmt.Errorf("timeline %s: %w", t.meta.Name, err)
	}
	return t.closedError()
}
