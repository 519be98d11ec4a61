package virtualfile

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Sticky gives fsys with the rule of ErrBroken: a file that could not be written or synced cannot be
// written, synced, opened to be written, or renamed any more, through no descriptor and under no name, until
// it is removed or replaced. It can be read, for what that is worth. A folder whose entries could not be
// synced is never synced again, but for a full disk, which leaves its entries in the journal.
//
// Every caller that keeps files under an FS of its own should hold that one FS for as long as the process
// lives; a Disk does the same for its Handles. A sticky file system is returned as it is.
func Sticky(fsys FS) FS {
	if s, ok := fsys.(*stickyFS); ok {
		return s
	}
	s := &stickyFS{FS: fsys}
	s.mu.nodes = map[string]*stickyNode{}
	return s
}

// stickyFS knows the files that are open to be written, and those that are broken, by their present names.
type stickyFS struct {
	FS
	mu struct {
		sync.Mutex
		nodes map[string]*stickyNode
	}
}

// stickyNode is a file under whatever name.
type stickyNode struct {
	breaker
	opens int // guarded by stickyFS.mu
}

var _ FS = (*stickyFS)(nil)

func cleanName(name string) string { return path.Clean(filepath.ToSlash(name)) }

func (s *stickyFS) Create(name string) (File, error) {
	return s.open(name, func() (File, error) { return s.FS.Create(name) })
}

func (s *stickyFS) OpenAppend(name string) (File, error) {
	return s.open(name, func() (File, error) { return s.FS.OpenAppend(name) })
}

func (s *stickyFS) OpenFile(name string, flags Flags) (File, error) {
	if flags&FlagWrite == 0 {
		return s.FS.OpenFile(name, flags)
	}
	return s.open(name, func() (File, error) { return s.FS.OpenFile(name, flags) })
}

// open opens a file for writing and counts it, before it can be written.
func (s *stickyFS) open(name string, open func() (File, error)) (File, error) {
	n := s.acquire(name)
	err := n.failed()
	var f File
	if err == nil {
		f, err = open()
	}
	if err != nil {
		s.release(n)
		return nil, err
	}
	return &stickyFile{File: f, fs: s, node: n}, nil
}

func (s *stickyFS) acquire(name string) *stickyNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := cleanName(name)
	n := s.mu.nodes[key]
	if n == nil {
		n = &stickyNode{}
		s.mu.nodes[key] = n
	}
	n.opens++
	return n
}

// release forgets what nobody has open, unless it is broken.
func (s *stickyFS) release(n *stickyNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.opens--; n.opens > 0 || n.failed() != nil {
		return
	}
	for name, other := range s.mu.nodes {
		if other == n {
			delete(s.mu.nodes, name)
			return
		}
	}
}

// failed gives the ErrBroken of a name.
func (s *stickyFS) failed(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.mu.nodes[cleanName(name)]; n != nil {
		return n.failed()
	}
	return nil
}

// failedWithin gives the ErrBroken of a name or of one below it.
func (s *stickyFS) failedWithin(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, n := range s.mu.nodes {
		if _, ok := within(other, cleanName(name)); ok && n.failed() != nil {
			return n.failed()
		}
	}
	return nil
}

func (s *stickyFS) Rename(oldName, newName string) error {
	return s.rename(oldName, newName, s.FS.Rename)
}

func (s *stickyFS) RenameNew(oldName, newName string) error {
	return s.rename(oldName, newName, s.FS.RenameNew)
}

func (s *stickyFS) rename(oldName, newName string, rename func(oldName, newName string) error) error {
	if err := s.failedWithin(oldName); err != nil {
		return err
	}
	if err := rename(oldName, newName); err != nil {
		return err
	}
	s.forget(newName)
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to := cleanName(oldName), cleanName(newName)
	for name, n := range s.mu.nodes {
		if rest, ok := within(name, from); ok {
			delete(s.mu.nodes, name)
			s.mu.nodes[to+rest] = n
		}
	}
	return nil
}

func (s *stickyFS) Remove(name string) error {
	err := s.FS.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		s.forget(name)
	}
	return err
}

func (s *stickyFS) RemoveAll(name string) error {
	err := s.FS.RemoveAll(name)
	if err == nil {
		s.forget(name)
	}
	return err
}

// forget drops what was known under a name and below it. Files that are still open know of themselves.
func (s *stickyFS) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.mu.nodes {
		if _, ok := within(other, cleanName(name)); ok {
			delete(s.mu.nodes, other)
		}
	}
}

// within gives what follows dir in name, if name is dir or lies below it.
func within(name, dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(name, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

func (s *stickyFS) SyncDir(dir string) error {
	if err := s.failed(dir); err != nil {
		return err
	}
	err := s.FS.SyncDir(dir)
	if err == nil || fullDisk(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	n := s.acquire(dir)
	defer s.release(n)
	return n.synced(dir, err)
}

// stickyFile is a file open to be written.
type stickyFile struct {
	File
	fs   *stickyFS
	node *stickyNode
	once sync.Once
}

func (f *stickyFile) Write(p []byte) (int, error) {
	return f.write(func() (int, error) { return f.File.Write(p) })
}

func (f *stickyFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(func() (int, error) { return f.File.WriteAt(p, off) })
}

func (f *stickyFile) write(write func() (int, error)) (int, error) {
	if err := f.node.failed(); err != nil {
		return 0, err
	}
	n, err := write()
	return n, f.node.wrote(f.Name(), err)
}

func (f *stickyFile) Truncate(size int64) error {
	if err := f.node.failed(); err != nil {
		return err
	}
	return f.node.wrote(f.Name(), f.File.Truncate(size))
}

func (f *stickyFile) Sync() error {
	if err := f.node.failed(); err != nil {
		return err
	}
	return f.node.synced(f.Name(), f.File.Sync())
}

func (f *stickyFile) Close() error {
	f.once.Do(func() { f.fs.release(f.node) })
	return f.File.Close()
}

// descriptor lets a Disk, which keeps the rule itself, read and write past the wrapping.
func (f *stickyFile) descriptor() int { return descriptorOf(f.File) }

// lose implements loser.
func (f *stickyFile) lose() {
	if l, ok := f.File.(loser); ok {
		l.lose()
	}
}

// allocate implements allocator.
func (f *stickyFile) allocate(size int64) error {
	if err := f.node.failed(); err != nil {
		return err
	}
	return f.node.wrote(f.Name(), allocate(f.File, size))
}
