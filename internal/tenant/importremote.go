package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// With remote storage an import outlives its disk. From time to time the layers of jobs that are done are uploaded, and then an index
// that names them, says what IMPORT says, and bears Neon's mark of an import, so that nobody takes it for a timeline.
// A detachment does that once more, with what was put beside the layers. Whoever attaches the tenant makes IMPORT of the index, and the
// import goes on with layers that are in remote storage only.

// defaultImportCheckpoint is after how many jobs remote storage is told of them.
const defaultImportCheckpoint = 32

// importUploads is how many layers of an import are uploaded at once.
const importUploads = 4

// placeholderVersion stands in an index before the source is known, as with Neon.
const placeholderVersion = 15

func newImporting(t *Tenant, dir string, file *importFile) *importing {
	return &importing{t: t, dir: dir, file: file, telling: make(chan struct{}, 1), due: make(chan struct{}, 1)}
}

// tellNowAndThen tells remote storage of what is done, whenever that is due, until its function is called. What fails is tried again
// with the next jobs.
func (i *importing) tellNowAndThen(ctx context.Context) (stop func()) {
	if i.t.store.env.Remote == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-i.due:
			}
			if err := i.tellRemote(ctx, false); err != nil && ctx.Err() == nil {
				i.t.store.env.Logger.Warn("remote storage does not know yet how far an import is", "timeline", i.file.name, "err", err)
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// tellRemote brings remote storage what is done and not there yet; with files also what was put beside the layers.
func (i *importing) tellRemote(ctx context.Context, files bool) (err error) {
	defer func() { i.t.store.imports.tried(err) }()
	select {
	case i.telling <- struct{}{}:
		defer func() { <-i.telling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	f := i.copyFile()
	if err := i.uploadLayers(ctx, f); err != nil {
		return err
	}
	if files && f.digest != "" { // else they may not be whole
		if err := i.uploadFiles(ctx, f); err != nil {
			return err
		}
	}
	if err := i.uploadIndex(ctx, f); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, sum := range f.up {
		if _, away := i.file.away[name]; !away {
			i.file.up = noteSum(i.file.up, name, sum)
		}
	}
	i.file.indexed, i.file.files = true, f.files
	return i.t.store.writeImport(i.dir, i.file)
}

// copyFile is what is done by now.
func (i *importing) copyFile() *importFile {
	i.mu.Lock()
	defer i.mu.Unlock()
	f := *i.file
	f.done, f.away, f.up, f.files = maps.Clone(f.done), maps.Clone(f.away), maps.Clone(f.up), slices.Clone(f.files)
	return &f
}

// uploadLayers uploads those layers that remote storage has not, and notes that in f.
func (i *importing) uploadLayers(ctx context.Context, f *importFile) error {
	var lacking []layer.Desc
	for _, j := range f.done {
		for _, d := range j.layers {
			if !f.isRemote(d) {
				lacking = append(lacking, d)
			}
		}
	}
	sums := make([]uint64, len(lacking))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(importUploads)
	for n, d := range lacking {
		g.Go(func() error {
			r, err := timeline.UploadImported(gctx, i.t.store.env, i.dir, i.t.shard, i.t.place(f.id), d)
			if errors.Is(err, fs.ErrNotExist) {
				if sum, away := i.isAway(d); away { // it has left the disk just now
					sums[n] = sum
					return nil
				}
			}
			sums[n] = r.Sum
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("import of timeline %s: %w", f.id, err)
	}
	for n, d := range lacking {
		f.up = noteSum(f.up, d.FileName(), sums[n])
	}
	return nil
}

func (i *importing) isAway(d layer.Desc) (uint64, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	sum, away := i.file.away[d.FileName()]
	return sum, away
}

// uploadFiles uploads what was put beside the layers, and notes it in f.
func (i *importing) uploadFiles(ctx context.Context, f *importFile) error {
	env := i.t.store.env
	names, err := env.FS.List(i.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, upload.ImportPrefix) || strings.HasSuffix(name, virtualfile.TempSuffix) || f.hasFile(name) {
			continue
		}
		size, sum, err := timeline.UploadImportFile(ctx, env, filepath.Join(i.dir, name), i.t.place(f.id).Prefix()+name)
		if err != nil {
			return fmt.Errorf("import of timeline %s: %s: %w", f.id, name, err)
		}
		f.files = append(f.files, index.ImportFile{Name: name, Size: size, Sum: index.Sum(sum)})
	}
	return nil
}

// uploadIndex uploads the index that says what f says.
func (i *importing) uploadIndex(ctx context.Context, f *importFile) error {
	part, err := f.index(shardOf(i.t.place(f.id)))
	if err != nil {
		return err
	}
	b, err := part.Encode()
	if err != nil {
		return err
	}
	env := i.t.store.env
	key := i.t.place(f.id).IndexKey(env.Generation(i.t.ShardID()))
	_, err = env.Remote.Put(ctx, key, bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
	return err
}

func shardOf(p upload.Place) string { return strings.TrimPrefix(p.Shard, "-") }

// bringFiles downloads those files beside the layers that are not here.
func (i *importing) bringFiles(ctx context.Context) error {
	env := i.t.store.env
	for _, f := range i.file.files {
		path := filepath.Join(i.dir, f.Name)
		if info, err := env.FS.Stat(path); err == nil && info.Size == f.Size {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := timeline.DownloadImportFile(ctx, env, i.t.place(i.file.id).Prefix()+f.Name, path, f.Size, uint64(f.Sum)); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// dropRemote removes from remote storage what an import has brought there that is given up. The caller has the tenant's turn.
func (t *Tenant) dropRemote(ctx context.Context, s *slot) error {
	if t.store.env.Remote == nil || s.files == nil || s.files.file == nil || !s.files.file.inRemote() {
		return nil
	}
	return t.deleteObjects(ctx, s)
}

// keepImports has remote storage know of all imports, for the tenant leaves the local disk; those at work are ended.
func (t *Tenant) keepImports(ctx context.Context) error {
	for _, s := range t.importSlots() {
		if err := t.keepImport(ctx, s); err != nil {
			return fmt.Errorf("timeline %s is being imported: %w; finish the import, delete it, or discard what is here", s.label(), err)
		}
	}
	return nil
}

func (t *Tenant) importSlots() (out []*slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.mu.slots {
		if s.state == Importing || s.state == Creating && s.importing != nil {
			out = append(out, s)
		}
	}
	return out
}

// keepImport ends an import that is at work, and has remote storage know how far it was.
func (t *Tenant) keepImport(ctx context.Context, s *slot) error {
	if err := t.callOff(ctx, s); err != nil {
		return err
	}
	t.mu.Lock()
	state, files := s.state, s.files
	there := t.mu.slots[s.id] == s
	t.mu.Unlock()
	switch {
	case !there || state != Importing:
		return nil // nothing was left of it, or it is finished
	case t.store.env.Remote == nil || files == nil || files.file == nil:
		return ErrOnlyHere
	}
	return files.tellRemote(ctx, true)
}

func (t *Tenant) isImporting(s *slot) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.importing != nil
}

func (t *Tenant) isActive(id page.TimelineID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.mu.slots[id]
	return s != nil && s.state == Active
}

// detachImport removes the local files of an import that is not finished; remote storage keeps what was done.
func (t *Tenant) detachImport(ctx context.Context, s *slot, o DetachOptions) error {
	keep := t.keepImport
	if o.Discard {
		keep = t.callOff
	}
	if err := keep(ctx, s); err != nil {
		return err
	}
	t.mu.Lock()
	state, files := s.state, s.files
	there := t.mu.slots[s.id] == s
	t.mu.Unlock()
	switch {
	case !there:
		return fmt.Errorf("%w: nothing of its import was done", ErrTimelineNotFound)
	case state != Importing:
		return fmt.Errorf("%w: its import was finished just now; detach it again", ErrNotActive)
	case files == nil || files.file == nil || !files.file.inRemote():
		return fmt.Errorf("%w: delete it, if it is to go", ErrOnlyHere)
	}
	files.seal()
	t.set(s, func() { s.files = nil })
	return t.leave(ctx, s, nil, wordDetached, Detached)
}

// attachImport takes up an import that another process has begun: somebody may go on with it.
func (t *Tenant) attachImport(id page.TimelineID, part *index.Part) error {
	name := partName(id, part)
	if s, err := t.find(id.String()); err == nil {
		switch state, _ := t.stateOf(s); state {
		case Importing, Creating, Active:
			return nil
		case Detached:
			name = s.name
		default:
			return s.unusable()
		}
	} else if !t.nameFree(name) {
		name = "timeline-" + id.String()
	}
	if (found{part}).foreignImport() {
		return fmt.Errorf("%w: Neon has not finished its import", ErrNotActive)
	}
	f, err := importFileOf(id, name, part)
	if err != nil {
		return err
	}
	dir := timeline.ImportDir(t.dir, id)
	if err := t.removeFolder(id); err != nil {
		return err
	}
	if err := errors.Join(t.store.fs.MkdirAll(dir), t.store.writeImport(dir, f), t.store.fs.SyncDir(t.dir)); err != nil {
		return err
	}
	if err := t.record(record{id: id}); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.slots[id] = &slot{record: record{id: id, name: name}, known: true, state: Importing, files: newImporting(t, dir, f)}
	return nil
}
