package timeline

import (
	"context"
	"time"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// background is what a timeline does by itself: each kind of work begins when it is woken, or when its alarm rings, and
// has a goroutine until it is done.
type background struct {
	flush, freeze, remove, compact, collect chore
	flushing, freezing, removing            alarm
	compacting, collecting                  alarm
	idle                                    idleness
}

// idleness lets a timeline that nothing happens to be looked at ever more seldom. The compacting chore has it.
type idleness struct {
	seen *view
	wait time.Duration
}

// longestIdle is the longest wait, for which what only time makes due may be late.
const longestIdle = 10 * time.Minute

// next gives the wait until the next look: the period, or the double of the last one where nothing has changed since.
func (i *idleness) next(v *view, period time.Duration) time.Duration {
	if v != i.seen {
		i.seen, i.wait = v, period
		return period
	}
	i.wait = min(2*i.wait, max(longestIdle, period))
	return i.wait
}

// startBackground begins what is done without being asked for.
func (t *Timeline) startBackground() {
	b := &t.background
	b.flush.do = func(ctx context.Context) { _ = t.flushUpTo(ctx, page.MaxLSN) } // kept for the next Put, and logged
	b.freeze.do, b.remove.do, b.compact.do, b.collect.do = t.freezeOnTime, t.removeInBackground, t.compactInBackground, t.collectInBackground
	b.flushing.ring = b.flush.wake
	b.freezing.ring, b.removing.ring, b.compacting.ring, b.collecting.ring = b.freeze.wake, b.remove.wake, b.compact.wake, b.collect.wake
	b.flush.group, b.remove.group = t.tasks, t.tasks
	if t.env.CheckpointTimeout > 0 {
		b.freeze.group = t.tasks
	}
	if p := t.env.Compaction.Period; p > 0 {
		b.compact.group = t.tasks
		t.oweFirst()
		t.env.alarms.set(&b.compacting, spread(p))
	}
	if p := t.env.GC.Period; p > 0 {
		b.collect.group = t.tasks
		t.env.alarms.set(&b.collecting, spread(p))
	}
}

// endBackground ends what is done in the background, and waits for it.
func (t *Timeline) endBackground() {
	t.tasks.Stop()
	b := &t.background
	for _, a := range []*alarm{&b.flushing, &b.freezing, &b.removing, &b.compacting, &b.collecting} {
		t.env.alarms.cancel(a)
	}
}

func (t *Timeline) wakeFlusher() { t.background.flush.wake() }

// wakeCompactor asks for a look at what is to be compacted.
func (t *Timeline) wakeCompactor() { t.background.compact.wake() }

// compactInBackground does what the strategy wants. It is woken whenever something was flushed, and now and then.
func (t *Timeline) compactInBackground(ctx context.Context) {
	if t.env.waitAllOpen(ctx) != nil {
		return
	}
	again := t.compactNow(ctx)
	if ctx.Err() == nil && t.takeOverNow(ctx) {
		again = min(again, compactRetry)
	}
	if ctx.Err() == nil {
		wait := t.background.idle.next(t.view.Load(), t.env.Compaction.Period)
		t.env.alarms.set(&t.background.compacting, min(wait, again))
	}
}

// collectInBackground collects. The store says when all its branches are known.
func (t *Timeline) collectInBackground(ctx context.Context) {
	if t.env.waitAllOpen(ctx) != nil {
		return
	}
	t.collectNow(ctx)
	if ctx.Err() == nil {
		t.env.alarms.set(&t.background.collecting, t.env.GC.Period)
	}
}

// bury has the files of doomed layers deleted: nobody reads them any more.
func (t *Timeline) bury(ds ...layer.Desc) {
	if len(ds) > 0 {
		t.compact.bury(ds...)
		t.background.remove.wake()
	}
}

// removeInBackground deletes files that have fallen to it, and tries again with those that could not be deleted.
func (t *Timeline) removeInBackground(ctx context.Context) {
	if left := t.removeDead(); left > 0 && ctx.Err() == nil {
		t.env.alarms.set(&t.background.removing, removeRetry)
	}
}

// beganOpen has the open layer frozen once it is old enough. The caller has the writer's turn.
func (t *Timeline) beganOpen() {
	if t.env.CheckpointTimeout > 0 {
		t.began = time.Now()
		t.env.alarms.set(&t.background.freezing, t.env.CheckpointTimeout)
	}
}

// freezeOnTime freezes the open layer if it is old enough. Another one may have begun since the alarm was set, which has then
// set it anew.
func (t *Timeline) freezeOnTime(ctx context.Context) {
	if err := t.beginWrite(ctx); err != nil {
		return // closed, or about to be
	}
	defer t.writer.give()
	if t.view.Load().open.Len() > 0 && time.Since(t.began) >= t.env.CheckpointTimeout {
		t.freeze()
	}
}
