package timeline

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// Shard 0 alone has the commit log, and so the times of commits. The others keep by time what it keeps: they take its
// cutoff, of the timeline in the same store or, where it is elsewhere, of its newest index in remote storage.

// firsts are the open timelines of shards 0.
type firsts struct {
	all sync.Map // of firstKey to *Timeline
}

type firstKey struct {
	tenant   page.TenantID
	timeline page.TimelineID
	count    uint8
}

func firstKeyOf(t *Timeline) firstKey {
	return firstKey{t.meta.Tenant, t.meta.Timeline, t.meta.Shard.Count}
}

func (f *firsts) add(t *Timeline) {
	if s := t.meta.Shard; !s.Alone() && s.First() {
		f.all.Store(firstKeyOf(t), t)
	}
}

func (f *firsts) drop(t *Timeline) { f.all.CompareAndDelete(firstKeyOf(t), t) }

// firstsCutoff gives the cutoff of the same timeline on shard 0, if that can be asked.
func (t *Timeline) firstsCutoff(ctx context.Context) (cutoff page.LSN, ok bool, err error) {
	if first, here := t.env.firsts.all.Load(firstKeyOf(t)); here {
		return first.(*Timeline).begin(), true, nil
	}
	if t.env.Remote == nil {
		return 0, false, nil
	}
	m := t.meta
	m.Shard.Number = 0
	p := placeOf(&m)
	newest, ok, err := upload.Newest(ctx, t.env.Remote, p)
	if err != nil || !ok {
		return 0, false, err
	}
	part, _, err := upload.Load(ctx, t.env.Remote, p, newest)
	if errors.Is(err, remote.ErrNotFound) || errors.Is(err, upload.ErrStale) {
		return 0, false, nil // it has just been replaced
	}
	if err != nil {
		return 0, false, fmt.Errorf("cutoff of shard 0: %w", err)
	}
	return part.Metadata.GCCutoffLSN, true, nil
}
