package datadir

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// listing is how a Modification lists relations. change is set where its batch is the first to do so.
type listing struct {
	form   page.RelDirForm
	change *page.RelDirs
}

// RelDirsDue says that the store wants its relations listed in another form: the next record is to have ChangeRelDirs called
// between Begin and all else, and what was before is to be stored first.
func (m *Modification) RelDirsDue() bool { return m.wantedRelDirs() != page.RelDirV1 }

func (m *Modification) wantedRelDirs() page.RelDirForm {
	if s, ok := m.store.(RelDirsWanted); ok {
		return s.WantedRelDirs()
	}
	return page.RelDirV1
}

// ChangeRelDirs has relations listed in the form that the store wants, from the current record on: every relation that the
// databases' values name gets a key of its own, and other such keys become empty. Whatever they were before, who reads at the
// record's end or above finds in them what the values say, so that nobody misses a relation. Memory is about 80 bytes for each
// key that changes.
func (m *Modification) ChangeRelDirs(ctx context.Context) error {
	to := m.wantedRelDirs()
	switch {
	case to == page.RelDirV1:
		return nil
	case m.index.Len() > 0 || m.batch.Len() > m.mark:
		return fmt.Errorf("directories of relations change to %s: changes before that are not stored yet", to)
	case m.listing.form == page.RelDirV2:
		return fmt.Errorf("directories of relations change from %s to %s: the databases' values are out of date", m.listing.form, to)
	}
	err := m.Snapshot().differing(ctx, func(rel page.RelTag, inValue bool) error {
		m.batch.PutImage(rel.RelEntry(), m.cur.End, relEntryValue(inValue))
		return nil
	})
	if err != nil {
		return fmt.Errorf("directories of relations change from %s to %s: %w", m.listing.form, to, err)
	}
	m.listing = listing{to, &page.RelDirs{Form: to, Since: m.cur.End}}
	return nil
}

// storedRelations reads the directory of relations of a database that the store has, sorted: as the store lists relations, which the
// records that wait for Commit may have changed.
func (m *Modification) storedRelations(ctx context.Context, spc, db uint32) ([]RelFork, error) {
	s := m.Snapshot()
	if s.dirs.At(s.lsn) == page.RelDirV2 {
		return s.relEntries(ctx, spc, db)
	}
	return s.valueRelations(ctx, spc, db)
}

// setEntry says in the relation's own key, if relations have such, whether it exists.
func (m *Modification) setEntry(rel page.RelTag, exists bool) {
	if m.listing.form != page.RelDirV1 {
		m.dirs.entries[rel] = exists
		m.dirs.dirty = true
	}
}

// clearEntries has a new database begin without relations: Neon leaves their own keys as they are when it drops a database,
// and one of that number may come back (ALTER DATABASE … SET TABLESPACE, there and back).
func (m *Modification) clearEntries(ctx context.Context, spc, db uint32) error {
	if m.listing.form == page.RelDirV1 {
		return nil
	}
	old, err := m.Snapshot().relEntries(ctx, spc, db)
	for _, f := range old {
		m.setEntry(page.RelTag{Spc: spc, DB: db, Rel: f.Rel, Fork: page.Fork(f.Fork)}, false)
	}
	return err
}

// putRelDir writes the database's value. In page.RelDirV2 it is empty, and there for Neon, which looks for it.
func (m *Modification) putRelDir(id dbID, d *relDir) {
	switch {
	case m.listing.form != page.RelDirV2:
		m.batch.PutImage(page.RelDirKey(id.spc, id.db), m.cur.End, EncodeRelations(d.rels))
	case d.fresh:
		m.batch.PutImage(page.RelDirKey(id.spc, id.db), m.cur.End, EncodeRelations(nil))
	}
	d.dirty, d.fresh = false, false
}

// flushEntries writes the relations' own keys that the current record changed, in order.
func (m *Modification) flushEntries() {
	if len(m.dirs.entries) == 0 {
		return
	}
	rels := make([]page.RelTag, 0, len(m.dirs.entries))
	for rel := range m.dirs.entries {
		rels = append(rels, rel)
	}
	slices.SortFunc(rels, page.RelTag.Compare)
	for _, rel := range rels {
		m.batch.PutImage(rel.RelEntry(), m.cur.End, relEntryValue(m.dirs.entries[rel]))
	}
	clear(m.dirs.entries)
}

// relEntryValue encodes what relEntry decodes.
func relEntryValue(exists bool) []byte {
	if exists {
		return []byte(page.RelEntryExists)
	}
	return nil
}
