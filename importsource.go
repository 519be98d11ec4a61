package strata

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stratapg/strata/ingest/source"
	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/receive"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// Where the files of an import come from. What can be read in place is; a server's base backup and compressed tars are
// first put beside the layers, whole, as plain tars. A list says that they are, so that an import that goes on
// finds them.

// source opens what the options name.
func (i *importer) source(ctx context.Context, dir tenant.ImportDir) (source.Source, error) {
	switch {
	case i.o.PGData != "":
		return source.Dir(i.o.PGData), nil
	case i.o.Tar != "":
		return i.tars(ctx, dir, localTars{i.o.Tar})
	case i.o.Server != "":
		return i.server(ctx, dir)
	}
	tars := objectTars{i.o.Objects, i.o.Prefix}
	if names, err := tars.list(ctx); err != nil {
		return nil, err
	} else if len(names) == 0 {
		return source.Objects(i.o.Objects, i.o.Prefix, "objects "+i.o.Prefix), nil
	}
	return i.tars(ctx, dir, tars)
}

// tarFolder is where tars lie.
type tarFolder interface {
	// list gives the names of those that belong to a backup.
	list(ctx context.Context) ([]string, error)
	open(ctx context.Context, name string) (source.ReaderAt, int64, error)
	String() string
}

// localTars is a tar, or a folder of them.
type localTars struct{ path string }

func (l localTars) String() string { return l.path }

func (l localTars) list(context.Context) ([]string, error) {
	info, err := os.Stat(l.path)
	if err != nil || !info.IsDir() {
		return []string{""}, err
	}
	entries, err := os.ReadDir(l.path)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return ofBackup(names), err
}

func (l localTars) open(_ context.Context, name string) (source.ReaderAt, int64, error) {
	return source.LocalFile(filepath.Join(l.path, name))
}

// objectTars are tars in an object store: the object of that key, or those in it as a folder.
type objectTars struct {
	store  remote.Storage
	prefix string
}

func (o objectTars) String() string { return "objects " + o.prefix }

func (o objectTars) list(ctx context.Context) ([]string, error) {
	if _, ok := source.UnderOf(path.Base(o.prefix)); ok || strings.HasSuffix(o.prefix, ".tar") {
		return []string{""}, nil
	}
	folder := strings.TrimSuffix(o.prefix, "/") + "/"
	if o.prefix == "" {
		folder = ""
	}
	var names []string
	for e, err := range o.store.List(ctx, folder, remote.ListOptions{Delimited: true}) {
		if err != nil {
			return nil, err
		}
		if e.Prefix == "" {
			names = append(names, strings.TrimPrefix(e.Key, folder))
		}
	}
	return ofBackup(names), nil
}

func (o objectTars) open(ctx context.Context, name string) (source.ReaderAt, int64, error) {
	obj, err := source.Object(ctx, o.store, path.Join(o.prefix, name))
	if err != nil {
		return nil, 0, err
	}
	return obj, obj.Size(), nil
}

// ofBackup gives the tars of a backup, the data directory's first; none if that is not among them.
func ofBackup(names []string) []string {
	var out []string
	base := false
	for _, n := range names {
		under, ok := source.UnderOf(n)
		if !ok {
			continue
		}
		base = base || under == ""
		out = append(out, n)
	}
	if !base {
		return nil
	}
	slices.SortFunc(out, func(a, b string) int {
		ua, _ := source.UnderOf(a)
		ub, _ := source.UnderOf(b)
		return strings.Compare(ua, ub)
	})
	return out
}

// tars opens those of a folder; compressed ones are unpacked.
func (i *importer) tars(ctx context.Context, dir tenant.ImportDir, from tarFolder) (_ source.Source, err error) {
	names, err := from.list(ctx)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no base.tar, base.tar.gz or base.tar.zst", from)
	}
	sp, err := i.findSpool(dir)
	if err != nil {
		return nil, err
	}
	var archives []source.Archive
	defer func() {
		if err != nil {
			for _, a := range archives {
				err = errors.Join(err, a.Bytes.Close())
			}
		}
	}()
	for _, name := range names {
		under, _ := source.UnderOf(name)
		r, size, err := from.open(ctx, name)
		if err != nil {
			return nil, err
		}
		a := source.Archive{Name: strings.TrimSuffix(from.String()+"/"+name, "/"), Under: under, Bytes: r, Size: size}
		packed, err := source.CompressedAt(ctx, r, size)
		if err == nil && packed {
			err = sp.unpack(ctx, &a)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", a.Name, err), r.Close())
		}
		archives = append(archives, a)
	}
	if err := sp.seal(); err != nil {
		return nil, err
	}
	return source.Tars(ctx, from.String(), archives)
}

// server takes a base backup.
func (i *importer) server(ctx context.Context, dir tenant.ImportDir) (source.Source, error) {
	sp, err := i.findSpool(dir)
	if err != nil {
		return nil, err
	}
	if !sp.whole {
		_, err := receive.BaseBackup(ctx, receive.BackupOptions{ConnInfo: i.o.Server, Slot: i.o.Slot,
			Archive: func(ctx context.Context, oid string, r io.Reader) error {
				under := ""
				if oid != "" {
					under = "pg_tblspc/" + oid
				}
				_, err := sp.add(ctx, under, r)
				return err
			},
			Progress: func(done, total int64) {
				i.tell(func(p *ImportProgress) { p.Received, p.ToReceive = done, total })
			},
		})
		if err != nil {
			return nil, err
		}
		if err := sp.seal(); err != nil {
			return nil, err
		}
	}
	var archives []source.Archive
	for _, t := range sp.list {
		r, err := sp.open(t)
		if err != nil {
			for _, a := range archives {
				err = errors.Join(err, a.Bytes.Close())
			}
			return nil, err
		}
		archives = append(archives, source.Archive{Name: t.File, Under: t.Under, Bytes: r, Size: t.Size})
	}
	return source.Tars(ctx, "the server's base backup", archives)
}

// spool is what of a source was put beside the layers.
type spool struct {
	dir   tenant.ImportDir
	list  []spooled
	whole bool // all is there, durably
}

// spooled is a plain tar.
type spooled struct {
	File  string `json:"file"`
	Under string `json:"under"`
	Size  int64  `json:"size"`
}

// Names of its files.
const (
	spoolList     = tenant.ImportFilePrefix + ".spool"
	spoolFile     = tenant.ImportFilePrefix + ".%d.tar"
	maxSpoolList  = 1 << 20
	spoolBufBytes = 1 << 20
)

// findSpool gives what an earlier process has put there whole, or an empty one.
func (i *importer) findSpool(dir tenant.ImportDir) (*spool, error) {
	s := &spool{dir: dir}
	b, err := virtualfile.ReadFile(dir.FS, filepath.Join(dir.Path, spoolList), maxSpoolList)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &s.list); err != nil {
		return nil, fmt.Errorf("%s: %w", spoolList, err)
	}
	s.whole = true
	return s, nil
}

// add writes a tar, plain, of what comes.
func (s *spool) add(ctx context.Context, under string, r io.Reader) (t spooled, err error) {
	t = spooled{File: fmt.Sprintf(spoolFile, len(s.list)), Under: under}
	path := filepath.Join(s.dir.Path, t.File)
	if err := s.dir.FS.RemoveAll(path); err != nil {
		return t, err
	}
	f, err := s.dir.FS.Create(path)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(allOf{f}, spoolBufBytes)
	if t.Size, err = source.Unpack(ctx, w, r); err != nil {
		return t, err
	}
	if err := w.Flush(); err != nil {
		return t, err
	}
	s.list = append(s.list, t)
	return t, f.Sync()
}

// allOf goes on after short writes.
type allOf struct{ f virtualfile.File }

func (w allOf) Write(p []byte) (int, error) {
	if err := virtualfile.WriteAll(w.f, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unpack replaces a compressed archive by its plain form.
func (s *spool) unpack(ctx context.Context, a *source.Archive) error {
	n := slices.IndexFunc(s.list, func(t spooled) bool { return t.Under == a.Under })
	var t spooled
	var err error
	if n >= 0 {
		t = s.list[n]
	} else if t, err = s.add(ctx, a.Under, source.Stream(ctx, a.Bytes, a.Size)); err != nil {
		return err
	}
	r, err := s.open(t)
	if err != nil {
		return err
	}
	if err := a.Bytes.Close(); err != nil {
		return errors.Join(err, r.Close())
	}
	a.Bytes, a.Size = r, t.Size
	return nil
}

func (s *spool) open(t spooled) (source.ReaderAt, error) {
	f, err := s.dir.FS.Open(filepath.Join(s.dir.Path, t.File))
	if err != nil {
		return nil, err
	}
	if size, err := f.Size(); err != nil || size != t.Size {
		return nil, errors.Join(err, fmt.Errorf("%s has %d bytes, not the %d that were written: import anew, without going on", t.File, size, t.Size), f.Close())
	}
	return source.Of(f, f), nil
}

// seal says durably that all is there.
func (s *spool) seal() error {
	if s.whole || len(s.list) == 0 {
		return nil
	}
	b, err := json.Marshal(s.list)
	if err != nil {
		return err
	}
	s.whole = true
	return virtualfile.WriteFileAtomic(s.dir.FS, filepath.Join(s.dir.Path, spoolList), b)
}
