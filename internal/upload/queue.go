package upload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/internal/upload/schedule"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// ErrStopped says that a queue was shut down before it had done what was waited for.
var ErrStopped = errors.New("uploads were stopped")

// DefaultParallel is how many layers of a timeline are uploaded at once.
const DefaultParallel = 8

// Config says whose queue it is and what it works with. Remote, FS, Place, Generation, Validator, Deletions, Logger and
// Clock must be set.
type Config struct {
	Remote remote.Storage
	// FS is where the files of layers are.
	FS    virtualfile.FS
	Place Place
	// Generation is the writer's.
	Generation uint32
	Validator  Validator
	// Deletions takes what is to be deleted.
	Deletions Deleter
	// Parallel is how many layers are uploaded at once; default DefaultParallel.
	Parallel  int
	Bandwidth *Bandwidth
	// Documents bounds the memory of indexes on their way; nil is no bound.
	Documents *Documents
	Counters  *Counters
	Logger    *slog.Logger
	Clock     clock.Clock
	// Sleep waits between attempts; default by the clock. Tests set it.
	Sleep func(ctx context.Context, d time.Duration) error
	// Released is told of layers whose names are free again after a Delete. It may be nil.
	Released func([]Object)
	// Indexed is told of the layers that an index names which has just been uploaded, and that none named before. Until it returns
	// nobody's Wait does. It may be nil.
	Indexed func(ctx context.Context, landed []Landed)
	// Consistent is told of each new RemoteConsistentLSN. It may be nil.
	Consistent func(page.LSN)
}

// Object is a layer in remote storage.
type Object struct {
	Name       string // the layer's, without generation
	Generation uint32
}

// Landed is a layer that an index in the remote names.
type Landed struct {
	Desc layer.Desc
	Sum  index.Sum
}

// ObjectOf names a layer's object.
func ObjectOf(d *layer.Desc) Object { return Object{d.Name(), d.Generation} }

func (o Object) key() string { return o.Name + suffix(o.Generation) }

// Deleter takes objects that no index names any more, and sees to it that they go if their generation is still the last.
type Deleter interface {
	// Delete takes objects of a timeline; it does not wait for their end.
	Delete(p Place, generation uint32, objects []Object)
	// Keep takes back the deletion of an object that is about to be uploaded again, or waits until it has happened.
	Keep(ctx context.Context, p Place, o Object) error
}

// Queue uploads what one timeline makes durable.
type Queue struct {
	c     Config
	tasks *tasks.Group

	mu struct {
		sync.Mutex
		order *schedule.Schedule
		files map[string]*file // by object name, until they are up
		bytes int64            // of files
		// part is the index that was uploaded last, or with the changes of the one that is being uploaded, which are
		// the layers in fresh.
		part    *index.Part
		fresh   map[string]layer.Desc
		changes []change // of later ones
		waiters map[uint64]chan struct{}
		faults  map[string]error
		faulty  time.Time // since when there are any
		stopped bool
		stale   bool

		projected, consistent page.LSN
		unchecked             page.LSN // uploaded, and to be validated
		checking              bool
	}
}

// file is a layer on its way.
type file struct {
	desc      layer.Desc
	path      string
	since     time.Time
	sum       uint64
	forgotten bool
}

// change is what an index has that the one before it had not.
type change struct {
	at    uint64 // before the call of Index with a higher version
	apply func(*index.Part)
}

// New makes the queue of a timeline whose index in the remote is part, nil if there is none. The queue owns part.
func New(c Config, part *index.Part) *Queue {
	if c.Parallel == 0 {
		c.Parallel = DefaultParallel
	}
	if c.Sleep == nil {
		c.Sleep = clock.Sleep
	}
	if c.Counters == nil {
		c.Counters = &Counters{}
	}
	q := &Queue{c: c, tasks: tasks.New()}
	if part == nil {
		part = index.New()
	} else {
		q.mu.projected = part.Metadata.DiskConsistentLSN
	}
	q.mu.order, q.mu.files, q.mu.part = schedule.New(c.Parallel), map[string]*file{}, part
	q.mu.waiters, q.mu.faults, q.mu.fresh = map[uint64]chan struct{}{}, map[string]error{}, map[string]layer.Desc{}
	return q
}

// Layer schedules the upload of a file that is durable. The indexes from the next on name it. path must stay until the layer is
// up or forgotten.
func (q *Queue) Layer(d layer.Desc, path string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	name := ObjectName(&d)
	if err := q.mu.order.Layer(name); err != nil {
		return err
	}
	f := &file{desc: d, path: path, since: q.c.Clock()}
	q.mu.files[name] = f
	q.oweLocked(1, d.Size)
	q.changeLocked(func(p *index.Part) { // with the lock held
		q.mu.fresh[d.Name()] = d
		_ = p.Layers.Put(index.Layer{Desc: d, Shard: shardOf(q.c.Place), Sum: index.Sum(f.sum)}) // cannot fail: it was uploaded
	})
	q.pumpLocked()
	return nil
}

// Inherit has the indexes from the next on name a layer that is in the remote as the object of another shard. A call of Index
// must follow.
func (q *Queue) Inherit(d layer.Desc, shard string, sum index.Sum) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.changeLocked(func(p *index.Part) {
		_ = p.Layers.Put(index.Layer{Desc: d, Shard: shard, Sum: sum}) // cannot fail: an index has had it
	})
}

func shardOf(p Place) string {
	if p.Shard == "" {
		return ""
	}
	return p.Shard[1:]
}

// changeLocked notes what the next index has.
func (q *Queue) changeLocked(apply func(*index.Part)) {
	q.mu.changes = append(q.mu.changes, change{q.mu.order.Now(), apply})
}

// Forget says that the indexes from the next on do not name layers. A call of Index must follow. What is in the remote stays
// until Delete.
func (q *Queue) Forget(ds ...layer.Desc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range ds {
		name := ObjectName(&d)
		if f := q.mu.files[name]; f != nil {
			f.forgotten = true
		}
		if q.mu.order.Forget(name) {
			q.endFileLocked(name)
		}
		q.changeLocked(func(p *index.Part) {
			if l, ok := p.Layers.Find(&d); ok && l.Desc.Generation == d.Generation {
				p.Layers.Remove(&d)
				delete(q.mu.fresh, d.Name())
			}
		})
	}
}

// oweLocked counts what waits.
func (q *Queue) oweLocked(layers, bytes int64) {
	q.mu.bytes += bytes
	q.c.Counters.owed.Add(layers)
	q.c.Counters.owedBytes.Add(bytes)
}

func (q *Queue) endFileLocked(name string) {
	q.oweLocked(-1, -q.mu.files[name].desc.Size)
	delete(q.mu.files, name)
	delete(q.mu.faults, name)
}

// Index schedules an index of all that was said before, and of the change, which may be nil.
func (q *Queue) Index(apply func(*index.Part)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if apply != nil {
		q.changeLocked(apply)
	}
	q.mu.order.Index()
	q.pumpLocked()
}

// Delete schedules the deletion of layers that were forgotten and that nobody reads any more.
func (q *Queue) Delete(objects ...Object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range objects {
		q.mu.order.Delete(o.key())
	}
	q.pumpLocked()
}

// Uploaded gives the entry of a layer in the index that was uploaded last, if it has one.
func (q *Queue) Uploaded(d *layer.Desc) (index.Layer, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l, ok := q.mu.part.Layers.Find(d)
	_, fresh := q.mu.fresh[d.Name()]
	return l, ok && l.Desc.Generation == d.Generation && !fresh
}

// RemoteConsistentLSN is up to where the remote alone is enough: an index that says so was uploaded, and after
// that our generation was found to be the last. WAL below it is not needed any more.
func (q *Queue) RemoteConsistentLSN() page.LSN {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.consistent
}

// Wait returns once all that was scheduled before is in the remote, and our generation was found to be the last after that. ErrStale
// says that it is not; deletions are only handed over.
func (q *Queue) Wait(ctx context.Context) error {
	q.mu.Lock()
	mark := q.mu.order.Barrier()
	passed := make(chan struct{})
	q.mu.waiters[mark] = passed
	q.pumpLocked()
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.mu.waiters, mark)
		q.mu.Unlock()
	}()
	select {
	case <-passed:
	case <-q.tasks.Done():
	case <-ctx.Done():
		return fmt.Errorf("waiting for uploads of timeline %s: %w%s", q.c.Place.Timeline, ctx.Err(), q.faultText())
	}
	return q.whyNot(passed)
}

// whyNot says why a wait has ended.
func (q *Queue) whyNot(passed chan struct{}) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.stale {
		return fmt.Errorf("timeline %s, generation %d: %w", q.c.Place.Timeline, q.c.Generation, ErrStale)
	}
	select {
	case <-passed:
		return nil
	default:
		return fmt.Errorf("timeline %s: %w", q.c.Place.Timeline, ErrStopped)
	}
}

func (q *Queue) faultText() string {
	if err := q.Status().Err; err != nil {
		return fmt.Sprintf(" (%v)", err)
	}
	return ""
}

// Shutdown ends the queue. With flush it first waits for what is scheduled, for as long as ctx lets it; what was not done then
// is told by the error, and is scheduled again when the timeline is opened the next time.
func (q *Queue) Shutdown(ctx context.Context, flush bool) error {
	var err error
	if flush {
		err = q.Wait(ctx)
	}
	q.mu.Lock()
	q.mu.stopped = true
	q.mu.Unlock()
	q.tasks.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for name := range q.mu.files { // what is left is nobody's debt any more
		q.endFileLocked(name)
	}
	return err
}
