package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/remote"
)

// Layers of an import that is not finished may leave the disk as others do: those of jobs that are done, until the timeline is made
// of them. They are uploaded first, unless remote storage has them; then IMPORT says that they are
// there, and then the file goes. The timeline's manifest takes that over.

// resident lists the layers that may leave the disk.
func (i *importing) resident() (out []layer.Desc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.sealed || i.file == nil {
		return nil
	}
	for _, j := range i.file.done {
		for _, d := range j.layers {
			if _, away := i.file.away[d.FileName()]; !away {
				out = append(out, d)
			}
		}
	}
	return out
}

// seal has all layers stay where they are.
func (i *importing) seal() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sealed = true
}

// Evict has layers leave the disk.
func (i *importing) Evict(ctx context.Context, ds ...layer.Desc) (done timeline.Evicted, err error) {
	for _, d := range ds {
		gone, err := i.evictOne(ctx, d)
		if err != nil {
			return done, fmt.Errorf("import of timeline %s: %w", i.file.id, err)
		}
		if gone {
			done.Layers++
			done.Bytes += d.Size
		}
	}
	return done, nil
}

func (i *importing) evictOne(ctx context.Context, d layer.Desc) (bool, error) {
	env := i.t.store.env
	sum, up := i.isUp(d)
	if !up {
		r, err := timeline.UploadImported(ctx, env, i.dir, i.t.shard, i.t.place(i.file.id), d)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil // the import was given up
		}
		if err != nil {
			return false, err
		}
		sum = r.Sum
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.sealed {
		return false, nil
	}
	i.file.noteAway(d, sum)
	if err := i.t.store.writeImport(i.dir, i.file); err != nil {
		delete(i.file.away, d.FileName()) // it may be uploaded once more
		return false, err
	}
	return true, env.FS.Remove(filepath.Join(i.dir, d.FileName()))
}

func (i *importing) isUp(d layer.Desc) (uint64, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	sum, up := i.file.up[d.FileName()]
	return sum, up
}

// isThere says whether a layer that was made is still whole, here or in remote storage.
func (i *importing) isThere(ctx context.Context, d layer.Desc) (bool, error) {
	if _, away := i.file.away[d.FileName()]; !away {
		return i.isWhole(ctx, d), nil
	}
	o, err := i.t.store.env.Remote.Head(ctx, i.t.place(i.file.id).ObjectKey(upload.ObjectOf(&d)))
	if errors.Is(err, remote.ErrNotFound) {
		delete(i.file.away, d.FileName())
		return false, nil
	}
	return err == nil && o.Size == d.Size, err
}

// away says of layers that are in remote storage what the timeline's manifest is to say.
func (i *importing) away(layers []layer.Desc) (out []manifest.Remote) {
	for _, d := range layers {
		if i.file.isRemote(d) {
			out = append(out, timeline.ImportedAway(i.t.shard, d, i.file.sumOf(d)))
		}
	}
	return out
}

// unfinishedImports lists the imports whose layers may leave the disk.
func (t *Tenant) unfinishedImports() (out []*importing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.mu.slots {
		if s.files != nil && (s.state == Importing || s.state == Creating) {
			out = append(out, s.files)
		}
	}
	return out
}
