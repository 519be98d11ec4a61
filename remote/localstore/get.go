package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// opened is an object's file, which stays what it was when another one takes its place.
type opened struct {
	virtualfile.File
	size   int64
	object remote.Object
}

// open1 opens an object.
func (s *Store) open1(ctx context.Context, key string) (*opened, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	// The file may be replaced between the two: then its description is taken again.
	for {
		o, err := s.stat(key)
		if err != nil {
			return nil, err
		}
		f, err := s.fs.Open(s.path(key))
		if err != nil {
			return nil, reason(err)
		}
		again, err := s.stat(key)
		if err == nil && again == o {
			return &opened{f, o.Size, o}, nil
		}
		if err := errors.Join(err, f.Close(), ctx.Err()); err != nil {
			return nil, err
		}
	}
}

// Get opens an object for reading.
func (s *Store) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	d, err := s.get(ctx, key, o)
	return d, remote.Wrap("get", key, err)
}

func (s *Store) get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	f, err := s.open1(ctx, key)
	if err != nil {
		return nil, err
	}
	if o.Unless != "" && o.Unless == f.object.ETag {
		return nil, errors.Join(remote.ErrUnmodified, f.Close())
	}
	off, n, err := remote.CheckRange(o, f.size)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	body := &body{ctx: ctx, f: f, at: off, end: off + n}
	return &remote.Download{Body: body, Object: f.object, Offset: off, Length: n}, nil
}

// body reads a range of a file.
type body struct {
	ctx     context.Context
	f       *opened
	at, end int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, remote.Wrap("get", b.f.object.Key, err)
	}
	if b.at == b.end {
		return 0, io.EOF
	}
	n, err := b.f.ReadAt(p[:min(int64(len(p)), b.end-b.at)], b.at)
	b.at += int64(n)
	switch {
	case n > 0 || err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: the object ends at %d of %d bytes", remote.ErrSize, b.at, b.f.size)
	}
	return 0, remote.Wrap("get", b.f.object.Key, reason(err))
}

func (b *body) Close() error { return b.f.Close() }
