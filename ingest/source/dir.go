package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// dir is a folder of the local disk.
type dir struct{ root string }

// Dir gives the files of a data directory, which is only read. The write-ahead log and tablespaces may lie
// elsewhere, behind links.
func Dir(root string) Source { return dir{root} }

func (d dir) String() string { return d.root }
func (d dir) Close() error   { return nil }

func (d dir) List(ctx context.Context) ([]Entry, error) {
	var out []Entry
	if err := d.walk(ctx, ".", &out); err != nil {
		return nil, err
	}
	return sorted(out), nil
}

// walk lists a folder and those below it.
func (d dir) walk(ctx context.Context, folder string, out *[]Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.local(folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := d.add(ctx, path.Join(folder, e.Name()), out); err != nil {
			return err
		}
	}
	return nil
}

func (d dir) add(ctx context.Context, name string, out *[]Entry) error {
	if len(*out) >= maxEntries {
		return ErrTooMany
	}
	info, err := os.Lstat(d.local(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went away since the folder was read, as temporary files of a server do
	}
	if err != nil {
		return err
	}
	e := Entry{Path: name, Kind: Other}
	switch {
	case info.Mode().IsRegular():
		e.Kind, e.Size = Regular, info.Size()
	case info.IsDir():
		e.Kind = Folder
	case info.Mode()&fs.ModeSymlink != 0:
		e.Kind = Link
		if e.Target, err = os.Readlink(d.local(name)); err != nil {
			return err
		}
	}
	*out = append(*out, e)
	if e.Kind == Folder || e.Kind == Link && leads(name) && d.isFolder(name) {
		return d.walk(ctx, name, out)
	}
	return nil
}

// leads says which links a server follows: of its write-ahead log and of tablespaces.
func leads(name string) bool {
	folder := path.Dir(name)
	return folder == "." || folder == "pg_tblspc"
}

func (d dir) isFolder(name string) bool {
	info, err := os.Stat(d.local(name))
	return err == nil && info.IsDir()
}

func (d dir) local(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

func (d dir) Open(_ context.Context, name string) (File, error) {
	if strings.HasPrefix(name, "/") || strings.Contains(name, "..") {
		return nil, ErrPath
	}
	f, err := os.Open(d.local(name))
	if err != nil {
		return nil, err
	}
	return dirFile{f}, nil
}

type dirFile struct{ f *os.File }

func (f dirFile) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := f.f.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return short(err)
}

func (f dirFile) Close() error { return f.f.Close() }
