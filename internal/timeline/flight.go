package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// flight is one download of a layer that all who want the layer share. It runs on its own, so that one of them may give up
// without the others; when the last has, it ends.
type flight struct {
	done   chan struct{}
	err    error // once done
	cancel context.CancelFunc
	got    atomic.Int64 // bytes so far

	waiters int // guarded by the state of its layerFile
}

// join gives the download of a layer, which is begun if there is none. The caller leaves it.
func (f *layerFiles) join(file *layerFile) (*flight, error) {
	file.state.Lock()
	defer file.state.Unlock()
	if fl := file.state.flight; fl != nil {
		fl.waiters++
		return fl, nil
	}
	if !f.takeOff() {
		return nil, fmt.Errorf("layer %s: %w", file.desc.Name(), ErrClosed)
	}
	ctx, cancel := context.WithCancel(f.flights) // ended by the last to leave, or with the timeline or the store
	fl := &flight{done: make(chan struct{}), cancel: cancel, waiters: 1}
	err := f.env.downloads.tasks.Go(func(end context.Context) {
		defer context.AfterFunc(end, cancel)()
		defer cancel()
		defer f.flying.Done()
		fl.err = f.download(ctx, file, fl)
		file.state.Lock()
		if file.state.flight == fl {
			file.state.flight = nil
		}
		file.state.Unlock()
		close(fl.done)
	})
	if err != nil {
		cancel()
		f.flying.Done()
		return nil, fmt.Errorf("layer %s: %w", file.desc.Name(), ErrClosed)
	}
	file.state.flight = fl
	return fl, nil
}

// leave ends the download if nobody waits for it any more. Whoever wants the layer after that begins another.
func (f *layerFile) leave(fl *flight) {
	f.state.Lock()
	defer f.state.Unlock()
	if fl.waiters--; fl.waiters > 0 {
		return
	}
	fl.cancel()
	if f.state.flight == fl {
		f.state.flight = nil
	}
}

// wanted reports whether what a flight brings may be put in place.
func (f *layerFile) wanted(fl *flight) bool {
	f.state.Lock()
	defer f.state.Unlock()
	return !f.state.gone && f.state.flight == fl
}

// fetch brings the file of a layer.
func (f *layerFiles) fetch(ctx context.Context, file *layerFile) error {
	fl, err := f.join(file)
	if err != nil {
		return err
	}
	defer file.leave(fl)
	select {
	case <-fl.done:
		if fl.err != nil && f.cut.Load() {
			return fmt.Errorf("layer %s: %w", file.desc.Name(), errors.Join(ErrClosed, fl.err))
		}
		return fl.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ensure brings the file of a layer unless it is there. A pinned view has the layer.
func (f *layerFiles) ensure(ctx context.Context, d *layer.Desc) error {
	if file, lacking := f.lacks(d); lacking {
		return f.fetch(ctx, file)
	}
	return nil
}

// lacks reports whether the file of a layer is in remote storage only.
func (f *layerFiles) lacks(d *layer.Desc) (*layerFile, bool) {
	if f.absent.Load() == 0 || f.env.Remote == nil {
		return nil, false
	}
	file := f.find(d)
	if file != nil && file.reader.Load() != nil {
		return file, false
	}
	if _, err := f.env.FS.Stat(filepath.Join(f.dir, d.FileName())); !errors.Is(err, fs.ErrNotExist) {
		return file, false
	}
	if file == nil {
		file = f.add(d)
	}
	return file, true
}

// fetches are downloads that somebody has begun to wait for.
type fetches struct {
	all   []fetching
	looks sync.WaitGroup
	loads atomic.Int64 // blocks of indexes that were brought into memory
	end   context.CancelFunc
}

type fetching struct {
	file   *layerFile
	flight *flight
}

// leave gives all of them up that nobody else waits for, and tells c what was done for it.
func (f *fetches) leave(ctx context.Context, c *layer.Collector) {
	f.end()
	for _, x := range f.all {
		x.file.leave(x.flight)
	}
	f.looks.Wait()
	c.OnMiss(looked(f.loads.Load()))
	c.Missing(ctx)
}

// looked is what others have looked ahead.
type looked int

// LookAhead gives how many blocks that were.
func (n looked) LookAhead(context.Context) int { return int(n) }

// look opens a layer as soon as it has come, and brings into memory what the read will search, while others are on their way
// yet. What fails is for the read to meet.
func (f *fetches) look(ctx context.Context, files *layerFiles, x fetching, visit *layer.Visit) {
	select {
	case <-x.flight.done:
	case <-ctx.Done():
		return
	}
	if x.flight.err != nil {
		return
	}
	if r, err := files.open(ctx, x.file); err == nil {
		f.loads.Add(int64(r.Warm(ctx, visit.Keys, visit.LSNs)))
	}
}

// maxFetchAhead bounds the layers that one step of a read has fetched before it asks for them.
const maxFetchAhead = 64

// lacksFiles reports whether a read may meet layers whose files are in remote storage only.
func (l *lineage) lacksFiles() bool {
	for _, v := range l.views {
		if v.t.files.absent.Load() > 0 {
			return true
		}
	}
	return false
}

// fetchAhead begins the downloads of all layers that a read may need, so that they are under way together. Those that
// it does not come to need end when the caller leaves them.
func (l *lineage) fetchAhead(ctx context.Context, c *layer.Collector, inherited bool) *fetches {
	out := &fetches{}
	ctx, out.end = context.WithCancel(ctx)
	open := c.Open()
	for i, v := range l.views {
		if open.Empty() || i > 0 && !inherited || len(out.all) == maxFetchAhead {
			break
		}
		open = out.begin(ctx, v, open, min(c.LSN(), l.lsns[i]))
	}
	return out
}

// begin fetches what a read of keys needs of a view, and gives the keys that an ancestor may have to be asked for.
func (f *fetches) begin(ctx context.Context, v *view, keys page.Set, lsn page.LSN) page.Set {
	plan := layer.NewCollector(keys, lsn)
	defer plan.Release()
	files := v.t.files
	for visit := range v.layers.Visits(plan, lsn+1) {
		if len(f.all) == maxFetchAhead {
			break
		}
		if !v.askFor(&visit) {
			continue
		}
		if visit.Desc.Image {
			keys = keys.Subtract(visit.Keys)
		}
		file, lacking := files.lacks(&visit.Desc)
		if !lacking {
			continue
		}
		if fl, err := files.join(file); err == nil {
			x := fetching{file, fl}
			f.all = append(f.all, x)
			f.looks.Go(func() { f.look(ctx, files, x, &visit) })
		}
	}
	return keys
}

// WaitingForLayers is how many reads and others wait for layers to be fetched, each layer counted.
func (t *Timeline) WaitingForLayers() (n int) {
	b := *t.files.buckets.Load()
	for i := range b {
		for x := b[i].Load(); x != nil; x = x.next {
			x.file.state.Lock()
			if fl := x.file.state.flight; fl != nil {
				n += fl.waiters
			}
			x.file.state.Unlock()
		}
	}
	return n
}
