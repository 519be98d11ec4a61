// Package memstore keeps objects in memory, for tests. What Put has returned for outlives the handle: a Store is the
// store itself, and several engines may share one.
package memstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/btree"

	"github.com/stratapg/strata/remote"
)

// Store is a set of objects in memory.
type Store struct {
	mu struct {
		sync.Mutex
		objects *btree.BTreeG[*object]
		puts    int64
	}
}

// object is never changed.
type object struct {
	remote.Object
	data []byte
}

var _ remote.Storage = (*Store)(nil)

// degree of the tree: a node of a few cache lines.
const degree = 16

// New gives an empty store.
func New() *Store {
	s := &Store{}
	s.mu.objects = btree.NewG(degree, func(a, b *object) bool { return a.Key < b.Key })
	return s
}

// Close does nothing.
func (s *Store) Close() error { return nil }

func (s *Store) find(ctx context.Context, key string) (*object, error) {
	if err := errors.Join(ctx.Err(), remote.CheckKey(key)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.mu.objects.Get(&object{Object: remote.Object{Key: key}})
	if !ok {
		return nil, remote.ErrNotFound
	}
	return o, nil
}

// Head gives what is known of an object.
func (s *Store) Head(ctx context.Context, key string) (remote.Object, error) {
	o, err := s.find(ctx, key)
	if err != nil {
		return remote.Object{}, remote.Wrap("head", key, err)
	}
	return o.Object, nil
}

// Put makes an object or replaces it.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o remote.PutOptions) (remote.Object, error) {
	if err := errors.Join(ctx.Err(), remote.CheckKey(key)); err != nil {
		return remote.Object{}, remote.Wrap("put", key, err)
	}
	if size < 0 {
		return remote.Object{}, remote.Wrap("put", key, fmt.Errorf("%w: size %d", remote.ErrInvalid, size))
	}
	data, err := io.ReadAll(io.NewSectionReader(body, 0, size))
	if err == nil && int64(len(data)) != size {
		err = fmt.Errorf("%w: the body ends after %d of %d bytes", remote.ErrSize, len(data), size)
	}
	if err != nil {
		return remote.Object{}, remote.Wrap("put", key, err)
	}
	out, err := s.store(key, data, o)
	return out, remote.Wrap("put", key, err)
}

func (s *Store) store(key string, data []byte, o remote.PutOptions) (remote.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &object{remote.Object{Key: key, Size: int64(len(data))}, data}
	if o.IfAbsent && s.mu.objects.Has(n) {
		return remote.Object{}, remote.ErrExists
	}
	s.mu.puts++
	n.ETag, n.Modified = strconv.FormatInt(s.mu.puts, 16), time.Unix(s.mu.puts, 0)
	s.mu.objects.ReplaceOrInsert(n)
	return n.Object, nil
}

// Get opens an object for reading.
func (s *Store) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	found, err := s.find(ctx, key)
	if err == nil && o.Unless != "" && o.Unless == found.ETag {
		err = remote.ErrUnmodified
	}
	if err != nil {
		return nil, remote.Wrap("get", key, err)
	}
	off, n, err := remote.CheckRange(o, found.Size)
	if err != nil {
		return nil, remote.Wrap("get", key, err)
	}
	r := &reader{ctx: ctx, key: key, r: bytes.NewReader(found.data[off : off+n])}
	return &remote.Download{Body: r, Object: found.Object, Offset: off, Length: n}, nil
}

// reader reads until its context ends.
type reader struct {
	ctx context.Context
	key string
	r   *bytes.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, remote.Wrap("get", r.key, err)
	}
	return r.r.Read(p)
}

func (r *reader) Close() error { return nil }

// Delete removes objects.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	failed := remote.KeyErrors{}
	for _, key := range keys {
		if err := errors.Join(ctx.Err(), remote.CheckKey(key)); err != nil {
			failed[key] = err
			continue
		}
		s.mu.Lock()
		s.mu.objects.Delete(&object{Object: remote.Object{Key: key}})
		s.mu.Unlock()
	}
	if len(failed) > 0 {
		return remote.Wrap("delete", keys[0], failed)
	}
	return nil
}

// Copy makes an object of another's bytes.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	o, err := s.find(ctx, from)
	if err == nil {
		err = remote.CheckKey(to)
	}
	if err == nil {
		_, err = s.store(to, o.data, remote.PutOptions{})
	}
	return remote.Wrap("copy", from, err)
}

// List gives the objects as they were when it began.
func (s *Store) List(ctx context.Context, prefix string, o remote.ListOptions) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		if err := errors.Join(ctx.Err(), remote.CheckPrefix(prefix), remote.CheckPrefix(o.After)); err != nil {
			yield(remote.Entry{}, remote.Wrap("list", prefix, err))
			return
		}
		s.mu.Lock()
		objects := s.mu.objects.Clone()
		s.mu.Unlock()
		last := ""
		objects.AscendGreaterOrEqual(&object{Object: remote.Object{Key: max(prefix, o.After)}}, func(n *object) bool {
			if n.Key <= o.After {
				return true
			}
			rest, ok := strings.CutPrefix(n.Key, prefix)
			if !ok {
				return false
			}
			if err := ctx.Err(); err != nil {
				yield(remote.Entry{}, remote.Wrap("list", prefix, err))
				return false
			}
			if i := strings.IndexByte(rest, '/'); o.Delimited && i >= 0 {
				if p := prefix + rest[:i+1]; p != last {
					last = p
					return yield(remote.Entry{Prefix: p}, nil)
				}
				return true
			}
			return yield(remote.Entry{Object: n.Object}, nil)
		})
	}
}

// Keys gives all keys, in order, for tests.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	s.mu.objects.Ascend(func(o *object) bool {
		keys = append(keys, o.Key)
		return true
	})
	return slices.Clip(keys)
}
