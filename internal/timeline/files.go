package timeline

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/virtualfile"
)

// files keeps layer files open, up to a limit of them. A file in use is never closed: if more than the
// limit are in use at once, those beyond it are closed as they are released.
type files struct {
	fs    virtualfile.FS
	limit int
	opens *atomic.Int64
	mu    struct {
		sync.Mutex
		open   map[fileKey]*openFile
		idle   *list.List // of *openFile, released longest ago first
		closed bool
		err    error // what closing files gave, for close to report
	}
}

// fileKey names a layer file among all timelines.
type fileKey struct {
	id   layer.Identity
	desc layer.Desc
}

// openFile is one layer file. ready is closed once reader or err is set; refs and idle belong to the mutex.
type openFile struct {
	key    fileKey
	ready  chan struct{}
	reader *layer.Reader
	err    error
	refs   int
	idle   *list.Element
}

func newFiles(fs virtualfile.FS, limit int, opens *atomic.Int64) *files {
	f := &files{fs: fs, limit: limit, opens: opens}
	f.mu.open = map[fileKey]*openFile{}
	f.mu.idle = list.New()
	return f
}

func (f *files) count() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.mu.open))
}

// acquire gives an open file, which the caller must release. Two callers share one opening.
func (f *files) acquire(ctx context.Context, dir string, id layer.Identity, d layer.Desc) (*openFile, error) {
	key := fileKey{id, d}
	f.mu.Lock()
	if f.mu.closed {
		f.mu.Unlock()
		return nil, ErrClosed
	}
	o, there := f.mu.open[key]
	if !there {
		o = &openFile{key: key, ready: make(chan struct{})}
		f.mu.open[key] = o
	}
	o.refs++
	if o.idle != nil {
		f.mu.idle.Remove(o.idle)
		o.idle = nil
	}
	drop := f.excessLocked()
	f.mu.Unlock()
	f.closeAll(drop)
	if !there {
		f.opens.Add(1)
		o.reader, o.err = layer.OpenReader(f.fs, dir, id, d)
		close(o.ready)
	}
	select {
	case <-o.ready:
	case <-ctx.Done():
		f.release(o)
		return nil, ctx.Err()
	}
	if o.err != nil {
		err := o.err
		f.release(o)
		return nil, layerError(err)
	}
	return o, nil
}

// layerError marks what the layer package calls corrupt as corrupt here too.
func layerError(err error) error {
	if errors.Is(err, layer.ErrCorrupt) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// excessLocked takes idle files out until the limit is kept or none is left.
func (f *files) excessLocked() (drop []*openFile) {
	for len(f.mu.open) > f.limit && f.mu.idle.Len() > 0 {
		o := f.mu.idle.Remove(f.mu.idle.Front()).(*openFile)
		o.idle = nil
		delete(f.mu.open, o.key)
		drop = append(drop, o)
	}
	return drop
}

func (f *files) release(o *openFile) {
	f.mu.Lock()
	var drop []*openFile
	if o.refs--; o.refs == 0 {
		failed := false
		select {
		case <-o.ready:
			failed = o.err != nil
		default: // cancelled while it is being opened by nobody else: impossible, as the opener holds a reference
		}
		if failed || f.mu.closed || len(f.mu.open) > f.limit {
			delete(f.mu.open, o.key)
			drop = append(drop, o)
		} else {
			o.idle = f.mu.idle.PushBack(o)
		}
	}
	f.mu.Unlock()
	f.closeAll(drop)
}

func (f *files) closeAll(drop []*openFile) {
	for _, o := range drop {
		if o.reader == nil {
			continue
		}
		if err := o.reader.Close(); err != nil {
			f.mu.Lock()
			f.mu.err = errors.Join(f.mu.err, err)
			f.mu.Unlock()
		}
	}
}

// close closes what is idle; what is in use follows when it is released.
func (f *files) close() error {
	f.mu.Lock()
	f.mu.closed = true
	var drop []*openFile
	for f.mu.idle.Len() > 0 {
		o := f.mu.idle.Remove(f.mu.idle.Front()).(*openFile)
		o.idle = nil
		delete(f.mu.open, o.key)
		drop = append(drop, o)
	}
	f.mu.Unlock()
	f.closeAll(drop)
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.mu.err
	f.mu.err = nil
	return err
}
