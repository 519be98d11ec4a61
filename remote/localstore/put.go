package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"syscall"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// chunk is how much is copied at once: enough for a disk, little enough to notice a cancellation soon.
const chunk = 1 << 20

// Put makes an object or replaces it.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o remote.PutOptions) (remote.Object, error) {
	out, err := s.put(ctx, key, body, size, o)
	return out, remote.Wrap("put", key, err)
}

func (s *Store) put(ctx context.Context, key string, body io.ReaderAt, size int64, o remote.PutOptions) (out remote.Object, err error) {
	if err := s.check(ctx, key); err != nil {
		return out, err
	}
	if size < 0 {
		return out, fmt.Errorf("%w: size %d", remote.ErrInvalid, size)
	}
	temp := path.Join(s.temp, strconv.FormatUint(s.number.Add(1), 10))
	if err := s.write(ctx, temp, body, size); err != nil {
		return out, errors.Join(err, s.discard(temp))
	}
	err = s.place(temp, key, o.IfAbsent)
	for again := 0; errors.Is(err, remote.ErrNotFound) && again < placings; again++ {
		err = s.place(temp, key, o.IfAbsent)
	}
	if err != nil {
		return out, errors.Join(err, s.discard(temp))
	}
	return s.stat(key)
}

// placings is how often a Put tries again whose folder another process has found empty, and removed.
const placings = 10

// write makes a synced file of body.
func (s *Store) write(ctx context.Context, name string, body io.ReaderAt, size int64) error {
	f, err := s.fs.Create(name)
	if err != nil {
		return reason(err)
	}
	err = copyTo(ctx, f, body, size)
	if err == nil {
		err = reason(f.Sync())
	}
	return errors.Join(err, f.Close())
}

func copyTo(ctx context.Context, f virtualfile.File, body io.ReaderAt, size int64) error {
	buf := make([]byte, min(chunk, size))
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := body.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				return fmt.Errorf("%w: the body ends after %d of %d bytes", remote.ErrSize, at, size)
			}
			return fmt.Errorf("reading the body at %d: %w", at, err)
		}
		if err := virtualfile.WriteAll(f, buf[:n]); err != nil {
			return reason(err)
		}
		at += int64(n)
	}
	return nil
}

// place gives a written file its name, for good.
func (s *Store) place(temp, key string, ifAbsent bool) error {
	s.folders.RLock()
	defer s.folders.RUnlock()
	dir := path.Dir(s.path(key))
	if err := s.folder(dir); err != nil {
		return err
	}
	rename := s.fs.Rename
	if ifAbsent {
		rename = s.fs.RenameNew
	}
	err := rename(temp, s.path(key))
	if isFolder(err) || errors.Is(err, fs.ErrExist) && s.isDir(key) {
		return fmt.Errorf("%w: other objects' keys continue this one (%w)", remote.ErrInvalid, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.forget(dir)
	}
	if err != nil {
		return reason(err)
	}
	return reason(s.fs.SyncDir(dir))
}

// forget has a folder and those above it be made again.
func (s *Store) forget(dir string) {
	for ; len(dir) > len(s.root); dir = path.Dir(dir) {
		s.dirs.Delete(dir)
	}
}

func (s *Store) isDir(key string) bool {
	st, err := s.fs.Stat(s.path(key))
	return err == nil && st.IsDir
}

func isFolder(err error) bool {
	return errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR)
}

// folder makes the folder of an object, durable up to the root.
func (s *Store) folder(dir string) error {
	if _, ok := s.dirs.Load(dir); ok || dir == s.root || len(dir) <= len(s.root) {
		return nil
	}
	if err := s.folder(path.Dir(dir)); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		if isFolder(err) || errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: the key continues that of another object (%w)", remote.ErrInvalid, err)
		}
		return reason(err)
	}
	if err := s.fs.SyncDir(path.Dir(dir)); err != nil {
		return reason(err)
	}
	s.dirs.Store(dir, struct{}{})
	return nil
}

// discard removes what was begun. That there is nothing is no error.
func (s *Store) discard(temp string) error {
	if err := s.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Copy makes an object of another's bytes.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	return remote.Wrap("copy", from, s.copy(ctx, from, to))
}

func (s *Store) copy(ctx context.Context, from, to string) error {
	d, err := s.open1(ctx, from)
	if err != nil {
		return err
	}
	_, err = s.put(ctx, to, d, d.size, remote.PutOptions{})
	return errors.Join(err, d.Close())
}
