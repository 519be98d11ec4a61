package timeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
)

// localGeneration is that of tenants that nobody has given one: of every store without remote storage.
const localGeneration = 1

// Flush writes everything that has been put so far, and returns once it is durable.
func (t *Timeline) Flush(ctx context.Context) error {
	if err := t.beginWrite(ctx); err != nil {
		return err
	}
	t.freeze()
	end := t.view.Load().start
	t.writer.give()
	if err := t.flushUpTo(ctx, end); err != nil {
		return fmt.Errorf("timeline %s: flush: %w", t.meta.Name, err)
	}
	return nil
}

// flushUpTo writes, oldest first, the frozen layers that begin below end.
func (t *Timeline) flushUpTo(ctx context.Context, end page.LSN) error {
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	for {
		v := t.view.Load()
		if len(v.frozen) == 0 || v.frozen[0].lsns.Start >= end {
			return nil
		}
		err := t.flushOldest(ctx, v.frozen[0])
		t.flushEnded(ctx, err)
		if err != nil {
			return err
		}
	}
}

// flushEnded tells those who wait for room how it went. That a caller gave up is no failure.
func (t *Timeline) flushEnded(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if err != nil {
		t.env.counters.flushErrors.Add(1)
		t.env.Logger.Error("cannot write a layer; it stays in memory", "timeline", t.meta.Name,
			"disk_consistent_lsn", t.DiskConsistentLSN().String(), "err", err)
	}
	t.retryWhenFull(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.flushErr = err
	t.changedLocked()
}

func (t *Timeline) flushError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.flushErr
}

// flushOldest writes and publishes one frozen layer. The order is that of durability: the files, their
// directory entries, one edit of the manifest, then one view.
func (t *Timeline) flushOldest(ctx context.Context, f *frozen) error {
	info := FlushInfo{JobID: t.env.jobs.Add(1), Tenant: t.id.Tenant, Timeline: t.id.Timeline, LSNs: f.lsns}
	if t.env.Events.FlushBegin != nil {
		t.env.Events.FlushBegin(info)
	}
	begin, size := t.env.Clock(), f.mem.Size()
	err := errors.Join(t.checkDir(), t.uploads.room(ctx))
	if err == nil {
		err = t.writeFrozen(ctx, f)
	}
	if err == nil {
		err = t.publishFrozen(f)
	}
	info.Duration, info.Err = t.env.Clock().Sub(begin), err
	if err == nil {
		t.meter.add(size, info.Duration)
		t.refillReserve()
		info.Layers = f.written
	}
	if t.env.Events.FlushEnd != nil {
		t.env.Events.FlushEnd(info)
	}
	return err
}

// writeFrozen makes the files of f, unless they are there already or there is nothing to write.
func (t *Timeline) writeFrozen(ctx context.Context, f *frozen) error {
	if f.mem.Len() == 0 || f.placed {
		return nil
	}
	if f.written == nil {
		written, chains, err := t.writeDeltas(ctx, f)
		if err != nil {
			return err
		}
		f.written, f.chains = written, chains
		t.env.counters.flushes.Add(int64(len(written)))
		for i := range written {
			t.env.counters.flushBytes.Add(written[i].Size)
		}
	}
	if err := t.env.FS.SyncDir(t.dir); err != nil {
		// The kernel may have forgotten the entries, and would call the next sync a success: only new files'
		// entries can be trusted again, if any.
		f.written, f.chains, t.dirFailed = nil, nil, true
		return err
	}
	f.placed = true
	return nil
}

// checkDir says why nothing can be written since a sync of the folder failed: but for a full disk it stays so
// until the store is opened again (virtualfile.Sticky). Reads go on.
func (t *Timeline) checkDir() error {
	if !t.dirFailed {
		return nil
	}
	if err := t.env.FS.SyncDir(t.dir); err != nil {
		return fmt.Errorf("open the store again once its disk is sound: %w", err)
	}
	t.dirFailed = false
	return nil
}

func (t *Timeline) publishFrozen(f *frozen) error {
	at := position{last: f.lsns.End - 1, prev: f.prev}
	e := manifest.Edit{Position: &manifest.Position{DiskConsistentLSN: at.last, PrevRecordLSN: at.prev}, Add: f.written, Chains: f.chains,
		RelDirs: t.flushedRelDirs(f)}
	layers, err := t.view.Load().layers.Apply(e.Add, nil)
	if err != nil {
		return err
	}
	if err := t.publish(&e); err != nil {
		return err
	}
	t.compact.chains.note(&e)
	size := f.mem.Size() // it may be gone with the view that has it
	t.update(func(v *view) {
		v.layers, v.frozen, v.flushes = layers, v.frozen[1:], v.flushes+int64(min(len(f.written), 1))
	})
	t.durable.Store(&at)
	t.durableLSN.advance(at.last)
	t.env.memory.Add(-size)
	t.wakeCompactor()
	return nil
}
