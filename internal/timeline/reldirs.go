package timeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
)

// Whatever reads a timeline's relations has to know how they are listed.
var (
	_ datadir.RelDirsWanted = (*Timeline)(nil)
	_ datadir.RelDirs       = (*Snapshot)(nil)
	_ datadir.RelDirs       = pinned{}
)

// ErrRelDirs says that relations cannot be listed in the form asked for. Nothing has changed.
var ErrRelDirs = errors.New("relations cannot be listed so")

// RelDirs says how the timeline lists its relations. It goes for LSNs of its ancestors too: a branch begins as its ancestor
// listed relations there, and below RelDirs.Since every timeline is read in the oldest form.
func (t *Timeline) RelDirs() page.RelDirs { return t.relDirs.Load().RelDirs }

// RelDirs is Timeline.RelDirs.
func (s *Snapshot) RelDirs() page.RelDirs { return s.t.RelDirs() }

// RelDirs is Timeline.RelDirs.
func (p pinned) RelDirs() page.RelDirs { return p.t.RelDirs() }

// WantedRelDirs gives the form in which relations are to be listed from the next record on, page.RelDirV1 if as before.
func (t *Timeline) WantedRelDirs() page.RelDirForm { return t.relDirs.Load().Wanted }

// WantRelDirs has relations listed in another form from the next record on that ingest takes in: from page.RelDirV1 in
// page.RelDirBoth, and from there in page.RelDirV2. It is durable on return, and done when RelDirs gives the form. page.RelDirBoth
// asked for where it is the form already has the relations' own keys made good; page.RelDirV1 calls off what has not been done yet. All
// other ways are refused with ErrRelDirs, and so is page.RelDirV2 where Differing finds anything.
func (t *Timeline) WantRelDirs(ctx context.Context, form page.RelDirForm) error {
	if err := t.wantRelDirs(ctx, form); err != nil {
		return fmt.Errorf("timeline %s: directories of relations %s: %w", t.meta.Name, form, err)
	}
	return nil
}

func (t *Timeline) wantRelDirs(ctx context.Context, form page.RelDirForm) error {
	if err := form.From(t.RelDirs().Form); err != nil {
		return fmt.Errorf("%w: %w", ErrRelDirs, err)
	}
	if form == page.RelDirV2 {
		if err := t.checkRelDirs(ctx); err != nil {
			return err
		}
	}
	if err := t.beginWrite(ctx); err != nil {
		return err
	}
	defer t.writer.give()
	if err := t.checkSealed(); err != nil {
		return err
	}
	now := *t.relDirs.Load()
	if err := form.From(now.Form); err != nil {
		return fmt.Errorf("%w: %w", ErrRelDirs, err)
	}
	now.Wanted = form
	if form == page.RelDirV2 && now.Form == form {
		now.Wanted = page.RelDirV1 // it is there
	}
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	durable := t.log.Meta()
	if err := t.publish(&manifest.Edit{RelDirs: &manifest.RelDirs{RelDirs: durable.RelDirs, Wanted: now.Wanted}}); err != nil {
		return err
	}
	t.relDirs.Store(&now)
	return nil
}

// checkRelDirs refuses a timeline whose relations' own keys are not what the databases' values say.
func (t *Timeline) checkRelDirs(ctx context.Context) error {
	lsn, n, first := t.LastRecordLSN(), 0, page.RelTag{}
	err := datadir.At(t, lsn, t.meta.Version).Differing(ctx, func(r page.RelTag, _ bool) error {
		if n++; n == 1 {
			first = r
		}
		return nil
	})
	if err == nil && n > 0 {
		err = fmt.Errorf("%w: as of LSN %s the two directories differ in %d relations, %s the first: look at them with `strata verify directories`, "+
			"and ask for %s again, which makes the relations' own keys good", ErrRelDirs, lsn, n, first, page.RelDirBoth)
	}
	return err
}

// relDirsChanged notes what a batch has done, before anything of it can be read. The caller has the writer's turn.
func (t *Timeline) relDirsChanged(d page.RelDirs) {
	now := &manifest.RelDirs{RelDirs: d, Wanted: t.relDirs.Load().Wanted}
	if now.Wanted <= d.Form {
		now.Wanted = page.RelDirV1
	}
	t.relDirs.Store(now)
	t.env.counters.relDirs.Add(1)
	t.env.Logger.Info("relations are listed in another form", "timeline", t.meta.Name, "form", d.Form.String(), "since", d.Since.String())
}

// flushedRelDirs gives what a manifest is to say once records up to the end of f are durable, nil if as before. A wish that
// came after them stays. The caller has the flusher's turn.
func (t *Timeline) flushedRelDirs(f *frozen) *manifest.RelDirs {
	durable := t.log.Meta()
	if f.relDirs == durable.RelDirs {
		return nil
	}
	d := &manifest.RelDirs{RelDirs: f.relDirs, Wanted: durable.RelDirsWanted}
	if d.Wanted <= d.Form {
		d.Wanted = page.RelDirV1
	}
	return d
}
