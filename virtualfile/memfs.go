package virtualfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// MemFS is a file system in memory that knows which bytes and directory entries were synced, so that
// CrashClone can show what a crash may leave. It can be full (SetCapacity), a sync of it can fail and lose
// what was not synced (Fault.Lose), and direct I/O has to be aligned to 512 bytes as on a disk. Names are taken
// from the root, with or without a leading slash.
type MemFS struct {
	mu struct {
		sync.RWMutex
		root     *memNode
		changes  uint64         // of directory entries, so far
		files    int64          // made, so far
		locked   map[string]int // holders of a shared lock; -1 for an exclusive one
		capacity int64
		used     int64
	}
}

var _ FS = (*MemFS)(nil)

// NewMem gives an empty file system.
func NewMem() *MemFS {
	m := &MemFS{}
	m.mu.root = newMemDir()
	m.mu.locked = map[string]int{}
	return m
}

// memNode is a file or, if entries is not nil, a folder.
type memNode struct {
	file    memData
	born    int64 // numbers the files made
	blocks  int64 // bytes of the capacity that it takes up
	links   int   // names
	opens   int
	entries map[string]*memNode
	// durable is what the entries were at the last SyncDir, pending what has happened since.
	durable map[string]*memNode
	pending []memEntry
}

// memEntry says that with a change name came to mean node, or nothing.
type memEntry struct {
	change *memChange
	name   string
	node   *memNode
}

// memChange is one change of entries. A rename whose new name is durable is durable whole. With its old name
// alone gone for good, as where the wrong folder was synced, the file may be lost.
type memChange struct {
	number  uint64
	durable bool
}

func newMemDir() *memNode {
	return &memNode{entries: map[string]*memNode{}, durable: map[string]*memNode{}}
}

func (n *memNode) isDir() bool { return n.entries != nil }

// changeLocked begins a change.
func (m *MemFS) changeLocked() *memChange {
	m.mu.changes++
	return &memChange{number: m.mu.changes}
}

// setLocked makes name in dir mean node, or nothing.
func (m *MemFS) setLocked(c *memChange, dir *memNode, name string, node *memNode) {
	old := dir.entries[name]
	if node == nil {
		delete(dir.entries, name)
	} else {
		dir.entries[name] = node
		node.links++
	}
	if old != nil {
		m.unlinkLocked(old)
	}
	dir.pending = append(dir.pending, memEntry{c, name, node})
}

func cleanMem(name string) string { return path.Clean("/" + name) }

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// findLocked gives the node of name.
func (m *MemFS) findLocked(op, name string) (*memNode, error) {
	n := m.mu.root
	for part := range strings.SplitSeq(cleanMem(name)[1:], "/") {
		if part == "" {
			break
		}
		if !n.isDir() {
			return nil, pathError(op, name, syscall.ENOTDIR)
		}
		if n = n.entries[part]; n == nil {
			return nil, pathError(op, name, fs.ErrNotExist)
		}
	}
	return n, nil
}

// parentLocked gives the folder that holds name, and name's last part.
func (m *MemFS) parentLocked(op, name string) (*memNode, string, error) {
	dir, base := path.Split(cleanMem(name))
	if base == "" {
		return nil, "", pathError(op, name, fs.ErrInvalid)
	}
	n, err := m.findLocked(op, dir)
	if err != nil {
		return nil, "", pathError(op, name, errors.Unwrap(err))
	}
	if !n.isDir() {
		return nil, "", pathError(op, name, syscall.ENOTDIR)
	}
	return n, base, nil
}

// Create makes a file; its entry is durable after SyncDir.
func (m *MemFS) Create(name string) (File, error) { return m.create(name, 0) }

func (m *MemFS) create(name string, flags Flags) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked("open", name)
	if err != nil {
		return nil, err
	}
	if dir.entries[base] != nil {
		return nil, pathError("open", name, fs.ErrExist)
	}
	m.mu.files++
	n := &memNode{born: m.mu.files}
	m.setLocked(m.changeLocked(), dir, base, n)
	return m.fileLocked(n, name, flags|FlagWrite), nil
}

func (m *MemFS) fileLocked(n *memNode, name string, flags Flags) File {
	n.opens++
	return &memFile{fs: m, name: name, node: n, writable: flags&FlagWrite != 0, direct: flags&FlagDirect != 0}
}

// Open opens a file for reading.
func (m *MemFS) Open(name string) (File, error) { return m.open(name, 0) }

// OpenAppend opens a file for reading and writing.
func (m *MemFS) OpenAppend(name string) (File, error) { return m.open(name, FlagWrite) }

// OpenFile implements FS. With FlagDirect, transfers that are not aligned to 512 bytes fail with EINVAL.
func (m *MemFS) OpenFile(name string, flags Flags) (File, error) {
	if flags&FlagCreate != 0 {
		return m.create(name, flags)
	}
	return m.open(name, flags)
}

func (m *MemFS) open(name string, flags Flags) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked("open", name)
	if err != nil {
		return nil, err
	}
	if n.isDir() {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	return m.fileLocked(n, name, flags), nil
}

// Rename moves a file or folder and replaces a file of the new name.
func (m *MemFS) Rename(oldName, newName string) error { return m.rename(oldName, newName, true) }

// RenameNew moves a file and fails with fs.ErrExist if the new name is taken.
func (m *MemFS) RenameNew(oldName, newName string) error { return m.rename(oldName, newName, false) }

func (m *MemFS) rename(oldName, newName string, replace bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, oldBase, err := m.parentLocked("rename", oldName)
	if err != nil {
		return err
	}
	to, newBase, err := m.parentLocked("rename", newName)
	if err != nil {
		return err
	}
	n, there := from.entries[oldBase], to.entries[newBase]
	switch {
	case n == nil:
		return pathError("rename", oldName, fs.ErrNotExist)
	case there == nil:
	case !replace:
		return pathError("rename", newName, fs.ErrExist)
	case there == n:
		return nil
	case there.isDir() && (!n.isDir() || len(there.entries) > 0):
		return pathError("rename", newName, fs.ErrExist)
	case n.isDir() && !there.isDir():
		return pathError("rename", newName, syscall.ENOTDIR)
	}
	if n.isDir() && strings.HasPrefix(cleanMem(newName)+"/", cleanMem(oldName)+"/") {
		return pathError("rename", newName, fs.ErrInvalid)
	}
	c := m.changeLocked()
	m.setLocked(c, to, newBase, n)
	m.setLocked(c, from, oldBase, nil)
	return nil
}

// Remove removes a file or an empty folder. Open files stay readable.
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked("remove", name)
	if err != nil {
		return err
	}
	n := dir.entries[base]
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if n.isDir() && len(n.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.setLocked(m.changeLocked(), dir, base, nil)
	return nil
}

// RemoveAll removes a file or folder with all in it.
func (m *MemFS) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked("remove", name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && dir.entries[base] == nil {
		return nil
	}
	if err != nil {
		return err
	}
	m.removeLocked(dir, base)
	return nil
}

// removeLocked removes what is below an entry, and it, each as a change of its own.
func (m *MemFS) removeLocked(dir *memNode, base string) {
	n := dir.entries[base]
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		m.removeLocked(n, name)
	}
	m.setLocked(m.changeLocked(), dir, base, nil)
}

// List gives the sorted names in dir.
func (m *MemFS) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.findLocked("open", dir)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, pathError("readdir", dir, syscall.ENOTDIR)
	}
	return slices.Sorted(maps.Keys(n.entries)), nil
}

// MkdirAll makes a folder and those above it.
func (m *MemFS) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.root
	for part := range strings.SplitSeq(cleanMem(dir)[1:], "/") {
		if part == "" {
			break
		}
		next := n.entries[part]
		if next == nil {
			next = newMemDir()
			m.setLocked(m.changeLocked(), n, part, next)
		}
		if !next.isDir() {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// SyncDir makes dir's entries durable.
func (m *MemFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked("sync", dir)
	if err != nil {
		return err
	}
	if !n.isDir() {
		return pathError("sync", dir, syscall.ENOTDIR)
	}
	for _, p := range n.pending {
		p.change.durable = p.change.durable || p.node != nil
	}
	n.durable, n.pending = maps.Clone(n.entries), nil
	return nil
}

// Stat tells a file's size, or that it is a folder.
func (m *MemFS) Stat(name string) (FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.findLocked("stat", name)
	if err != nil {
		return FileInfo{}, err
	}
	return FileInfo{Size: int64(len(n.file.bytes)), IsDir: n.isDir(), Modified: time.Unix(n.born, n.file.version)}, nil
}

// Lock keeps out every other Lock of name on this file system until it is closed.
func (m *MemFS) Lock(name string) (io.Closer, error) {
	f, err := m.Create(name)
	if errors.Is(err, fs.ErrExist) {
		f, err = m.OpenAppend(name)
	}
	if err != nil {
		return nil, err
	}
	return m.lock(f, false)
}

// LockShared keeps out every Lock of name on this file system until it is closed.
func (m *MemFS) LockShared(name string) (io.Closer, error) {
	f, err := m.Open(name)
	if err != nil {
		return nil, err
	}
	return m.lock(f, true)
}

func (m *MemFS) lock(f File, shared bool) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := cleanMem(f.Name())
	switch holders := m.mu.locked[name]; {
	case shared && holders >= 0:
		m.mu.locked[name]++
	case holders == 0:
		m.mu.locked[name] = -1
	default:
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	return &memLock{File: f, fs: m, name: name}, nil
}

type memLock struct {
	File
	fs   *MemFS
	name string
}

func (l *memLock) Close() error {
	err := l.File.Close()
	if err == nil {
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		if l.fs.mu.locked[l.name]--; l.fs.mu.locked[l.name] <= 0 {
			delete(l.fs.mu.locked, l.name)
		}
	}
	return err
}
