package timeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratapg/strata/internal/upload/index"
)

// ErrArchived says that a timeline is archived: it can be read, and nothing else.
var ErrArchived = errors.New("timeline is archived")

// Archived is when the timeline was archived; zero if it is not.
func (t *Timeline) Archived() time.Time {
	if n := t.archived.Load(); n != 0 {
		return time.Unix(0, n).UTC()
	}
	return time.Time{}
}

func (t *Timeline) noteArchived(at time.Time) {
	if at.IsZero() {
		t.archived.Store(0)
	} else {
		t.archived.Store(at.UnixNano())
	}
}

// SetArchived says when the timeline was archived; zero says that it is not. From then on nothing can be put. It returns once
// the index in remote storage says so, if there is one; repeated, it waits for that again.
func (t *Timeline) SetArchived(ctx context.Context, at time.Time) error {
	t.noteArchived(at)
	u := t.uploads
	if u == nil {
		return nil
	}
	if err := t.WaitUploads(ctx); err != nil {
		return err
	}
	q := u.get()
	if q == nil {
		return t.closedError()
	}
	q.Index(func(p *index.Part) { p.ArchivedAt = at })
	return q.Wait(ctx)
}

// Seal has nothing put any more, for the reason given; nil lifts it.
func (t *Timeline) Seal(reason error) {
	if reason == nil {
		t.sealed.Store(nil)
	} else {
		t.sealed.Store(&reason)
	}
}

// checkSealed says why nothing can be put.
func (t *Timeline) checkSealed() error {
	if err := t.sealed.Load(); err != nil {
		return fmt.Errorf("timeline %s: %w", t.meta.Name, *err)
	}
	if t.archived.Load() != 0 {
		return fmt.Errorf("timeline %s: %w since %s", t.meta.Name, ErrArchived, t.Archived().Format(time.RFC3339))
	}
	return nil
}
