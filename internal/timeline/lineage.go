package timeline

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// lineage is what a read sees: one pinned view of the timeline and of each of its ancestors. It is pooled.
type lineage struct {
	timelines []*Timeline
	views     []*view // the timeline's own first
	descents  []*descent
	lsns      []page.LSN
}

var lineages = sync.Pool{New: func() any { return new(lineage) }}

// pin pins what a read at lsn needs. The caller must release it. Ancestors come first: they drop what a branch
// has covered itself, and then the branch's view must be one that covers it.
func (t *Timeline) pin(lsn page.LSN) (*lineage, error) {
	l := lineages.Get().(*lineage)
	for again := true; again; {
		l.trace(t, lsn)
		for i, t := range slices.Backward(l.timelines) {
			v, err := t.pinView()
			if err != nil && !l.changed(nil) {
				l.release()
				return nil, err
			}
			l.views[i] = v
		}
		if again = l.changed(l.views); again {
			l.clear()
		}
	}
	return l, nil
}

// trace notes the timelines that a read at lsn sees.
func (l *lineage) trace(t *Timeline, lsn page.LSN) {
	for t != nil {
		d := t.from()
		l.timelines = append(l.timelines, t)
		l.descents = append(l.descents, d)
		l.lsns = append(l.lsns, lsn)
		lsn = min(lsn, d.lsn)
		t = d.ancestor
	}
	l.views = slices.Grow(l.views, len(l.timelines))[:len(l.timelines)]
}

// changed reports whether a timeline comes from elsewhere by now: by the views that were pinned or, without those, by the present
// ones. What was pinned does not belong together then.
func (l *lineage) changed(views []*view) bool {
	for i, t := range l.timelines {
		v := t.view.Load()
		if views != nil {
			v = views[i]
		}
		if v == nil || v.from != l.descents[i] {
			return true
		}
	}
	return false
}

func (l *lineage) release() {
	l.clear()
	lineages.Put(l)
}

func (l *lineage) clear() {
	for _, v := range l.views {
		v.release()
	}
	clear(l.views)
	clear(l.timelines)
	clear(l.descents)
	l.views, l.lsns, l.timelines, l.descents = l.views[:0], l.lsns[:0], l.timelines[:0], l.descents[:0]
}

// gather fills c from the timeline and, if they are inherited, from its ancestors, and then reads all values
// at once.
func (l *lineage) gather(ctx context.Context, c *layer.Collector, inherited bool) error {
	visits := 0
	if l.timelines[0].files.cut.Load() {
		return l.timelines[0].closedError()
	}
	if l.lacksFiles() {
		defer l.fetchAhead(ctx, c, inherited).leave(ctx, c)
	}
	if !inherited && min(c.LSN(), l.lsns[0]) <= l.descents[0].joint() {
		return c.Fetch(ctx)
	}
	for i, v := range l.views {
		n, err := v.collect(ctx, c, min(c.LSN(), l.lsns[i]))
		if visits += n; err != nil {
			return fmt.Errorf("timeline %s: %w", v.t.meta.Name, err)
		}
		if !inherited || c.Open().Empty() {
			break
		}
	}
	l.views[0].t.env.counters.layerVisits.Add(int64(visits))
	return c.Fetch(ctx)
}

// collect asks the view's layers, newest to oldest, for what c lacks at or below lsn.
func (v *view) collect(ctx context.Context, c *layer.Collector, lsn page.LSN) (visits int, err error) {
	if n, err := collectMem(ctx, c, v.open, v.start, lsn); err != nil {
		return 0, err
	} else {
		visits += n
	}
	for _, f := range slices.Backward(v.frozen) {
		n, err := collectMem(ctx, c, f.mem, f.lsns.Start, lsn)
		if visits += n; err != nil {
			return visits, err
		}
	}
	open := c.Open()
	if open.Empty() {
		return visits, nil
	}
	if d, ok := v.topImage(open, lsn); ok {
		return visits + 1, v.visit(ctx, c, &layer.Visit{Desc: d, Keys: open, LSNs: d.LSNs})
	}
	next := v.layers.Visits(c, lsn+1)
	if one, _ := open.Single(); one {
		next = v.layers.VisitsOfKey(c, lsn+1)
	}
	for visit := range next {
		if !v.askFor(&visit) {
			continue
		}
		visits++
		if err := v.visit(ctx, c, &visit); err != nil {
			return visits, err
		}
	}
	return visits, nil
}

// askFor leaves out of a visit what has moved from a delta, since other layers of the view give it: while a job goes on
// publishing, a read of what is done visits its outputs alone. It reports whether anything is left to ask for.
func (v *view) askFor(visit *layer.Visit) bool {
	if len(v.moved) == 0 || visit.Desc.Image {
		return true
	}
	keys, some := v.moved[idOf(&visit.Desc)]
	if some {
		visit.Keys = visit.Keys.Subtract(keys)
	}
	return !some || !visit.Keys.Empty()
}

// topImage finds the image layer that alone answers a read of one key, since no delta reaches above it. That
// is what most reads of a compacted timeline meet, and much cheaper than a plan.
func (v *view) topImage(open page.Set, lsn page.LSN) (layer.Desc, bool) {
	one, k := open.Single()
	if !one {
		return layer.Desc{}, false
	}
	hit, ok := v.layers.Search(k, lsn+1)
	if !ok {
		return layer.Desc{}, false
	}
	d := hit.Desc()
	return d, d.Image
}

func (v *view) visit(ctx context.Context, c *layer.Collector, visit *layer.Visit) error {
	r, err := v.t.files.readerFor(ctx, &visit.Desc, c)
	if err == nil {
		err = layerError(r.Collect(ctx, c, visit.Keys, visit.LSNs))
	}
	return err
}

func collectMem(ctx context.Context, c *layer.Collector, m *layer.Mem, start, lsn page.LSN) (int, error) {
	if start > lsn || m.Len() == 0 {
		return 0, nil
	}
	open := c.Open()
	if open.Empty() {
		return 0, nil
	}
	return 1, m.Collect(ctx, c, open, page.LSNRange{Start: start, End: lsn + 1})
}
