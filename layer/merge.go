package layer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/page"
)

// MergeOptions say what a Merge gives and what it may take. The zero value is good.
type MergeOptions struct {
	// Keys are those wanted; the zero Range means all.
	Keys page.Range
	// Memory bounds the bytes of memory, which the layers that are read at the same time share: the more each
	// has, the longer its reads. Default DefaultMergeMemory. Each gets 128 KiB at the least, and 4 MiB at most.
	Memory int64
	// Budget, if set, is charged with what of Memory can be used, from OpenMerge to Close.
	Budget *shares.Share
	// Stored leaves compressed images as they lie in their layers.
	Stored bool
}

// DefaultMergeMemory is what a Merge takes if nothing else is said: 1 MiB for each of 64 layers.
const DefaultMergeMemory = 64 << 20

// Merged is one version of a key, as a Merge gives it.
type Merged struct {
	Key page.Key
	LSN page.LSN
	// Image says that it comes from an image layer: Value is the bare image. Otherwise it is a serialized
	// page.Value.
	Image    bool
	WillInit bool
	// Zstd says that Value is a zstd frame, which can only be if that was wanted.
	Zstd bool
	// Value is valid until the next call of Next.
	Value []byte
	// Layer is the number of the layer in the list that OpenMerge was given.
	Layer int
}

var errMergeClosed = errors.New("merge is closed")

// MergeStats say what a Merge did so far.
type MergeStats struct {
	// Entries were given; Duplicates were left out, as their key and LSN had been given from another layer.
	Entries, Duplicates int64
	// Bytes of values were read, those of duplicates too. Opened layers, of those given, were begun.
	Bytes  int64
	Opened int
	// Memory is the bound in bytes.
	Memory int64
}

// Merge gives what lies in many delta and image layers in the order of keys and, of a key, of LSNs, each
// version once: where a key has an image and a record at one LSN, which is part of the image, it is the image;
// of copies in several layers it is that of the first layer given.
//
// It is a stream. A layer is begun when the keys come to its range (and the one that comes next, a little
// before), and given up behind its last. Each is read, verified and taken apart ahead of its use by a goroutine
// of its own, in windows that divide the memory. A single value larger than a window is still read whole.
//
// Not for concurrent use.
type Merge struct {
	o      MergeOptions
	inputs []*mergeInput // by their lower bounds
	// started counts those that are being read, or have been.
	started int
	heap    []*mergeInput // least place first
	given   bool          // the place of heap[0] was given by Next
	any     bool          // there is a last
	last    mergeEntry
	room    []byte // for a decompressed image
	stats   MergeStats
	err     error // what ended the merge

	ctx    context.Context // of the goroutines; cancelled by Close
	cancel context.CancelFunc
	reads  sync.WaitGroup
	closed bool
	each   mergeSizes
}

// OpenMerge begins a merge of layers, which must stay open until Close. It reads nothing yet, but waits for
// the memory. ctx is that of the merge's reads too.
func OpenMerge(ctx context.Context, layers []*Reader, o MergeOptions) (*Merge, error) {
	if o.Keys == (page.Range{}) {
		o.Keys = page.FullRange
	}
	m := &Merge{o: o}
	for i, r := range layers {
		// The last key of a range that ends with MaxKey is in no range.
		if keys := r.desc.Keys.Intersect(o.Keys); !keys.Empty() {
			m.inputs = append(m.inputs, newMergeInput(r, i, keys))
		}
	}
	slices.SortStableFunc(m.inputs, func(a, b *mergeInput) int { return a.keys.Start.Compare(b.keys.Start) })
	m.heap = slices.Clone(m.inputs) // ascending, as a heap may be; inputs of one key may still be in any order
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	open := int64(maxOpen(m.inputs))
	each := min(max(cmp.Or(o.Memory, DefaultMergeMemory)/max(open, 1), minMergeInput), maxMergeInput)
	m.each, m.stats.Memory = divideMerge(each), each*open
	if err := o.Budget.Acquire(ctx, m.stats.Memory); err != nil {
		return nil, fmt.Errorf("merge of %d layers, of which %d are read at a time: %w", len(m.inputs), open, err)
	}
	m.ctx, m.cancel = context.WithCancel(ctx)
	return m, nil
}

// maxOpen gives how many layers are ever read at the same time: those that have a key in common, and the next.
func maxOpen(inputs []*mergeInput) int {
	ends := make([]page.Key, len(inputs))
	for i, in := range inputs {
		ends[i] = in.keys.End
	}
	slices.SortFunc(ends, page.Key.Compare)
	most, ended := 0, 0
	for i, in := range inputs { // by their starts
		for !in.keys.Start.Less(ends[ended]) {
			ended++
		}
		most = max(most, i+1-ended)
	}
	return min(most+mergeAhead, len(inputs))
}

// Next gives the next version. It is false behind the last. An error, that of the context too, ends the merge:
// it comes again with each further call.
func (m *Merge) Next(ctx context.Context) (Merged, bool, error) {
	if m.err == nil && m.closed {
		m.err = errMergeClosed
	}
	if m.err != nil {
		return Merged{}, false, m.err
	}
	e, ok, err := m.next(ctx)
	m.err = err
	return e, ok, err
}

func (m *Merge) next(ctx context.Context) (Merged, bool, error) {
	if m.given {
		m.given = false
		if err := m.advance(ctx); err != nil {
			return Merged{}, false, err
		}
	}
	for len(m.heap) > 0 {
		in := m.heap[0]
		switch {
		case !in.opened:
			if err := m.open(ctx, in); err != nil {
				return Merged{}, false, err
			}
			continue
		case !m.any || in.head.lsn != m.last.lsn || in.head.key != m.last.key:
			return m.give(in)
		}
		m.stats.Duplicates++
		if err := m.advance(ctx); err != nil {
			return Merged{}, false, err
		}
	}
	return Merged{}, false, nil
}

// give hands out the entry of the input at the top.
func (m *Merge) give(in *mergeInput) (Merged, bool, error) {
	h := &in.head
	m.last, m.any, m.given = *h, true, true
	m.stats.Entries++
	e := Merged{Key: h.key, LSN: h.lsn, Image: in.image, WillInit: h.willInit, Zstd: h.zstd, Layer: in.number}
	e.Value = in.window.value(h)
	if !h.zstd || m.o.Stored {
		return e, true, nil
	}
	plain, err := Stored{Data: e.Value, Zstd: true}.Plain(m.room)
	if err != nil {
		return Merged{}, false, corruptf(in.r.file.Name(), in.window.base+int64(h.at), "%s at LSN %s: %v", h.key, h.lsn, err)
	}
	m.room, e.Value, e.Zstd = plain, plain, false
	return e, true, nil
}

// open begins to read the input at the top, and all that come up by its lower bound, so that none waits for
// another, and the next.
func (m *Merge) open(ctx context.Context, in *mergeInput) error {
	n := m.started
	for n < len(m.inputs) && m.inputs[n].keys.Start.Compare(in.keys.Start) <= 0 {
		n++
	}
	for n = min(n+mergeAhead, len(m.inputs)); m.started < n; m.started++ {
		m.inputs[m.started].start(m)
	}
	in.opened = true
	return m.advance(ctx)
}

// advance goes to the next entry of the input at the top, and brings another to the top if need be.
func (m *Merge) advance(ctx context.Context) error {
	in := m.heap[0]
	ok, err := in.advance(ctx)
	if err != nil {
		return err
	}
	if !ok {
		m.stats.Bytes, m.stats.Opened = m.stats.Bytes+in.bytes, m.stats.Opened+1
		n := len(m.heap) - 1
		m.heap[0], m.heap[n], m.heap = m.heap[n], nil, m.heap[:n]
	}
	m.sink(0)
	return nil
}

// sink brings the input at i to its place in the heap below.
func (m *Merge) sink(i int) {
	h := m.heap
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if r := least + 1; r < len(h) && h[r].before(h[least]) {
			least = r
		}
		if !h[least].before(h[i]) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// Stats gives what the merge did so far.
func (m *Merge) Stats() MergeStats {
	s := m.stats
	for _, in := range m.heap {
		if in.opened {
			s.Bytes, s.Opened = s.Bytes+in.bytes, s.Opened+1
		}
	}
	return s
}

// Close ends the merge and gives its memory back, the value last given included. It may be called again.
func (m *Merge) Close() {
	if m.closed {
		return
	}
	m.closed = true
	m.cancel()
	m.reads.Wait()
	for _, in := range m.inputs[:m.started] {
		in.release()
	}
	m.heap, m.given = nil, false
	m.o.Budget.Release(m.stats.Memory)
}
