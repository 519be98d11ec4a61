package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// openCheckers is how many layer files are checked at once at Open.
	openCheckers = 8
	// maxFaults bounds how many faults an error of Open lists.
	maxFaults = 10
)

// Opened is a timeline whose files have been checked, before its ancestor is known.
type Opened struct {
	env   *Env
	dir   string
	state manifest.State
	log   *manifest.Log
	found found
	// Archived is when the timeline was archived; zero if it was not.
	Archived time.Time
}

// Open reads a timeline's manifest and compares it with the files beside it: a layer that is missing, of
// another size, or another timeline's is an error that names it. It changes nothing.
func Open(ctx context.Context, env *Env, dir string, owner page.TenantShardID, id page.TimelineID) (*Opened, error) {
	log, torn, err := openManifest(env, dir)
	if err != nil {
		return nil, fmt.Errorf("timeline %s: %w", id, err)
	}
	o := &Opened{env: env, dir: dir, state: log.State(), log: log}
	if torn.Bytes > 0 {
		env.Logger.Info("manifest ends in an edit that was never finished", "file", log.Path(), "offset", torn.Offset, "bytes", torn.Bytes)
		if env.Events.ManifestCut != nil {
			env.Events.ManifestCut(ManifestCutInfo{owner.Tenant, id, log.Path(), torn.Offset, torn.Bytes})
		}
	}
	if o.state.Owner() != owner || o.state.Timeline != id {
		err = fmt.Errorf("%w: %s is the manifest of timeline %s of tenant %s", ErrCorrupt, log.Path(), o.state.Timeline, o.state.Owner())
	} else {
		err = o.checkFiles(ctx)
	}
	if err != nil {
		return nil, &BrokenError{Meta: o.state.Meta, Err: errors.Join(fmt.Errorf("timeline %s: %w", o.state.Name, err), log.Close())}
	}
	return o, nil
}

// BrokenError says why a timeline cannot be opened whose manifest is sound.
type BrokenError struct {
	Meta manifest.Meta
	Err  error
}

func (e *BrokenError) Error() string { return e.Err.Error() }
func (e *BrokenError) Unwrap() error { return e.Err }

func openManifest(env *Env, dir string) (*manifest.Log, manifest.Torn, error) {
	log, torn, err := manifest.Open(env.FS, dir, !env.ReadOnly, env.MinManifestRewrite)
	if errors.Is(err, manifest.ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return log, torn, err
}

// ID is the timeline's id; Ancestor where it branches from, ok if it does.
func (o *Opened) ID() page.TimelineID { return o.state.Timeline }
func (o *Opened) Ancestor() (id page.TimelineID, ok bool) {
	return o.state.Ancestor, o.state.AncestorLSN != 0
}

// Name is the timeline's name; AncestorLSN where it branches off, 0 if it does not.
func (o *Opened) Name() string          { return o.state.Name }
func (o *Opened) AncestorLSN() page.LSN { return o.state.AncestorLSN }

// Close lets go of a timeline that is not to be started.
func (o *Opened) Close() error { return o.log.Close() }

// Start makes the timeline usable; ancestor is nil if it has none. What the manifest says is made durable if
// the store is open for writing. Then layer files that it does not name, which are those of a flush that a
// crash cut short, are removed, as are temporary files. Any other file is none of ours: it is moved to
// virtualfile.SetAsideDir and reported.
func (o *Opened) Start(ancestor *Timeline) (*Timeline, error) {
	if ancestor != nil && o.state.AncestorLSN > ancestor.LastRecordLSN() {
		return nil, fmt.Errorf("%w: timeline %s branches at LSN %s from %s, which ends at %s",
			ErrCorrupt, o.state.Name, o.state.AncestorLSN, ancestor.Name(), ancestor.LastRecordLSN())
	}
	// What the manifest does not name may go only once that is durable.
	if err := o.renew(); err != nil {
		return nil, fmt.Errorf("timeline %s: %w", o.state.Name, err)
	}
	if err := o.tidy(); err != nil {
		return nil, fmt.Errorf("timeline %s: %w", o.state.Name, err)
	}
	t, err := newTimeline(o.env, o.dir, o.log, ancestor, o.Archived)
	if err == nil {
		t.kept.grace.Store(o.env.Clock().Add(o.env.GC.LeaseGrace).UnixNano())
	}
	return t, err
}

// found is what a timeline's folder holds.
type found struct {
	present  []layer.Desc // in the manifest
	leftover []string     // written, but never published
	foreign  []foreign
}

// foreign is a file that nobody knows.
type foreign struct{ name, reason string }

// checkFiles compares the directory with the manifest.
func (o *Opened) checkFiles(ctx context.Context) error {
	names, err := o.env.FS.List(o.dir)
	if err != nil {
		return err
	}
	missing := make(map[string]layer.Desc, len(o.state.Layers))
	for _, d := range o.state.Layers {
		missing[d.FileName()] = d
	}
	f := &o.found
	for _, name := range names {
		if d, listed := missing[name]; listed {
			f.present = append(f.present, d)
			delete(missing, name)
		} else if err := o.sort(ctx, f, name); err != nil {
			return err
		}
	}
	var faults faultList
	for _, d := range o.state.Layers {
		_, gone := missing[d.FileName()]
		if _, remote := o.log.Remote(d); gone && (!remote || o.env.Remote == nil) {
			faults.add(fmt.Errorf("%w: layer %s is missing", ErrCorrupt, filepath.Join(o.dir, d.FileName())))
		}
	}
	o.checkLayers(ctx, f.present, &faults)
	if err := faults.err(); err != nil && o.env.AllowDamaged {
		o.env.Logger.Warn("opened with damaged layers", "timeline", o.state.Name, "err", err)
		return ctx.Err()
	}
	return errors.Join(faults.err(), ctx.Err())
}

// renew makes what the manifest says durable.
func (o *Opened) renew() error {
	if o.env.ReadOnly {
		return nil
	}
	return o.env.withReserve(o.log.Path(), o.log.Renew)
}

// sort says what a file is that the manifest does not list.
func (o *Opened) sort(ctx context.Context, f *found, name string) error {
	if name == manifest.FileName || name == generationFile || name == virtualfile.SetAsideDir {
		return nil
	}
	st, err := o.env.FS.Stat(filepath.Join(o.dir, name))
	if err != nil {
		return err
	}
	reason := ""
	kind, d := layer.Classify(name)
	switch {
	case st.IsDir:
		reason = "a folder, which a timeline has not"
	case kind == layer.NameTemporary, strings.HasPrefix(name, ImportFilePrefix):
	case kind == layer.NameForeign:
		reason = "no file of a timeline"
	default:
		d.Size = st.Size
		reason, err = o.strange(ctx, d)
	}
	if reason != "" {
		f.foreign = append(f.foreign, foreign{name, reason})
	} else {
		f.leftover = append(f.leftover, name)
	}
	return err
}

// strange says why a file is no leftover: only a whole layer of this very timeline is.
func (o *Opened) strange(ctx context.Context, d layer.Desc) (reason string, err error) {
	r, err := o.open(ctx, d)
	switch {
	case errors.Is(err, layer.ErrCorrupt):
		return "not in the manifest, and no layer of this timeline: " + err.Error(), nil
	case err != nil:
		return "", err
	}
	return "", r.Close()
}

func (o *Opened) open(ctx context.Context, d layer.Desc) (*layer.Reader, error) {
	return layer.OpenReader(ctx, o.env.Disk, o.env.Blocks, o.dir, o.id(), d)
}

func (o *Opened) id() layer.Identity {
	return layer.Identity{Tenant: o.state.Tenant, Timeline: o.state.Timeline}
}

// checkLayers opens each layer once, which checks its size, its summary and whose it is.
func (o *Opened) checkLayers(ctx context.Context, ds []layer.Desc, faults *faultList) {
	work := make(chan layer.Desc)
	var wg sync.WaitGroup
	for range min(openCheckers, len(ds)) {
		wg.Go(func() {
			for d := range work {
				r, err := layer.OpenReader(ctx, o.env.Disk, o.env.Blocks, o.dir, o.id(), d)
				if err == nil {
					err = r.Close()
				}
				if err != nil && !o.forsake(d, err) {
					faults.add(layerError(err))
				}
			}
		})
	}
	for _, d := range ds {
		if ctx.Err() != nil {
			break
		}
		work <- d
	}
	close(work)
	wg.Wait()
}

// tidy takes away what the manifest does not name.
func (o *Opened) tidy() error {
	for _, x := range o.found.foreign {
		o.env.SetAside(filepath.Join(o.dir, x.name), x.reason)
	}
	names := o.found.leftover
	if o.env.ReadOnly || len(names) == 0 {
		return nil
	}
	for _, name := range names {
		path := filepath.Join(o.dir, name)
		// A temporary manifest went with the renewal.
		if err := o.env.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		o.env.leftOver(path, "written, but not published before the process ended")
	}
	return o.env.FS.SyncDir(o.dir)
}

// faultList gathers what is wrong, up to a bound. It may be used from many goroutines.
type faultList struct {
	mu   sync.Mutex
	errs []error
	more int
}

func (f *faultList) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) == maxFaults {
		f.more++
		return
	}
	f.errs = append(f.errs, err)
}

func (f *faultList) err() error {
	if f.more > 0 {
		return errors.Join(errors.Join(f.errs...), fmt.Errorf("and %d faults more", f.more))
	}
	return errors.Join(f.errs...)
}
