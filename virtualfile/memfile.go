package virtualfile

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// undoPage is the unit in which memData remembers what was durable; sectorSize the unit that a disk writes
// whole.
const (
	undoPage   = 4096
	sectorSize = 512
)

// memData is a file's bytes, and what they were at the last sync: the length, and the old content of each
// page written to since.
type memData struct {
	bytes       []byte
	durableSize int64
	undo        map[int64][]byte
}

// touch remembers the pages of [from, to) before they change.
func (d *memData) touch(from, to int64) {
	if d.undo == nil {
		d.undo = map[int64][]byte{}
	}
	for p := from / undoPage; p*undoPage < to; p++ {
		if _, ok := d.undo[p]; ok {
			continue
		}
		lo := min(p*undoPage, int64(len(d.bytes)))
		hi := min(lo+undoPage, int64(len(d.bytes)))
		d.undo[p] = slices.Clone(d.bytes[lo:hi])
	}
}

func (d *memData) resize(size int64) {
	old := int64(len(d.bytes))
	if size < old {
		d.touch(size, old)
		d.bytes = d.bytes[:size]
		return
	}
	d.bytes = slices.Grow(d.bytes, int(size-old))[:size]
	clear(d.bytes[old:])
}

func (d *memData) writeAt(p []byte, off int64) {
	end := off + int64(len(p))
	d.touch(off, end)
	if end > int64(len(d.bytes)) {
		d.resize(end)
	}
	copy(d.bytes[off:], p)
}

func (d *memData) sync() { d.durableSize, d.undo = int64(len(d.bytes)), nil }

// crash gives a file as a crash may leave it: every sector written since the last sync is old or new, and
// so is the length.
func (d *memData) crash(rnd *rand.Rand) memData {
	if d.undo == nil && d.durableSize == int64(len(d.bytes)) {
		return memData{bytes: slices.Clone(d.bytes), durableSize: d.durableSize}
	}
	size := d.durableSize
	switch now := int64(len(d.bytes)); rnd.IntN(3) {
	case 1:
		size = now
	case 2:
		size = min(size, now) + rnd.Int64N(max(size-now, now-size)+1)
	}
	out := make([]byte, size)
	copy(out, d.bytes)
	for _, p := range slices.Sorted(maps.Keys(d.undo)) {
		old := d.undo[p]
		mode := rnd.IntN(3) // all sectors old, all new, or each by lot
		for s := int64(0); s < undoPage; s += sectorSize {
			keepNew := mode == 1 || mode == 2 && rnd.IntN(2) == 0
			if lo := p*undoPage + s; !keepNew && lo < size {
				sector := out[lo:min(lo+sectorSize, size)]
				clear(sector)
				if s < int64(len(old)) {
					copy(sector, old[s:])
				}
			}
		}
	}
	return memData{bytes: out, durableSize: size}
}

// CrashClone gives the file system as it may be found after a crash now: all synced bytes and entries, and
// of the rest a part that seed decides. Changes of entries survive whole (a rename is one change), bytes
// by the sector. The original goes on unharmed; the clone holds no locks.
func (m *MemFS) CrashClone(seed uint64) *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := crasher{
		rnd:  rand.New(rand.NewPCG(seed, 0)),
		mode: rand.New(rand.NewPCG(seed, 1)).IntN(3),
		seen: map[*memNode]*memNode{},
		ops:  map[uint64]bool{},
	}
	out := NewMem()
	out.mu.root = c.node(m.mu.root)
	return out
}

type crasher struct {
	rnd  *rand.Rand
	mode int // which changes of entries survive: 0 none, 1 all, 2 each by lot
	seen map[*memNode]*memNode
	ops  map[uint64]bool
}

func (c *crasher) keeps(op uint64) bool {
	if c.mode != 2 {
		return c.mode == 1
	}
	if _, ok := c.ops[op]; !ok {
		c.ops[op] = c.rnd.IntN(2) == 0
	}
	return c.ops[op]
}

func (c *crasher) node(n *memNode) *memNode {
	if done := c.seen[n]; done != nil {
		return done
	}
	if !n.isDir() {
		out := &memNode{file: n.file.crash(c.rnd)}
		c.seen[n] = out
		return out
	}
	out := newMemDir()
	c.seen[n] = out
	entries := maps.Clone(n.durable)
	for _, p := range n.pending {
		if !c.keeps(p.op) {
			continue
		}
		if p.node == nil {
			delete(entries, p.name)
		} else {
			entries[p.name] = p.node
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := c.node(entries[name])
		out.entries[name], out.durable[name] = e, e
	}
	return out
}

// memFile is an open file of a MemFS.
type memFile struct {
	fs       *MemFS
	name     string
	node     *memNode
	writable bool
	closed   atomic.Bool
}

func (f *memFile) check(op string, write bool) error {
	switch {
	case f.closed.Load():
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.name, fs.ErrPermission)
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.name, fs.ErrInvalid)
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	b := f.node.file.bytes
	if off >= int64(len(b)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", f.name, fs.ErrInvalid)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.file.writeAt(p, off)
	return len(p), nil
}

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.file.writeAt(p, int64(len(f.node.file.bytes)))
	return len(p), nil
}

func (f *memFile) Sync() error {
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.file.sync()
	return nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.file.resize(size)
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	return int64(len(f.node.file.bytes)), nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	return nil
}
