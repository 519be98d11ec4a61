// Package source gives the files of a PostgreSQL cluster to an import, wherever they lie: in a folder, in tars
// (a base backup's base.tar, those of pg_basebackup -Ft), or in an object store.
//
// A Source is a listing and positional reads; what the files mean is the importer's business. Paths are relative
// to the data directory, with slashes. Files of a tablespace are found under pg_tblspc/OID, whether that is a
// folder, a link, or a tar of its own. A Source may be used from many goroutines, each File by one. What a
// source gives is not trusted: names that lead out of the data directory are refused, lengths are checked before
// memory is taken for them.
//
// Tars are indexed once, by their headers, and then read in place. Compressed ones, and streams, cannot be: Unpack
// writes their plain form where the caller wants it, once.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Kind is what an entry is.
type Kind uint8

// Kinds of entries.
const (
	Regular Kind = iota
	Folder
	Link
	Other // a socket, a device: nothing that a cluster has
)

// Entry is a file of the cluster, or what else lies where files do.
type Entry struct {
	Path   string
	Kind   Kind
	Size   int64  // of a regular file, in bytes
	Target string // of a link
}

// Source is a set of files.
type Source interface {
	// List gives all entries but the data directory itself, sorted by path, each once.
	List(ctx context.Context) ([]Entry, error)
	// Open opens a regular file; the error wraps fs.ErrNotExist if there is none now.
	Open(ctx context.Context, path string) (File, error)
	// String names the source in messages.
	String() string
	// Close lets go of what the source holds.
	Close() error
}

// File is an open file of a Source.
type File interface {
	// ReadAt fills p from an offset, or fails: with io.ErrUnexpectedEOF where the file ends before.
	ReadAt(ctx context.Context, p []byte, offset int64) error
	Close() error
}

// maxEntries bounds a listing: a cluster of some twenty million relations, whose listing takes some GiB.
const maxEntries = 50_000_000

// ErrTooMany refuses a listing that is longer than any cluster's.
var ErrTooMany = fmt.Errorf("more than %d files", maxEntries)

// ErrPath refuses a name that leads out of the data directory.
var ErrPath = errors.New("name of a file leads out of its folder")

// Clean gives the path under which a name is listed, "." for the data directory itself.
func Clean(name string) (string, error) {
	name = path.Clean(strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/"))
	if name == ".." || strings.HasPrefix(name, "../") || strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: %.100q", ErrPath, name)
	}
	return name, nil
}

// sorted orders a listing. Of entries with one path the last one counts, as where a tar is unpacked.
func sorted(entries []Entry) []Entry {
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	out := entries[:0]
	for _, e := range entries {
		if n := len(out); n > 0 && out[n-1].Path == e.Path {
			out[n-1] = e
			continue
		}
		out = append(out, e)
	}
	return out
}

// notThere is the error of a file that a source has not.
func notThere(s Source, path string) error {
	return &fs.PathError{Op: "open", Path: s.String() + "/" + path, Err: fs.ErrNotExist}
}

// ReadAll reads a whole file of size bytes, at most limit.
func ReadAll(ctx context.Context, s Source, e Entry, limit int64) (_ []byte, err error) {
	if e.Kind != Regular || e.Size > limit {
		return nil, fmt.Errorf("%s/%s: no regular file of at most %d bytes", s, e.Path, limit)
	}
	f, err := s.Open(ctx, e.Path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, e.Size)
	if len(b) == 0 {
		return b, nil
	}
	return b, f.ReadAt(ctx, b, 0)
}

// short says what an early end of a file is.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
