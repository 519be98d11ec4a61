package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// uploads is the folder of what is being written: a folder for each open store with a lock in it. No listing shows it.
const uploads = ".strata-uploads"

// maxStores bounds the stores that are open on one folder at once.
const maxStores = 10_000

// Store is a folder of objects.
type Store struct {
	fs     virtualfile.FS
	root   string
	temp   string // our folder of uploads
	lock   io.Closer
	number atomic.Uint64
	closed atomic.Bool
	// dirs are those whose entry in the folder above is known to be durable.
	dirs sync.Map
	// folders is locked while empty ones are removed, and shared by those who rely on one.
	folders sync.RWMutex
}

var _ remote.Storage = (*Store)(nil)

// Open opens the store in a folder, which it makes if need be.
func Open(fsys virtualfile.FS, root string) (*Store, error) {
	s := &Store{fs: fsys, root: root}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("remote store in %s: %w", root, err)
	}
	return s, nil
}

// open takes the first upload folder that no living process has, and clears it.
func (s *Store) open() error {
	all := path.Join(s.root, uploads)
	if err := s.fs.MkdirAll(all); err != nil {
		return err
	}
	if err := errors.Join(s.fs.SyncDir(path.Dir(s.root)), s.fs.SyncDir(s.root)); err != nil {
		return err
	}
	for n := range maxStores {
		lock, err := s.fs.Lock(path.Join(all, strconv.Itoa(n)+".lock"))
		if errors.Is(err, virtualfile.ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		s.lock, s.temp = lock, path.Join(all, strconv.Itoa(n))
		if err = s.fs.RemoveAll(s.temp); err == nil {
			err = s.fs.MkdirAll(s.temp)
		}
		if err != nil {
			return errors.Join(err, lock.Close())
		}
		return nil
	}
	return fmt.Errorf("%d stores are open on it already", maxStores)
}

// Close ends the store's use.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return errors.Join(s.fs.RemoveAll(s.temp), s.lock.Close())
}

func (s *Store) path(key string) string { return path.Join(s.root, key) }

// check is what every operation on an object begins with.
func (s *Store) check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return fmt.Errorf("%w: the store is closed", remote.ErrInvalid)
	}
	if err := remote.CheckKey(key); err != nil {
		return err
	}
	if first, _, _ := strings.Cut(key, "/"); first == uploads {
		return fmt.Errorf("%w: keys below %s are the store's own", remote.ErrInvalid, uploads)
	}
	return nil
}

// Head gives what is known of an object.
func (s *Store) Head(ctx context.Context, key string) (remote.Object, error) {
	if err := s.check(ctx, key); err != nil {
		return remote.Object{}, remote.Wrap("head", key, err)
	}
	o, err := s.stat(key)
	return o, remote.Wrap("head", key, err)
}

func (s *Store) stat(key string) (o remote.Object, err error) {
	st, err := s.fs.Stat(s.path(key))
	if err == nil && st.IsDir {
		err = remote.ErrNotFound
	}
	if err != nil {
		return o, reason(err)
	}
	return remote.Object{Key: key, Size: st.Size, ETag: etag(st), Modified: st.Modified}, nil
}

// etag tells versions of an object apart by time and size, as every Put makes a new file.
func etag(st virtualfile.FileInfo) string {
	return fmt.Sprintf("%x-%x", st.Modified.UnixNano(), st.Size)
}

// Delete removes objects, and the folders that are empty then.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	failed := remote.KeyErrors{}
	for _, dir := range s.deleteFiles(ctx, keys, failed) {
		s.removeEmpty(dir)
	}
	if len(failed) > 0 {
		return remote.Wrap("delete", keys[0], failed)
	}
	return nil
}

// deleteFiles removes files durably, and gives the folders that had them.
func (s *Store) deleteFiles(ctx context.Context, keys []string, failed remote.KeyErrors) (dirs []string) {
	s.folders.RLock()
	defer s.folders.RUnlock()
	folders := map[string][]string{}
	for _, key := range keys {
		err := s.check(ctx, key)
		if err == nil {
			if st, statErr := s.fs.Stat(s.path(key)); statErr == nil && st.IsDir {
				continue
			}
			if err = s.fs.Remove(s.path(key)); err != nil {
				err = reason(err)
			}
		}
		switch {
		case err == nil:
			dir := path.Dir(s.path(key))
			folders[dir] = append(folders[dir], key)
		case !errors.Is(err, remote.ErrNotFound):
			failed[key] = err
		}
	}
	for dir, keys := range folders {
		// Another process may have removed it already, with all that was in it.
		if err := s.fs.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			for _, key := range keys {
				failed[key] = reason(err)
			}
			continue
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// removeEmpty removes a folder and those above it that have nothing else. While somebody puts an object it leaves that to the next.
func (s *Store) removeEmpty(dir string) {
	if !s.folders.TryLock() {
		return
	}
	defer s.folders.Unlock()
	for ; len(dir) > len(s.root); dir = path.Dir(dir) {
		s.dirs.Delete(dir)
		if s.fs.Remove(dir) != nil {
			return // it has something
		}
	}
}

// reason gives an error of the file system the sentinel that it stands for.
func reason(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w (%w)", remote.ErrNotFound, err)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w (%w)", remote.ErrExists, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (%w)", remote.ErrDenied, err)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w (%w)", remote.ErrUnavailable, err)
	}
	return err
}
