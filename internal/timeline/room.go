package timeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pace holds batches back as debt grows. The writer's turn guards it.
type pace struct {
	until time.Time // no batch before this
}

// leastPause is what is worth a timer; less is owed until it has added up.
const leastPause = time.Millisecond

// unflushed gives the bytes that wait in memory.
func (v *view) unflushed() int64 {
	n := v.open.Size()
	for _, f := range v.frozen {
		n += f.mem.Size()
	}
	return n
}

// room reports whether one more frozen layer may wait.
func (t *Timeline) room() bool { return len(t.view.Load().frozen) < t.env.MaxFrozen }

// debt is that of the present view; see Pressure.
func (t *Timeline) debt() float64 {
	v := t.view.Load()
	if t.importing { // nobody reads it, and nothing compacts it
		return t.env.Pressure.debt(v.unflushed(), 0)
	}
	return max(t.env.Pressure.debt(v.unflushed(), v.layers.L0().Height()), t.compactionDebt(v))
}

// tooMuchInMemory reports whether a flush is what is waited for. One would only add to debt of other kinds.
func (t *Timeline) tooMuchInMemory() bool {
	return t.full() || t.env.Pressure.debt(t.view.Load().unflushed(), 0) >= 1
}

// mustWait reports whether nothing can be taken in before a flush or a compaction has ended.
func (t *Timeline) mustWait() bool { return t.full() && !t.room() || t.debt() >= 1 }

// waitForRoom waits until a batch can be taken in, or gives the reason why none can. The caller has the
// writer's turn.
func (t *Timeline) waitForRoom(ctx context.Context) error {
	if err := t.waitForPace(ctx); err != nil {
		return err
	}
	for first := true; ; first = false {
		t.mu.Lock()
		changed, err := t.mu.changed, t.mu.flushErr
		t.mu.Unlock()
		full := t.outlasts(err)
		if err != nil && !full {
			return t.refusal(err)
		}
		if !t.mustWait() {
			return nil
		}
		if err := t.stuck(); err != nil && !t.outlasts(err) {
			t.wakeCompactor()
			return t.refusal(err)
		}
		if first {
			defer t.stall()()
			t.wakeCompactor() // which tries again by itself
			if t.tooMuchInMemory() && t.room() && t.view.Load().open.Len() > 0 {
				t.freeze()
				continue
			}
		}
		if !full { // which has its own pace
			t.wakeFlusher()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if full {
				return fmt.Errorf("%w: %w", ctx.Err(), t.refusal(err))
			}
			return ctx.Err()
		}
	}
}

// stall counts and reports that a Put has to wait, and what it gives, that it waits no more.
func (t *Timeline) stall() (end func()) {
	t.env.counters.putWaits.Add(1)
	job, begin := t.env.jobs.Add(1), t.env.Clock()
	report := func(event func(StallInfo), took time.Duration) {
		if event == nil {
			return
		}
		v := t.view.Load()
		event(StallInfo{JobID: job, Tenant: t.id.Tenant, Timeline: t.id.Timeline, Unflushed: v.unflushed(),
			L0Height: v.layers.L0().Height(), Frozen: len(v.frozen), Duration: took})
	}
	report(t.env.Events.StallBegin, 0)
	return func() {
		took := t.env.Clock().Sub(begin)
		t.env.counters.putWaitNanos.Add(int64(took))
		report(t.env.Events.StallEnd, took)
	}
}

// waitForPace sits out what earlier batches owe.
func (t *Timeline) waitForPace(ctx context.Context) error {
	d := t.pace.until.Sub(t.env.Clock())
	if d < leastPause {
		return nil
	}
	t.env.counters.putPauses.Add(1)
	t.env.counters.putWaitNanos.Add(int64(d))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// haveRoom is waitForRoom for those who do not wait.
func (t *Timeline) haveRoom(context.Context) error {
	if t.mustWait() || t.pace.until.Sub(t.env.Clock()) >= leastPause {
		err := t.flushError()
		if err == nil {
			t.wakeFlusher()
		}
		t.wakeCompactor()
		return errors.Join(fmt.Errorf("timeline %s at LSN %s: %w", t.meta.Name, t.LastRecordLSN(), ErrBackpressure), err)
	}
	return nil
}

// owe notes what a batch of so many bytes costs at the present debt.
func (t *Timeline) owe(bytes int) {
	debt := t.debt()
	if debt >= 1 {
		return // the next batch waits for room, and not for longer
	}
	d := pause(debt, bytes, t.meter.get())
	if d == 0 {
		return
	}
	now := t.env.Clock()
	if t.pace.until.Before(now) {
		t.pace.until = now
	}
	t.pace.until = t.pace.until.Add(d)
	if latest := now.Add(maxPause); t.pace.until.After(latest) {
		t.pace.until = latest
	}
}
