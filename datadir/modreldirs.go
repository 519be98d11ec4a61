package datadir

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// storedRelations reads the directory of relations of a database that the store has, sorted.
func (m *Modification) storedRelations(ctx context.Context, spc, db uint32) ([]RelFork, error) {
	if m.relDirs == page.RelDirV2 {
		return m.Snapshot().relEntries(ctx, spc, db)
	}
	k := page.RelDirKey(spc, db)
	b, err := m.get(ctx, k)
	if err != nil {
		return nil, err
	}
	rels, err := DecodeRelations(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Describe(), err)
	}
	return rels, nil
}

// setEntry says in the relation's own key, if relations have such, whether it exists.
func (m *Modification) setEntry(rel page.RelTag, exists bool) {
	if m.relDirs != page.RelDirV1 {
		m.dirs.entries[rel] = exists
		m.dirs.dirty = true
	}
}

// clearEntries has a new database begin without relations: Neon leaves their own keys as they are when it drops a database,
// and one of that number may come back (ALTER DATABASE … SET TABLESPACE, there and back).
func (m *Modification) clearEntries(ctx context.Context, spc, db uint32) error {
	if m.relDirs == page.RelDirV1 {
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
	case m.relDirs != page.RelDirV2:
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
