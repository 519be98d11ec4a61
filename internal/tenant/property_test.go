package tenant

import (
	"bytes"
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// world is a store under test beside its model.
type world struct {
	*rapid.T
	mem   *virtualfile.MemFS
	disk  tap
	store *Store
	hs    []*history
}

func (w *world) open() {
	s, err := Open(context.Background(), testOptions(w.disk.wrap(w.mem)))
	require.NoError(w, err)
	w.store = s
}

func (w *world) tenant() *Tenant {
	t, err := w.store.DefaultTenant()
	require.NoError(w, err)
	return t
}

func (w *world) timeline(h *history) *timeline.Timeline {
	tl, err := w.tenant().Timeline(h.name)
	require.NoError(w, err)
	require.Equal(w, h.id, tl.ID())
	return tl
}

func (w *world) some() *history { return rapid.SampledFrom(w.hs).Draw(w.T, "timeline") }

func (w *world) lsn(h *history) page.LSN {
	return page.LSN(rapid.Uint64Range(uint64(h.oldest())-8, uint64(h.last)).Draw(w.T, "lsn"))
}

func (w *world) put() {
	h := w.some()
	var b page.Batch
	lsn := h.last
	trial := newHistory(h.name, h.initial, h.parent)
	for range rapid.IntRange(0, 12).Draw(w.T, "records") {
		prev := lsn
		lsn += page.LSN(8 * rapid.IntRange(1, 60).Draw(w.T, "length"))
		for range rapid.IntRange(0, 3).Draw(w.T, "blocks") {
			k := rapid.SampledFrom(modelKeys).Draw(w.T, "key")
			kind := rapid.SampledFrom([]int{0, 1, 2, 2, 2}).Draw(w.T, "kind")
			if k.Sparse() {
				kind = 0
			}
			data := bytes.Repeat([]byte{byte(rapid.IntRange('a', 'z').Draw(w.T, "data"))}, rapid.SampledFrom([]int{0, 1, 50, 900}).Draw(w.T, "size"))
			trial.put(&b, k, lsn, kind, data)
		}
		b.End, b.Prev = lsn, prev
	}
	if b.End == 0 {
		b.End = h.last
	}
	tl := w.timeline(h)
	if err := tl.Put(context.Background(), &b); err != nil {
		require.ErrorIs(w, err, syscall.ENOSPC)
		require.Equal(w, h.last, tl.LastRecordLSN())
		return
	}
	h.last = b.End
	for k, es := range trial.values {
		h.values[k] = append(h.values[k], es...)
	}
	require.Equal(w, h.last, tl.LastRecordLSN())
}

func (w *world) read() {
	h := w.some()
	h.same(w, w.timeline(h), rapid.SampledFrom(modelSets).Draw(w.T, "set"), w.lsn(h))
	k, lsn := rapid.SampledFrom(modelKeys).Draw(w.T, "key"), w.lsn(h)
	v, err := w.timeline(h).Get(context.Background(), k, lsn)
	want, ok, broken := h.at(k, lsn)
	switch {
	case lsn < h.oldest():
		require.ErrorIs(w, err, timeline.ErrBeforeHistory)
	case broken:
		require.ErrorIs(w, err, timeline.ErrCorrupt)
	case !ok:
		require.ErrorIs(w, err, page.ErrNotFound)
	default:
		require.NoError(w, err)
		require.True(w, bytes.Equal(want, v))
	}
	_, err = w.timeline(h).Get(context.Background(), k, h.last+1)
	require.ErrorIs(w, err, timeline.ErrFutureLSN)
}

func (w *world) flush() {
	h := w.some()
	if err := w.timeline(h).Flush(context.Background()); err != nil {
		require.ErrorIs(w, err, syscall.ENOSPC)
		return
	}
	require.Equal(w, h.last, w.timeline(h).DiskConsistentLSN())
}

func (w *world) branch() {
	h := w.some()
	at := w.lsn(h)
	name := fmt.Sprintf("branch%d", len(w.hs))
	tl, err := w.tenant().Branch(context.Background(), w.timeline(h), name, page.TimelineID{}, at)
	if at < h.oldest() {
		require.ErrorIs(w, err, timeline.ErrBeforeHistory)
		return
	}
	if err != nil {
		require.ErrorIs(w, err, syscall.ENOSPC)
		return
	}
	require.GreaterOrEqual(w, tl.Meta().AncestorLSN, max(at&^7, h.oldest()))
	require.LessOrEqual(w, tl.Meta().AncestorLSN, at)
	child := newHistory(name, tl.Meta().AncestorLSN, h)
	child.id = tl.ID()
	w.hs = append(w.hs, child)
}

// settle ends the store with what is on disk and compares the new one: each timeline must reach at least
// what it said was durable.
func (w *world) settle(durable map[page.TimelineID]page.LSN) {
	w.open()
	for _, h := range w.hs {
		tl := w.timeline(h)
		require.GreaterOrEqual(w, tl.LastRecordLSN(), durable[h.id])
		require.LessOrEqual(w, tl.LastRecordLSN(), h.last)
		require.Equal(w, tl.LastRecordLSN(), tl.DiskConsistentLSN())
		h.cut(tl.LastRecordLSN())
	}
	for _, h := range w.hs {
		h.same(w, w.timeline(h), modelSets[0], h.last)
	}
}

func (w *world) durable() map[page.TimelineID]page.LSN {
	m := map[page.TimelineID]page.LSN{}
	for _, h := range w.hs {
		m[h.id] = w.timeline(h).DiskConsistentLSN()
	}
	return m
}

func (w *world) crash() {
	durable := w.durable()
	mem := w.mem.CrashClone(rapid.Uint64().Draw(w.T, "seed"))
	_ = w.store.Close()
	w.mem = mem
	w.disk.shut()
	w.settle(durable)
}

func (w *world) reopen() {
	w.disk.shut()
	require.NoError(w, w.store.Close())
	durable := map[page.TimelineID]page.LSN{}
	for _, h := range w.hs {
		durable[h.id] = h.last
	}
	w.settle(durable)
}

func (w *world) fill() { w.disk.fill(rapid.IntRange(0, 4).Draw(w.T, "skip")) }

func TestStoreAgainstModel(t *testing.T) {
	noLeaks(t)
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, mem: virtualfile.NewMem()}
		w.open()
		defer func() { _ = w.store.Close() }()
		tl, err := w.tenant().Create(context.Background(), meta("main"))
		require.NoError(w, err)
		root := newHistory("main", firstLSN, nil)
		root.id = tl.ID()
		w.hs = append(w.hs, root)
		steps := []func(){w.put, w.put, w.put, w.put, w.read, w.read, w.flush, w.branch, w.crash, w.reopen, w.fill, w.disk.shut}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			rapid.SampledFrom(steps).Draw(t, "step")()
		}
		w.reopen()
	})
}
