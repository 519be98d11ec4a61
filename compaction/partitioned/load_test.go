package partitioned

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// load is a timeline under an even stream of updates: every layer holds what its rectangle got, to the byte of the
// expected value. It does what it is told at once, so that all that is measured is the planner's choices.
type load struct {
	t      *testing.T
	s      compaction.Snapshot
	blocks uint32
	hot    uint32  // blocks that get share of all bytes; the others get the rest
	share  float64 // of 1
	simple bool    // flushes make L0s

	wal, flushed, retiled, imaged int64
	highest                       int
}

// grain is how many blocks an entry stands for.
const grain = 64

func newLoad(t *testing.T, hot uint32, share float64) *load {
	const blocks = 640_000
	l := &load{t: t, blocks: blocks, hot: hot, share: share}
	l.s = compaction.Snapshot{
		Generation: 1, InitialLSN: 1, Cutoff: 1, LastRecordLSN: 1, DiskConsistentLSN: 1, LiveLSN: 1,
		Live: page.NewSet(page.Range{Start: block(1, 0), End: block(1, blocks)}),
	}
	return l
}

// bytes gives what the blocks of an entry got in a number of bytes of WAL.
func (l *load) bytes(b uint32, wal int64) int64 {
	part, of := l.share, l.hot
	if b >= l.hot {
		part, of = 1-l.share, l.blocks-l.hot
	}
	return int64(float64(wal) * part * grain / float64(of))
}

// fill gives the layers that a rectangle is cut into.
func (l *load) fill(r compaction.Rect, cut func() compaction.Cutter) (out []compaction.Output) {
	var rects []compaction.Rect
	emit := func(r compaction.Rect) { rects = append(rects, r) }
	wal := int64(r.LSNs.End - r.LSNs.Start)
	c := cut()
	for b := uint32(0); b < l.blocks; b += grain {
		if k := block(1, b); r.Keys.Contains(k) {
			c.Add(compaction.Entry{Key: k, LSN: r.LSNs.Start, Size: l.bytes(b, wal)}, emit)
		}
	}
	c.Finish(emit)
	for _, r := range rects {
		o := compaction.Output{Rect: r}
		for b := uint32(0); b < l.blocks; b += grain {
			if r.Keys.Contains(block(1, b)) {
				o.Layer.Size += l.bytes(b, wal)
			}
		}
		if o.Layer.Size > 0 {
			o.Layer.ID = compaction.ID{Keys: r.Keys, LSNs: r.LSNs, Generation: 1}
		}
		out = append(out, o)
	}
	return out
}

type oneL0 struct{ lsns page.LSNRange }

func (oneL0) Add(compaction.Entry, func(compaction.Rect)) {}
func (o oneL0) Finish(emit func(compaction.Rect)) {
	emit(compaction.Rect{Keys: page.FullRange, LSNs: o.lsns})
}

func (l *load) flush(bytes int64) {
	lsns := page.LSNRange{Start: l.s.LastRecordLSN + 1, End: l.s.LastRecordLSN + 1 + page.LSN(bytes)}
	cut := Strategy{}.Flush(&l.s, lsns).Cut
	if l.simple {
		cut = func() compaction.Cutter { return oneL0{lsns} }
	}
	for _, o := range l.fill(compaction.Rect{Keys: page.FullRange, LSNs: lsns}, cut) {
		if !o.None() {
			l.s.Layers = append(l.s.Layers, o.Layer)
			l.flushed += o.Layer.Size
		}
	}
	l.wal += bytes
	l.s.LastRecordLSN = lsns.End - 1
	l.s.DiskConsistentLSN, l.s.LiveLSN = l.s.LastRecordLSN, l.s.LastRecordLSN
}

// compact does what is planned until there is nothing to do.
func (l *load) compact() {
	for {
		plan := Strategy{}.Plan(&l.s)
		l.highest = max(l.highest, plan.Debt.Height)
		if len(plan.Jobs) == 0 {
			return
		}
		for i := range plan.Jobs {
			require.NoError(l.t, compaction.CheckJob(&l.s, &plan.Jobs[i]), plan.Jobs[i].Reason)
		}
		var gone []int
		for i := range plan.Jobs {
			gone = append(gone, l.do(&plan.Jobs[i])...)
		}
		slices.Sort(gone)
		for _, i := range slices.Backward(slices.Compact(gone)) {
			l.s.Layers = slices.Delete(l.s.Layers, i, i+1)
		}
	}
}

// do adds the outputs of a job and gives the layers that go.
func (l *load) do(j *compaction.Job) []int {
	if j.Kind == compaction.Image {
		var size int64
		for _, r := range l.s.Live.Intersect(j.Rect.Keys).Ranges() {
			size += compaction.Pages(r) * pageSize
		}
		l.imaged += size
		l.s.Layers = append(l.s.Layers, compaction.Layer{ID: compaction.ID{Keys: j.Rect.Keys, LSNs: j.Rect.LSNs, Image: true, Generation: 1}, Size: size})
		return nil
	}
	require.Equal(l.t, compaction.Retile, j.Kind)
	var in, out int64
	for _, i := range j.Inputs {
		in += l.s.Layers[i].Size
	}
	outputs := l.fill(j.Rect, j.Cut)
	require.NoError(l.t, compaction.CheckStep(&l.s, j, nil, outputs, j.Obsolete), j.Reason)
	for _, o := range outputs {
		if !o.None() {
			l.s.Layers = append(l.s.Layers, o.Layer)
			out += o.Layer.Size
		}
	}
	l.retiled += out
	require.InEpsilon(l.t, in, out, 0.01, "the mock and its outputs agree")
	return j.Obsolete
}

func (l *load) run(flushes int) float64 {
	for range flushes {
		l.flush(256 << 20)
		l.compact()
	}
	a := float64(l.flushed+l.retiled+l.imaged) / float64(l.wal)
	l.t.Logf("hot %d/%.2f: flushed %d, retiled %d, imaged %d of %d MiB: write amplification %.2f, highest stack %d, %d layers",
		l.hot, l.share, l.flushed>>20, l.retiled>>20, l.imaged>>20, l.wal>>20, a, l.highest, len(l.s.Layers))
	return a
}

// TestUnderLoad holds the strategy to what its cost model says: the bound is kept, a uniform load costs no more than
// 2 + 2s/(D²·b) and a half, and one of which a tenth is hot less than seven tenths of that.
func TestUnderLoad(t *testing.T) {
	uniform := newLoad(t, 320_000, 0.5)
	u := uniform.run(150)
	hot := newLoad(t, 64_000, 0.9)
	h := hot.run(150)
	require.LessOrEqual(t, max(uniform.highest, hot.highest), 16)
	require.LessOrEqual(t, u, 2.4)
	require.Less(t, h, 0.7*u)
	l0s := newLoad(t, 64_000, 0.9)
	l0s.simple = true
	l0s.run(150)
	require.LessOrEqual(t, l0s.highest, 16)
}
