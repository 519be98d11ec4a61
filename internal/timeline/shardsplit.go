package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Split is a timeline that stands still, so that the timelines of the shards into which its tenant is split can be made
// of it: nobody puts anything, all that was put is in layer files, and these stay. Reads go on, and so does compaction.
type Split struct {
	t     *Timeline
	state manifest.State
	view  *view
}

// BeginSplit stops the timeline. What has to be uploaded is waited for, so that the shards need not upload it each. End
// must be called.
func (t *Timeline) BeginSplit(ctx context.Context) (*Split, error) {
	s, err := t.beginSplit(ctx)
	if err != nil {
		return nil, fmt.Errorf("split timeline %s: %w", t.meta.Name, err)
	}
	return s, nil
}

func (t *Timeline) beginSplit(ctx context.Context) (s *Split, err error) {
	if err := t.beginWrite(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.writer.give()
		}
	}()
	t.freeze()
	if err := t.flushUpTo(ctx, t.view.Load().start); err != nil {
		return nil, err
	}
	if err := t.WaitUploads(ctx); err != nil {
		return nil, err
	}
	// The flusher's turn keeps manifest and view as they are: both then have the same layers.
	if err := t.flusher.take(ctx); err != nil {
		return nil, err
	}
	defer t.flusher.give()
	v, err := t.pinView()
	if err != nil {
		return nil, err
	}
	return &Split{t: t, state: t.log.State(), view: v}, nil
}

// End lets the timeline go on.
func (s *Split) End() {
	s.view.release()
	s.t.writer.give()
}

// Write makes the folder of a shard's timeline in the folder parent, durably and in one step. It has the layers that may
// hold what the shard keeps, under further names of the same files where they are here.
func (s *Split) Write(ctx context.Context, parent string, shard page.ShardIdentity) error {
	t := s.t
	state := s.stateOf(shard)
	dir := filepath.Join(parent, t.meta.Timeline.String())
	temp := dir + virtualfile.TempSuffix
	err := writeFolder(ctx, t.env, temp, &state, func(dir string, state *manifest.State) error {
		for i := range state.Layers {
			if err := s.link(&state.Layers[i], dir); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = t.env.FS.Rename(temp, dir)
	}
	if err == nil {
		err = t.env.FS.SyncDir(parent)
	}
	if err != nil {
		return fmt.Errorf("timeline %s of %s: %w", t.meta.Name, shard, err)
	}
	return nil
}

// stateOf is what a shard's manifest says.
func (s *Split) stateOf(shard page.ShardIdentity) manifest.State {
	state := s.state
	state.Shard = shard
	kept := make(map[compaction.ID]bool, len(state.Layers))
	state.Layers = slices.DeleteFunc(slices.Clone(state.Layers), func(d layer.Desc) bool {
		keep := shard.Pages(d.Keys) > 0
		kept[idOf(&d)] = keep
		return !keep
	})
	of := func(d layer.Desc) bool { return !kept[idOf(&d)] }
	state.Moved = slices.DeleteFunc(slices.Clone(state.Moved), func(m manifest.Moved) bool { return of(m.Layer) })
	state.Remote = slices.DeleteFunc(slices.Clone(state.Remote), func(r manifest.Remote) bool { return of(r.Layer) })
	state.Chains = slices.DeleteFunc(slices.Clone(state.Chains), func(c manifest.Chains) bool { return of(c.Layer) })
	return state
}

// link gives a layer's file a name in another folder too. One that is in remote storage only has none.
func (s *Split) link(d *layer.Desc, dir string) error {
	t := s.t
	err := virtualfile.Link(t.env.FS, filepath.Join(t.dir, d.FileName()), filepath.Join(dir, d.FileName()))
	if _, remote := t.log.Remote(*d); errors.Is(err, fs.ErrNotExist) && remote && t.env.Remote != nil {
		return nil
	}
	return err
}
