package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// An evicted layer goes in steps. Who asks for it from now on takes the eviction back; who has it open has pinned a view that was
// there before. So a new view is published, and once all older ones have ended and nobody has come, nobody has the file:
// it is removed. Reads never wait for an eviction, and none loses its file.

// Resident is a layer whose file is here and may leave.
type Resident struct {
	Desc layer.Desc
	// Used is when it was last read, to the precision of NoteUse, or came.
	Used time.Time
	// Covered says that newer images hide it from reads at the ends of the timeline and of its branches.
	Covered bool
}

// NoteUse has reads from now on note that layers are used now. Without a call reads note nothing.
func (e *Env) NoteUse() { e.tick.Store(e.Clock().UnixNano()) }

// Resident gives the layers that may be evicted, and the bytes of all layers whose files are here.
func (t *Timeline) Resident() (out []Resident, bytes int64, err error) {
	v, err := t.pinView()
	if err != nil {
		return nil, 0, err
	}
	defer v.release()
	names, err := t.env.FS.List(t.dir)
	if err != nil {
		return nil, 0, err
	}
	here := make(map[string]bool, len(names))
	for _, n := range names {
		here[n] = true
	}
	covered := t.hidden(v)
	for d := range v.layers.All() {
		name := d.FileName()
		if !here[name] {
			continue
		}
		bytes += d.Size
		if _, ok := t.files.remote(d); ok {
			out = append(out, Resident{d, t.files.used(&d), covered[name]})
		}
	}
	return out, bytes, nil
}

// hidden gives the layers that newer images hide from reads at the ends of the timeline and of its branches.
func (t *Timeline) hidden(v *view) map[string]bool {
	out := map[string]bool{}
	points := []page.LSN{t.LastRecordLSN()}
	for _, c := range t.branches() {
		points = append(points, c.from().lsn)
	}
	for _, r := range v.layers.Visibility(points).Covered {
		out[r.Desc().FileName()] = true
	}
	return out
}

// used gives when a layer was last read, or when the timeline was opened.
func (f *layerFiles) used(d *layer.Desc) time.Time {
	n := f.opened
	if file := f.find(d); file != nil {
		n = max(n, file.tick.Load())
	}
	return time.Unix(0, n)
}

// Evicted is what an eviction did.
type Evicted struct {
	Layers int
	Bytes  int64
}

// Evict removes the files of layers that remote storage has for good. It leaves those that it has not, that the timeline has no
// more, and that are read again meanwhile. If ctx ends while older reads and snapshots hold the files, all of them stay.
func (t *Timeline) Evict(ctx context.Context, ds ...layer.Desc) (out Evicted, err error) {
	if t.env.ReadOnly {
		return out, fmt.Errorf("timeline %s: evict: %w", t.meta.Name, ErrReadOnly)
	}
	files, ended, err := t.beginEviction(ctx, ds)
	if err != nil || len(files) == 0 {
		return out, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
		for _, file := range files {
			t.files.undoEviction(file)
		}
		return out, fmt.Errorf("timeline %s: evict: readers or snapshots hold the layers: %w", t.meta.Name, ctx.Err())
	}
	var errs []error
	for _, file := range files {
		gone, err := t.files.endEviction(file)
		if gone {
			out.Layers++
			out.Bytes += file.desc.Size
		}
		errs = append(errs, err)
	}
	t.env.counters.evictedLayers.Add(int64(out.Layers))
	t.env.counters.evictedBytes.Add(out.Bytes)
	return out, errors.Join(errs...)
}

// beginEviction marks layers, and publishes a view. ended is closed once nobody has an older one.
func (t *Timeline) beginEviction(ctx context.Context, ds []layer.Desc) (files []*layerFile, ended chan struct{}, err error) {
	if err := t.flusher.take(ctx); err != nil {
		return nil, nil, err
	}
	defer t.flusher.give()
	if t.closed.Load() {
		return nil, nil, t.closedError()
	}
	layers := t.view.Load().layers
	for _, d := range ds {
		own, ok := layers.Find(d)
		if _, there := t.files.remote(d); !ok || own.Generation != d.Generation || !there {
			continue
		}
		file := t.files.find(&own)
		if file == nil {
			file = t.files.add(&own)
		}
		if file.markEviction() {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		return nil, nil, nil
	}
	ended = make(chan struct{})
	t.replaceView(func(*view) {}, retired{ended: ended})
	return files, ended, nil
}

// markEviction takes a layer from those who have not opened it yet; false if somebody is about to.
func (f *layerFile) markEviction() bool {
	if !f.opening.tryTake() {
		return false
	}
	defer f.opening.give()
	if f.evicting {
		return false
	}
	f.evicting = true
	f.leaving = f.reader.Swap(nil)
	return true
}

// undoEvictionLocked gives a layer back. The caller has its turn.
func (f *layerFile) undoEvictionLocked() {
	if f.evicting {
		f.evicting = false
		if f.leaving != nil {
			f.reader.Store(f.leaving)
			f.leaving = nil
		}
	}
}

func (f *layerFiles) undoEviction(file *layerFile) {
	_ = file.opening.take(context.Background()) // those who have it do not wait for long
	defer file.opening.give()
	file.undoEvictionLocked()
}

// endEviction removes the file of a layer, unless it was wanted again. Nobody has it any more.
func (f *layerFiles) endEviction(file *layerFile) (gone bool, err error) {
	_ = file.opening.take(context.Background()) // likewise
	defer file.opening.give()
	if !file.evicting {
		return false, nil
	}
	file.evicting = false
	if r := file.leaving; r != nil {
		file.leaving = nil
		if err := r.Close(); err != nil {
			f.env.Logger.Error("cannot close a layer", "layer", file.desc.FileName(), "err", err)
		}
	}
	file.state.Lock()
	removed := file.state.gone // by a compaction, and its file is that one's to delete
	file.state.Unlock()
	if removed {
		return false, nil
	}
	err = f.env.Disk.Remove(filepath.Join(f.dir, file.desc.FileName()))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was not here
	}
	if err != nil {
		return false, err
	}
	f.absent.Add(1)
	return true, nil
}
