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
	// has, the longer its reads. Default DefaultMergeMemory. Each gets 128 KiB at the least, and 1 MiB at most.
	Memory int64
	// Budget, if set, is charged with what of Memory can be used, from OpenMerge to Close.
	Budget *shares.Share
	// Stored leaves compressed images as they lie in their layers.
	Stored bool
	// Places leaves values unread: what is given are keys, LSNs and sizes, of the indexes alone. Each layer's part
	// of Memory is then 512 KiB at most.
	Places bool
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
	// Value is valid until the next call of Next. With MergeOptions.Places there is none.
	Value []byte
	// Size, with MergeOptions.Places, is what the value takes in its layer, in bytes.
	Size int64
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
	// started counts those that are being read, or have been; opened those that take part in matches, or have.
	started, opened int
	bound           treeKey // the lower bound of the next to be opened
	matches         mergeMatches
	spent           bool // all entries of the window of the least are in batch
	any             bool // there is a last
	last            treeKey

	batch   []Merged // found, from number given on not given yet
	given   int
	touched byte   // or the compiler would leave reads out
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
	m := &Merge{o: o, batch: make([]Merged, 0, mergeBatch)}
	for i, r := range layers {
		// The last key of a range that ends with MaxKey is in no range.
		if keys := r.desc.Keys.Intersect(o.Keys); !keys.Empty() {
			m.inputs = append(m.inputs, &mergeInput{r: r, number: i, image: r.desc.Image, keys: keys})
		}
	}
	slices.SortStableFunc(m.inputs, func(a, b *mergeInput) int { return a.keys.Start.Compare(b.keys.Start) })
	m.setBound()
	open := int64(maxOpen(m.inputs))
	most := int64(maxMergeInput)
	if o.Places {
		most = maxPlacesInput
	}
	each := min(max(cmp.Or(o.Memory, DefaultMergeMemory)/max(open, 1), minMergeInput), most)
	m.each, m.stats.Memory = divideMerge(each, o.Places), each*open
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
	if m.given == len(m.batch) {
		m.refill(ctx)
		if len(m.batch) == 0 {
			return Merged{}, false, m.err
		}
	}
	m.given++
	return m.batch[m.given-1], true, nil
}

// NextBatch gives some of the versions that follow, all of which are valid until the next call; none behind the
// last. It is Next for whoever counts nanoseconds, and may be mixed with it.
func (m *Merge) NextBatch(ctx context.Context) ([]Merged, error) {
	if m.given == len(m.batch) {
		m.refill(ctx)
		if len(m.batch) == 0 {
			return nil, m.err
		}
	}
	some := m.batch[m.given:]
	m.given = len(m.batch)
	return some, nil
}

// mergeBatch is how many versions are found at once, so that the processor fetches the values of all while the
// matches for the next are played.
const mergeBatch = 64

// refill finds the next versions.
func (m *Merge) refill(ctx context.Context) {
	m.batch, m.given = m.batch[:0], 0
	if m.err == nil && m.closed {
		m.err = errMergeClosed
	}
	for more := true; more && m.err == nil && len(m.batch) < mergeBatch; {
		if !m.spent {
			more, m.err = m.find(ctx)
		} else if more = len(m.batch) == 0; more { // nobody looks at the window's values any more
			m.spent = false
			m.err = m.turn(ctx)
		}
	}
	m.stats.Entries += int64(len(m.batch))
}

// find adds one version to the batch, or passes over a duplicate. It gives false if no more is to be added: at
// the end, and where going on would invalidate a value.
func (m *Merge) find(ctx context.Context) (more bool, err error) {
	i, ok := m.matches.least()
	if m.opened < len(m.inputs) && (!ok || !m.matches.keys[i].less(&m.bound)) {
		if len(m.batch) > 0 { // so that an error comes behind it
			return false, nil
		}
		return true, m.open(ctx)
	}
	if !ok {
		return false, nil
	}
	in := m.matches.inputs[i]
	e := &in.window.entries[in.at]
	alone := e.value&mergeZstd != 0 && !m.o.Stored // as there is room for one
	switch {
	case m.any && e.key == m.last:
		m.stats.Duplicates++
		alone = false
	case alone && len(m.batch) > 0:
		return false, nil
	default:
		m.last, m.any = e.key, true
		if err := m.add(in, e, alone); err != nil {
			return false, err
		}
	}
	if in.at++; in.at == len(in.window.entries) {
		m.spent = true
	} else {
		m.matches.keys[i] = in.window.entries[in.at].key
		m.matches.replay(i)
	}
	return !alone, nil
}

// add adds an entry to the batch, and looks at its value.
func (m *Merge) add(in *mergeInput, e *mergeEntry, plain bool) error {
	n := e.value & mergeLength
	if m.o.Places {
		to := m.next(in, e)
		to.Size = int64(n)
		return nil
	}
	value := in.window.bytes[e.at : e.at+n : e.at+n]
	if n > 0 {
		m.touched ^= value[0] ^ value[n/2] ^ value[n-1]
	}
	zstd := e.value&mergeZstd != 0
	if plain {
		var err error
		if m.room, err = (Stored{Data: value, Zstd: true}).Plain(m.room); err != nil {
			return corruptf(in.r.file.Name(), in.window.base+int64(e.at), "%s at LSN %s: %v", e.key.page(), e.key.lsn(), err)
		}
		value, zstd = m.room, false
	}
	to := m.next(in, e)
	to.Zstd, to.Value = zstd, value
	return nil
}

// next adds an entry to the batch, but for its value.
func (m *Merge) next(in *mergeInput, e *mergeEntry) *Merged {
	m.batch = m.batch[:len(m.batch)+1]
	to := &m.batch[len(m.batch)-1]
	to.Key, to.LSN = e.key.page(), e.key.lsn()
	to.Image, to.WillInit, to.Layer = in.image, e.value&mergeWillInit != 0, in.number
	return to
}

// open lets the next input take part, and begins to read it, all that come up by its lower bound, so that none
// waits for another, and the next.
func (m *Merge) open(ctx context.Context) error {
	in := m.inputs[m.opened]
	n := m.started
	for n < len(m.inputs) && m.inputs[n].keys.Start.Compare(in.keys.Start) <= 0 {
		n++
	}
	for n = min(n+mergeAhead, len(m.inputs)); m.started < n; m.started++ {
		m.inputs[m.started].start(m)
	}
	m.opened++
	m.setBound()
	ok, err := in.turn(ctx)
	if ok {
		m.matches.add(in)
	}
	return err
}

func (m *Merge) setBound() {
	if m.opened < len(m.inputs) {
		m.bound = deltaKey(&m.inputs[m.opened].keys.Start, 0)
	}
}

// turn goes to the next window of the least input.
func (m *Merge) turn(ctx context.Context) error {
	i, _ := m.matches.least()
	in := m.matches.inputs[i]
	ok, err := in.turn(ctx)
	switch {
	case err != nil:
		return err
	case !ok:
		m.matches.remove(i)
		return nil
	}
	m.matches.keys[i] = in.window.entries[0].key
	m.matches.replay(i)
	return nil
}

// Stats gives what the merge did so far.
func (m *Merge) Stats() MergeStats {
	s := m.stats
	if m.closed {
		return s
	}
	s.Entries -= int64(len(m.batch) - m.given)
	s.Opened = m.opened
	for _, in := range m.inputs[:m.opened] {
		s.Bytes += in.bytes
		if in.window != nil {
			s.Bytes += int64(len(in.window.bytes))
		}
	}
	return s
}

// Close ends the merge and gives its memory back, the value last given included. It may be called again.
func (m *Merge) Close() {
	if m.closed {
		return
	}
	m.stats = m.Stats()
	m.closed = true
	m.cancel()
	m.reads.Wait()
	for _, in := range m.inputs[:m.started] {
		in.release()
	}
	m.batch, m.given, m.matches, m.spent = nil, 0, mergeMatches{}, false
	m.o.Budget.Release(m.stats.Memory)
}
