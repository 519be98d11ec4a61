package tenant

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// finds are what remote storage has of a tenant.
type finds struct {
	wanted []page.TimelineID // those that were asked for first
	asked  int
	parts  map[page.TimelineID]found
	// absent are those that are not attached: they have lines in TIMELINES.
	absent []record
}

// found is an index.
type found struct{ *index.Part }

// importing says whether it is that of an import that is not finished.
func (f found) importing() bool { return f.Part != nil && f.DeletedAt.IsZero() && f.Part.Importing() }

// foreignImport says whether it is one that Neon does.
func (f found) foreignImport() bool {
	return f.importing() && (f.Origin == nil || f.Origin.Import == nil)
}

// surveyors is how many indexes are read at once.
const surveyors = 16

// survey reads all indexes of a tenant, and records, before anything is attached, what those need of their ancestors that are
// not wanted, so that nobody collects it. wanted are those that are; none is all that are neither offloaded nor deleted.
func (t *Tenant) survey(ctx context.Context, wanted []page.TimelineID) (*finds, error) {
	ids, err := upload.Timelines(ctx, t.store.env.Remote, t.place(page.TimelineID{}))
	if err != nil {
		return nil, err
	}
	f := &finds{wanted: wanted}
	if f.parts, err = t.loadParts(ctx, ids); err != nil {
		return nil, err
	}
	m, err := t.readManifest(ctx)
	if err != nil {
		return nil, err
	}
	offloaded := map[page.TimelineID]record{}
	for i := range m.offloaded {
		r := m.offloaded[i].record()
		if part, there := f.parts[r.id]; there && !part.ArchivedAt.IsZero() {
			r.name = partName(r.id, part.Part)
			offloaded[r.id] = r
		}
	}
	if len(wanted) == 0 {
		for _, id := range ids {
			if _, off := offloaded[id]; !off && f.parts[id].Part != nil && f.parts[id].DeletedAt.IsZero() && !f.parts[id].foreignImport() {
				f.wanted = append(f.wanted, id)
			}
		}
	}
	if err := f.withAncestors(t.id); err != nil {
		return nil, err
	}
	return f, t.recordAbsent(f, offloaded)
}

// loadParts reads indexes. A timeline without one was never finished.
func (t *Tenant) loadParts(ctx context.Context, ids []page.TimelineID) (map[page.TimelineID]found, error) {
	parts := make(map[page.TimelineID]found, len(ids))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(surveyors)
	for _, id := range ids {
		g.Go(func() error {
			part, _, err := upload.Load(ctx, t.store.env.Remote, t.place(id), t.store.env.Generation(t.ShardID()))
			if errors.Is(err, remote.ErrNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("timeline %s: %w", id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			parts[id] = found{part}
			return nil
		})
	}
	return parts, g.Wait()
}

// withAncestors adds to those wanted what they branch from.
func (f *finds) withAncestors(tenant page.TenantID) error {
	f.asked = len(f.wanted)
	seen := make(map[page.TimelineID]bool, len(f.wanted))
	for _, id := range f.wanted {
		seen[id] = true
	}
	for i := 0; i < len(f.wanted); i++ {
		part := f.parts[f.wanted[i]].Part
		if part == nil {
			return fmt.Errorf("%w: remote storage has no index of timeline %s of tenant %s", ErrTimelineNotFound, f.wanted[i], tenant)
		}
		if up := part.Metadata.Ancestor; up != nil && !seen[*up] {
			seen[*up] = true
			f.wanted = append(f.wanted, *up)
		}
	}
	return nil
}

// recordAbsent gives those their places that are not attached.
func (t *Tenant) recordAbsent(f *finds, offloaded map[page.TimelineID]record) error {
	wanted := make(map[page.TimelineID]bool, len(f.wanted))
	for _, id := range f.wanted {
		wanted[id] = true
	}
	for id, part := range f.parts {
		if _, err := t.find(id.String()); err == nil || wanted[id] && part.DeletedAt.IsZero() {
			continue
		}
		r, off := offloaded[id]
		if !off {
			r = record{word: wordDetached, id: id, name: partName(id, part.Part), archived: part.ArchivedAt, lsn: part.Metadata.AncestorLSN}
			if a := part.Metadata.Ancestor; a != nil {
				r.ancestor = *a
			}
			if !part.DeletedAt.IsZero() {
				r.word = wordDeleting
			}
		}
		f.absent = append(f.absent, r)
	}
	if err := t.record(f.absent...); err != nil {
		return err
	}
	states := map[string]State{wordOffloaded: Offloaded, wordDetached: Detached, wordDeleting: Deleting}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range f.absent {
		s := &slot{record: r, known: true, state: states[r.word]}
		t.mu.slots[r.id] = s
		t.keepLocked(s)
	}
	return nil
}

// partName is what an index calls its timeline.
func partName(id page.TimelineID, part *index.Part) string {
	if part != nil && part.Origin != nil && part.Origin.Name != "" {
		return part.Origin.Name
	}
	return "timeline-" + id.String()
}
