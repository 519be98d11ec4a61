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
	// RelDirs gives the form of the timeline's directories of relations. It changes before anything at its Since can be
	// read, and what it was before goes for no LSN from there on.
	RelDirs() page.RelDirs
}

// RelDirsWanted is what a Store may be besides: one that is to list its relations in another form from its next record on.
type RelDirsWanted interface {
	RelDirs
	// WantedRelDirs gives that form, page.RelDirV1 if there is nothing to do. The Batch that has it done says so.
	WantedRelDirs() page.RelDirForm
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
	return s.valueRelations(ctx, spc, db)
}

// valueRelations gives the relations of a database that its value names, sorted.
func (s *Snapshot) valueRelations(ctx context.Context, spc, db uint32) ([]RelFork, error) {
	k := page.RelDirKey(spc, db)
	b, err := s.get(ctx, k)
	if err != nil {
		return nil, err
	}
	rels, err := DecodeRelations(b)
	return rels, s.named(k, err)
}

// relEntries gives the relations of a database that keys of their own say exist.
func (s *Snapshot) relEntries(ctx context.Context, spc, db uint32) (out []RelFork, err error) {
	err = s.eachRelEntry(ctx, spc, db, func(f RelFork) error {
		out = append(out, f)
		return nil
	})
	return out, err
}

// eachRelEntry calls fn for these relations in order.
func (s *Snapshot) eachRelEntry(ctx context.Context, spc, db uint32, fn func(RelFork) error) error {
	return s.r.GetVectored(ctx, page.NewSet(page.RelEntries(spc, db)), s.lsn, func(k page.Key, v []byte, err error) error {
		rel, ok := k.RelEntry()
		if err == nil && !ok {
			err = fmt.Errorf("%w: no relation has this key", ErrCorrupt)
		}
		var exists bool
		if err == nil {
			exists, err = relEntry(v)
		}
		if err != nil || !exists {
			return s.named(k, err)
		}
		return fn(RelFork{rel.Rel, uint8(rel.Fork)})
	})
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

// Differing compares the two directories that a timeline of page.RelDirBoth has of each database, and calls fn for each relation
// that only one of them has, in order: inValue says that it is the database's value, which reads believe, and else it is the
// relation's own key, which a later page.RelDirV2 would believe. It calls nothing where there is only one directory. Memory is
// that of the largest database's value, decoded; an error that fn returns ends it.
func (s *Snapshot) Differing(ctx context.Context, fn func(rel page.RelTag, inValue bool) error) error {
	if s.dirs.At(s.lsn) != page.RelDirBoth {
		return nil
	}
	return s.differing(ctx, fn)
}

// differing is Differing whatever form the snapshot has.
func (s *Snapshot) differing(ctx context.Context, fn func(rel page.RelTag, inValue bool) error) error {
	dbs, err := s.Databases(ctx)
	if err != nil {
		return err
	}
	for _, db := range dbs {
		rels, err := s.valueRelations(ctx, db.Spc, db.DB)
		if err != nil {
			return err
		}
		tell := func(f RelFork, inValue bool) error {
			return fn(page.RelTag{Spc: db.Spc, DB: db.DB, Rel: f.Rel, Fork: page.Fork(f.Fork)}, inValue)
		}
		err = s.eachRelEntry(ctx, db.Spc, db.DB, func(f RelFork) error {
			for len(rels) > 0 && compareRelForks(rels[0], f) < 0 {
				if err := tell(rels[0], true); err != nil {
					return err
				}
				rels = rels[1:]
			}
			if len(rels) > 0 && rels[0] == f {
				rels = rels[1:]
				return nil
			}
			return tell(f, false)
		})
		for ; err == nil && len(rels) > 0; rels = rels[1:] {
			err = tell(rels[0], true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
