package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// What a tenant that was split leaves in remote storage is named by the indexes of its shards, until each has taken over what is its own
// (timeline.TakeOver). No writer of a shard knows when the others are done, so each asks the indexes of all: what none of them
// names can go. A shard whose index is missing is not done; one that has deleted the timeline leaves an index that says so until
// the forebears' objects are gone.

// keptOfNeon is how objects begin that Neon keeps in the place of the tenant without shards, for all of its shards.
const keptOfNeon = "initdb"

// ForebearReport says what was removed of tenants that were split.
type ForebearReport struct {
	// Timelines are those of forebears of which all is gone now, Objects what was deleted of them; Needed are timelines that
	// a shard still has layers of.
	Timelines, Objects, Needed int
}

// RemoveForebears deletes from remote storage what no shard needs any more of those that the tenant was split from.
func (t *Tenant) RemoveForebears(ctx context.Context) (r ForebearReport, err error) {
	if t.store.env.Remote == nil || t.store.env.ReadOnly || t.shard.Count == 0 {
		return r, nil
	}
	fail := func(err error) (ForebearReport, error) {
		return r, fmt.Errorf("what tenant %s was split from: %w", t.ShardID(), err)
	}
	fs, err := t.forebears(ctx)
	if err != nil {
		return fail(err)
	}
	of := map[page.TimelineID][]upload.Place{}
	for _, f := range fs {
		ids, err := upload.Timelines(ctx, t.store.env.Remote, f)
		if err != nil {
			return fail(err)
		}
		for _, f.Timeline = range ids {
			of[f.Timeline] = append(of[f.Timeline], f)
		}
	}
	for id, places := range of {
		if err := t.removeForebears(ctx, id, places, &r); err != nil {
			return fail(fmt.Errorf("timeline %s: %w", id, err))
		}
	}
	return r, nil
}

// forebears lists the places, of whatever timeline, of those that the tenant's shards were split from and of which there is anything.
func (t *Tenant) forebears(ctx context.Context) (out []upload.Place, err error) {
	prefix := strings.TrimSuffix(upload.Place{Tenant: t.id}.TenantPrefix(), "/")
	for e, err := range t.store.env.Remote.List(ctx, prefix, remote.ListOptions{Delimited: true}) {
		if err != nil {
			return nil, err
		}
		id, err := page.ParseTenantShardID(strings.TrimPrefix(strings.TrimSuffix(e.Prefix, "/"), "tenants/"))
		if err == nil && id.Tenant == t.id && id.Shard.Count < t.shard.Count {
			out = append(out, upload.Place{Tenant: t.id, Shard: id.Shard.Suffix()})
		}
	}
	return out, nil
}

// removeForebears deletes a timeline of forebears that no shard names.
func (t *Tenant) removeForebears(ctx context.Context, id page.TimelineID, places []upload.Place, r *ForebearReport) error {
	needed, dead, err := t.neededBy(ctx, id)
	if err != nil {
		return err
	}
	if valid, err := t.store.env.Validator().Validate(ctx, t.place(page.TimelineID{}), t.store.env.Generation(t.ShardID())); err != nil || !valid {
		return errors.Join(err, timeline.ErrStale)
	}
	for _, p := range places {
		if needed == nil || needed[p.Shard] {
			r.Needed++
			continue
		}
		n, err := t.removePlace(ctx, p)
		if r.Objects += n; err != nil {
			return err
		}
		if n > 0 {
			r.Timelines++
		}
	}
	if needed == nil || len(needed) > 0 {
		return nil
	}
	for _, p := range dead { // nobody waits for them any more
		n, err := t.removePlace(ctx, p)
		if r.Objects += n; err != nil {
			return err
		}
	}
	return nil
}

// neededBy asks the indexes of all shards whose objects they name, beside their own. It is nil while one of them is missing. dead are
// the places of shards that have deleted the timeline.
func (t *Tenant) neededBy(ctx context.Context, id page.TimelineID) (needed map[string]bool, dead []upload.Place, err error) {
	needed = map[string]bool{}
	for n := range t.shard.Count {
		shard := page.ShardIndex{Number: n, Count: t.shard.Count}
		p := upload.Place{Tenant: t.id, Timeline: id, Shard: shard.Suffix()}
		newest, found, err := upload.Newest(ctx, t.store.env.Remote, p)
		if err != nil || !found {
			return nil, nil, err
		}
		part, _, err := upload.Load(ctx, t.store.env.Remote, p, newest)
		if errors.Is(err, remote.ErrNotFound) || errors.Is(err, upload.ErrStale) {
			return nil, nil, nil // it has just been replaced
		}
		if err != nil {
			return nil, nil, err
		}
		if !part.DeletedAt.IsZero() {
			dead = append(dead, p)
			continue
		}
		for l := range part.Layers.All() {
			suffix := ""
			if l.Shard != "" {
				suffix = "-" + l.Shard
			}
			if suffix != p.Shard {
				needed[suffix] = true
			}
		}
	}
	return needed, dead, nil
}

// removePlace deletes a timeline of a shard: indexes first, so that nobody finds one whose layers are gone.
func (t *Tenant) removePlace(ctx context.Context, p upload.Place) (n int, err error) {
	objects, err := allObjects(ctx, t.store.env.Remote, p)
	if err != nil {
		return 0, err
	}
	var indexes, others []string
	for _, o := range objects {
		switch key := p.ObjectKey(o); {
		case isKept(p, o):
		case o.Name == upload.IndexObject(0).Name:
			indexes = append(indexes, key)
		default:
			others = append(others, key)
		}
	}
	for _, keys := range [][]string{indexes, others} {
		if len(keys) == 0 {
			continue
		}
		if err := t.store.env.Remote.Delete(ctx, keys...); err != nil {
			return n, err
		}
		n += len(keys)
	}
	return n, nil
}

// isKept says whether an object stays when its timeline's layers and indexes go.
func isKept(p upload.Place, o upload.Object) bool {
	return strings.HasPrefix(o.Name, keptOfNeon) && p.Shard == ""
}

// forebearsOf gives the places of those that the tenant was split from where there is anything of a timeline.
func (t *Tenant) forebearsOf(ctx context.Context, id page.TimelineID) (out []upload.Place, err error) {
	if t.shard.Count == 0 {
		return nil, nil
	}
	fs, err := t.forebears(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range fs {
		p.Timeline = id
		objects, err := allObjects(ctx, t.store.env.Remote, p)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(objects, func(o upload.Object) bool { return !isKept(p, o) }) {
			out = append(out, p)
		}
	}
	return out, nil
}

// leaveToOthers says whether the index of a timeline that is deleted has to stay: other shards may have layers of forebears. The last of
// them removes it.
func (t *Tenant) leaveToOthers(ctx context.Context, id page.TimelineID) (bool, error) {
	places, err := t.forebearsOf(ctx, id)
	if err != nil || len(places) == 0 {
		return false, err
	}
	var r ForebearReport
	if err := t.removeForebears(ctx, id, places, &r); err != nil {
		return false, err
	}
	return r.Needed > 0, nil
}

// forebearsPeriod is how often it is looked at what the shards of a store do not need any more.
const forebearsPeriod = 10 * time.Minute

// removeForebearsInBackground removes it, for shards that have taken over all that is theirs.
func (s *Store) removeForebearsInBackground(ctx context.Context) {
	for clock.Sleep(ctx, forebearsPeriod) == nil {
		for _, t := range s.allTenants() {
			if t.shard.Count == 0 || slices.ContainsFunc(t.Timelines(), func(tl *timeline.Timeline) bool { return len(tl.Inherited()) > 0 }) {
				continue
			}
			if _, err := t.RemoveForebears(ctx); err != nil && ctx.Err() == nil {
				s.env.Logger.Warn("what is left in remote storage of a tenant that was split stays; it is tried again", "tenant", t.ShardID(), "err", err)
			}
		}
	}
}
