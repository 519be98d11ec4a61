package timeline

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
)

// A layer that is removed lives on in steps, each of which a crash may be the last of: the manifest names it no
// more, durably; then new views are without it; then the last view that has it ends; then its file is deleted.
// What a crash leaves is a file that no manifest names, which the next start removes (Opened.Start).

// removeRetry is how long the deletion of a file that failed is left before it is tried again.
const removeRetry = 10 * time.Second

// doom notes files that no manifest names any more.
func (c *compactor) doom(ds ...layer.Desc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range ds {
		c.mu.doomed[idOf(&d)] = d
	}
}

// undoom frees the name of a layer.
func (c *compactor) undoom(d layer.Desc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.doomed, idOf(&d))
}

// bury has the files of doomed layers deleted: nobody reads them any more.
func (c *compactor) bury(ds ...layer.Desc) {
	if len(ds) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.dead = append(c.mu.dead, ds...)
}

// doomed lists the names that no new layer may have.
func (c *compactor) doomed() []compaction.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]compaction.ID, 0, len(c.mu.doomed))
	for id := range c.mu.doomed {
		ids = append(ids, id)
	}
	return ids
}

// removeDead deletes the files of dead layers. Those that cannot be deleted stay dead; it gives how many.
func (t *Timeline) removeDead() (left int) {
	c := t.compact
	c.removing.Lock()
	defer c.removing.Unlock()
	if c.removing.ended {
		return 0
	}
	c.mu.Lock()
	dead := c.mu.dead
	c.mu.dead = nil
	c.mu.Unlock()
	var kept []layer.Desc
	for _, d := range dead {
		err := t.env.Disk.Remove(filepath.Join(t.dir, d.FileName()))
		if errors.Is(err, fs.ErrNotExist) && t.env.Remote != nil {
			t.files.absent.Add(-1)
			err = nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.env.counters.removeErrors.Add(1)
			t.env.Logger.Warn("cannot delete the file of a layer that is of no use any more; it is tried again",
				"timeline", t.meta.Name, "layer", d.FileName(), "err", err)
			kept = append(kept, d)
			continue
		}
		if !t.uploads.removed(d) {
			c.undoom(d)
		}
		t.env.counters.removedLayers.Add(1)
		t.env.counters.removedBytes.Add(d.Size)
	}
	c.mu.Lock()
	c.mu.dead = append(kept, c.mu.dead...)
	c.mu.Unlock()
	if len(kept) < len(dead) && t.plans.namesHeld.Swap(false) {
		t.wakeCompactor()
	}
	return len(kept)
}

// endRemovals deletes what can be deleted, and nothing from then on: the files are then another process's.
func (t *Timeline) endRemovals() {
	if !t.env.ReadOnly {
		t.removeDead()
	}
	t.compact.removing.Lock()
	defer t.compact.removing.Unlock()
	t.compact.removing.ended = true
}
