package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"
)

// FS gives the regular files of one folder of a source as a file system, as readers of WAL want it. entries are the
// listing, or a part of it that has the folder. ctx is that of all reads.
func FS(ctx context.Context, s Source, entries []Entry, folder string) fs.FS {
	f := &folderFS{ctx: ctx, s: s, files: map[string]int64{}, folder: folder}
	for _, e := range entries {
		if e.Kind == Regular && path.Dir(e.Path) == folder {
			f.names = append(f.names, path.Base(e.Path))
			f.files[path.Base(e.Path)] = e.Size
		}
	}
	return f
}

type folderFS struct {
	ctx    context.Context // the interface of io/fs has none
	s      Source
	folder string
	names  []string // sorted
	files  map[string]int64
}

var _ fs.ReadDirFS = (*folderFS)(nil)

func (f *folderFS) Open(name string) (fs.File, error) {
	size, ok := f.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	open, err := f.s.Open(f.ctx, path.Join(f.folder, name))
	if err != nil {
		return nil, err
	}
	return &folderFile{ctx: f.ctx, f: open, info: fileInfo{name, size}}, nil
}

func (f *folderFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	out := make([]fs.DirEntry, len(f.names))
	for i, n := range f.names {
		out[i] = fs.FileInfoToDirEntry(fileInfo{n, f.files[n]})
	}
	return out, nil
}

type folderFile struct {
	ctx  context.Context
	f    File
	info fileInfo
	at   int64
}

func (f *folderFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *folderFile) Close() error               { return f.f.Close() }

func (f *folderFile) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), f.info.size-f.at)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	if err := f.f.ReadAt(f.ctx, p, f.at); err != nil {
		return 0, err
	}
	f.at += int64(len(p))
	return len(p), nil
}

func (f *folderFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.info.size
	}
	if offset < 0 || offset > f.info.size {
		return f.at, errors.New("seek outside the file")
	}
	f.at = offset
	return offset, nil
}

// fileInfo describes a regular file.
type fileInfo struct {
	name string
	size int64
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return 0o400 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }
