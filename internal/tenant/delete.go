package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// A deletion, step by step; a crash after any of them leaves one that goes on with the next start, or with the next call:
//
//  1. The tenant's file TIMELINES says that the timeline is deleted. There is no way back.
//  2. It is closed; nothing is flushed or uploaded any more.
//  3. Its index in remote storage says so too: whoever attaches it deletes it further.
//  4. All objects but that index go, through the deletion queue: only if our generation is the last.
//  5. The index goes.
//  6. The local folder goes, then the line in TIMELINES and the entry in the manifest in remote storage.

// Delete removes a timeline for good, here and in remote storage. All that branch from it must be deleted before. One that is being made
// or imported is called off. It returns once all is gone; one that has failed goes on when it is called again, or when the store is
// opened again.
func (t *Tenant) Delete(ctx context.Context, nameOrID string) error {
	if s, err := t.find(nameOrID); err == nil && !t.store.env.ReadOnly {
		if err := t.callOff(ctx, s); err != nil {
			return err
		}
		if now, err := t.find(nameOrID); err != nil || now != s {
			return nil // it never was
		}
	}
	return t.change(ctx, "delete", nameOrID, func(s *slot) error {
		if err := t.branchesOf(s, func(*slot) bool { return false }); err != nil {
			return fmt.Errorf("%w: delete them first", err)
		}
		if err := t.neededUnsettled(s.id); err != nil {
			return err
		}
		return t.delete(ctx, s)
	})
}

// delete does all that is left to be done of a deletion. The caller has the tenant's turn.
func (t *Tenant) delete(ctx context.Context, s *slot) (err error) {
	state, tl := t.stateOf(s)
	r := s.record
	r.word = wordDeleting
	err = t.record(r)
	if err != nil && !t.unsure {
		return err
	}
	t.set(s, func() { s.record, s.state, s.err = r, Deleting, err })
	if err != nil {
		return err // it may be found after a crash: there is no way back
	}
	defer func() {
		if err != nil {
			t.set(s, func() { s.err = err })
		}
	}()
	if tl != nil {
		if err := tl.Abandon(); err != nil {
			t.store.env.Logger.Warn("a timeline that is deleted could not be closed well", "timeline", s.label(), "was", state, "err", err)
		}
		t.set(s, func() { s.tl = nil })
	}
	if t.store.env.Remote != nil {
		if err := t.deleteObjects(ctx, s); err != nil {
			return err
		}
	}
	if err := t.removeFolder(s.id); err != nil {
		return err
	}
	if err := t.record(record{id: s.id}); err != nil {
		return err
	}
	t.set(s, func() {
		t.forgetLocked(&s.record)
		delete(t.mu.slots, s.id)
	})
	return t.writeManifest(ctx)
}

// deleteObjects removes a timeline from remote storage.
func (t *Tenant) deleteObjects(ctx context.Context, s *slot) error {
	if err := t.markDeleted(ctx, s.id); err != nil {
		return err
	}
	p := t.place(s.id)
	own := upload.IndexObject(t.store.env.Generation(t.ShardID()))
	if err := t.deleteAll(ctx, p, func(o upload.Object) bool { return o == own }); err != nil {
		return err
	}
	if stays, err := t.leaveToOthers(ctx, s.id); err != nil || stays {
		return err
	}
	return t.deleteAll(ctx, p, func(upload.Object) bool { return false })
}

// markDeleted has the index in remote storage say that a timeline is deleted.
func (t *Tenant) markDeleted(ctx context.Context, id page.TimelineID) error {
	p, env := t.place(id), t.store.env
	generation := env.Generation(t.ShardID())
	part, wrote, err := upload.Load(ctx, env.Remote, p, generation)
	if err != nil && !errors.Is(err, remote.ErrNotFound) {
		return err
	}
	if part == nil && t.shard.Count > 0 {
		part = index.New() // the other shards are to know
	}
	if part != nil && (part.DeletedAt.IsZero() || wrote != generation) {
		if part.DeletedAt.IsZero() {
			part.DeletedAt = env.Clock().UTC()
		}
		b, err := part.Encode()
		if err != nil {
			return err
		}
		_, err = env.Remote.Put(ctx, p.IndexKey(generation), bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
		return err
	}
	return nil
}

// preserved is what Neon keeps of a timeline when all else goes.
const preserved = "initdb-preserved.tar.zst"

// deleteAll removes all objects of a timeline but some.
func (t *Tenant) deleteAll(ctx context.Context, p upload.Place, but func(upload.Object) bool) error {
	env := t.store.env
	for range 2 { // what the queue had begun to upload may come behind
		objects, err := allObjects(ctx, env.Remote, p)
		if err != nil {
			return err
		}
		objects = slices.DeleteFunc(objects, but)
		if len(objects) == 0 {
			return nil
		}
		env.Deletions().Delete(p, env.Generation(t.ShardID()), objects)
		if err := env.Deletions().Flush(ctx); err != nil {
			return err
		}
	}
	objects, err := allObjects(ctx, env.Remote, p)
	if objects = slices.DeleteFunc(objects, but); err != nil || len(objects) == 0 {
		return err
	}
	return fmt.Errorf("%w: %d objects are left to it, the first of them %s", timeline.ErrStale, len(objects), objects[0].Name)
}

// allObjects lists whatever lies under a timeline.
func allObjects(ctx context.Context, store remote.Storage, p upload.Place) (out []upload.Object, err error) {
	for e, err := range store.List(ctx, p.Prefix(), remote.ListOptions{}) {
		if err != nil {
			return nil, err
		}
		if name := strings.TrimPrefix(e.Key, p.Prefix()); name != preserved {
			out = append(out, upload.ObjectNamed(name))
		}
	}
	return out, nil
}

// Pauses between attempts to end a deletion in the background.
const (
	firstDeletePause   = time.Second
	longestDeletePause = time.Minute
)

// resume goes on in the background with what a former process has begun.
func (s *Store) resume() {
	if s.env.ReadOnly {
		return
	}
	for _, t := range s.allTenants() {
		t.resumeDeletions()
		t.resumeDetaching()
	}
}

// resumeDeletions ends deletions in the background, those of branches first.
func (t *Tenant) resumeDeletions() {
	t.mu.Lock()
	n := 0
	for _, s := range t.mu.slots {
		if s.state == Deleting {
			n++
		}
	}
	t.mu.Unlock()
	if n == 0 {
		return
	}
	_ = t.tasks.Go(func(ctx context.Context) { // closed otherwise
		for wait := firstDeletePause; ; wait = min(2*wait, longestDeletePause) {
			left := t.deleteLeft(ctx)
			if left == 0 || clock.Sleep(ctx, wait) != nil {
				return
			}
		}
	})
}

// deleteLeft tries each deletion that has not ended, and gives how many are left.
func (t *Tenant) deleteLeft(ctx context.Context) (left int) {
	for done := true; done; {
		done, left = false, 0
		for _, st := range t.Statuses() {
			if st.State != Deleting {
				continue
			}
			if err := t.Delete(ctx, st.ID.String()); err != nil && ctx.Err() == nil {
				left++
				t.store.env.Logger.Warn("a timeline is not deleted yet", "tenant", t.id, "timeline", st.Name, "err", err)
			} else {
				done = true
			}
		}
		if left == 0 || ctx.Err() != nil {
			return left
		}
	}
	return left
}
