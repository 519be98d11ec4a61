package timeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Put stores a batch whole or not at all; the batch may be reused afterwards. It refuses, with ErrRefused,
// what page.Batch.Check refuses. It is slowed down as debt grows, waits while too much is not yet written, be it
// because the disk is full, and refuses while writing fails for another reason, with that; each such call has the write
// tried again.
func (t *Timeline) Put(ctx context.Context, b *page.Batch) error {
	if err := t.beginWrite(ctx); err != nil {
		return err
	}
	defer t.writer.give()
	return t.put(ctx, b, true)
}

// TryPut is Put for those who have something better to do than to wait: where Put would, it gives
// ErrBackpressure and stores nothing.
func (t *Timeline) TryPut(ctx context.Context, b *page.Batch) error {
	if err := t.tryBeginWrite(); err != nil {
		return err
	}
	defer t.writer.give()
	return t.put(ctx, b, false)
}

// put stores a batch, once there is room or if there is. The caller has the writer's turn.
func (t *Timeline) put(ctx context.Context, b *page.Batch, wait bool) error {
	if err := t.checkSealed(); err != nil {
		return err
	}
	if err := t.flushError(); err != nil && !t.outlasts(err) {
		t.wakeFlusher()
		return t.refusal(err)
	}
	at := t.at.Load()
	if err := errors.Join(checkBatch(b, at.last), t.checkShardOf(b)); err != nil {
		return fmt.Errorf("timeline %s: %w: %w", t.meta.Name, ErrRefused, err)
	}
	if b.End == at.last {
		return nil // nothing has happened
	}
	room := t.haveRoom
	if wait {
		room = t.waitForRoom
	}
	if err := room(ctx); err != nil {
		return err
	}
	if t.full() {
		t.freeze()
	}
	if err := t.storeInTime(ctx, b, wait); err != nil {
		return err
	}
	if t.full() && t.room() {
		t.freeze()
	}
	t.owe(b.Bytes())
	return nil
}

// store puts a batch into the open layer and moves the timeline's end.
func (t *Timeline) store(ctx context.Context, b *page.Batch) error {
	open := t.view.Load().open
	before, first := open.Size(), open.Len() == 0
	if err := open.Put(ctx, b); err != nil {
		return fmt.Errorf("timeline %s: %w", t.meta.Name, err)
	}
	if first && b.Len() > 0 {
		t.beganOpen()
	}
	if b.RelDirs != nil {
		t.relDirsChanged(*b.RelDirs)
	}
	next := position{last: b.End, prev: b.Prev, relations: t.at.Load().relations}
	t.noteSizes(b, &next.relations)
	t.at.Store(&next)
	t.lastLSN.advance(b.End)
	t.env.memory.Add(open.Size() - before)
	t.env.counters.putBatches.Add(1)
	t.env.counters.putValues.Add(int64(b.Len()))
	t.env.counters.putBytes.Add(int64(b.Bytes()))
	return nil
}

// refusal says why nothing can be put.
func (t *Timeline) refusal(err error) error {
	return fmt.Errorf("timeline %s: nothing is taken in while layers cannot be written: %w", t.meta.Name, err)
}

// beginWrite takes the writer's turn, if the timeline may be written to.
func (t *Timeline) beginWrite(ctx context.Context) error {
	if t.env.ReadOnly {
		return fmt.Errorf("timeline %s: %w", t.meta.Name, ErrReadOnly)
	}
	if err := t.writer.take(ctx); err != nil {
		return err
	}
	return t.checkOpen()
}

// tryBeginWrite is beginWrite without waiting for another writer.
func (t *Timeline) tryBeginWrite() error {
	if t.env.ReadOnly {
		return fmt.Errorf("timeline %s: %w", t.meta.Name, ErrReadOnly)
	}
	if !t.writer.tryTake() {
		return fmt.Errorf("timeline %s: %w: another batch is being put", t.meta.Name, ErrBackpressure)
	}
	return t.checkOpen()
}

// checkOpen gives the writer's turn back if the timeline is closed.
func (t *Timeline) checkOpen() error {
	if t.closed.Load() {
		t.writer.give()
		return fmt.Errorf("timeline %s: %w", t.meta.Name, ErrClosed)
	}
	return nil
}

func checkBatch(b *page.Batch, last page.LSN) error {
	if err := b.Check(last); err != nil {
		return err
	}
	if b.End < last {
		return fmt.Errorf("batch ends at LSN %s, before the timeline's last LSN %s", b.End, last)
	}
	if b.Prev != 0 && (b.Prev >= b.End || !b.Prev.Aligned()) {
		return fmt.Errorf("batch ends at LSN %s with a record that begins at %s", b.End, b.Prev)
	}
	for _, e := range b.Entries() {
		if e.LSN > b.End {
			return fmt.Errorf("%s at LSN %s: the batch ends at %s", e.Key.Describe(), e.LSN, b.End)
		}
	}
	return nil
}

// full reports whether the open layer is to be frozen.
func (t *Timeline) full() bool { return t.fullView(t.view.Load()) }

func (t *Timeline) fullView(v *view) bool {
	wal := int64(t.at.Load().last+1) - int64(v.start)
	return wal >= t.env.CheckpointDistance*int64(max(t.meta.Shard.Count, 1)) || v.open.Size() >= t.env.CheckpointDistance
}

// Freeze ends the open in-memory layer, so that the background writes it.
func (t *Timeline) Freeze(ctx context.Context) error {
	if err := t.beginWrite(ctx); err != nil {
		return err
	}
	defer t.writer.give()
	t.freeze()
	return nil
}

// freeze begins a new in-memory layer, if the open one has moved at all. The caller has the writer's turn.
func (t *Timeline) freeze() {
	at, v := t.at.Load(), t.view.Load()
	end := at.last + 1
	if end == v.start {
		return
	}
	v.open.Freeze(end)
	f := &frozen{mem: v.open, lsns: page.LSNRange{Start: v.start, End: end}, prev: at.prev, relDirs: t.RelDirs()}
	t.update(func(v *view) {
		v.frozen = append(v.frozen, f)
		v.open, v.start = layer.NewMem(end, t.env.mems), end
	})
	t.wakeFlusher()
}
