package timeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// Adoption says which timeline of Neon's a new timeline is made of.
type Adoption struct {
	Tenant page.TenantID
	// Shard is whose index it is.
	Shard page.ShardIdentity
	ID    page.TimelineID
	Name  string
	Index *index.Part
	// Ancestor is the timeline that the index names, nil if it names none.
	Ancestor *Timeline
	// Place puts the file of a layer into a folder, under Desc.FileName, durably but for the folder's entry. Without it
	// layers stay in Config.Remote until they are read.
	Place func(ctx context.Context, dir string, d layer.Desc) error
	// Warm is a folder of layers that Fetch brought; empty if there is none.
	Warm string
}

// Adopt makes a timeline in the folder parent of what an index lists, durably and in one step. What a
// manifest has and Neon's index has not (segment size, checksums) is read from the cluster's own control file.
// Neon does not say whether WAL came from its own computes; its flavour is assumed, which also knows what a
// stock server of 16 and 17 writes.
func Adopt(ctx context.Context, env *Env, parent string, a Adoption) (*Timeline, error) {
	s, err := a.state()
	if err != nil {
		return nil, fmt.Errorf("adopt timeline %s: %w", a.ID, err)
	}
	return createAs(ctx, env, parent, s, a.Ancestor, a.Index.ArchivedAt, func(dir string, s *manifest.State) error {
		if err := errors.Join(a.place(ctx, dir, s), a.takeWarm(env, dir, s)); err != nil {
			return err
		}
		return a.complete(ctx, env, dir, s)
	})
}

// place brings the layers, or says that they are in remote storage.
func (a *Adoption) place(ctx context.Context, dir string, s *manifest.State) error {
	for _, d := range s.Layers {
		if a.Place != nil {
			if err := a.Place(ctx, dir, d); err != nil {
				return fmt.Errorf("layer %s: %w", d.Name(), err)
			}
			continue
		}
		r, err := a.remote(d)
		if err != nil {
			return fmt.Errorf("layer %s: %w", d.Name(), err)
		}
		s.Remote = append(s.Remote, r)
	}
	return nil
}

// remote gives what the index says of where a layer is.
func (a *Adoption) remote(d layer.Desc) (r manifest.Remote, err error) {
	l, ok := a.Index.Layers.Find(&d)
	if !ok {
		return r, errors.New("the index does not name it")
	}
	d.Size = 0
	r = manifest.Remote{Layer: d, Sum: uint64(l.Sum)}
	if l.Shard != "" {
		v, err := strconv.ParseUint(l.Shard, 16, 16)
		if err != nil {
			return r, fmt.Errorf("shard %q: %w", l.Shard, err)
		}
		r.Shard = uint16(v)
	}
	return r, nil
}

// state is what the index alone says.
func (a *Adoption) state() (s manifest.State, err error) {
	m := a.Index.Metadata
	if !a.Index.DeletedAt.IsZero() {
		return s, fmt.Errorf("it was deleted at %s", a.Index.DeletedAt)
	}
	s = manifest.State{DiskConsistentLSN: m.DiskConsistentLSN, Cutoff: m.GCCutoffLSN}
	s.Meta = manifest.Meta{Tenant: a.Tenant, Shard: a.Shard, Timeline: a.ID, Name: a.Name, Version: pg.Version(m.PgVersion),
		Flavour: pg.Neon, InitialLSN: m.InitdbLSN}
	if !s.Version.Supported() {
		return s, fmt.Errorf("PostgreSQL %d: %w", m.PgVersion, pg.ErrUnsupportedVersion)
	}
	if m.PrevRecordLSN != nil {
		s.PrevRecordLSN = *m.PrevRecordLSN
	}
	dirs, err := a.Index.RelDirs()
	if err != nil {
		return s, err
	}
	// Neon says so before the first of the relations' own keys is durable. Without them nothing has changed yet.
	s.RelDirs = dirs.Of(m.DiskConsistentLSN)
	if o := a.Index.Origin; o != nil {
		if s.Flavour = pg.Flavour(o.Flavour); s.Flavour > pg.Neon {
			return s, fmt.Errorf("flavour %d is unknown", o.Flavour)
		}
		s.WALSegSize, s.SystemID, s.Checksums, s.HintBits = o.WALSegSize, o.SystemID, o.Checksums, o.HintBits
		s.InitialLSN, s.Cutoff, s.RelDirsWanted = o.InitialLSN, o.Cutoff, o.RelDirsWanted
	}
	if err := a.inherit(&s); err != nil {
		return s, err
	}
	if s.Lineage, err = a.lineage(); err != nil {
		return s, err
	}
	s.Layers = slices.DeleteFunc(a.Index.Descs(), func(d layer.Desc) bool { return fromTheFuture(d, m.DiskConsistentLSN) })
	s.Moved, err = a.moved()
	return s, err
}

// lineage takes over what the timeline came from before.
func (a *Adoption) lineage() (l manifest.Lineage, err error) {
	x, err := a.Index.Lineage()
	if err != nil {
		return l, err
	}
	unsettled, err := a.Index.Detaching()
	if err != nil {
		return l, err
	}
	l = manifest.Lineage{Former: x.Former, Truncated: x.Truncated}
	if n := len(l.Former) - manifest.MaxFormer; n > 0 {
		l.Former, l.Truncated = l.Former[n:], true
	}
	if a.Index.Metadata.Ancestor == nil {
		l.Original, l.OriginalLSN, l.DetachedAt = x.Original, x.OriginalLSN, x.DetachedAt
		l.Unsettled = unsettled && l.OriginalLSN != 0
	}
	return l, nil
}

// moved takes over which keys of layers other layers hold too.
func (a *Adoption) moved() (out []manifest.Moved, err error) {
	o := a.Index.Origin
	if o == nil {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(o.Moved)) {
		d, err := layer.ParseName(name)
		if err != nil {
			return nil, fmt.Errorf("moved keys: %w", err)
		}
		l, ok := a.Index.Layers.Find(&d)
		if !ok || fromTheFuture(d, a.Index.Metadata.DiskConsistentLSN) {
			continue
		}
		d = l.Desc
		d.Size = 0
		out = append(out, manifest.Moved{Layer: d, Keys: o.Moved[name]})
	}
	return out, nil
}

// fromTheFuture says that a layer holds what is not durable: its writer made it of records that it lost again.
// No record ends just above the durable LSN, so an image there, at the end of the last delta, holds no such
// thing (Neon drops it too: pageserver/src/tenant/timeline/init.rs).
func fromTheFuture(d layer.Desc, durable page.LSN) bool {
	if d.Image {
		return d.LSNs.Start > durable+1
	}
	return d.LSNs.End > durable+1
}

// inherit takes over from the ancestor what all timelines of a cluster have in common.
func (a *Adoption) inherit(s *manifest.State) error {
	m := a.Index.Metadata
	if (m.Ancestor == nil) != (a.Ancestor == nil) || m.Ancestor != nil && *m.Ancestor != a.Ancestor.ID() {
		return errors.New("its ancestor is another one than the index names")
	}
	if m.Ancestor == nil {
		return nil
	}
	if last := a.Ancestor.LastRecordLSN(); m.AncestorLSN > last {
		return fmt.Errorf("%w: it branches at LSN %s from timeline %s, which ends at %s", ErrCorrupt, m.AncestorLSN, a.Ancestor.Name(), last)
	}
	from := a.Ancestor.Meta()
	s.Flavour, s.WALSegSize, s.SystemID, s.Checksums, s.HintBits = from.Flavour, from.WALSegSize, from.SystemID, from.Checksums, from.HintBits
	s.Ancestor, s.AncestorLSN = *m.Ancestor, m.AncestorLSN
	// Neon keeps the first LSN of the whole history; a branch begins at its branch point.
	s.InitialLSN = m.AncestorLSN
	return nil
}

// complete reads what the control file says, which lies in the layers.
func (a *Adoption) complete(ctx context.Context, env *Env, dir string, s *manifest.State) error {
	if a.Ancestor != nil || a.Index.Origin != nil {
		return nil
	}
	m, err := layer.NewMap(s.Layers)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	probe, err := env.timelineOf(dir, *s, m, func(d layer.Desc) (manifest.Remote, bool) {
		r, err := a.remote(d)
		return r, err == nil && a.Place == nil
	}, nil)
	if err != nil {
		return err
	}
	probe.files.absent.Store(int64(len(s.Remote)))
	defer probe.discard()
	raw, err := datadir.At(probe, s.DiskConsistentLSN, s.Version).ControlFile(ctx)
	if err != nil {
		return fmt.Errorf("control file: %w", err)
	}
	f, err := control.Parse(raw)
	if err != nil {
		return err
	}
	if f.Version() != s.Version {
		return fmt.Errorf("%w: the control file is PostgreSQL %d's, the index says %d", ErrCorrupt, f.Version(), s.Version)
	}
	s.WALSegSize, s.SystemID, s.Checksums = f.WALSegSize(), f.SystemID(), f.ChecksumVersion() != 0
	s.HintBits = s.Checksums || f.Settings().WALLogHints
	return nil
}

// discard ends a timeline that was never published.
func (t *Timeline) discard() {
	t.closed.Store(true)
	close(t.ended)
	t.tasks.Stop()
	t.endViews()
}
