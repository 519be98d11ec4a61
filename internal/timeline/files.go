package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/layer"
)

// layerFiles are the open layers of a timeline: each is opened when it is first asked, and stays until no
// view has it any more. That is cheap, for descriptors and memory are others' to keep. A look-up takes no
// lock and allocates nothing.
type layerFiles struct {
	env     *Env
	dir     string
	id      layer.Identity
	buckets atomic.Pointer[[]bucket]
	mu      struct {
		sync.Mutex
		n int
	}
	remote remoteLookup   // what is known of layers in remote storage
	absent atomic.Int64   // layers whose files are there only
	opened int64          // when the timeline was, in ns
	cut    atomic.Bool    // nobody opens or fetches a file any more
	flying sync.WaitGroup // downloads; it grows under mu, while cut is not set
	// flights is the context of all downloads, which land ends.
	flights context.Context
	land    context.CancelFunc
}

// bucket heads a list of nodes that are never changed.
type bucket = atomic.Pointer[fileNode]

type fileNode struct {
	file *layerFile
	next *fileNode
}

// layerFile is one layer, open once reader is set.
type layerFile struct {
	desc     layer.Desc
	reader   atomic.Pointer[layer.Reader]
	tick     atomic.Int64 // when it was last used, as Env.tick says, or came
	opening  turn         // guards what evictions need: evicting, and leaving, the reader of one that is
	leaving  *layer.Reader
	evicting bool
	state    struct {
		sync.Mutex
		flight *flight
		gone   bool // no view has the layer any more: its file must not come back
	}
}

const (
	minBuckets = 16
	// maxPerBucket is how many layers a bucket has on average before there are twice as many buckets.
	maxPerBucket = 2
)

func newLayerFiles(env *Env, dir string, id layer.Identity, remote remoteLookup) *layerFiles {
	f := &layerFiles{env: env, dir: dir, id: id, remote: remote, opened: env.Clock().UnixNano()}
	f.flights, f.land = context.WithCancel(context.Background())
	b := make([]bucket, minBuckets)
	f.buckets.Store(&b)
	return f
}

// hashOf mixes what tells layers apart.
func hashOf(d *layer.Desc) uint64 {
	const odd = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	h := (uint64(d.LSNs.Start) ^ uint64(d.LSNs.End)<<20) * odd
	h = (h ^ h>>29 ^ uint64(d.Keys.Start.F6) ^ uint64(d.Keys.Start.F4)<<32) * odd
	h = (h ^ h>>32 ^ uint64(d.Keys.End.F6) ^ uint64(d.Keys.End.F4)<<32) * odd
	return h ^ h>>31
}

func same(a, b *layer.Desc) bool {
	return a.LSNs == b.LSNs && a.Keys == b.Keys && a.Image == b.Image && a.Generation == b.Generation
}

// find gives the layer if it has been asked before.
func (f *layerFiles) find(d *layer.Desc) *layerFile {
	b := *f.buckets.Load()
	for n := b[hashOf(d)%uint64(len(b))].Load(); n != nil; n = n.next {
		if same(&n.file.desc, d) {
			return n.file
		}
	}
	return nil
}

// note says that a layer is used at a time. Most calls find it noted.
func (f *layerFile) note(now int64) {
	if f.tick.Load() < now {
		f.tick.Store(now)
	}
}

// reader gives an open layer, valid for as long as the caller has pinned a view that has it. Several callers
// share one opening. One that failed is tried again by the next.
func (f *layerFiles) reader(ctx context.Context, d *layer.Desc) (*layer.Reader, error) {
	return f.readerFor(ctx, d, nil)
}

// readerFor is reader. The Collector, if there is one, is told if the layer is not open.
func (f *layerFiles) readerFor(ctx context.Context, d *layer.Desc, c *layer.Collector) (*layer.Reader, error) {
	file := f.find(d)
	if file == nil {
		file = f.add(d)
	}
	file.note(f.env.tick.Load())
	if r := file.reader.Load(); r != nil {
		return r, nil
	}
	if f.cut.Load() {
		return nil, fmt.Errorf("layer %s: %w", d.Name(), ErrClosed)
	}
	if c != nil {
		c.Missing(ctx)
	}
	for {
		r, err := f.open(ctx, file)
		if !errors.Is(err, fs.ErrNotExist) || f.env.Remote == nil {
			return r, layerError(err)
		}
		if err := f.fetch(ctx, file); err != nil {
			return nil, err
		}
	}
}

// open opens the file of a layer; fs.ErrNotExist says that it is not there.
func (f *layerFiles) open(ctx context.Context, file *layerFile) (*layer.Reader, error) {
	if err := file.opening.take(ctx); err != nil {
		return nil, err
	}
	defer file.opening.give()
	if r := file.reader.Load(); r != nil {
		return r, nil
	}
	file.undoEvictionLocked()
	if r := file.reader.Load(); r != nil {
		return r, nil
	}
	r, err := layer.OpenReader(ctx, f.env.Disk, f.env.Blocks, f.dir, f.id, file.desc)
	if err != nil {
		return nil, err
	}
	f.env.counters.fileOpens.Add(1)
	file.reader.Store(r)
	return r, nil
}

// add makes the place of a layer, unless another caller was faster.
func (f *layerFiles) add(d *layer.Desc) *layerFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.find(d); file != nil {
		return file
	}
	file := &layerFile{desc: *d, opening: newTurn()}
	f.mu.n++
	if b := *f.buckets.Load(); f.mu.n > maxPerBucket*len(b) {
		f.growLocked(b)
	}
	b := *f.buckets.Load()
	head := &b[hashOf(d)%uint64(len(b))]
	head.Store(&fileNode{file, head.Load()})
	return file
}

// growLocked doubles the buckets. Who reads the old ones meanwhile misses what is added at most, and looks
// again under the lock.
func (f *layerFiles) growLocked(old []bucket) {
	b := make([]bucket, 2*len(old))
	for i := range old {
		for n := old[i].Load(); n != nil; n = n.next {
			head := &b[hashOf(&n.file.desc)%uint64(len(b))]
			head.Store(&fileNode{n.file, head.Load()})
		}
	}
	f.buckets.Store(&b)
}

// drop closes a layer that no view has any more.
func (f *layerFiles) drop(d *layer.Desc) {
	f.mu.Lock()
	file := f.find(d)
	if file == nil {
		f.mu.Unlock()
		return
	}
	b := *f.buckets.Load()
	head := &b[hashOf(d)%uint64(len(b))]
	var kept *fileNode
	for n := head.Load(); n != nil; n = n.next {
		if n.file != file {
			kept = &fileNode{n.file, kept}
		}
	}
	head.Store(kept)
	f.mu.n--
	f.mu.Unlock()
	f.shut(file)
}

// cutOff has no file opened or fetched any more. Downloads that run end, also those that hang and are waited for.
func (f *layerFiles) cutOff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut.Store(true)
	f.land()
}

// landed gives a channel that is closed once no download runs. cutOff was called before.
func (f *layerFiles) landed() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		f.flying.Wait()
		close(ended)
	}()
	return ended
}

// takeOff counts a download, unless it is too late for one.
func (f *layerFiles) takeOff() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut.Load() {
		return false
	}
	f.flying.Add(1)
	return true
}

// close closes all. Nobody may read any more.
func (f *layerFiles) close() {
	f.mu.Lock()
	b := *f.buckets.Load()
	none := make([]bucket, minBuckets)
	f.buckets.Store(&none)
	f.mu.n = 0
	f.mu.Unlock()
	for i := range b {
		for n := b[i].Load(); n != nil; n = n.next {
			f.shut(n.file)
		}
	}
}

func (f *layerFiles) shut(file *layerFile) {
	file.state.Lock()
	file.state.gone = true
	file.state.Unlock()
	// Nobody has a view with the layer, so nobody has its turn, but for an eviction.
	_ = file.opening.take(context.Background()) // cannot fail
	defer file.opening.give()
	for _, r := range []*layer.Reader{file.reader.Swap(nil), file.leaving} {
		if r == nil {
			continue
		}
		if err := r.Close(); err != nil {
			f.env.Logger.Error("cannot close a layer", "layer", file.desc.FileName(), "err", err)
		}
	}
	file.leaving, file.evicting = nil, false
}

// layerError marks what the layer package calls corrupt as corrupt here too.
func layerError(err error) error {
	if errors.Is(err, layer.ErrCorrupt) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
