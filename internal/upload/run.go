package upload

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/internal/upload/schedule"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// Pauses between attempts: the first, and the longest, each half by chance.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// pumpLocked begins what may begin, and wakes those whose wait is over.
func (q *Queue) pumpLocked() {
	for !q.mu.stopped && !q.mu.stale {
		op, ok := q.mu.order.Next()
		if !ok {
			break
		}
		if q.tasks.Go(func(ctx context.Context) { q.run(ctx, op) }) != nil {
			return // Shutdown has begun
		}
	}
	q.wakeLocked()
}

// wakeLocked wakes those whose barrier has been passed; while an index is not validated nobody's has.
func (q *Queue) wakeLocked() {
	if (q.mu.checking || q.mu.unchecked != 0) && !q.mu.stale {
		return
	}
	passed := q.mu.order.Passed()
	for mark, c := range q.mu.waiters {
		if mark <= passed || q.mu.stale {
			close(c)
			delete(q.mu.waiters, mark)
		}
	}
}

// run does one operation until it succeeds or the queue ends.
func (q *Queue) run(ctx context.Context, op schedule.Op) {
	switch op.Kind {
	case schedule.Layer:
		q.runLayer(ctx, op)
	case schedule.Index:
		q.runIndex(ctx, op)
	case schedule.Delete:
		q.runDelete(op)
	}
}

// retry tries for ever, with growing pauses. It gives false if the queue ends before it succeeds.
func (q *Queue) retry(ctx context.Context, what string, try func() error) bool {
	for attempt := 0; ; attempt++ {
		err := try()
		if err == nil {
			q.fault(what, nil)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		q.c.Counters.failures.Add(1)
		if q.fault(what, err) {
			q.c.Logger.Warn("cannot write to remote storage; it is tried again", "timeline", q.c.Place.Timeline, "object", what, "err", err)
		}
		if q.c.Sleep(ctx, pause(attempt)) != nil {
			return false
		}
	}
}

func pause(attempt int) time.Duration {
	d := longestPause
	if attempt < 30 && firstPause<<attempt < longestPause {
		d = firstPause << attempt
	}
	return d/2 + rand.N(d/2+1)
}

// fault notes or clears what is wrong with an operation, and reports whether it is the first fault of it.
func (q *Queue) fault(what string, err error) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		delete(q.mu.faults, what)
		return false
	}
	if len(q.mu.faults) == 0 {
		q.mu.faulty = q.c.Clock()
	}
	first = q.mu.faults[what] == nil
	q.mu.faults[what] = err
	return first
}

func (q *Queue) runLayer(ctx context.Context, op schedule.Op) {
	name := op.Names[0]
	q.mu.Lock()
	f := q.mu.files[name]
	q.mu.Unlock()
	if !q.retry(ctx, name, func() error { return q.putLayer(ctx, f) }) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.endFileLocked(name)
	q.mu.order.Done(op)
	q.pumpLocked()
}

func (q *Queue) putLayer(ctx context.Context, f *file) error {
	if err := q.c.Deletions.Keep(ctx, q.c.Place, ObjectOf(&f.desc)); err != nil {
		return err
	}
	t := Transfer{q.c.Remote, q.c.FS, q.c.Bandwidth}
	sum, err := t.Put(ctx, q.c.Place.Prefix()+ObjectName(&f.desc), f.path, f.desc.Size, f.sum)
	if errors.Is(err, fs.ErrNotExist) && q.isForgotten(f) {
		return nil
	}
	if err != nil {
		return err
	}
	f.sum = sum
	q.c.Counters.layers.Add(1)
	q.c.Counters.bytes.Add(f.desc.Size)
	return nil
}

func (q *Queue) isForgotten(f *file) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return f.forgotten
}

func (q *Queue) runIndex(ctx context.Context, op schedule.Op) {
	// Nobody else changes the part, and those who read it have the lock.
	part := q.takeChanges(op.Version)
	var size int64
	ok := q.retry(ctx, indexName, func() (err error) {
		size, err = q.putIndex(ctx, part)
		return err
	})
	if !ok {
		return
	}
	q.c.Counters.indexes.Add(1)
	q.c.Counters.indexBytes.Add(size)
	landed := q.land()
	if q.c.Indexed != nil && len(landed) > 0 {
		q.c.Indexed(ctx, landed)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.projected = part.Metadata.DiskConsistentLSN
	q.mu.unchecked = q.mu.projected
	q.mu.order.Done(op)
	q.checkLocked()
	q.pumpLocked()
}

// putIndex writes the document, and uploads it. It is in memory for one attempt only, and only if there is room for it.
func (q *Queue) putIndex(ctx context.Context, part *index.Part) (size int64, err error) {
	done, err := q.c.Documents.take(ctx, part.Layers.EncodedSize(), q.c.Counters)
	if err != nil {
		return 0, err
	}
	defer done()
	b, err := part.Encode()
	if err != nil {
		return 0, err
	}
	_, err = q.c.Remote.Put(ctx, q.c.Place.IndexKey(q.c.Generation), bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
	return int64(len(b)), err
}

// land gives the layers that were named for the first time.
func (q *Queue) land() []Landed {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]Landed, 0, len(q.mu.fresh))
	for _, d := range q.mu.fresh {
		l, _ := q.mu.part.Layers.Find(&d)
		out = append(out, Landed{d, l.Sum})
	}
	clear(q.mu.fresh)
	return out
}

// takeChanges gives the index of a version.
func (q *Queue) takeChanges(version uint64) *index.Part {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.mu.changes) > 0 && q.mu.changes[0].at < version {
		q.mu.changes[0].apply(q.mu.part)
		q.mu.changes[0] = change{}
		q.mu.changes = q.mu.changes[1:]
	}
	return q.mu.part
}

// checkLocked begins to ask whether our generation is the last, unless somebody does already.
func (q *Queue) checkLocked() {
	if q.mu.checking || q.mu.stopped {
		return
	}
	q.mu.checking = q.tasks.Go(q.check) == nil
}

// check validates what was uploaded, until nothing is left to be validated.
func (q *Queue) check(ctx context.Context) {
	for {
		lsn, more := q.nextCheck()
		if !more {
			return
		}
		var valid bool
		ok := q.retry(ctx, "generation", func() (err error) {
			valid, err = q.c.Validator.Validate(ctx, q.c.Place, q.c.Generation)
			return err
		})
		if !ok {
			return
		}
		q.checked(lsn, valid)
	}
}

func (q *Queue) nextCheck() (lsn page.LSN, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lsn, q.mu.unchecked = q.mu.unchecked, 0
	if q.mu.checking = lsn != 0 && !q.mu.stale; !q.mu.checking {
		q.wakeLocked()
	}
	return lsn, q.mu.checking
}

func (q *Queue) checked(lsn page.LSN, valid bool) {
	q.mu.Lock()
	if !valid {
		q.mu.stale = true
		q.mu.checking = false
		q.wakeLocked()
		q.mu.Unlock()
		q.c.Logger.Error("another writer has taken over; nothing is uploaded any more", "timeline", q.c.Place.Timeline, "generation", q.c.Generation)
		return
	}
	moved := lsn > q.mu.consistent
	q.mu.consistent = max(q.mu.consistent, lsn)
	q.mu.Unlock()
	if moved && q.c.Consistent != nil {
		q.c.Consistent(lsn)
	}
}

func (q *Queue) runDelete(op schedule.Op) {
	objects := make([]Object, 0, len(op.Names))
	for _, name := range op.Names {
		objects = append(objects, objectNamed(name))
	}
	q.c.Deletions.Delete(q.c.Place, q.c.Generation, objects)
	q.mu.Lock()
	q.mu.order.Done(op)
	q.pumpLocked()
	q.mu.Unlock()
	if q.c.Released != nil {
		q.c.Released(objects)
	}
}
