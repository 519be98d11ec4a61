package strata

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

type (
	// DetachAncestorOptions say how a timeline is detached from its ancestor.
	DetachAncestorOptions = tenant.DetachAncestorOptions
	// DetachAncestorProgress says how far that is.
	DetachAncestorProgress = timeline.DetachProgress
	// DetachedAncestor says from what a timeline was detached, and what branches from it since.
	DetachedAncestor = tenant.DetachedAncestor
)

// DetachAncestor makes a branch independent of the timeline that it branches from, which must be no branch itself: it gets the
// layers that it needs, as files with another name and as copies in remote storage, and the other one may then be deleted. Timelines that branch
// from the same ancestor at the branch's own LSN or below become branches of it; those that are offloaded or detached from the store
// stay with the ancestor until they are here and the call is repeated. All of them are read and written to meanwhile, and read the same
// before and after, with one exception: once a branch itself was collected beyond its branch LSN, what lies below the cutoff is
// kept at branch points alone.
//
// It returns once remote storage has all of that, if there is one, and may be repeated, after an error too; what a crash leaves after the
// step that counts is ended by the next Open. ErrNoAncestor, ErrTooManyAncestors, ErrArchived and ErrDetachOngoing say why it is not
// done.
func (t *Tenant) DetachAncestor(ctx context.Context, nameOrID string, o DetachAncestorOptions) (DetachedAncestor, error) {
	return t.t.DetachAncestor(ctx, nameOrID, o)
}

// DetachAncestor detaches a timeline on every shard, as Tenant.DetachAncestor does, one after the other. After an error some of them may be
// detached; it may be repeated. What has become a branch of the timeline on every shard is in the result.
func (s *ShardSet) DetachAncestor(ctx context.Context, nameOrID string, o DetachAncestorOptions) (out DetachedAncestor, err error) {
	var errs []error
	for n, t := range s.shards {
		d, err := t.DetachAncestor(ctx, nameOrID, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", t.ShardID(), err))
			continue
		}
		if n == 0 {
			out = d
			continue
		}
		out.Before = out.Before && d.Before
		if out.Ancestor == d.Ancestor {
			out.Reparented = slices.DeleteFunc(out.Reparented, func(id page.TimelineID) bool { return !slices.Contains(d.Reparented, id) })
		}
	}
	if err := errors.Join(errs...); err != nil {
		return DetachedAncestor{}, err
	}
	return out, nil
}
