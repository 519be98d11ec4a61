package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/stratapg/strata/remote"
)

// objects are the files of a data directory in an object store.
type objects struct {
	store  remote.Storage
	prefix string
	name   string
}

// Objects gives the objects under a prefix, whose keys go on with the paths of a data directory. name is what
// messages call it. The store stays the caller's.
func Objects(store remote.Storage, prefix, name string) Source {
	return &objects{store, folderPrefix(prefix), name}
}

// folderPrefix ends a prefix where a folder's name does.
func folderPrefix(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}

func (o *objects) String() string { return o.name }
func (o *objects) Close() error   { return nil }

func (o *objects) List(ctx context.Context) ([]Entry, error) {
	var out []Entry
	for e, err := range o.store.List(ctx, o.prefix, remote.ListOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		if len(out) >= maxEntries {
			return nil, ErrTooMany
		}
		name := strings.TrimPrefix(e.Key, o.prefix)
		if strings.HasSuffix(name, "/") {
			continue // a marker that some tools put for a folder
		}
		name, err := Clean(name)
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{Path: name, Size: e.Size})
	}
	return sorted(out), nil
}

func (o *objects) Open(ctx context.Context, name string) (File, error) {
	f, err := Object(ctx, o.store, o.prefix+name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// object is an object that is read in ranges. Its content must not change meanwhile.
type object struct {
	store remote.Storage
	key   string
	size  int64
	etag  string
}

// OpenObject is an object and its length.
type OpenObject interface {
	ReaderAt
	Size() int64
}

// Object opens an object for positional reads. The error wraps fs.ErrNotExist if it is not there.
func Object(ctx context.Context, store remote.Storage, key string) (OpenObject, error) {
	h, err := store.Head(ctx, key)
	if errors.Is(err, remote.ErrNotFound) {
		return nil, errors.Join(err, &fs.PathError{Op: "open", Path: key, Err: fs.ErrNotExist})
	}
	if err != nil {
		return nil, err
	}
	return &object{store, key, h.Size, h.ETag}, nil
}

func (o *object) Size() int64  { return o.size }
func (o *object) Close() error { return nil }

// errChanged says that an object is not what it was when it was opened.
var errChanged = errors.New("the object changed while it was read")

func (o *object) ReadAt(ctx context.Context, p []byte, offset int64) (err error) {
	if len(p) == 0 {
		return nil
	}
	if offset < 0 || offset > o.size-int64(len(p)) {
		return fmt.Errorf("object %s has %d bytes: %w", o.key, o.size, io.ErrUnexpectedEOF)
	}
	d, err := o.store.Get(ctx, o.key, remote.GetOptions{Offset: offset, Length: int64(len(p))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Body.Close()) }()
	if d.Object.ETag != o.etag {
		return fmt.Errorf("object %s: %w", o.key, errChanged)
	}
	if _, err := io.ReadFull(d.Body, p); err != nil {
		return fmt.Errorf("object %s at byte %d: %w", o.key, offset, short(err))
	}
	return nil
}
