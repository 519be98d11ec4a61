package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// A timeline that is imported grows in a folder of its own, which no reader sees, and which a crash leaves as it is: image
// layers first, one or more for each job; of a base backup then the delta layers of its WAL. When all is there it gets
// its manifest, and the folder the timeline's name, in one step.

// ImportSuffix ends the name of the folder of a timeline that is not imported yet.
const ImportSuffix = ".import"

// ImportFilePrefix begins the names of files in that folder which are no timeline's: they go once it has its name.
const ImportFilePrefix = "IMPORT"

// ImportDir is the folder in which a timeline of the folder parent is imported.
func ImportDir(parent string, id page.TimelineID) string {
	return filepath.Join(parent, id.String()+ImportSuffix)
}

// TidyImport removes from an import's folder all layers but those to be kept, and what was never finished.
func TidyImport(env *Env, dir string, keep []layer.Desc) error {
	kept := make(map[string]bool, len(keep))
	for _, d := range keep {
		kept[d.FileName()] = true
	}
	names, err := env.FS.List(dir)
	if err != nil {
		return err
	}
	removed := false
	for _, n := range names {
		if kept[n] || strings.HasPrefix(n, ImportFilePrefix) && !strings.HasSuffix(n, virtualfile.TempSuffix) {
			continue
		}
		if err := env.FS.RemoveAll(filepath.Join(dir, n)); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return env.FS.SyncDir(dir)
}

// RemoveLayers removes files of layers that no manifest names; those that are not there are no error.
func RemoveLayers(env *Env, dir string, layers []layer.Desc) error {
	var errs []error
	for _, d := range layers {
		if err := env.FS.Remove(filepath.Join(dir, d.FileName())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// OpenImport opens what has been imported so far, m.InitialLSN being that of the image layers, so that WAL can be put over it.
// It is no timeline of the store: nothing is compacted, collected or uploaded. away are those of the layers that are in remote storage
// only. Close it before FinishImport.
func OpenImport(env *Env, dir string, m manifest.Meta, prev page.LSN, layers []layer.Desc, away []manifest.Remote) (*Timeline, error) {
	s := manifest.State{Meta: m, DiskConsistentLSN: m.InitialLSN, PrevRecordLSN: prev, Layers: layers, Remote: away}
	if err := manifest.Create(env.FS, dir, s); err != nil {
		return nil, err
	}
	log, _, err := openManifest(env, dir)
	if err != nil {
		return nil, err
	}
	t, err := env.timelineOf(dir, log.State(), log.Layers(), log.Remote, nil)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	t.log, t.importing = log, true
	if err := t.files.countAbsent(log.State().Remote); err != nil {
		env.heights.drop(t)
		t.endViews()
		return nil, errors.Join(err, log.Close())
	}
	b := &t.background
	b.flush.do = func(ctx context.Context) { _ = t.flushUpTo(ctx, page.MaxLSN) } // kept for the next Put, and logged
	b.flushing.ring = b.flush.wake
	b.remove.do = t.removeInBackground
	b.flush.group, b.remove.group = t.tasks, t.tasks
	env.firsts.add(t)
	return t, nil
}

// FinishImport makes a timeline of what was imported. It begins at m.InitialLSN, which may lie above the LSNs of its
// layers. With opened, WAL was put over the image layers, and all that it made is taken; else layers are all, away of them in remote
// storage only. After
// an error the import can be finished again, unless ErrExist says that there is such a timeline.
func FinishImport(ctx context.Context, env *Env, parent string, m manifest.Meta, prev page.LSN, layers []layer.Desc, away []manifest.Remote, opened bool) (*Timeline, error) {
	dir, temp := filepath.Join(parent, m.Timeline.String()), ImportDir(parent, m.Timeline)
	s := manifest.State{Meta: m, DiskConsistentLSN: m.InitialLSN, PrevRecordLSN: prev, Layers: layers, Remote: away}
	if opened {
		log, _, err := openManifest(env, temp)
		if err != nil {
			return nil, err
		}
		s = log.State()
		s.Meta = m
		if err := log.Close(); err != nil {
			return nil, err
		}
		if s.DiskConsistentLSN != m.InitialLSN {
			return nil, fmt.Errorf("%w: the import is durable up to %s, and is to end at %s", ErrCorrupt, s.DiskConsistentLSN, m.InitialLSN)
		}
	}
	if err := env.writeGeneration(temp, m.Owner()); err != nil {
		return nil, err
	}
	// The manifest comes last, and with it the folder's entries become durable.
	if err := manifest.Create(env.FS, temp, s); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tl, err := appear(env, dir, temp)
	if err != nil {
		return nil, fmt.Errorf("new timeline %s: %w", m.Name, err)
	}
	tl.dropImportFiles()
	if env.Events.TimelineMade != nil {
		env.Events.TimelineMade(TimelineMadeInfo{s.Tenant, s.Timeline, s.Name, s.InitialLSN, len(tl.Layers())})
	}
	return tl, nil
}

// appear gives an imported timeline its name, and opens it; or takes the name back.
func appear(env *Env, dir, temp string) (*Timeline, error) {
	if _, err := env.FS.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, &fs.PathError{Op: "rename", Path: dir, Err: fs.ErrExist})
	}
	if err := env.FS.Rename(temp, dir); err != nil {
		return nil, err
	}
	back := func(err error) error {
		if err2 := env.FS.Rename(dir, temp); err2 != nil {
			return errors.Join(err, err2)
		}
		return errors.Join(err, env.FS.SyncDir(filepath.Dir(dir)))
	}
	if err := env.FS.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, back(err)
	}
	log, _, err := openManifest(env, dir)
	if err != nil {
		return nil, back(err)
	}
	tl, err := newTimeline(env, dir, log, nil, time.Time{})
	if err != nil {
		return nil, back(errors.Join(err, log.Close()))
	}
	return tl, nil
}

// dropImportFiles removes what the timeline needs no more. What cannot be removed goes when it is next opened.
func (t *Timeline) dropImportFiles() {
	names, err := t.env.FS.List(t.dir)
	for _, n := range names {
		if strings.HasPrefix(n, ImportFilePrefix) {
			err = errors.Join(err, t.env.FS.Remove(filepath.Join(t.dir, n)))
		}
	}
	if err != nil {
		t.env.Logger.Info("files of an import stay until the timeline is opened again", "timeline", t.meta.Name, "err", err)
	}
}
