package timeline

import (
	"github.com/stratapg/strata/internal/timeline/manifest"
)

// publish makes an edit durable in the manifest. The caller has the flusher's turn.
func (t *Timeline) publish(e *manifest.Edit) error {
	var p manifest.Published
	err := t.env.withReserve(t.log.Path(), func() (err error) {
		p, err = t.log.Publish(e)
		return err
	})
	if err != nil {
		return err
	}
	c := &t.env.counters
	c.manifestEdits.Add(1)
	c.manifestBytes.Add(p.Bytes)
	if p.Rewritten {
		c.manifestRewrites.Add(1)
	}
	t.clearSuspects()
	t.uploads.published(e)
	return nil
}

// withReserve writes a manifest. On a full disk the store's reserve is given up for it: an edit that cannot be
// written would keep what has been flushed from counting, and what has been collected from being removed.
func (e *Env) withReserve(file string, write func() error) error {
	err := write()
	if !noSpace(err) || e.Reserve == nil || e.Reserve.Held() == 0 {
		return err
	}
	info := ReserveInfo{Manifest: file, Bytes: e.Reserve.Held()}
	if err := e.Reserve.Release(); err != nil {
		return err
	}
	if e.Events.ReserveUsed != nil {
		e.Events.ReserveUsed(info)
	}
	e.Logger.Warn("the disk is full: its reserve was used to write a manifest; make room", "manifest", file)
	return write()
}

// refillReserve takes the reserve again if it was given up and there is room.
func (t *Timeline) refillReserve() {
	r := t.env.Reserve
	if r == nil || r.Held() > 0 {
		return
	}
	if err := r.Refill(); err == nil {
		t.env.Logger.Info("there is room on the disk again: its reserve is held")
		if t.env.Events.ReserveHeld != nil {
			t.env.Events.ReserveHeld(ReserveInfo{Manifest: t.log.Path(), Bytes: r.Held()})
		}
	}
}
