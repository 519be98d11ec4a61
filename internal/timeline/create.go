package timeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Create makes a timeline in the folder parent, durably and in one step: everything is written into a folder
// with a temporary name, which is then renamed. fill, if not nil, writes the first layers into that folder;
// after an error nothing is left that a later Open would take for a timeline, unless the sync of parent has
// failed: then a crash may bring it back, whole.
func Create(ctx context.Context, env *Env, parent string, m manifest.Meta, prev page.LSN, ancestor *Timeline, fill func(dir string) ([]layer.Desc, error)) (*Timeline, error) {
	s := manifest.State{Meta: m, DiskConsistentLSN: m.InitialLSN, PrevRecordLSN: prev}
	return createAs(ctx, env, parent, s, ancestor, time.Time{}, func(dir string, s *manifest.State) (err error) {
		if fill != nil {
			s.Layers, err = fill(dir)
		}
		return err
	})
}

// createAs is Create of any state. fill completes it.
func createAs(ctx context.Context, env *Env, parent string, s manifest.State, ancestor *Timeline, archived time.Time, fill func(dir string, s *manifest.State) error) (*Timeline, error) {
	dir := filepath.Join(parent, s.Timeline.String())
	temp := dir + virtualfile.TempSuffix
	tl, err := create(ctx, env, dir, temp, s, ancestor, archived, fill)
	if err != nil {
		return nil, fmt.Errorf("new timeline %s: %w", s.Name, err)
	}
	if env.Events.TimelineMade != nil {
		env.Events.TimelineMade(TimelineMadeInfo{s.Tenant, s.Timeline, s.Name, s.InitialLSN, len(tl.Layers())})
	}
	return tl, nil
}

func create(ctx context.Context, env *Env, dir, temp string, s manifest.State, ancestor *Timeline, archived time.Time, fill func(dir string, s *manifest.State) error) (*Timeline, error) {
	if !s.InitialLSN.Aligned() || s.InitialLSN == page.InvalidLSN {
		return nil, fmt.Errorf("it cannot begin at LSN %s: not a multiple of 8 above 0", s.InitialLSN)
	}
	if err := writeFolder(ctx, env, temp, &s, fill); err != nil {
		return nil, errors.Join(err, env.FS.RemoveAll(temp))
	}
	if err := env.FS.Rename(temp, dir); err != nil {
		return nil, errors.Join(err, env.FS.RemoveAll(temp))
	}
	if err := env.FS.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, errors.Join(err, withdraw(env, dir, temp))
	}
	log, _, err := openManifest(env, dir)
	if err != nil {
		return nil, errors.Join(err, withdraw(env, dir, temp))
	}
	tl, err := newTimeline(env, dir, log, ancestor, archived)
	if err != nil {
		return nil, errors.Join(err, log.Close(), withdraw(env, dir, temp))
	}
	return tl, nil
}

// writeFolder makes the folder with all that belongs into it.
func writeFolder(ctx context.Context, env *Env, dir string, s *manifest.State, fill func(dir string, s *manifest.State) error) error {
	if err := env.FS.RemoveAll(dir); err != nil {
		return err
	}
	if err := env.FS.MkdirAll(dir); err != nil {
		return err
	}
	if err := fill(dir, s); err != nil {
		return err
	}
	if err := env.writeGeneration(dir, s.Owner()); err != nil {
		return err
	}
	// The manifest comes last, and with it the folder's entries become durable.
	if err := manifest.Create(env.FS, dir, *s); err != nil {
		return err
	}
	return ctx.Err()
}

// withdraw takes back a timeline that has its name already. It loses the name, durably, before anything in it
// is removed: a crash between could else leave a timeline without a manifest, and a store that does not open.
func withdraw(env *Env, dir, temp string) error {
	if err := env.FS.Rename(dir, temp); err != nil {
		return err
	}
	if err := env.FS.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	return env.FS.RemoveAll(temp)
}

// ImageSink writes image layers that tile a range of keys at one LSN. It is fed every key once, in
// ascending order, by one goroutine.
type ImageSink struct {
	env        *Env
	dir        string
	id         layer.Identity
	shard      page.ShardIdentity
	lsn        page.LSN
	keys       page.Range
	targetSize int64
	generation uint32
	options    layer.WriterOptions

	w      *layer.ImageWriter
	layers []layer.Desc
}

// NewImageSink makes a sink of the values of keys that writes into dir and begins a new file whenever one has reached about
// targetSize bytes. What the timeline's shard does not keep is left out.
func NewImageSink(env *Env, dir string, m *manifest.Meta, keys page.Range, targetSize int64, c layer.Compression) *ImageSink {
	return &ImageSink{env: env, dir: dir, id: layer.Identity{Tenant: m.Tenant, Timeline: m.Timeline}, shard: m.Shard, lsn: m.InitialLSN,
		keys: keys, targetSize: targetSize, generation: env.Generation(m.Owner()),
		options: layer.WriterOptions{Compression: c, Unchecked: env.Unchecked, Budget: env.Shares.Jobs}}
}

// PutImage adds the value of a key.
func (s *ImageSink) PutImage(ctx context.Context, key page.Key, image []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !key.Storable() {
		return fmt.Errorf("key %s has no valid form", key)
	}
	if !s.shard.Keeps(key) {
		return nil
	}
	start := s.keys.Start
	if s.w != nil && s.w.EstimatedSize() >= s.targetSize {
		if err := s.finish(ctx, key); err != nil {
			return err
		}
		start = key
	}
	if s.w == nil {
		w, err := layer.NewImageWriter(s.env.Disk, s.dir, s.id, page.Range{Start: start, End: s.keys.End}, s.lsn, s.generation, s.options)
		if err != nil {
			return err
		}
		s.w = w
	}
	return s.w.Add(key, image)
}

// finish ends the present file where the next one begins.
func (s *ImageSink) finish(ctx context.Context, end page.Key) error {
	w := s.w
	s.w = nil
	d, err := w.Finish(ctx, end)
	if err != nil {
		return err
	}
	s.layers = append(s.layers, d)
	return nil
}

// Close ends the last file, which reaches to the end of the keys, and gives all layers.
func (s *ImageSink) Close(ctx context.Context) ([]layer.Desc, error) {
	if s.w == nil {
		return s.layers, nil
	}
	err := s.finish(ctx, s.keys.End)
	return s.layers, err
}

// Discard removes what was written, finished or not.
func (s *ImageSink) Discard() error {
	if s.w != nil {
		s.w.Abort()
		s.w = nil
	}
	layers := s.layers
	s.layers = nil
	return RemoveLayers(s.env, s.dir, layers)
}
