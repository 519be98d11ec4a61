package index

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stratapg/strata/page"
)

// Neon's fields for what a timeline came from before, and for why nothing of it is to be collected.
const (
	fieldLineage    = "lineage"
	fieldGCBlocking = "gc_blocking"
)

// Lineage is what a timeline came from before.
type Lineage struct {
	// Original is what it branched from at OriginalLSN until it was detached from it at DetachedAt; zero if it never was.
	Original    page.TimelineID
	OriginalLSN page.LSN
	DetachedAt  time.Time
	// Former are what it branched from before at the same LSN, the oldest first. Truncated says that there were more.
	Former    []page.TimelineID
	Truncated bool
}

// lineageJSON is Neon's form (pageserver/src/tenant/remote_timeline_client/index.rs, Lineage): the original ancestor is an array.
type lineageJSON struct {
	Truncated bool               `json:"reparenting_history_truncated,omitempty"`
	Former    []page.TimelineID  `json:"reparenting_history,omitempty"`
	Original  *[]json.RawMessage `json:"original_ancestor,omitempty"`
}

// Lineage reads what the index says of what the timeline came from before.
func (p *Part) Lineage() (l Lineage, err error) {
	raw, ok := p.Rest[fieldLineage]
	if !ok {
		return l, nil
	}
	var j lineageJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return l, fmt.Errorf("%s: %w", fieldLineage, err)
	}
	l.Former, l.Truncated = j.Former, j.Truncated
	if j.Original == nil {
		return l, nil
	}
	parts := *j.Original
	if len(parts) != 3 {
		return l, fmt.Errorf("%s: original_ancestor of %d parts, not of 3", fieldLineage, len(parts))
	}
	var at naiveTime
	for i, to := range []any{&l.Original, &l.OriginalLSN, &at} {
		if err := json.Unmarshal(parts[i], to); err != nil {
			return l, fmt.Errorf("%s: original_ancestor: %w", fieldLineage, err)
		}
	}
	l.DetachedAt = time.Time(at)
	if l.OriginalLSN == page.InvalidLSN {
		return l, fmt.Errorf("%s: original_ancestor without LSN", fieldLineage)
	}
	return l, nil
}

// SetLineage says what the timeline came from before. What says the same already stays as it was written.
func (p *Part) SetLineage(l Lineage) error {
	if old, err := p.Lineage(); err == nil && old.same(&l) {
		return nil
	}
	j := lineageJSON{Truncated: l.Truncated, Former: l.Former}
	if l.OriginalLSN != 0 {
		var parts []json.RawMessage
		for _, x := range []any{l.Original, l.OriginalLSN, naiveTime(l.DetachedAt)} {
			b, err := json.Marshal(x)
			if err != nil {
				return fmt.Errorf("%s: %w", fieldLineage, err)
			}
			parts = append(parts, b)
		}
		j.Original = &parts
	}
	b, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("%s: %w", fieldLineage, err)
	}
	p.Rest[fieldLineage] = b
	return nil
}

func (l *Lineage) same(o *Lineage) bool {
	return l.Original == o.Original && l.OriginalLSN == o.OriginalLSN && l.DetachedAt.Equal(o.DetachedAt) &&
		l.Truncated == o.Truncated && slices.Equal(l.Former, o.Former)
}

// detaching is Neon's reason for not collecting while a timeline is detached from its ancestor.
const detaching = "DetachAncestor"

// gcBlocking is Neon's form of why nothing is collected.
type gcBlocking struct {
	StartedAt naiveTime `json:"started_at"`
	Reasons   []string  `json:"reasons"`
}

// Detaching says whether the timeline's detachment from its ancestor has begun and not ended.
func (p *Part) Detaching() (bool, error) {
	b, err := p.gcBlocking()
	return b != nil && slices.Contains(b.Reasons, detaching), err
}

func (p *Part) gcBlocking() (b *gcBlocking, err error) {
	if raw, ok := p.Rest[fieldGCBlocking]; ok {
		if err := json.Unmarshal(raw, &b); err != nil {
			return nil, fmt.Errorf("%s: %w", fieldGCBlocking, err)
		}
	}
	return b, nil
}

// SetDetaching says, from a time on, whether the timeline's detachment from its ancestor has begun and not ended. Other reasons for
// not collecting stay.
func (p *Part) SetDetaching(on bool, at time.Time) error {
	b, err := p.gcBlocking()
	if err != nil {
		return err
	}
	if b == nil {
		b = &gcBlocking{StartedAt: naiveTime(at)}
	}
	if slices.Contains(b.Reasons, detaching) == on {
		return nil
	}
	if on {
		b.Reasons = append(b.Reasons, detaching)
	} else {
		b.Reasons = slices.DeleteFunc(b.Reasons, func(r string) bool { return r == detaching })
	}
	if len(b.Reasons) == 0 {
		delete(p.Rest, fieldGCBlocking)
		return nil
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("%s: %w", fieldGCBlocking, err)
	}
	p.Rest[fieldGCBlocking] = raw
	return nil
}
