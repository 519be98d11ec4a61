package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// ReaderAt reads at a position, as io.ReaderAt, and can be given up.
type ReaderAt interface {
	// ReadAt fills p from an offset, or fails: with io.ErrUnexpectedEOF behind the end.
	ReadAt(ctx context.Context, p []byte, offset int64) error
	Close() error
}

// Archive is a tar without compression.
type Archive struct {
	// Name is what messages call it.
	Name string
	// Under is the path under which its files are listed: empty for the data directory's own tar, pg_wal for that
	// of the write-ahead log, pg_tblspc/OID for a tablespace's.
	Under string
	Bytes ReaderAt
	Size  int64
}

// tars are archives that have been indexed.
type tars struct {
	name     string
	archives []Archive
	entries  []Entry
	places   map[string]place
}

// place is where a file's bytes lie.
type place struct {
	archive int
	offset  int64
	size    int64
}

// Tars gives the files of archives, of which a later one goes over an earlier one. It reads their headers now, and
// closes them in the end, or if it fails.
func Tars(ctx context.Context, name string, archives []Archive) (Source, error) {
	t := &tars{name: name, archives: archives, places: map[string]place{}}
	for i := range archives {
		if err := t.index(ctx, i); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", archives[i].Name, err), t.Close())
		}
	}
	t.entries = sorted(t.entries)
	return t, nil
}

// index reads the headers of an archive.
func (t *tars) index(ctx context.Context, n int) error {
	a := &t.archives[n]
	r := &seeker{ctx: ctx, r: a.Bytes, size: a.Size}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tar, near byte %d: %w", r.at, err)
		}
		if len(t.entries) >= maxEntries {
			return ErrTooMany
		}
		name, err := Clean(h.Name)
		if err != nil {
			return err
		}
		if name == "." {
			continue
		}
		e := Entry{Path: path.Join(a.Under, name), Kind: Other}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeGNUSparse:
			if h.Typeflag == tar.TypeGNUSparse {
				return fmt.Errorf("%s is a sparse file, which is not supported: make the tar without --sparse", name)
			}
			e.Kind, e.Size = Regular, h.Size
			if r.at > a.Size-h.Size {
				return fmt.Errorf("%s at byte %d: %w", name, r.at, io.ErrUnexpectedEOF)
			}
			t.places[e.Path] = place{n, r.at, h.Size}
		case tar.TypeDir:
			e.Kind = Folder
		case tar.TypeSymlink:
			e.Kind, e.Target = Link, h.Linkname
		}
		t.entries = append(t.entries, e)
	}
}

func (t *tars) List(context.Context) ([]Entry, error) { return slices.Clone(t.entries), nil }
func (t *tars) String() string                        { return t.name }

func (t *tars) Open(_ context.Context, name string) (File, error) {
	p, ok := t.places[name]
	if !ok {
		return nil, notThere(t, name)
	}
	return &tarFile{t.archives[p.archive].Bytes, p}, nil
}

func (t *tars) Close() error {
	var errs []error
	for _, a := range t.archives {
		errs = append(errs, a.Bytes.Close())
	}
	return errors.Join(errs...)
}

type tarFile struct {
	r     ReaderAt
	place place
}

func (f *tarFile) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if offset < 0 || offset > f.place.size-int64(len(p)) {
		return io.ErrUnexpectedEOF
	}
	return f.r.ReadAt(ctx, p, f.place.offset+offset)
}

func (f *tarFile) Close() error { return nil }

// seeker is an archive as archive/tar reads headers: content is skipped, not read. It reads ahead a little, as
// headers of small files lie close to each other.
type seeker struct {
	ctx   context.Context
	r     ReaderAt
	size  int64
	at    int64
	buf   []byte
	bufAt int64
	ahead [headerAhead]byte
}

// headerAhead is how much is read at once while headers are looked for.
const headerAhead = 16 << 10

func (s *seeker) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if s.at < s.bufAt || s.at >= s.bufAt+int64(len(s.buf)) {
		n := min(int64(len(s.ahead)), s.size-s.at)
		if err := s.r.ReadAt(s.ctx, s.ahead[:n], s.at); err != nil {
			return 0, err
		}
		s.buf, s.bufAt = s.ahead[:n], s.at
	}
	n := copy(p, s.buf[s.at-s.bufAt:])
	s.at += int64(n)
	return n, nil
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 || offset > s.size {
		return s.at, io.ErrUnexpectedEOF
	}
	s.at = offset
	return offset, nil
}

// UnderOf says under which path the files of an archive of pg_basebackup belong, by the archive's name without
// its folder; ok is false for what is no archive of files.
func UnderOf(name string) (under string, ok bool) {
	base, ok := strings.CutSuffix(trimCompression(name), ".tar")
	switch {
	case !ok:
		return "", false
	case base == "base":
		return "", true
	case base == "pg_wal":
		return "pg_wal", true
	}
	for _, c := range []byte(base) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return "pg_tblspc/" + base, base != ""
}
