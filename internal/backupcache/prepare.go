package backupcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/virtualfile"
)

// Fill writes a backup to w, and says how many files are in it. Its context is the cache's own.
type Fill func(ctx context.Context, w io.Writer) (files int, err error)

// flight is a preparation under way.
type flight struct {
	key      Key
	done     chan struct{} // closed at the end
	err      error         // of it
	unwanted bool          // what comes of it is not kept; guarded by the cache's lock
}

// Fetch gives the backup of a key. If it is not there it is made, by fill or by who came before, which is waited for. ErrMiss
// says that this could not be; the backup can be made without the cache.
func (c *Cache) Fetch(ctx context.Context, k Key, fill Fill) (*Backup, error) {
	b, err := c.open(ctx, k)
	if err == nil || !errors.Is(err, ErrMiss) {
		c.count(err, &c.m.hits)
		return b, err
	}
	first, err := c.prepare(ctx, k, fill)
	if err == nil {
		b, err = c.open(ctx, k)
	}
	good := &c.m.shared
	if first {
		good = &c.m.misses
	}
	c.count(err, good)
	return b, err
}

// Prepare makes the backup of a key, unless it is there, and returns at its end.
func (c *Cache) Prepare(ctx context.Context, k Key, fill Fill) error {
	_, err := c.prepare(ctx, k, fill)
	return err
}

// Has reports whether the backup of a key is there. It is no use of it.
func (c *Cache) Has(k Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.entries[k] != nil
}

// prepare waits until the backup is there. first says that nobody was about to make it.
func (c *Cache) prepare(ctx context.Context, k Key, fill Fill) (first bool, err error) {
	f, first, err := c.take(k)
	if f == nil || err != nil {
		return first, err
	}
	if first {
		if err := c.tasks.Go(func(ctx context.Context) { c.fly(ctx, f, fill) }); err != nil {
			c.land(f, nil, ErrClosed)
		}
	}
	select {
	case <-f.done:
		return first, f.err
	case <-ctx.Done():
		return first, ctx.Err()
	}
}

// take gives the flight of a key: the one under way, or a new one if there is a turn. None says that the backup is there.
func (c *Cache) take(k Key) (f *flight, first bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.mu.flights[k]; f != nil {
		return f, false, nil
	}
	if c.mu.entries[k] != nil {
		return nil, false, nil
	}
	if c.mu.closed {
		return nil, true, ErrClosed
	}
	switch _, tooLarge := c.mu.tooLarge[k]; {
	case len(k.Kind) > MaxKind:
		err = fmt.Errorf("%w: its kind takes %d bytes", ErrMiss, len(k.Kind))
	case tooLarge:
		err = fmt.Errorf("%w: it is longer than %d bytes", ErrMiss, c.o.Bytes)
	case len(c.mu.flights) >= c.o.Preparations:
		err = fmt.Errorf("%w: %d are being made", ErrMiss, len(c.mu.flights))
	case c.o.Clock().Before(c.mu.rest):
		err = fmt.Errorf("%w: the last write failed", ErrMiss)
	default:
		f = &flight{key: k, done: make(chan struct{})}
		c.mu.flights[k] = f
		return f, true, nil
	}
	c.m.bypassed.Add(1)
	return nil, true, err
}

// fly makes the backup and ends the flight.
func (c *Cache) fly(ctx context.Context, f *flight, fill Fill) {
	c.m.preparations.Add(1)
	e, err := c.write(ctx, f.key, fill)
	if err != nil {
		c.m.failures.Add(1)
		c.o.Logger.Warn("a base backup could not be cached", "tenant", f.key.Tenant.String(), "timeline", f.key.Timeline.String(), "lsn", f.key.LSN.String(), "error", err)
		err = fmt.Errorf("%w: %w", ErrMiss, err)
	}
	c.land(f, e, err)
}

// land ends a flight with an entry or an error.
func (c *Cache) land(f *flight, e *entry, err error) {
	c.mu.Lock()
	delete(c.mu.flights, f.key)
	switch {
	case e != nil && f.unwanted:
		c.doomLocked(e)
		err = fmt.Errorf("%w: it is wanted no more", ErrMiss)
	case e != nil:
		c.addLocked(e)
	}
	f.err = err
	c.mu.Unlock()
	c.sweep()
	close(f.done)
}

// writeBuffer gathers small writes.
const writeBuffer = 1 << 20

// write makes the file of a backup. After an error there is none, and no bytes are taken.
func (c *Cache) write(ctx context.Context, k Key, fill Fill) (e *entry, err error) {
	c.mu.Lock()
	c.mu.number++
	name := fileName(k, c.mu.number)
	c.mu.Unlock()
	temp := c.path(name + virtualfile.TempSuffix)
	w := &fileWriter{c: c, key: k}
	w.sum.Reset()
	if w.f, err = c.o.FS.Create(temp); err != nil {
		c.rest()
		return nil, err
	}
	t := trailer{key: k}
	if t.files, err = w.fill(ctx, fill); err == nil {
		t.content, t.sum = w.n, w.sum.Sum64()
		err = w.end(t)
	}
	err = errors.Join(err, w.f.Close())
	if err == nil {
		// The name comes last: what has it is whole, whenever a crash comes.
		if err = virtualfile.DurableRename(c.o.FS, temp, c.path(name)); err == nil {
			c.m.preparedBytes.Add(w.n)
			return newEntry(t, name, w.n), nil
		}
		w.failed = err
	}
	if w.failed != nil {
		c.rest()
	}
	// Both names: where the rename failed the file may have either.
	c.mu.Lock()
	c.doomLocked(&entry{name: name + virtualfile.TempSuffix, size: w.n})
	c.doomLocked(&entry{name: name})
	c.mu.Unlock()
	c.sweep()
	return nil, err
}

// rest has nothing be written for a while.
func (c *Cache) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.rest = c.o.Clock().Add(c.o.Rest)
}

// fileWriter appends to a file what has room.
type fileWriter struct {
	c      *Cache
	key    Key
	f      virtualfile.File
	n      int64 // bytes for which there is room, and which are written unless failed
	sum    xxhash.Digest
	failed error // what went wrong with the file itself
}

func (w *fileWriter) fill(ctx context.Context, fill Fill) (files int, err error) {
	b := bufio.NewWriterSize(w, writeBuffer)
	if files, err = fill(ctx, b); err != nil {
		return 0, err
	}
	return files, b.Flush()
}

// end writes the trailer and makes the file durable.
func (w *fileWriter) end(t trailer) error {
	if _, err := w.Write(t.append(nil)); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		w.failed = err
		return err
	}
	return nil
}

// Write appends p.
func (w *fileWriter) Write(p []byte) (int, error) {
	if err := w.c.reserve(w, int64(len(p))); err != nil {
		return 0, err
	}
	if err := virtualfile.WriteAll(w.f, p); err != nil {
		w.failed = err
		return 0, err
	}
	_, _ = w.sum.Write(p)
	return len(p), nil
}

var errNoRoom = errors.New("there is no room in the cache")

// reserve makes room for n further bytes of a file.
func (c *Cache) reserve(w *fileWriter, n int64) error {
	c.mu.Lock()
	if w.n+n > c.o.Bytes {
		if len(c.mu.tooLarge) >= maxTooLarge {
			clear(c.mu.tooLarge)
		}
		c.mu.tooLarge[w.key] = struct{}{}
		c.mu.Unlock()
		return fmt.Errorf("%w: it takes more than %d bytes", errNoRoom, c.o.Bytes)
	}
	c.roomLocked(n)
	c.mu.bytes += n
	full := c.mu.bytes > c.o.Bytes
	c.mu.Unlock()
	if full {
		c.sweep()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.bytes > c.o.Bytes {
		c.mu.bytes -= n
		return fmt.Errorf("%w: %d bytes are being written or could not be deleted", errNoRoom, c.mu.bytes)
	}
	w.n += n
	return nil
}
