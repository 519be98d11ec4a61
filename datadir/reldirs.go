package datadir

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// RelDirs is what a Reader may be besides: one of a timeline whose relations have keys of their own. Without it there is
// one directory for each database, page.RelDirV1.
type RelDirs interface {
	// RelDirs gives the form of the timeline's directories of relations; it never changes.
	RelDirs() page.RelDirs
}

// relDirsOf gives the form of what r reads.
func relDirsOf(r Reader) page.RelDirs {
	if of, ok := r.(RelDirs); ok {
		return of.RelDirs()
	}
	return page.RelDirs{}
}

// relEntry decodes the value of a relation's own key.
func relEntry(v []byte) (exists bool, err error) {
	if len(v) == 0 {
		return false, nil
	}
	if string(v) != page.RelEntryExists {
		return false, fmt.Errorf("%w: %d bytes that begin with %02X", ErrCorrupt, len(v), v[0])
	}
	return true, nil
}

// relations gives the directory of a database's relations, sorted. In page.RelDirBoth that is what the database's value says:
// Differing tells where the relations' own keys say something else.
func (s *Snapshot) relations(ctx context.Context, spc, db uint32) ([]RelFork, error) {
	if s.dirs.At(s.lsn) == page.RelDirV2 {
		if known, err := s.hasDatabase(ctx, spc, db); err != nil {
			return nil, err
		} else if !known {
			return nil, fmt.Errorf("database %d/%d at LSN %s: %w", spc, db, s.lsn, page.ErrNotFound)
		}
		return s.relEntries(ctx, spc, db)
	}
	k := page.RelDirKey(spc, db)
	b, err := s.get(ctx, k)
	if err != nil {
		return nil, err
	}
	rels, err := DecodeRelations(b)
	return rels, s.named(k, err)
}

// relEntries gives the relations of a database that keys of their own say exist.
func (s *Snapshot) relEntries(ctx context.Context, spc, db uint32) ([]RelFork, error) {
	var out []RelFork
	err := s.r.GetVectored(ctx, page.NewSet(page.RelEntries(spc, db)), s.lsn, func(k page.Key, v []byte, err error) error {
		rel, ok := k.RelEntry()
		if err == nil && !ok {
			err = fmt.Errorf("%w: no relation has this key", ErrCorrupt)
		}
		var exists bool
		if err == nil {
			exists, err = relEntry(v)
		}
		if exists {
			out = append(out, RelFork{rel.Rel, uint8(rel.Fork)})
		}
		return s.named(k, err)
	})
	return out, err
}

// listed looks a relation up in the directories.
func (s *Snapshot) listed(ctx context.Context, rel page.RelTag) (bool, error) {
	if known, err := s.hasDatabase(ctx, rel.Spc, rel.DB); !known || err != nil {
		return false, err
	}
	if s.dirs.At(s.lsn) == page.RelDirV2 {
		k := rel.RelEntry()
		b, err := s.get(ctx, k)
		if IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		ok, err := relEntry(b)
		return ok, s.named(k, err)
	}
	k := page.RelDirKey(rel.Spc, rel.DB)
	b, err := s.get(ctx, k)
	if err != nil {
		return false, err
	}
	ok, err := hasRelation(b, RelFork{rel.Rel, uint8(rel.Fork)})
	return ok, s.named(k, err)
}

func (s *Snapshot) hasDatabase(ctx context.Context, spc, db uint32) (bool, error) {
	ds, err := s.Databases(ctx)
	return slices.ContainsFunc(ds, func(d Database) bool { return d.Spc == spc && d.DB == db }), err
}

// Differing compares the two directories that a timeline of page.RelDirBoth has of each database, and gives the relations that
// only one of them has. Reads believe the database's value; the relations' own keys are what a later page.RelDirV2 would
// believe. It gives none where there is only one directory.
func (s *Snapshot) Differing(ctx context.Context) ([]page.RelTag, error) {
	if s.dirs.At(s.lsn) != page.RelDirBoth {
		return nil, nil
	}
	dbs, err := s.Databases(ctx)
	if err != nil {
		return nil, err
	}
	var out []page.RelTag
	for _, db := range dbs {
		v1, err := s.relations(ctx, db.Spc, db.DB)
		if err != nil {
			return nil, err
		}
		v2, err := s.relEntries(ctx, db.Spc, db.DB)
		if err != nil {
			return nil, err
		}
		for _, f := range onlyInOne(v1, v2) {
			out = append(out, page.RelTag{Spc: db.Spc, DB: db.DB, Rel: f.Rel, Fork: page.Fork(f.Fork)})
		}
	}
	return out, nil
}

// onlyInOne gives what only one of two sorted directories has, sorted.
func onlyInOne(a, b []RelFork) (out []RelFork) {
	for len(a) > 0 && len(b) > 0 {
		switch c := compareRelForks(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}
