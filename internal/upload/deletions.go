package upload

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// Bounds of a list of deletions.
const (
	// DefaultDeleteDelay is how long objects wait for others that go with them in one request.
	DefaultDeleteDelay = 10 * time.Second
	// fullList is how many do not wait any more.
	fullList = 16384
	// deleteBatch is how many go in one request: what S3 takes.
	deleteBatch = 1000
)

// DeletionsConfig says what Deletions work with. All but Delay and Sleep must be set.
type DeletionsConfig struct {
	Remote remote.Storage
	// FS and Dir are where the lists are; the folder is made when it is needed.
	FS        virtualfile.FS
	Dir       string
	Validator Validator
	// Delay is DefaultDeleteDelay if it is 0.
	Delay time.Duration
	// Sleep waits between attempts; default by the clock. Tests set it.
	Sleep  func(ctx context.Context, d time.Duration) error
	Logger *slog.Logger
	Clock  clock.Clock
}

// Deletions are the objects of a store that no index names any more. They are gathered in lists; a list is written to the disk, then the
// generations of those who gave it are validated, then its objects are deleted, then it goes. Objects of a generation
// that is not the last are dropped: the writer that has taken over may name them in its index, and deletes what it does not.
//
// What a list on disk has when the process ends is taken up by Resume. There is no goroutine while nothing is to be deleted.
type Deletions struct {
	c     DeletionsConfig
	tasks *tasks.Group
	mu    struct {
		sync.Mutex
		open    []*doomed // of no list yet
		known   map[string]*doomed
		timer   *time.Timer
		working bool
		idle    chan struct{} // closed when the work ends; nil while there is none
		next    uint64        // number of the next list
		left    map[Place][]leftover
		stopped bool
		made    bool // the folder of the lists is there for good
	}
	deleted, dropped, failures atomic.Int64
}

// doomed is an object to be deleted.
type doomed struct {
	place      Place
	object     Object
	generation uint32        // of who gave it
	kept       bool          // it is to be deleted no more
	running    chan struct{} // closed once the request that deletes it has ended; nil before it begins
}

func (d *doomed) key() string { return d.place.Prefix() + d.object.key() }

// NewDeletions reads the lists that a former process has left. Nothing of them is deleted before Resume.
func NewDeletions(c DeletionsConfig) (*Deletions, error) {
	if c.Delay == 0 {
		c.Delay = DefaultDeleteDelay
	}
	if c.Sleep == nil {
		c.Sleep = clock.Sleep
	}
	d := &Deletions{c: c, tasks: tasks.New()}
	d.mu.known, d.mu.left = map[string]*doomed{}, map[Place][]leftover{}
	return d, d.readLists()
}

// Delete takes objects that no index of the timeline names any more.
func (d *Deletions) Delete(p Place, generation uint32, objects []Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range objects {
		x := &doomed{place: p, object: o, generation: generation}
		if d.mu.known[x.key()] == nil {
			d.mu.known[x.key()] = x
			d.mu.open = append(d.mu.open, x)
		}
	}
	if len(d.mu.open) >= fullList {
		d.beginLocked()
	} else if d.mu.timer == nil && len(d.mu.open) > 0 && !d.mu.stopped {
		d.mu.timer = time.AfterFunc(d.c.Delay, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.beginLocked()
		})
	}
}

// Keep takes back the deletion of an object that is about to be uploaded again, or waits until it has happened.
func (d *Deletions) Keep(ctx context.Context, p Place, o Object) error {
	x := &doomed{place: p, object: o}
	d.mu.Lock()
	found := d.mu.known[x.key()]
	var running chan struct{}
	if found != nil {
		if running = found.running; running == nil {
			found.kept = true
			delete(d.mu.known, x.key())
		}
	}
	d.mu.Unlock()
	if running == nil {
		return nil
	}
	select {
	case <-running:
		return nil
	case <-d.tasks.Done():
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beginLocked starts the work if there is any.
func (d *Deletions) beginLocked() {
	if d.mu.timer != nil {
		d.mu.timer.Stop()
		d.mu.timer = nil
	}
	if d.mu.working || len(d.mu.open) == 0 {
		return
	}
	if d.tasks.Go(d.work) == nil {
		d.mu.working, d.mu.idle = true, make(chan struct{})
	}
}

// Flush begins with what waits, and returns once all of it has been deleted or dropped.
func (d *Deletions) Flush(ctx context.Context) error {
	d.mu.Lock()
	d.beginLocked()
	idle := d.mu.idle
	d.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-d.tasks.Done():
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work deletes lists until nothing is left.
func (d *Deletions) work(ctx context.Context) {
	for {
		d.mu.Lock()
		list := d.mu.open
		d.mu.open = nil
		if len(list) == 0 || ctx.Err() != nil {
			d.mu.open = list
			d.mu.working = false
			close(d.mu.idle)
			d.mu.idle = nil
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		if !d.deleteList(ctx, list) {
			d.mu.Lock()
			d.mu.open = append(list, d.mu.open...) // for the list that Stop writes
			d.mu.Unlock()
		}
	}
}

// deleteList does all that is to be done with a list. It gives false if it was stopped before.
func (d *Deletions) deleteList(ctx context.Context, list []*doomed) bool {
	file := d.writeList(list)
	valid := d.validated(ctx, list)
	for len(valid) > 0 && ctx.Err() == nil {
		n := min(len(valid), deleteBatch)
		d.deleteBatch(ctx, valid[:n])
		valid = valid[n:]
	}
	if ctx.Err() != nil {
		return false
	}
	d.removeList(file)
	return true
}

// validated gives those objects of a list whose writers may delete, and drops the others.
func (d *Deletions) validated(ctx context.Context, list []*doomed) (valid []*doomed) {
	type writer struct {
		tenant     Place
		generation uint32
	}
	answers := map[writer]bool{}
	for _, x := range list {
		w := writer{Place{Tenant: x.place.Tenant, Shard: x.place.Shard}, x.generation}
		answer, asked := answers[w]
		if !asked {
			d.retry(ctx, "validate", func() (err error) {
				answer, err = d.c.Validator.Validate(ctx, w.tenant, w.generation)
				return err
			})
			answers[w] = answer
			if !answer && ctx.Err() == nil {
				d.c.Logger.Warn("another writer has taken over; what was to be deleted is left to it", "tenant", w.tenant.Tenant, "generation", w.generation)
			}
		}
		if answer {
			valid = append(valid, x)
		} else if ctx.Err() == nil {
			d.forget(x)
			d.dropped.Add(1)
		}
	}
	return valid
}

func (d *Deletions) forget(x *doomed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.known[x.key()] == x {
		delete(d.mu.known, x.key())
	}
}

// deleteBatch deletes what of a batch was not taken back.
func (d *Deletions) deleteBatch(ctx context.Context, batch []*doomed) {
	ended := make(chan struct{})
	defer close(ended)
	var keys []string
	d.mu.Lock()
	for _, x := range batch {
		if !x.kept {
			x.running = ended
			keys = append(keys, x.key())
		}
	}
	d.mu.Unlock()
	n := len(keys)
	ok := d.retry(ctx, "delete", func() error {
		err := d.c.Remote.Delete(ctx, keys...)
		var left remote.KeyErrors
		if errors.As(err, &left) {
			keys = keys[:0]
			for key := range left {
				keys = append(keys, key)
			}
		}
		return err
	})
	if !ok {
		return
	}
	d.deleted.Add(int64(n))
	for _, x := range batch {
		d.forget(x)
	}
}

// retry tries until it succeeds or the work is stopped.
func (d *Deletions) retry(ctx context.Context, what string, try func() error) bool {
	for attempt := 0; ; attempt++ {
		err := try()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		d.failures.Add(1)
		if attempt == 0 {
			d.c.Logger.Warn("cannot delete from remote storage; it is tried again", "step", what, "err", err)
		}
		if d.c.Sleep(ctx, pause(attempt)) != nil {
			return false
		}
	}
}

// Stop ends the work. What was not deleted is in lists on the disk.
func (d *Deletions) Stop() {
	d.mu.Lock()
	d.mu.stopped = true
	if d.mu.timer != nil {
		d.mu.timer.Stop()
		d.mu.timer = nil
	}
	d.mu.Unlock()
	d.tasks.Stop()
	d.mu.Lock()
	open := d.mu.open
	d.mu.open = nil
	d.mu.Unlock()
	if len(open) > 0 {
		d.writeList(open)
	}
}

// DeletionCounts tell of Deletions.
type DeletionCounts struct {
	// Pending wait; Deleted are gone; Dropped were left to another writer; Failures are attempts that failed.
	Pending, Deleted, Dropped, Failures int64
}

// Counts gives them.
func (d *Deletions) Counts() DeletionCounts {
	d.mu.Lock()
	pending := len(d.mu.known)
	d.mu.Unlock()
	return DeletionCounts{int64(pending), d.deleted.Load(), d.dropped.Load(), d.failures.Load()}
}
