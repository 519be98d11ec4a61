package backupcache

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/internal/tasks"
)

// Cache is an open cache. Its methods may be called from many goroutines.
type Cache struct {
	o     Options
	lock  io.Closer // of the folder
	tasks *tasks.Group
	m     counters
	turn  chan struct{} // of who deletes files, or writes the order
	mu    struct {
		sync.Mutex
		entries  map[Key]*list.Element // of *entry
		recent   list.List             // what was used last is in front
		flights  map[Key]*flight
		tooLarge map[Key]struct{}
		doomed   []*entry // to be deleted
		dying    int64    // bytes of those, and of what sweep deletes just now
		bytes    int64    // of entries, what is being written, and what is dying
		rest     time.Time
		number   uint64 // of the file made last
		closed   bool
		// reordered says that the order of use is not the one that was written last; the next is due then.
		reordered bool
		orderDue  time.Time
	}
}

// entry is a file.
type entry struct {
	trailer
	name   string
	number uint64 // in the name
	size   int64  // with the trailer
	// verifying has one place: who is in it verifies, and others wait for what comes of it.
	verifying chan struct{}
	sound     atomic.Pointer[identity] // of the file as it was verified, nil if it was not
}

func newEntry(t trailer, name string, size int64) *entry {
	n, _ := numberOf(name)
	return &entry{trailer: t, name: name, number: n, size: size, verifying: make(chan struct{}, 1)}
}

type counters struct {
	hits, shared, misses, bypassed, evictions, damaged             atomic.Int64
	preparations, failures, preparedBytes, verified, removeFailure atomic.Int64
}

// lockName is the file that keeps a second process out.
const lockName = "lock"

// maxTooLarge bounds how many keys are remembered whose backups are too large.
const maxTooLarge = 1024

// Open opens the cache in Options.Dir with what an earlier one has left there. Close must be called.
func Open(o Options) (*Cache, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("cache of base backups: %w", err)
	}
	c := &Cache{o: o.withDefaults(), tasks: tasks.New(), turn: make(chan struct{}, 1)}
	c.mu.entries, c.mu.flights, c.mu.tooLarge = map[Key]*list.Element{}, map[Key]*flight{}, map[Key]struct{}{}
	if err := c.o.FS.MkdirAll(c.o.Dir); err != nil {
		return nil, fmt.Errorf("cache of base backups: %w", err)
	}
	var err error
	if c.lock, err = c.o.FS.Lock(c.path(lockName)); err != nil {
		return nil, fmt.Errorf("cache of base backups: %w: each process needs a folder of its own", err)
	}
	if err := c.scan(); err != nil {
		return nil, errors.Join(fmt.Errorf("cache of base backups: %w", err), c.lock.Close())
	}
	return c, nil
}

func (c *Cache) path(name string) string { return filepath.Join(c.o.Dir, name) }

// found is a file of the folder.
type found struct {
	*entry
	modified time.Time
}

// scan takes over the files of the folder, and deletes those of the cache's that are no whole backups.
func (c *Cache) scan() error {
	names, err := c.o.FS.List(c.o.Dir)
	if err != nil {
		return err
	}
	var all []found
	for _, name := range names {
		n, ours := numberOf(name)
		if !ours {
			continue
		}
		c.mu.number = max(c.mu.number, n)
		f, err := c.look(name)
		if err == nil {
			all = append(all, f)
			continue
		}
		if !strings.HasSuffix(name, temporaryName) {
			c.m.damaged.Add(1)
			c.o.Logger.Warn("a cached base backup cannot be used and is deleted", "file", c.path(name), "error", err)
		}
		if err := c.o.FS.Remove(c.path(name)); err != nil {
			return err
		}
	}
	c.sort(all)
	c.mu.Lock()
	c.mu.orderDue = c.o.Clock().Add(orderEvery)
	for _, f := range all {
		c.mu.bytes += f.size
		c.addLocked(f.entry)
	}
	c.roomLocked(0)
	c.mu.Unlock()
	c.sweep()
	return nil
}

// sort puts what was used longest ago first. What the order that was kept does not name was made after it was written, or there is none:
// those made last are taken for those used last.
func (c *Cache) sort(all []found) {
	places, err := c.readOrder()
	if err != nil {
		c.o.Logger.Warn("the order of use of cached base backups cannot be read; files made last are taken for those used last", "file", c.path(orderName), "error", err)
	}
	place := func(f found) int {
		if at, kept := places[f.number]; kept {
			return at
		}
		return math.MaxInt
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), a.modified.Compare(b.modified), cmp.Compare(a.number, b.number))
	})
}

var errTemporary = errors.New("it was being written")

// look finds out what a file is.
func (c *Cache) look(name string) (f found, err error) {
	if strings.HasSuffix(name, temporaryName) {
		return f, errTemporary
	}
	info, err := c.o.FS.Stat(c.path(name))
	if err != nil {
		return f, err
	}
	t, size, err := readTrailer(c.o.FS, c.path(name))
	return found{newEntry(t, name, size), info.Modified}, err
}

// addLocked makes e the entry of its key, used last.
func (c *Cache) addLocked(e *entry) {
	if old := c.mu.entries[e.key]; old != nil {
		c.dropLocked(old)
	}
	c.mu.entries[e.key] = c.mu.recent.PushFront(e)
	c.usedLocked()
	for len(c.mu.entries) > c.o.Entries {
		c.evictLocked()
	}
}

// dropLocked takes out an entry, whose file sweep is to delete then.
func (c *Cache) dropLocked(at *list.Element) {
	e := c.mu.recent.Remove(at).(*entry)
	delete(c.mu.entries, e.key)
	c.doomLocked(e)
}

// doomLocked leaves a file to sweep.
func (c *Cache) doomLocked(e *entry) {
	c.mu.doomed = append(c.mu.doomed, e)
	c.mu.dying += e.size
}

func (c *Cache) evictLocked() {
	c.m.evictions.Add(1)
	c.dropLocked(c.mu.recent.Back())
}

// roomLocked dooms entries until n further bytes will have room.
func (c *Cache) roomLocked(n int64) {
	left := c.mu.bytes - c.mu.dying + n
	for left > c.o.Bytes && c.mu.recent.Len() > 0 {
		left -= c.mu.recent.Back().Value.(*entry).size
		c.evictLocked()
	}
}

// sweep deletes the files of doomed entries. What cannot be deleted it leaves to the next call.
func (c *Cache) sweep() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	doomed := c.mu.doomed
	c.mu.doomed = nil
	c.mu.Unlock()
	var freed int64
	var left []*entry
	for _, e := range doomed {
		if err := c.remove(e.name); err != nil {
			c.m.removeFailure.Add(1)
			c.o.Logger.Warn("a cached base backup cannot be deleted", "file", c.path(e.name), "error", err)
			left = append(left, e)
			continue
		}
		freed += e.size
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.bytes -= freed
	c.mu.dying -= freed
	c.mu.doomed = append(c.mu.doomed, left...)
}

// Remove takes out all backups that match, those too that are being made.
func (c *Cache) Remove(match func(Key) bool) {
	c.mu.Lock()
	for k, at := range c.mu.entries {
		if match(k) {
			c.dropLocked(at)
		}
	}
	for k, f := range c.mu.flights {
		if match(k) {
			f.unwanted = true
		}
	}
	c.mu.Unlock()
	c.sweep()
}

// Metrics says what has happened since Open.
func (c *Cache) Metrics() Metrics {
	m := Metrics{
		Hits: c.m.hits.Load(), Shared: c.m.shared.Load(), Misses: c.m.misses.Load(), Bypassed: c.m.bypassed.Load(),
		Evictions: c.m.evictions.Load(), Damaged: c.m.damaged.Load(), Preparations: c.m.preparations.Load(),
		Failures: c.m.failures.Load(), PreparedBytes: c.m.preparedBytes.Load(), Verified: c.m.verified.Load(),
		RemoveFailures: c.m.removeFailure.Load(),
		EntriesLimit:   int64(c.o.Entries), BytesLimit: c.o.Bytes, PreparationsLimit: int64(c.o.Preparations),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Entries, m.Bytes, m.Running = int64(len(c.mu.entries)), c.mu.bytes, int64(len(c.mu.flights))
	return m
}

// Close calls off what is being made, waits for its end, keeps the order of use, and gives the folder back. Backups that were given can be read on. It
// may be called twice.
func (c *Cache) Close() error {
	c.mu.Lock()
	closed := c.mu.closed
	c.mu.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.tasks.Stop()
	c.sweep()
	c.keepOrder()
	return c.lock.Close()
}

// remove deletes a file; that it is gone already is no error.
func (c *Cache) remove(name string) error {
	if err := c.o.FS.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// use gives the entry of a key, which is the one used last now.
func (c *Cache) use(k Key) (*entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil, ErrClosed
	}
	at := c.mu.entries[k]
	if at == nil {
		return nil, ErrMiss
	}
	if at != c.mu.recent.Front() {
		c.mu.recent.MoveToFront(at)
		c.usedLocked()
	}
	return at.Value.(*entry), nil
}

// discard takes out an entry that cannot be used.
func (c *Cache) discard(e *entry, why error) {
	c.mu.Lock()
	at := c.mu.entries[e.key]
	there := at != nil && at.Value.(*entry) == e
	if there {
		c.dropLocked(at)
	}
	c.mu.Unlock()
	if there {
		c.m.damaged.Add(1)
		c.o.Logger.Warn("a cached base backup cannot be used and is deleted", "file", c.path(e.name), "error", why)
		c.sweep()
	}
}

// Open gives the backup of a key, or ErrMiss. Close it.
func (c *Cache) Open(ctx context.Context, k Key) (*Backup, error) {
	b, err := c.open(ctx, k)
	c.count(err, &c.m.hits)
	return b, err
}

// count counts what came of a request: good, or else a miss.
func (c *Cache) count(err error, good *atomic.Int64) {
	switch {
	case err == nil:
		good.Add(1)
	case errors.Is(err, ErrMiss):
		c.m.misses.Add(1)
	}
}

func (c *Cache) open(ctx context.Context, k Key) (*Backup, error) {
	e, err := c.use(k)
	if err != nil {
		return nil, err
	}
	b, err := c.read(ctx, e)
	switch {
	case err == nil:
		return b, nil
	case ctx.Err() != nil:
		return nil, err
	case errors.Is(err, errBusy):
		return nil, fmt.Errorf("%w: %w", ErrMiss, err)
	}
	c.discard(e, err)
	return nil, fmt.Errorf("%w: %w", ErrMiss, err)
}
