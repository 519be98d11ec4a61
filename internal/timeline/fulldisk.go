package timeline

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stratapg/strata/page"
)

// What a full disk does to ingest. Nothing of it is lost, and nothing is broken: values stay in memory, and what was to be
// written is written once there is room, which an eviction, a collection or a human may make. Until then Put goes on for as
// long as memory has room, and waits after that, unless Config.RefuseOnFullDisk says that it is to give the reason.

// Pauses between attempts to write on a full disk. Each attempt may write as much as there is room for.
const (
	firstFullDiskPause   = 100 * time.Millisecond
	longestFullDiskPause = 5 * time.Second
)

// noSpace says that something failed for want of space or of quota alone.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// outlasts says that what failed is waited for.
func (t *Timeline) outlasts(err error) bool { return !t.env.RefuseOnFullDisk && noSpace(err) }

// retryWhenFull has the flush tried again in a while, if the disk was full. The caller has the flusher's turn.
func (t *Timeline) retryWhenFull(err error) {
	if !t.outlasts(err) {
		t.fullPause = 0
		return
	}
	t.fullPause = min(max(2*t.fullPause, firstFullDiskPause), longestFullDiskPause)
	if !t.closed.Load() {
		t.env.alarms.set(&t.background.flushing, t.fullPause)
	}
	if e := t.env.FullDisk; e != nil {
		e()
	}
}

// storeInTime is store. Values that have no room in memory go to a scratch file; where the disk has none for that either, they
// are put once a flush has made some, or somebody else has.
func (t *Timeline) storeInTime(ctx context.Context, b *page.Batch, wait bool) error {
	err := t.store(ctx, b)
	if !t.outlasts(err) {
		return err
	}
	if !wait {
		return fmt.Errorf("timeline %s at LSN %s: %w: %w", t.meta.Name, t.LastRecordLSN(), ErrBackpressure, err)
	}
	defer t.stall()()
	for pause := firstFullDiskPause; t.outlasts(err); pause = min(2*pause, longestFullDiskPause) {
		if e := t.env.FullDisk; e != nil {
			e()
		}
		if err := t.awaitChange(ctx, pause); err != nil {
			return err
		}
		err = t.store(ctx, b)
	}
	return err
}

// awaitChange waits until a flush has ended or a while has passed.
func (t *Timeline) awaitChange(ctx context.Context, d time.Duration) error {
	t.mu.Lock()
	changed := t.mu.changed
	t.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
