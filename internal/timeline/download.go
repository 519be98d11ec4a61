package timeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/semaphore"

	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// DownloadConfig says how layers are fetched from remote storage. Zeros are defaults.
type DownloadConfig struct {
	// Concurrent is how many are fetched at once, of all timelines; default 32. The share of transfers in
	// Config.Memory bounds them too: each takes downloadMemory of it.
	Concurrent int
	// Stall is how long a download may bring nothing before it is begun again where it was; default 15 s.
	Stall time.Duration
	// Attempts is how often that is done, and how often what failed is tried again; default 5.
	Attempts int
	// Pause is the wait before the second attempt, and grows twofold with each; default 100 ms.
	Pause time.Duration
}

func (c DownloadConfig) withDefaults() DownloadConfig {
	if c.Concurrent == 0 {
		c.Concurrent = 32
	}
	if c.Stall == 0 {
		c.Stall = 15 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	if c.Pause == 0 {
		c.Pause = 100 * time.Millisecond
	}
	return c
}

// downloadBuffer is the size of either buffer that a download is written from, and downloadMemory what it takes: both.
const (
	downloadBuffer = 512 << 10
	downloadMemory = 2 * downloadBuffer
)

// downloads is what the downloads of a store have in common.
type downloads struct {
	c     DownloadConfig
	slots *semaphore.Weighted
	tasks *tasks.Group
	temp  atomic.Uint64 // numbers temporary files

	layers, bytes, failures, stalls, running atomic.Int64
}

// DownloadMetrics tell what was fetched from remote storage since the store was opened.
type DownloadMetrics struct {
	// Layers and Bytes are what came and was sound, Failures downloads that were given up, Stalls those begun again
	// because nothing came.
	Layers, Bytes, Failures, Stalls int64
	// Running is how many there are now, waiting ones included.
	Running int64
}

func newDownloads(c DownloadConfig) *downloads {
	c = c.withDefaults()
	return &downloads{c: c, slots: semaphore.NewWeighted(int64(c.Concurrent)), tasks: tasks.New()}
}

func (d *downloads) metrics() (m DownloadMetrics) {
	if d != nil {
		m = DownloadMetrics{d.layers.Load(), d.bytes.Load(), d.failures.Load(), d.stalls.Load(), d.running.Load()}
	}
	return m
}

// download brings the file of a layer, on behalf of a flight.
func (f *layerFiles) download(ctx context.Context, file *layerFile, fl *flight) error {
	d := f.env.downloads
	d.running.Add(1)
	defer d.running.Add(-1)
	r, ok := f.remote(file.desc)
	if !ok {
		return fmt.Errorf("%w: layer %s is missing, and nothing says that remote storage has it", ErrCorrupt, filepath.Join(f.dir, file.desc.FileName()))
	}
	if err := d.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer d.slots.Release(1)
	if err := f.env.Shares.Transfers.Acquire(ctx, downloadMemory); err != nil {
		return err
	}
	defer f.env.Shares.Transfers.Release(downloadMemory)
	t := &transfer{f: f, file: file, r: r, flight: fl, key: remoteKey(f.id, &r)}
	err := t.run(ctx)
	if err != nil && ctx.Err() == nil {
		d.failures.Add(1)
		f.env.Logger.Warn("cannot fetch a layer from remote storage", "layer", t.key, "err", err)
	}
	if errors.Is(err, remote.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrStale, err)
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", file.desc.Name(), err)
	}
	if !t.placed {
		return nil
	}
	file.note(f.env.Clock().UnixNano())
	d.layers.Add(1)
	d.bytes.Add(file.desc.Size)
	f.absent.Add(-1)
	return nil
}

// transfer is one download on its way: into a temporary file, as far as it has come.
type transfer struct {
	f      *layerFiles
	file   *layerFile
	r      manifest.Remote
	flight *flight
	key    string

	placed bool // this one's file has the name
	temp   string
	out    *virtualfile.Handle
	w      *virtualfile.Writer
	sum    *xxhash.Digest
	at     int64
	etag   string
}

var (
	errStalled  = errors.New("nothing came any more")
	errReplaced = errors.New("the object was replaced while it was read")
	errSum      = errors.New("its bytes have another checksum than the index says")
)

// run fetches until the file is whole, or there is no hope.
func (t *transfer) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, t.discard()) }()
	c := &t.f.env.downloads.c
	for attempt := 1; ; attempt++ {
		err = t.attempt(ctx)
		switch {
		case err == nil || ctx.Err() != nil || attempt >= c.Attempts:
			return err
		case errors.Is(err, errStalled):
			t.f.env.downloads.stalls.Add(1)
		case errors.Is(err, errSum), errors.Is(err, errReplaced):
			// From the beginning: it may have been the way here.
			if e := t.discard(); e != nil {
				return errors.Join(err, e)
			}
		case !remote.Retryable(err):
			return err
		}
		pause := c.Pause << min(attempt-1, 10)
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// attempt brings what is left, and puts the file in its place.
func (t *transfer) attempt(ctx context.Context) error {
	if t.out == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	if t.at < t.file.desc.Size {
		if err := t.receive(ctx); err != nil {
			return err
		}
	}
	if t.r.Sum != 0 && t.sum.Sum64() != t.r.Sum {
		return fmt.Errorf("%s: %w: %016x, not %016x", t.key, errSum, t.sum.Sum64(), t.r.Sum)
	}
	if _, err := t.w.Finish(pg.BlockSize); err != nil {
		return err
	}
	if err := t.out.Sync(); err != nil {
		return err
	}
	return t.f.place(ctx, t)
}

func (t *transfer) begin() (err error) {
	if size := t.file.desc.Size; size <= 0 || size%pg.BlockSize != 0 {
		return fmt.Errorf("%w: %d bytes are no layer", ErrCorrupt, size)
	}
	d := t.f.env.downloads
	// Several processes that only read a store may fetch into it.
	t.temp = filepath.Join(t.f.dir, fmt.Sprintf("%s.%x-%x%s", t.file.desc.FileName(), d.temp.Add(1), rand.Uint64(), virtualfile.TempSuffix))
	if t.out, err = t.f.env.Disk.Create(t.temp); err != nil {
		return err
	}
	t.w, t.sum, t.at, t.etag = virtualfile.NewWriter(t.out, virtualfile.WriterOptions{Buffer: downloadBuffer}), xxhash.New(), 0, ""
	return nil
}

// receive reads from where the transfer is to the object's end.
func (t *transfer) receive(ctx context.Context) (err error) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := t.f.env.downloads.c.Stall
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	defer func() {
		if err != nil && errors.Is(context.Cause(inner), errStalled) {
			err = fmt.Errorf("%s: %w for %s, at byte %d of %d", t.key, errStalled, stall, t.at, t.file.desc.Size)
		}
	}()
	d, err := t.f.env.Remote.Get(inner, t.key, remote.GetOptions{Offset: t.at})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Body.Close()) }()
	if d.Object.Size != t.file.desc.Size {
		return fmt.Errorf("%w: %s has %d bytes, the index says %d", ErrCorrupt, t.key, d.Object.Size, t.file.desc.Size)
	}
	if t.etag == "" {
		t.etag = d.Object.ETag
	} else if t.etag != d.Object.ETag {
		return fmt.Errorf("%s: %w", t.key, errReplaced)
	}
	for t.at < t.file.desc.Size {
		room := t.w.Room(int(min(t.file.desc.Size-t.at, downloadBuffer)))
		if room == nil {
			return t.w.Err()
		}
		n, err := d.Body.Read(room)
		if n > 0 {
			watch.Reset(stall)
			_, _ = t.sum.Write(room[:n]) // never fails
			t.w.Advance(n)
			t.at += int64(n)
			t.flight.got.Store(t.at)
		}
		if err != nil && !(errors.Is(err, io.EOF) && t.at == t.file.desc.Size) {
			return noEOF(err)
		}
	}
	return nil
}

// noEOF is for an object that ends before its size.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ended early", remote.ErrUnavailable)
	}
	return err
}

// discard removes what was not put in place.
func (t *transfer) discard() error {
	if t.out == nil {
		return nil
	}
	t.w.Abort()
	err := t.out.Close()
	if t.temp != "" {
		err = errors.Join(err, t.f.env.Disk.Remove(t.temp))
	}
	t.out, t.temp = nil, ""
	return err
}

// place gives a file that is whole its name, unless nobody is to have it any more, or another flight was faster: who began this
// one had looked before that one landed, and the layer may be open by now. That the entry is durable is not
// needed: a file that a crash takes is fetched again.
func (f *layerFiles) place(ctx context.Context, t *transfer) error {
	if err := t.file.opening.take(ctx); err != nil {
		return err
	}
	defer t.file.opening.give()
	if !t.file.wanted(t.flight) {
		return context.Canceled
	}
	path := filepath.Join(f.dir, t.file.desc.FileName())
	if _, err := f.env.FS.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.env.Disk.Rename(t.temp, path); err != nil {
		return err
	}
	t.temp, t.placed = "", true
	return nil
}
