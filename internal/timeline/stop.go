package timeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stratapg/strata/page"
)

// How a timeline ends: nothing is put any more; what is in memory is written, unless its files are to go; background work,
// uploads and snapshots end; reads that run have a while to end, and are cut off then. After that nothing touches the
// timeline's folder.

// readersTime is how long reads that run may go on when their timeline is closed, and how long those that were cut off are waited for.
const readersTime = 5 * time.Second

// Close writes what is in memory, so that reopening loses nothing, and ends the background work. It may be
// called twice. After an error what was not written is lost: its WAL has to be ingested again.
func (t *Timeline) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), t.env.CloseTime())
	defer cancel()
	return t.CloseBy(ctx)
}

// CloseBy is Close; uploads are waited for as long as ctx lets them.
func (t *Timeline) CloseBy(ctx context.Context) error { return t.end(ctx, true) }

// Abandon is Close of a timeline that is to be deleted, or is not to be written to: nothing is flushed or uploaded any more.
func (t *Timeline) Abandon() error { return t.end(context.Background(), false) }

func (t *Timeline) end(ctx context.Context, write bool) error {
	t.closing.Do(func() {
		write := write && !t.env.ReadOnly
		background := context.Background()
		_ = t.writer.take(background) // cannot fail: the context never ends
		t.closed.Store(true)
		close(t.ended)
		if write {
			t.freeze()
		}
		t.writer.give()
		t.endBackground()
		if write {
			t.closeErr = t.flushUpTo(background, page.MaxLSN)
			if t.closeErr != nil {
				t.closeErr = fmt.Errorf("timeline %s: what follows LSN %s is not on disk: %w", t.meta.Name, t.DiskConsistentLSN(), t.closeErr)
			}
		}
		t.uploads.stop(ctx, write)
		t.closeErr = errors.Join(t.closeErr, t.shut())
	})
	return t.closeErr
}

// shut ends the reads, and lets go of the manifest.
func (t *Timeline) shut() error {
	_ = t.flusher.take(context.Background())
	defer t.flusher.give()
	t.releaseMemory()
	t.env.heights.drop(t)
	t.env.firsts.drop(t)
	t.endSnapshots()
	t.endViews()
	t.awaitReaders()
	t.endRemovals()
	return t.log.Close()
}

// releaseMemory takes what was never written out of the count of all timelines.
func (t *Timeline) releaseMemory() {
	v := t.view.Load()
	n := v.open.Size()
	for _, f := range v.frozen {
		n += f.mem.Size()
	}
	t.env.memory.Add(-n)
}

// endSnapshots ends those of the timeline and of its branches.
func (t *Timeline) endSnapshots() {
	for _, s := range t.env.snapshots.list() {
		if slices.Contains(s.reads, t) {
			s.end(fmt.Errorf("snapshot of timeline %s at LSN %s: %w", s.t.meta.Name, s.lsn, ErrClosed))
		}
	}
}

// awaitReaders returns once nobody reads the timeline's files any more. Who goes on for too long is cut off at the next file
// that he needs.
func (t *Timeline) awaitReaders() {
	ended := within(readersTime, t.gone)
	t.files.cutOff()
	if !ended {
		ended = within(readersTime, t.gone)
	}
	if !within(readersTime, t.files.landed()) || !ended {
		t.env.Logger.Warn("closed while it is still being read; the reads fail", "timeline", t.meta.Name)
	}
}

// Ended is closed once the timeline is being closed.
func (t *Timeline) Ended() <-chan struct{} { return t.ended }

// within waits for a channel to be closed, and reports whether it was.
func within(d time.Duration, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

// CloseTime is how long those who close timelines wait for uploads.
func (e *Env) CloseTime() time.Duration {
	if e.uploads == nil {
		return defaultCloseTime
	}
	return e.uploads.c.CloseTime
}
