package source

import (
	"context"
	"io"
	"io/fs"
	"os"
)

// LocalFile opens a file of the local disk, for an Archive.
func LocalFile(path string) (r ReaderAt, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	if err != nil {
		f.Close() // the error says more
		return nil, 0, err
	}
	return dirFile{f}, info.Size(), nil
}

// Of gives the ReaderAt of an io.ReaderAt, which c closes.
func Of(r io.ReaderAt, c io.Closer) ReaderAt { return positional{r, c} }

type positional struct {
	io.ReaderAt
	c io.Closer
}

func (r positional) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := r.ReaderAt.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return short(err)
}

func (r positional) Close() error { return r.c.Close() }

// Stream reads a ReaderAt from its begin to its end.
func Stream(ctx context.Context, r ReaderAt, size int64) io.Reader {
	return &stream{ctx: ctx, r: r, size: size}
}

type stream struct {
	ctx      context.Context
	r        ReaderAt
	at, size int64
}

func (s *stream) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), s.size-s.at)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	if err := s.r.ReadAt(s.ctx, p, s.at); err != nil {
		return 0, err
	}
	s.at += int64(len(p))
	return len(p), nil
}
