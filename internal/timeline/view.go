package timeline

import (
	"slices"
	"sync/atomic"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// view is one immutable version of all layers. It is counted: readers pin it, and the timeline itself has a
// hold on the present one. Each view that was replaced has a hold on the one that replaced it, so that views
// end in the order in which they were made, and what a later one has no more is let go when the last that
// has it ends.
type view struct {
	open   *layer.Mem
	start  page.LSN  // where open begins
	frozen []*frozen // oldest first
	layers *layer.Map
	// moved are keys of deltas among layers whose values other layers have too: reads do not ask those for them. It is not changed.
	moved map[compaction.ID]page.Set
	// flushes is how many have made layers since the timeline was opened.
	flushes int64
	from    *descent // where the timeline comes from

	t    *Timeline
	refs atomic.Int64
	next *view   // set while the timeline still has its hold
	gone retired // what next has no more; set likewise
}

// retired is what is let go with a view.
type retired struct {
	mems   []*layer.Mem
	layers []layer.Desc
	ended  chan struct{} // closed then, if there is one
}

// bytes gives the memory and the disk that are held.
func (r *retired) bytes() (n int64) {
	for _, m := range r.mems {
		n += m.Size()
	}
	for i := range r.layers {
		n += r.layers[i].Size
	}
	return n
}

// mems lists the view's layers in memory.
func (v *view) mems() []*layer.Mem {
	out := make([]*layer.Mem, 0, len(v.frozen)+1)
	for _, f := range v.frozen {
		out = append(out, f.mem)
	}
	return append(out, v.open)
}

// newView makes the first view of a timeline, with the timeline's hold on it.
func newView(t *Timeline, open *layer.Mem, start page.LSN, layers *layer.Map) *view {
	v := &view{open: open, start: start, layers: layers, t: t}
	v.refs.Store(1)
	return v
}

// pinView gives the present view, which the caller must release.
func (t *Timeline) pinView() (*view, error) {
	for {
		v := t.view.Load()
		if v.pin() {
			return v, nil
		}
		// It has been replaced meanwhile, or nobody holds the last one any more.
		if v == t.view.Load() {
			return nil, t.closedError()
		}
	}
}

// pin counts one more hold, unless the view has ended.
func (v *view) pin() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release counts one hold less.
func (v *view) release() {
	for v != nil && v.refs.Add(-1) == 0 {
		v.t.letGo(&v.gone, v.next != nil)
		v = v.next
	}
}

// update replaces the view by what fn makes of it. removed are the layer files that the new one has no more.
func (t *Timeline) update(fn func(v *view), removed ...layer.Desc) {
	t.replaceView(fn, retired{layers: removed})
}

// replaceView is update; gone says what else is let go with the view that is replaced, but for its mems.
func (t *Timeline) replaceView(fn func(v *view), gone retired) {
	t.mu.Lock()
	old := t.view.Load()
	v := newView(t, old.open, old.start, old.layers)
	v.frozen, v.flushes, v.moved, v.from = slices.Clone(old.frozen), old.flushes, old.moved, old.from
	fn(v)
	kept := v.mems()
	for _, m := range old.mems() {
		if !slices.Contains(kept, m) {
			old.gone.mems = append(old.gone.mems, m)
		}
	}
	old.gone.layers, old.gone.ended = gone.layers, gone.ended
	t.env.counters.heldBytes.Add(old.gone.bytes())
	v.refs.Add(1) // old's
	old.next = v
	t.view.Store(v)
	t.env.heights.set(t, v.layers.L0().Height())
	t.changedLocked()
	t.mu.Unlock()
	old.release()
	t.env.endOldSnapshots()
}

// endViews gives up the timeline's hold on the last view. What is pinned stays until it is released.
func (t *Timeline) endViews() {
	v := t.view.Load()
	v.gone = retired{mems: v.mems()}
	v.release()
	t.sizes.Close()
}

// letGo frees what no view has any more: after the last view, all of it.
func (t *Timeline) letGo(r *retired, more bool) {
	if more {
		t.env.counters.heldBytes.Add(-r.bytes())
	}
	for _, m := range r.mems {
		m.Release()
	}
	for i := range r.layers {
		t.files.drop(&r.layers[i])
	}
	t.bury(r.layers...)
	if r.ended != nil {
		close(r.ended)
	}
	if !more {
		t.files.close()
		close(t.gone)
		t.env.release()
	}
}
